//! `model_index.json`: which pipeline a folder is, and which classes its components have.

use serde_json::{Map, Value};

use super::config::Config;
use super::error::LoadError;
use super::folder::Folder;
use super::scheduler::Kind;

const FILE: &str = "model_index.json";

/// The families of pipelines that differ in how they paint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// SD 1.x, SD 2.x, SD-Turbo.
    StableDiffusion,
    /// SDXL, SDXL-Turbo.
    Xl,
    /// Latent consistency models.
    Lcm,
}

impl Family {
    /// The folder of the small autoencoder that fits.
    pub(super) fn taesd(self) -> &'static str {
        if self == Self::Xl { "taesdxl" } else { "taesd" }
    }
}

/// The whole of it.
#[derive(Clone, Debug)]
pub(super) struct Index {
    pub(super) family: Family,
    /// The model's own noise scheduler. As in diffusers, the class that the scheduler's own file names does not count.
    pub(super) scheduler: Kind,
    /// Whether the first text encoder is there; the second alone makes SDXL's refiner.
    pub(super) first_encoder: bool,
    /// `force_zeros_for_empty_prompt`.
    pub(super) zeros_for_empty: bool,
    /// `requires_aesthetics_score`.
    pub(super) aesthetics: bool,
    /// `clip_skip`: how many of a text encoder's last layers are left out.
    pub(super) clip_skip: Option<usize>,
}

impl Index {
    pub(super) fn read(folder: &Folder) -> Result<Self, LoadError> {
        let config = folder.config(FILE)?;
        let class: String = config.required("_class_name")?;
        let family = match class.as_str() {
            "StableDiffusionPipeline" | "StableDiffusionImg2ImgPipeline" => Family::StableDiffusion,
            "StableDiffusionXLPipeline" | "StableDiffusionXLImg2ImgPipeline" => Family::Xl,
            "LatentConsistencyModelPipeline" | "LatentConsistencyModelImg2ImgPipeline" => Family::Lcm,
            other => {
                let supported = "StableDiffusion(Img2Img)Pipeline, StableDiffusionXL(Img2Img)Pipeline, \
                                 LatentConsistencyModel(Img2Img)Pipeline";
                return Err(config.error("_class_name", format!("is {other}; supported: {supported}")));
            }
        };
        let index = Self {
            family,
            scheduler: scheduler_of(&config, family)?,
            first_encoder: class_of(&config, "text_encoder")?.is_some(),
            zeros_for_empty: config.or("force_zeros_for_empty_prompt", true)?,
            aesthetics: config.or("requires_aesthetics_score", false)?,
            clip_skip: config.optional("clip_skip")?,
        };
        index.check(&config)?;
        Ok(index)
    }

    fn check(&self, config: &Config) -> Result<(), LoadError> {
        expect(config, "unet", &["UNet2DConditionModel"])?;
        expect(config, "vae", &["AutoencoderKL", "AutoencoderTiny"])?;
        if self.first_encoder || self.family != Family::Xl {
            expect(config, "text_encoder", &["CLIPTextModel"])?;
            expect(config, "tokenizer", &["CLIPTokenizer", "CLIPTokenizerFast"])?;
        }
        if self.family == Family::Xl {
            expect(config, "text_encoder_2", &["CLIPTextModelWithProjection"])?;
            expect(config, "tokenizer_2", &["CLIPTokenizer", "CLIPTokenizerFast"])?;
        }
        Ok(())
    }

    /// How many size numbers SDXL's UNet takes beside the pooled prompt.
    pub(super) fn size_count(&self) -> usize {
        if self.aesthetics { 5 } else { 6 }
    }

    /// The folders of a model's components.
    pub(super) fn weights(&self) -> Vec<&'static str> {
        let mut components = vec!["unet", "vae"];
        components.extend(self.encoders().into_iter().map(|(encoder, _)| encoder));
        components
    }

    /// Text encoders and their tokenizers.
    pub(super) fn encoders(&self) -> Vec<(&'static str, &'static str)> {
        let first = self.first_encoder.then_some(("text_encoder", "tokenizer"));
        let second = (self.family == Family::Xl).then_some(("text_encoder_2", "tokenizer_2"));
        first.into_iter().chain(second).collect()
    }
}

/// The class of a component, which stands beside its library; `None` where the component is null or not named.
fn class_of(config: &Config, component: &str) -> Result<Option<String>, LoadError> {
    let entry: Option<Vec<Option<String>>> = config.optional(component)?;
    Ok(entry.and_then(|entry| entry.into_iter().nth(1).flatten()))
}

fn scheduler_of(config: &Config, family: Family) -> Result<Kind, LoadError> {
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|&kind| family != Family::Lcm || kind == Kind::Lcm).collect();
    let classes: Vec<&str> = kinds.iter().map(|kind| kind.class()).collect();
    expect(config, "scheduler", &classes)?;
    let class = class_of(config, "scheduler")?;
    let kind = kinds.into_iter().find(|kind| class.as_deref() == Some(kind.class()));
    kind.ok_or_else(|| config.error("scheduler", "is missing".to_owned()))
}

fn expect(config: &Config, component: &str, classes: &[&str]) -> Result<(), LoadError> {
    match class_of(config, component)? {
        Some(class) if classes.contains(&class.as_str()) => Ok(()),
        Some(class) => Err(config.error(component, format!("is {class}; supported: {}", classes.join(", ")))),
        None => Err(config.error(component, format!("is missing; it should be {}", classes[0]))),
    }
}

/// The model's noise scheduler's configuration, as diffusers' pipeline of this family has it.
///
/// `chosen` is whether a request chose a class of its own: then only keys count that the model's file has.
pub(super) fn scheduler_config(folder: &Folder, family: Family, chosen: bool) -> Result<Config, LoadError> {
    const SCHEDULER: &str = "scheduler/scheduler_config.json";
    let mut values: Map<String, Value> = folder.json(SCHEDULER)?;
    if family == Family::StableDiffusion {
        // The pipeline's constructor mends what was wrong in the first published configurations.
        if !chosen || values.contains_key("steps_offset") {
            values.insert("steps_offset".to_owned(), Value::from(1));
        }
        if !chosen || values.get("clip_sample") == Some(&Value::Bool(true)) {
            values.insert("clip_sample".to_owned(), Value::Bool(false));
        }
    }
    Ok(Config::new(SCHEDULER, values))
}

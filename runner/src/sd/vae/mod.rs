//! The networks between pixels and latents: diffusers' `AutoencoderKL` and `AutoencoderTiny` (TAESD).

mod find;
mod kl;
mod tiny;

use candle_core::Result;
use image::RgbImage;
use serde_json::json;

pub(super) use self::find::{find, find_tiny};
use self::kl::AutoencoderKl;
use self::tiny::AutoencoderTiny;
use super::config::Config;
use super::error::LoadError;
use super::folder::Folder;
use super::picture;
use super::rng::Generator;
use crate::nn::map::{Map, MapSize};
use crate::nn::weights::{self, Needed, Placement, Weights};

/// One of the two.
enum Network {
    Kl(Box<AutoencoderKl>),
    Tiny(AutoencoderTiny),
}

/// An autoencoder, and how its latents are scaled for the UNet.
pub(super) struct Autoencoder {
    network: Network,
    placement: Placement,
    /// One latent stands for this many pixels in each direction.
    pub factor: usize,
    /// `scaling_factor`.
    pub scaling: f64,
    /// `latents_mean` and `latents_std`, one number for each channel.
    pub normal: Option<(Vec<f32>, Vec<f32>)>,
}

/// What the configuration alone says of an autoencoder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// One latent stands for this many pixels in each direction.
    pub factor: usize,
    tiny: bool,
}

impl Shape {
    /// Reads it.
    ///
    /// # Errors
    /// A class that is not supported.
    pub(super) fn read(config: &Config) -> std::result::Result<Self, LoadError> {
        config.only("_class_name", &[json!("AutoencoderKL"), json!("AutoencoderTiny")])?;
        let tiny = config.text_or("_class_name", "AutoencoderKL")? == "AutoencoderTiny";
        let (key, default) = if tiny { ("decoder_block_out_channels", 4) } else { ("block_out_channels", 1) };
        let blocks = config.optional::<Vec<usize>>(key)?.map_or(default, |channels| channels.len());
        if !(1..=8).contains(&blocks) {
            return Err(config.error(key, format!("has {blocks} entries; supported: 1 to 8")));
        }
        Ok(Self { factor: 1 << (blocks - 1), tiny })
    }
}

impl Autoencoder {
    /// Reads the autoencoder in `component`, a folder of the model such as `vae`.
    ///
    /// # Errors
    /// A missing or damaged file, or a configuration that is not supported.
    pub(super) fn load(folder: &Folder, component: &str, placement: Placement) -> std::result::Result<Self, LoadError> {
        let config = folder.config(&format!("{component}/config.json"))?;
        let shape = Shape::read(&config)?;
        let (files, shelf) = (folder.weights(component)?, folder.shelf(component));
        let network = if shape.tiny {
            let config = tiny::TinyConfig::read(&config)?;
            let network = |weights: &Weights| AutoencoderTiny::load(weights, &config);
            Network::Tiny(weights::load(&files, &placement, shelf.as_ref(), network)?)
        } else {
            let config = kl::KlConfig::read(&config)?;
            let network = |weights: &Weights| AutoencoderKl::load(weights, &config).map(Box::new);
            Network::Kl(weights::load(&files, &placement, shelf.as_ref(), network)?)
        };
        let mean: Option<Vec<f32>> = config.optional("latents_mean")?;
        let deviation: Option<Vec<f32>> = config.optional("latents_std")?;
        let scaling = config.or("scaling_factor", if shape.tiny { 1.0 } else { 0.18215 })?;
        Ok(Self { network, placement, factor: shape.factor, scaling, normal: mean.zip(deviation) })
    }

    /// The tensors that the network of this configuration needs.
    ///
    /// # Errors
    /// A configuration that is not supported.
    pub(super) fn needed(config: &Config) -> std::result::Result<Vec<Needed>, LoadError> {
        let weights = Weights::outline();
        if Shape::read(config)?.tiny {
            AutoencoderTiny::load(&weights, &tiny::TinyConfig::read(config)?)?;
        } else {
            AutoencoderKl::load(&weights, &kl::KlConfig::read(config)?)?;
        }
        Ok(weights.needed())
    }

    /// Latents of a picture, not yet scaled: `[channels, height, width]` numbers and their shape. Draws from `random` where the autoencoder gives a distribution.
    ///
    /// # Errors
    /// A failure of the device.
    pub(super) fn encode(&self, picture: &RgbImage, random: &mut Generator) -> Result<(Vec<f32>, [usize; 3])> {
        let picture = picture::to_map(picture, &self.placement)?;
        let encoded = match &self.network {
            Network::Kl(network) => network.encode(&picture)?,
            Network::Tiny(network) => network.encode(&picture)?,
        };
        let (MapSize { height, width, channels, .. }, values) = (encoded.size(), encoded.planes()?);
        let latents = match &self.network {
            Network::Tiny(_) => return Ok((values, [channels, height, width])),
            Network::Kl(_) => {
                let (means, logarithms) = values.split_at(values.len() / 2);
                let noise = random.randn(means.len());
                let deviation = |logarithm: &f32| (0.5 * logarithm.clamp(-30.0, 20.0)).exp();
                let sample = |((mean, logarithm), noise): ((&f32, &f32), f32)| mean + deviation(logarithm) * noise;
                means.iter().zip(logarithms).zip(noise).map(sample).collect()
            }
        };
        Ok((latents, [channels / 2, height, width]))
    }

    /// The picture of latents `[channels, height, width]` that are not scaled any more; `None` where a value is no number.
    ///
    /// # Errors
    /// A failure of the device.
    pub(super) fn decode(&self, mut latents: Vec<f32>, shape: [usize; 3]) -> Result<Option<RgbImage>> {
        if let Network::Tiny(_) = self.network {
            latents.iter_mut().for_each(|latent| *latent = tiny::bounded(*latent));
        }
        let [channels, height, width] = shape;
        let size = MapSize { batch: 1, height, width, channels };
        let latents = Map::from_planes(latents, size, &self.placement)?;
        picture::to_picture(&match &self.network {
            Network::Kl(network) => network.decode(&latents)?,
            Network::Tiny(network) => network.decode(&latents)?,
        })
    }
}

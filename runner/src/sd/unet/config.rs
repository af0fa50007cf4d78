//! `unet/config.json`. Absent keys take the defaults of diffusers' `UNet2DConditionModel`.

use serde_json::{Value, json};

use super::super::config::Config;
use super::super::error::LoadError;
use crate::nn::activation::Activation;
use crate::nn::conv2d::Kernel;

/// The shape of the network.
#[derive(Clone, Debug)]
pub(crate) struct UnetConfig {
    /// Channels of the latents.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Width and height of the latents that the model was trained with.
    pub sample_size: Option<usize>,
    /// Width of the prompt's embedding in each block.
    pub text_widths: Vec<usize>,
    /// Width of the guidance scale's embedding, for a model that was distilled with one.
    pub guidance_width: Option<usize>,
    /// The size conditioning of SDXL.
    pub added: Option<Added>,
    pub(super) channels: Vec<usize>,
    pub(super) down_attends: Vec<bool>,
    pub(super) up_attends: Vec<bool>,
    pub(super) has_mid: bool,
    pub(super) layers: Vec<usize>,
    pub(super) transformers: Vec<usize>,
    pub(super) up_transformers: Vec<usize>,
    pub(super) heads: Vec<usize>,
    pub(super) groups: usize,
    pub(super) eps: f64,
    pub(super) activation: Activation,
    pub(super) linear_projection: bool,
    pub(super) downsample_padding: usize,
    pub(super) mid_scale: f64,
    pub(super) time_width: usize,
    pub(super) flip: bool,
    pub(super) shift: f64,
    pub(super) kernel_in: usize,
    pub(super) kernel_out: usize,
    pub(super) centres: bool,
}

/// The size conditioning of SDXL (`addition_embed_type` "text_time").
#[derive(Clone, Copy, Debug)]
pub(crate) struct Added {
    /// Width of the embedding of one size number.
    pub time_width: usize,
    /// Width of pooled prompt and size numbers together.
    pub inputs: usize,
}

/// Keys that must have the one value that Stable Diffusion uses, or none.
fn fixed() -> [(&'static str, Value); 11] {
    [
        ("only_cross_attention", json!(false)),
        ("dual_cross_attention", json!(false)),
        ("resnet_time_scale_shift", json!("default")),
        ("resnet_skip_time_act", json!(false)),
        ("time_embedding_type", json!("positional")),
        ("attention_type", json!("default")),
        ("class_embeddings_concat", json!(false)),
        ("mid_block_only_cross_attention", json!(false)),
        ("mid_block_type", json!("UNetMidBlock2DCrossAttn")),
        ("_class_name", json!("UNet2DConditionModel")),
        ("dropout", json!(0.0)),
    ]
}

/// Keys that must have no value.
const ABSENT: [&str; 8] = [
    "num_attention_heads",
    "encoder_hid_dim",
    "encoder_hid_dim_type",
    "class_embed_type",
    "num_class_embeds",
    "time_embedding_act_fn",
    "timestep_post_act",
    "cross_attention_norm",
];

impl UnetConfig {
    /// Reads it.
    ///
    /// # Errors
    /// A value that is not supported.
    pub(crate) fn read(config: &Config) -> Result<Self, LoadError> {
        for (key, value) in fixed() {
            config.only(key, &[value])?;
        }
        for key in ABSENT {
            config.only(key, &[])?;
        }
        let channels: Vec<usize> = config.or("block_out_channels", vec![320, 640, 1280, 1280])?;
        let count = channels.len();
        if count == 0 {
            return Err(config.error("block_out_channels", "is empty".to_owned()));
        }
        let default_down = [vec!["CrossAttnDownBlock2D".to_owned(); 3], vec!["DownBlock2D".to_owned()]].concat();
        let default_up = [vec!["UpBlock2D".to_owned()], vec!["CrossAttnUpBlock2D".to_owned(); 3]].concat();
        let down_attends = attends(config, "down_block_types", default_down, count, "DownBlock2D")?;
        let up_attends = attends(config, "up_block_types", default_up, count, "UpBlock2D")?;
        let transformers = config.per_block("transformer_layers_per_block", count, 1)?;
        let mut up_transformers = config.per_block("reverse_transformer_layers_per_block", count, 0)?;
        if config.value("reverse_transformer_layers_per_block").is_none() {
            up_transformers = transformers.iter().rev().copied().collect();
        }
        let heads = config.per_block("attention_head_dim", count, 8)?;
        let groups = config.or("norm_num_groups", 32_usize)?;
        if let Some(block) =
            (0..count).find(|&block| heads[block] == 0 || !channels[block].is_multiple_of(heads[block]))
        {
            let problem = format!("is {} in block {block}, which does not divide its channels", heads[block]);
            return Err(config.error("attention_head_dim", problem));
        }
        if groups == 0 || channels.iter().any(|channels| channels % groups != 0) {
            return Err(config.error("norm_num_groups", format!("is {groups}, which does not divide the channels")));
        }
        let name = config.text_or("act_fn", "silu")?;
        let activation = Activation::named(&name)
            .ok_or_else(|| config.error("act_fn", format!("is {name:?}; supported: \"silu\", \"gelu\", \"relu\"")))?;
        let added = match config.optional::<String>("addition_embed_type")?.as_deref() {
            None => None,
            Some("text_time") => Some(Added {
                time_width: config.required("addition_time_embed_dim")?,
                inputs: config.required("projection_class_embeddings_input_dim")?,
            }),
            Some(other) => {
                let problem = format!("is {other:?}; supported: \"text_time\"");
                return Err(config.error("addition_embed_type", problem));
            }
        };
        let inputs = config.or("in_channels", 4)?;
        let sample_size = match config.value("sample_size") {
            Some(Value::Array(sides)) => sides.first().and_then(Value::as_u64).map(|side| side as usize),
            _ => config.optional("sample_size")?,
        };
        Ok(Self {
            inputs,
            outputs: config.or("out_channels", 4)?,
            sample_size,
            text_widths: config.per_block("cross_attention_dim", count, 1280)?,
            guidance_width: config.optional("time_cond_proj_dim")?,
            added,
            down_attends,
            up_attends,
            // An explicit null leaves the block out; an absent key does not.
            has_mid: config.value("mid_block_type").is_some() || !config.names("mid_block_type"),
            layers: config.per_block("layers_per_block", count, 2)?,
            transformers,
            up_transformers,
            heads,
            groups,
            eps: config.or("norm_eps", 1e-5)?,
            activation,
            linear_projection: config.or("use_linear_projection", false)?,
            downsample_padding: config.or("downsample_padding", 1)?,
            mid_scale: config.or("mid_block_scale_factor", 1.0)?,
            time_width: config.or("time_embedding_dim", channels[0] * 4)?,
            flip: config.or("flip_sin_to_cos", true)?,
            shift: config.or("freq_shift", 0.0)?,
            kernel_in: config.or("conv_in_kernel", 3)?,
            kernel_out: config.or("conv_out_kernel", 3)?,
            centres: config.or("center_input_sample", false)?,
            channels,
        })
    }

    /// A kernel of this size that keeps the picture's size.
    pub(super) fn kernel(&self, size: usize) -> Kernel {
        Kernel { size, before: (size - 1) / 2, after: (size - 1) / 2, ..Kernel::POINT }
    }
}

/// For each block whether it has attention: `CrossAttn…` or not.
fn attends(
    config: &Config,
    key: &str,
    default: Vec<String>,
    count: usize,
    plain: &str,
) -> Result<Vec<bool>, LoadError> {
    let types: Vec<String> = config.or(key, default)?;
    if types.len() != count {
        return Err(config.error(key, format!("has {} entries for {count} blocks", types.len())));
    }
    let attends = |name: &String| match name.strip_prefix("CrossAttn") {
        Some(rest) if rest == plain => Ok(true),
        None if name == plain => Ok(false),
        _ => Err(config.error(key, format!("has {name:?}; supported: \"{plain}\", \"CrossAttn{plain}\""))),
    };
    types.iter().map(attends).collect()
}

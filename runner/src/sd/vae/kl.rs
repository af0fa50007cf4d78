//! `AutoencoderKL`: the autoencoder that Stable Diffusion is trained with.

use candle_core::Result;
use serde_json::{Value, json};

use super::super::config::Config;
use super::super::error::LoadError;
use super::super::unet::{Resnet, ResnetShape};
use crate::nn::activation::Activation;
use crate::nn::attention::{Mask, attention};
use crate::nn::conv2d::{Conv2d, Kernel, Then};
use crate::nn::group_norm::GroupNorm;
use crate::nn::linear::Linear;
use crate::nn::map::Map;
use crate::nn::weights::{Weights, WeightsError};

type Loaded<T> = std::result::Result<T, WeightsError>;

const EPS: f64 = 1e-6;

/// `vae/config.json`. Absent keys take diffusers' defaults.
pub(super) struct KlConfig {
    channels: Vec<usize>,
    layers: usize,
    latents: usize,
    groups: usize,
    activation: Activation,
    attends: bool,
    quant: bool,
    post_quant: bool,
}

impl KlConfig {
    pub(super) fn read(config: &Config) -> std::result::Result<Self, LoadError> {
        let channels: Vec<usize> = config.or("block_out_channels", vec![64])?;
        for (key, block) in [("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")] {
            let types: Vec<String> = config.or(key, vec![block.to_owned()])?;
            if types.len() != channels.len() || types.iter().any(|name| name != block) {
                let problem = format!("is {types:?}; supported: \"{block}\" for each of {} blocks", channels.len());
                return Err(config.error(key, problem));
            }
        }
        for key in ["in_channels", "out_channels"] {
            config.only(key, &[json!(3)])?;
        }
        let groups = config.or("norm_num_groups", 32_usize)?;
        if groups == 0 || channels.iter().any(|channels| channels % groups != 0) {
            return Err(config.error("norm_num_groups", format!("is {groups}, which does not divide the channels")));
        }
        let name = config.text_or("act_fn", "silu")?;
        let activation = Activation::named(&name)
            .ok_or_else(|| config.error("act_fn", format!("is {}; supported: \"silu\"", Value::from(name.as_str()))))?;
        Ok(Self {
            channels,
            layers: config.or("layers_per_block", 1)?,
            latents: config.or("latent_channels", 4)?,
            groups,
            activation,
            attends: config.or("mid_block_add_attention", true)?,
            quant: config.or("use_quant_conv", true)?,
            post_quant: config.or("use_post_quant_conv", true)?,
        })
    }

    fn resnet(&self, weights: &Weights, inputs: usize, outputs: usize) -> Loaded<Resnet> {
        let (groups, activation) = (self.groups, self.activation);
        let shape = ResnetShape { groups, eps: EPS, activation, time_width: None, scale: 1.0 };
        Resnet::load(weights, inputs, outputs, shape)
    }

    fn resnets(&self, weights: &Weights, count: usize, inputs: usize, outputs: usize) -> Loaded<Vec<Resnet>> {
        let inputs_of = |layer: usize| if layer == 0 { inputs } else { outputs };
        (0..count).map(|layer| self.resnet(&weights.at(layer), inputs_of(layer), outputs)).collect()
    }
}

pub(super) struct AutoencoderKl {
    encoder: Coder,
    decoder: Coder,
    quant: Option<Conv2d>,
    post_quant: Option<Conv2d>,
}

impl AutoencoderKl {
    pub(super) fn load(weights: &Weights, config: &KlConfig) -> Loaded<Self> {
        let point = |name: &str, channels: usize| Conv2d::load(&weights.at(name), channels, channels, Kernel::POINT);
        Ok(Self {
            encoder: Coder::encoder(&weights.at("encoder"), config)?,
            decoder: Coder::decoder(&weights.at("decoder"), config)?,
            quant: config.quant.then(|| point("quant_conv", 2 * config.latents)).transpose()?,
            post_quant: config.post_quant.then(|| point("post_quant_conv", config.latents)).transpose()?,
        })
    }

    /// Means and then logarithms of variances.
    pub(super) fn encode(&self, picture: &Map) -> Result<Map> {
        let x = self.encoder.forward(picture)?;
        self.quant.as_ref().map_or(Ok(x.clone()), |quant| quant.forward(&x))
    }

    pub(super) fn decode(&self, latents: &Map) -> Result<Map> {
        let x = self.post_quant.as_ref().map_or(Ok(latents.clone()), |quant| quant.forward(latents))?;
        self.decoder.forward(&x)
    }
}

/// Encoder or decoder: the same parts, the middle last or first.
struct Coder {
    conv_in: Conv2d,
    levels: Vec<Level>,
    middle: Middle,
    middle_first: bool,
    norm_out: GroupNorm,
    activation: Activation,
    conv_out: Conv2d,
}

struct Level {
    resnets: Vec<Resnet>,
    resize: Option<Conv2d>,
    grows: bool,
}

impl Coder {
    fn encoder(weights: &Weights, config: &KlConfig) -> Loaded<Self> {
        let channels = &config.channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let level = |index: usize| {
            let weights = weights.at("down_blocks").at(index);
            let (inputs, outputs) = (channels[index.saturating_sub(1)], channels[index]);
            let kernel = Kernel::HALVING_ONE_SIDED;
            let resize = (index + 1 < channels.len())
                .then(|| Conv2d::load(&weights.at("downsamplers.0.conv"), outputs, outputs, kernel));
            let resnets = config.resnets(&weights.at("resnets"), config.layers, inputs, outputs)?;
            Ok(Level { resnets, resize: resize.transpose()?, grows: false })
        };
        Ok(Self {
            conv_in: Conv2d::load(&weights.at("conv_in"), 3, first, Kernel::SAME)?,
            levels: (0..channels.len()).map(level).collect::<Loaded<_>>()?,
            middle: Middle::load(&weights.at("mid_block"), config, last)?,
            middle_first: false,
            norm_out: GroupNorm::load(&weights.at("conv_norm_out"), last, config.groups, EPS)?,
            activation: config.activation,
            conv_out: Conv2d::load(&weights.at("conv_out"), last, 2 * config.latents, Kernel::SAME)?,
        })
    }

    fn decoder(weights: &Weights, config: &KlConfig) -> Loaded<Self> {
        let channels: Vec<usize> = config.channels.iter().rev().copied().collect();
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let level = |index: usize| {
            let weights = weights.at("up_blocks").at(index);
            let (inputs, outputs) = (channels[index.saturating_sub(1)], channels[index]);
            let resize = (index + 1 < channels.len())
                .then(|| Conv2d::load(&weights.at("upsamplers.0.conv"), outputs, outputs, Kernel::SAME));
            let resnets = config.resnets(&weights.at("resnets"), config.layers + 1, inputs, outputs)?;
            Ok(Level { resnets, resize: resize.transpose()?, grows: true })
        };
        Ok(Self {
            conv_in: Conv2d::load(&weights.at("conv_in"), config.latents, first, Kernel::SAME)?,
            levels: (0..channels.len()).map(level).collect::<Loaded<_>>()?,
            middle: Middle::load(&weights.at("mid_block"), config, first)?,
            middle_first: true,
            norm_out: GroupNorm::load(&weights.at("conv_norm_out"), last, config.groups, EPS)?,
            activation: config.activation,
            conv_out: Conv2d::load(&weights.at("conv_out"), last, 3, Kernel::SAME)?,
        })
    }

    fn forward(&self, x: &Map) -> Result<Map> {
        let mut x = self.conv_in.forward(x)?;
        if self.middle_first {
            x = self.middle.forward(&x)?;
        }
        for level in &self.levels {
            for resnet in &level.resnets {
                x = resnet.forward(&x, None)?;
            }
            if let Some(resize) = &level.resize {
                let size = x.size();
                x = if level.grows {
                    resize.forward_resized(&x, 2 * size.height, 2 * size.width)?
                } else {
                    resize.forward(&x)?
                };
            }
        }
        if !self.middle_first {
            x = self.middle.forward(&x)?;
        }
        self.conv_out.forward_normalised(&x, &self.norm_out, self.activation, Then::default())
    }
}

/// `UNetMidBlock2D`.
struct Middle {
    resnets: [Resnet; 2],
    attention: Option<PixelAttention>,
}

impl Middle {
    fn load(weights: &Weights, config: &KlConfig, channels: usize) -> Loaded<Self> {
        let resnets = weights.at("resnets");
        let attention =
            config.attends.then(|| PixelAttention::load(&weights.at("attentions.0"), channels, config.groups));
        Ok(Self {
            resnets: [
                config.resnet(&resnets.at(0), channels, channels)?,
                config.resnet(&resnets.at(1), channels, channels)?,
            ],
            attention: attention.transpose()?,
        })
    }

    fn forward(&self, x: &Map) -> Result<Map> {
        let x = self.resnets[0].forward(x, None)?;
        let x = self.attention.as_ref().map_or(Ok(x.clone()), |attention| attention.forward(&x))?;
        self.resnets[1].forward(&x, None)
    }
}

/// One head of attention of all pixels to each other.
struct PixelAttention {
    norm: GroupNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
}

impl PixelAttention {
    fn load(weights: &Weights, channels: usize, groups: usize) -> Loaded<Self> {
        // Autoencoders that were saved before diffusers 0.15 use the second names.
        let linear = |name: &str, old: &str| {
            let name = if weights.has_any(old) { old } else { name };
            Linear::load(&weights.at(name), channels, channels)
        };
        Ok(Self {
            norm: GroupNorm::load(&weights.at("group_norm"), channels, groups, EPS)?,
            q: linear("to_q", "query")?,
            k: linear("to_k", "key")?,
            v: linear("to_v", "value")?,
            out: linear("to_out.0", "proj_attn")?,
        })
    }

    fn forward(&self, x: &Map) -> Result<Map> {
        let size = x.size();
        let format = self.q.format();
        let pixels = self.norm.forward_for(x, format)?.tokens()?;
        let [q, k, v] = [&self.q, &self.k, &self.v].map(|linear| linear.forward_for(&pixels, format));
        let y = self.out.forward_plus(&attention(&q?, &k?, &v?, 1, Mask::None, format)?, &x.tokens()?)?;
        Map::from_tokens(&y, size.height, size.width)
    }
}

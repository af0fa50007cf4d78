//! The levels of the UNet: down to fewer pixels and more channels, and up again.

use candle_core::Result;

use super::config::UnetConfig;
use super::resnet::{Resnet, ResnetShape};
use super::transformer::{Transformer, TransformerShape};
use crate::nn::conv2d::{Conv2d, Kernel};
use crate::nn::map::Map;
use crate::nn::tokens::Tokens;
use crate::nn::weights::{Weights, WeightsError};

type Loaded<T> = std::result::Result<T, WeightsError>;

/// `resnet_out_scale_factor` is not for these blocks, in diffusers neither.
fn resnet_shape(config: &UnetConfig, scale: f64) -> ResnetShape {
    ResnetShape {
        groups: config.groups,
        eps: config.eps,
        activation: config.activation,
        time_width: Some(config.time_width),
        scale,
    }
}

fn transformer_shape(config: &UnetConfig, block: usize, layers: usize) -> TransformerShape {
    TransformerShape {
        channels: config.channels[block],
        text_width: config.text_widths[block],
        heads: config.heads[block],
        layers,
        groups: config.groups,
        linear_projection: config.linear_projection,
    }
}

/// `DownBlock2D`, `CrossAttnDownBlock2D`.
pub(super) struct DownBlock {
    resnets: Vec<Resnet>,
    /// As many as residual blocks, or none.
    transformers: Vec<Transformer>,
    downsample: Option<Conv2d>,
}

impl DownBlock {
    pub(super) fn load(weights: &Weights, config: &UnetConfig, block: usize) -> Loaded<Self> {
        let outputs = config.channels[block];
        let layers = config.layers[block];
        let (resnets, attentions) = (weights.at("resnets"), weights.at("attentions"));
        let resnet = |layer: usize| {
            let inputs = if layer == 0 { config.channels[block.saturating_sub(1)] } else { outputs };
            Resnet::load(&resnets.at(layer), inputs, outputs, resnet_shape(config, 1.0))
        };
        let shape = transformer_shape(config, block, config.transformers[block]);
        let attending = if config.down_attends[block] { layers } else { 0 };
        let padding = config.downsample_padding;
        let kernel = match padding {
            0 => Kernel::HALVING_ONE_SIDED,
            _ => Kernel { before: padding, after: padding, ..Kernel::HALVING },
        };
        let downsample = (block + 1 < config.channels.len())
            .then(|| Conv2d::load(&weights.at("downsamplers.0.conv"), outputs, outputs, kernel));
        Ok(Self {
            resnets: (0..layers).map(resnet).collect::<Loaded<_>>()?,
            transformers: (0..attending)
                .map(|layer| Transformer::load(&attentions.at(layer), shape))
                .collect::<Loaded<_>>()?,
            downsample: downsample.transpose()?,
        })
    }

    /// Pushes what each layer made onto `skips`.
    pub(super) fn forward(&self, x: &Map, time: &Tokens, text: &Tokens, skips: &mut Vec<Map>) -> Result<Map> {
        let mut x = x.clone();
        for (layer, resnet) in self.resnets.iter().enumerate() {
            x = resnet.forward(&x, Some(time))?;
            if let Some(transformer) = self.transformers.get(layer) {
                x = transformer.forward(&x, text)?;
            }
            skips.push(x.clone());
        }
        if let Some(downsample) = &self.downsample {
            x = downsample.forward(&x)?;
            skips.push(x.clone());
        }
        Ok(x)
    }
}

/// `UNetMidBlock2DCrossAttn`.
pub(super) struct MidBlock {
    resnets: [Resnet; 2],
    transformer: Transformer,
}

impl MidBlock {
    pub(super) fn load(weights: &Weights, config: &UnetConfig) -> Loaded<Self> {
        let last = config.channels.len() - 1;
        let channels = config.channels[last];
        let resnet = |index: usize| {
            let weights = weights.at("resnets").at(index);
            Resnet::load(&weights, channels, channels, resnet_shape(config, config.mid_scale))
        };
        let shape = transformer_shape(config, last, config.transformers[last]);
        let transformer = Transformer::load(&weights.at("attentions.0"), shape)?;
        Ok(Self { resnets: [resnet(0)?, resnet(1)?], transformer })
    }

    pub(super) fn forward(&self, x: &Map, time: &Tokens, text: &Tokens) -> Result<Map> {
        let x = self.transformer.forward(&self.resnets[0].forward(x, Some(time))?, text)?;
        self.resnets[1].forward(&x, Some(time))
    }
}

/// `UpBlock2D`, `CrossAttnUpBlock2D`.
pub(super) struct UpBlock {
    resnets: Vec<Resnet>,
    /// As many as residual blocks, or none.
    transformers: Vec<Transformer>,
    upsample: Option<Conv2d>,
}

impl UpBlock {
    pub(super) fn load(weights: &Weights, config: &UnetConfig, index: usize) -> Loaded<Self> {
        let count = config.channels.len();
        // The level of the way down that this block mirrors.
        let block = count - 1 - index;
        let outputs = config.channels[block];
        let previous = config.channels[(block + 1).min(count - 1)];
        let layers = config.layers[block] + 1;
        let (resnets, attentions) = (weights.at("resnets"), weights.at("attentions"));
        let resnet = |layer: usize| {
            let skip = if layer + 1 == layers { config.channels[block.saturating_sub(1)] } else { outputs };
            let inputs = if layer == 0 { previous } else { outputs };
            Resnet::load(&resnets.at(layer), inputs + skip, outputs, resnet_shape(config, 1.0))
        };
        let shape = transformer_shape(config, block, config.up_transformers[index]);
        let attending = if config.up_attends[index] { layers } else { 0 };
        let upsample =
            (block > 0).then(|| Conv2d::load(&weights.at("upsamplers.0.conv"), outputs, outputs, Kernel::SAME));
        Ok(Self {
            resnets: (0..layers).map(resnet).collect::<Loaded<_>>()?,
            transformers: (0..attending)
                .map(|layer| Transformer::load(&attentions.at(layer), shape))
                .collect::<Loaded<_>>()?,
            upsample: upsample.transpose()?,
        })
    }

    /// Takes from `skips` what the way down left there.
    pub(super) fn forward(&self, x: &Map, time: &Tokens, text: &Tokens, skips: &mut Vec<Map>) -> Result<Map> {
        let mut x = x.clone();
        for (layer, resnet) in self.resnets.iter().enumerate() {
            let skip = skips.pop().expect("the way down left as many as the way up takes");
            x = resnet.forward(&x.concat(&skip)?, Some(time))?;
            if let Some(transformer) = self.transformers.get(layer) {
                x = transformer.forward(&x, text)?;
            }
        }
        match (&self.upsample, skips.last()) {
            // The next skip's size, not the double: a level may have had an odd number of rows.
            (Some(upsample), Some(skip)) => {
                let size = skip.size();
                upsample.forward_resized(&x, size.height, size.width)
            }
            _ => Ok(x),
        }
    }
}

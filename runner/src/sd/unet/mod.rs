//! The network that predicts noise: diffusers' `UNet2DConditionModel`, as far as Stable Diffusion uses it.

mod blocks;
mod config;
mod embeddings;
mod resnet;
mod transformer;

use candle_core::Result;

pub(super) use config::UnetConfig;
pub(crate) use embeddings::guidance_embedding;

use self::blocks::{DownBlock, MidBlock, UpBlock};
use self::embeddings::{Embedder, sinusoids};
pub(crate) use self::resnet::{Resnet, ResnetShape};
use crate::nn::activation::Activation;
use crate::nn::conv2d::{Conv2d, Then};
use crate::nn::group_norm::GroupNorm;
use crate::nn::map::{Map, MapSize};
use crate::nn::tokens::{Shape, Tokens};
use crate::nn::weights::{Placement, Weights, WeightsError};

/// The network with its weights.
pub(super) struct Unet {
    conv_in: Conv2d,
    time: Embedder,
    added: Option<Embedder>,
    down: Vec<DownBlock>,
    mid: Option<MidBlock>,
    up: Vec<UpBlock>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
    activation: Activation,
    config: UnetConfig,
    placement: Placement,
}

/// What a painting asks for, beside the latents.
pub(super) struct Conditioning {
    /// The prompt.
    pub text: Tokens,
    /// The guidance scale's embedding, for distilled models: one vector for each picture.
    pub guidance: Option<Tokens>,
    /// The pooled prompt, one vector for each picture, and the size numbers of each picture, for SDXL.
    pub added: Option<(Tokens, Vec<Vec<f32>>)>,
}

impl Unet {
    /// Reads the weights.
    ///
    /// # Errors
    /// See [`WeightsError`].
    pub(super) fn load(weights: &Weights, config: &UnetConfig) -> std::result::Result<Self, WeightsError> {
        let channels = &config.channels;
        let (first, kernel_in) = (channels[0], config.kernel(config.kernel_in));
        let time = Embedder::load(
            &weights.at("time_embedding"),
            first,
            config.time_width,
            config.guidance_width,
            config.activation,
        )?;
        let added = config.added.map(|added| {
            let weights = weights.at("add_embedding");
            Embedder::load(&weights, added.inputs, config.time_width, None, Activation::Silu)
        });
        let blocks = channels.len();
        let down = (0..blocks).map(|index| DownBlock::load(&weights.at("down_blocks").at(index), config, index));
        let up = (0..blocks).map(|index| UpBlock::load(&weights.at("up_blocks").at(index), config, index));
        let mid = config.has_mid.then(|| MidBlock::load(&weights.at("mid_block"), config));
        Ok(Self {
            conv_in: Conv2d::load(&weights.at("conv_in"), config.inputs, first, kernel_in)?,
            time,
            added: added.transpose()?,
            down: down.collect::<std::result::Result<_, _>>()?,
            mid: mid.transpose()?,
            up: up.collect::<std::result::Result<_, _>>()?,
            norm_out: GroupNorm::load(&weights.at("conv_norm_out"), first, config.groups, config.eps)?,
            conv_out: Conv2d::load(&weights.at("conv_out"), first, config.outputs, config.kernel(config.kernel_out))?,
            activation: config.activation,
            config: config.clone(),
            placement: weights.placement().clone(),
        })
    }

    /// The network's output for latents `[batch, channels, height, width]` at a timestep, in the same order.
    ///
    /// # Errors
    /// Shapes that do not fit, or a failure of the device.
    pub(super) fn forward(
        &self,
        latents: Vec<f32>,
        size: MapSize,
        timestep: f32,
        conditioning: &Conditioning,
    ) -> Result<Vec<f32>> {
        let (batch, text) = (size.batch, &conditioning.text);
        let sinusoids = |values: &[f32], width| sinusoids(values, width, self.config.flip, self.config.shift);
        // One vector for each picture.
        let vectors = |values: Vec<f32>| {
            let shape = Shape { batch, rows: 1, width: values.len() / batch };
            Tokens::new(values, shape, &self.placement)
        };
        let time = vectors(sinusoids(&vec![timestep; batch], self.config.channels[0]))?;
        let mut embedding = self.time.forward(&time, conditioning.guidance.as_ref())?;
        if let (Some(embedder), Some(added), Some((pooled, sizes))) =
            (&self.added, self.config.added, &conditioning.added)
        {
            let sizes = vectors(sinusoids(&sizes.concat(), added.time_width))?;
            embedding = embedding.add(&embedder.forward(&pooled.concat(&sizes)?, None)?)?;
        }
        // Every residual block takes it activated.
        let embedding = self.activation.forward(&embedding)?;
        let mut x = Map::from_planes(latents, size, &self.placement)?;
        if self.config.centres {
            x = x.affine(2.0, -1.0)?;
        }
        let mut x = self.conv_in.forward(&x)?;
        let mut skips = vec![x.clone()];
        for block in &self.down {
            x = block.forward(&x, &embedding, text, &mut skips)?;
        }
        if let Some(mid) = &self.mid {
            x = mid.forward(&x, &embedding, text)?;
        }
        for block in &self.up {
            x = block.forward(&x, &embedding, text, &mut skips)?;
        }
        self.conv_out.forward_normalised(&x, &self.norm_out, self.activation, Then::default())?.planes()
    }
}

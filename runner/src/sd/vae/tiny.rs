//! `AutoencoderTiny` (TAESD by Ollin Boer Bohan): a small autoencoder that takes the large one's place.

use candle_core::{DType, Result, Tensor};
use serde_json::json;

use super::super::config::Config;
use super::super::error::LoadError;
use crate::nn::activation::Activation;
use crate::nn::conv2d::{Conv2d, Kernel};
use crate::nn::weights::{Weights, WeightsError};

type Loaded<T> = std::result::Result<T, WeightsError>;

/// Its `config.json`. Absent keys take diffusers' defaults.
pub(super) struct TinyConfig {
    encoder: Vec<(usize, usize)>,
    decoder: Vec<(usize, usize)>,
    latents: usize,
    activation: Activation,
    growth: usize,
}

impl TinyConfig {
    pub(super) fn read(config: &Config) -> std::result::Result<Self, LoadError> {
        config.only("upsample_fn", &[json!("nearest")])?;
        for key in ["in_channels", "out_channels"] {
            config.only(key, &[json!(3)])?;
        }
        let blocks = |channels: &str, counts: &str, default: [usize; 4]| {
            let channels: Vec<usize> = config.or(channels, vec![64; 4])?;
            let numbers: Vec<usize> = config.or(counts, default.to_vec())?;
            if channels.len() != numbers.len() || channels.is_empty() {
                let problem = format!("has {} entries for {} blocks", numbers.len(), channels.len());
                return Err(config.error(counts, problem));
            }
            if let Some(pair) = channels.windows(2).find(|pair| pair[0] != pair[1]) {
                let problem = format!("changes from {} to {}; supported: one number for all blocks", pair[0], pair[1]);
                return Err(config.error(counts, problem));
            }
            Ok(channels.into_iter().zip(numbers).collect())
        };
        let name = config.text_or("act_fn", "relu")?;
        let activation = Activation::named(&name)
            .ok_or_else(|| config.error("act_fn", format!("is {name:?}; supported: \"relu\", \"silu\", \"gelu\"")))?;
        Ok(Self {
            encoder: blocks("encoder_block_out_channels", "num_encoder_blocks", [1, 3, 3, 3])?,
            decoder: blocks("decoder_block_out_channels", "num_decoder_blocks", [3, 3, 3, 1])?,
            latents: config.or("latent_channels", 4)?,
            activation,
            growth: config.or("upsampling_scaling_factor", 2)?,
        })
    }
}

pub(super) struct AutoencoderTiny {
    encoder: Vec<Layer>,
    decoder: Vec<Layer>,
    compute: DType,
}

enum Layer {
    Conv(Conv2d),
    Activation(Activation),
    Residual { convs: [Conv2d; 3], activation: Activation },
    Upsample(usize),
}

/// Layers as `torch.nn.Sequential` numbers them.
struct Sequence {
    weights: Weights,
    layers: Vec<Layer>,
}

impl Sequence {
    fn next(&self) -> Weights {
        self.weights.at(self.layers.len())
    }

    fn conv(&mut self, inputs: usize, outputs: usize) -> Loaded<()> {
        self.layers.push(Layer::Conv(Conv2d::load(&self.next(), inputs, outputs, Kernel::SAME)?));
        Ok(())
    }

    fn conv_without_bias(&mut self, channels: usize, kernel: Kernel) -> Loaded<()> {
        self.layers.push(Layer::Conv(Conv2d::load_without_bias(&self.next(), channels, channels, kernel)?));
        Ok(())
    }

    fn residuals(&mut self, count: usize, channels: usize, activation: Activation) -> Loaded<()> {
        for _ in 0..count {
            let weights = self.next().at("conv");
            let conv = |index: usize| Conv2d::load(&weights.at(index), channels, channels, Kernel::SAME);
            self.layers.push(Layer::Residual { convs: [conv(0)?, conv(2)?, conv(4)?], activation });
        }
        Ok(())
    }
}

impl AutoencoderTiny {
    pub(super) fn load(weights: &Weights, config: &TinyConfig) -> Loaded<Self> {
        let mut encoder = Sequence { weights: weights.at("encoder.layers"), layers: Vec::new() };
        for (index, &(channels, count)) in config.encoder.iter().enumerate() {
            if index == 0 {
                encoder.conv(3, channels)?;
            } else {
                encoder.conv_without_bias(channels, Kernel::HALVING)?;
            }
            encoder.residuals(count, channels, config.activation)?;
        }
        encoder.conv(config.encoder[config.encoder.len() - 1].0, config.latents)?;

        let mut decoder = Sequence { weights: weights.at("decoder.layers"), layers: Vec::new() };
        decoder.conv(config.latents, config.decoder[0].0)?;
        decoder.layers.push(Layer::Activation(config.activation));
        for (index, &(channels, count)) in config.decoder.iter().enumerate() {
            decoder.residuals(count, channels, config.activation)?;
            if index + 1 < config.decoder.len() {
                decoder.layers.push(Layer::Upsample(config.growth));
                decoder.conv_without_bias(channels, Kernel::SAME)?;
            } else {
                decoder.conv(channels, 3)?;
            }
        }
        let compute = weights.placement().compute;
        Ok(Self { encoder: encoder.layers, decoder: decoder.layers, compute })
    }

    /// `[1, channels, height, width]`.
    pub(super) fn encode(&self, picture: &Tensor) -> Result<Tensor> {
        run(&self.encoder, ((picture.to_dtype(self.compute)? + 1.0)? / 2.0)?)
    }

    pub(super) fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        let latents = latents.to_dtype(self.compute)?;
        let bounded = ((latents / 3.0)?.tanh()? * 3.0)?;
        (run(&self.decoder, bounded)? * 2.0)? - 1.0
    }
}

fn run(layers: &[Layer], mut x: Tensor) -> Result<Tensor> {
    for layer in layers {
        x = match layer {
            Layer::Conv(conv) => conv.forward(&x)?,
            Layer::Activation(activation) => activation.forward(&x)?,
            Layer::Upsample(factor) => {
                let (height, width) = (x.dim(2)?, x.dim(3)?);
                x.upsample_nearest2d(factor * height, factor * width)?
            }
            Layer::Residual { convs: [first, second, third], activation } => {
                let y = activation.forward(&first.forward(&x)?)?;
                let y = activation.forward(&second.forward(&y)?)?;
                (third.forward(&y)? + x)?.relu()?
            }
        };
    }
    Ok(x)
}

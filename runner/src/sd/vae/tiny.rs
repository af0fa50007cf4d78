//! `AutoencoderTiny` (TAESD by Ollin Boer Bohan): a small autoencoder that takes the large one's place.

use candle_core::Result;
use serde_json::json;

use super::super::config::Config;
use super::super::error::LoadError;
use crate::nn::activation::Activation;
use crate::nn::conv2d::{Conv2d, Kernel, Then};
use crate::nn::map::Map;
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
}

enum Layer {
    Conv(Conv2d, Option<Activation>),
    Residual { convs: Box<[Conv2d; 3]>, activation: Activation },
    Growing(Conv2d, usize),
}

/// Layers as `torch.nn.Sequential` numbers them; it counts activations and enlargements as layers of their own.
struct Sequence {
    weights: Weights,
    position: usize,
    layers: Vec<Layer>,
}

impl Sequence {
    fn next(&self) -> Weights {
        self.weights.at(self.position)
    }

    fn push(&mut self, layer: Layer) {
        self.layers.push(layer);
        self.position += 1;
    }

    fn conv(&mut self, inputs: usize, outputs: usize) -> Loaded<()> {
        self.push(Layer::Conv(Conv2d::load(&self.next(), inputs, outputs, Kernel::SAME)?, None));
        Ok(())
    }

    fn conv_activated(&mut self, inputs: usize, outputs: usize, activation: Activation) -> Loaded<()> {
        self.push(Layer::Conv(Conv2d::load(&self.next(), inputs, outputs, Kernel::SAME)?, Some(activation)));
        self.position += 1;
        Ok(())
    }

    fn halving(&mut self, channels: usize) -> Loaded<()> {
        let conv = Conv2d::load_without_bias(&self.next(), channels, channels, Kernel::HALVING)?;
        self.push(Layer::Conv(conv, None));
        Ok(())
    }

    fn growing(&mut self, channels: usize, factor: usize) -> Loaded<()> {
        self.position += 1;
        let conv = Conv2d::load_without_bias(&self.next(), channels, channels, Kernel::SAME)?;
        self.push(Layer::Growing(conv, factor));
        Ok(())
    }

    fn residuals(&mut self, count: usize, channels: usize, activation: Activation) -> Loaded<()> {
        for _ in 0..count {
            let weights = self.next().at("conv");
            let conv = |index: usize| Conv2d::load(&weights.at(index), channels, channels, Kernel::SAME);
            self.push(Layer::Residual { convs: Box::new([conv(0)?, conv(2)?, conv(4)?]), activation });
        }
        Ok(())
    }
}

impl AutoencoderTiny {
    pub(super) fn load(weights: &Weights, config: &TinyConfig) -> Loaded<Self> {
        let mut encoder = Sequence { weights: weights.at("encoder.layers"), position: 0, layers: Vec::new() };
        for (index, &(channels, count)) in config.encoder.iter().enumerate() {
            if index == 0 {
                encoder.conv(3, channels)?;
            } else {
                encoder.halving(channels)?;
            }
            encoder.residuals(count, channels, config.activation)?;
        }
        encoder.conv(config.encoder[config.encoder.len() - 1].0, config.latents)?;

        let mut decoder = Sequence { weights: weights.at("decoder.layers"), position: 0, layers: Vec::new() };
        decoder.conv_activated(config.latents, config.decoder[0].0, config.activation)?;
        for (index, &(channels, count)) in config.decoder.iter().enumerate() {
            decoder.residuals(count, channels, config.activation)?;
            if index + 1 < config.decoder.len() {
                decoder.growing(channels, config.growth)?;
            } else {
                decoder.conv(channels, 3)?;
            }
        }
        Ok(Self { encoder: encoder.layers, decoder: decoder.layers })
    }

    pub(super) fn encode(&self, picture: &Map) -> Result<Map> {
        run(&self.encoder, picture.affine(0.5, 0.5)?)
    }

    /// `latents` in −3 to 3.
    pub(super) fn decode(&self, latents: &Map) -> Result<Map> {
        run(&self.decoder, latents.clone())?.affine(2.0, -1.0)
    }
}

/// What keeps the decoder from latents that it was not trained on.
pub(super) fn bounded(latent: f32) -> f32 {
    (latent / 3.0).tanh() * 3.0
}

fn run(layers: &[Layer], mut x: Map) -> Result<Map> {
    for layer in layers {
        x = match layer {
            Layer::Conv(conv, activation) => {
                conv.forward_then(&x, Then { activation: *activation, ..Then::default() })?
            }
            Layer::Growing(conv, factor) => {
                let size = x.size();
                conv.forward_resized(&x, factor * size.height, factor * size.width)?
            }
            Layer::Residual { convs, activation } => {
                let [first, second, third] = &**convs;
                let activated = Then { activation: Some(*activation), ..Then::default() };
                let y = second.forward_then(&first.forward_then(&x, activated)?, activated)?;
                let then = Then { residual: Some(&x), activation: Some(Activation::Relu), shift: None };
                third.forward_then(&y, then)?
            }
        };
    }
    Ok(x)
}

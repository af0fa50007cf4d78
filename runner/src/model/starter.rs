//! `starter`: the painting model that is built into the runner. 26 styles, one pass, no download.
//!
//! A convolutional network with conditional instance normalisation (Dumoulin, Shlens, Kudlur: A Learned Representation
//! for Artistic Style, 2016). Where its weights come from is told in `models/starter/README.md`.

use candle_core::safetensors::SliceSafetensors;
use candle_core::{Device, Result, Tensor};
use image::RgbImage;
use livewebcam_jobs::{Bounds, Controls, FrameSize, ModelInfo, Phase, Progress, Style};

use super::{PaintError, Watch};
use crate::nn::{Activation, Conv2d, StyleNorm, add, reflect_pad, upsample_nearest_2x};

/// The weights, as they lie in the repository.
const WEIGHTS: &[u8] = include_bytes!("../../models/starter/starter.safetensors");

/// The name that it is asked for by.
pub(super) const NAME: &str = "starter";

/// The style of those who choose none: a face stays a face in it, and yet it is a painting.
const DEFAULT_STYLE: &str = "soft watercolour";

/// The styles in the order of the weights.
const STYLES: [&str; 26] = [
    "pastel",
    "yellow ink",
    "soft watercolour",
    "stained glass",
    "crimson",
    "impressionist",
    "midnight",
    "primary colours",
    "coloured pencil",
    "woodblock",
    "sepia",
    "ochre etching",
    "lilac haze",
    "green fauve",
    "pale blue",
    "mosaic",
    "indigo",
    "boogie-woogie",
    "linocut",
    "starry night",
    "embers",
    "pop art",
    "expressionist ink",
    "portrait in oil",
    "engraving",
    "pointillist",
];

/// What the model says of itself.
pub(super) fn info() -> ModelInfo {
    ModelInfo {
        name: NAME.to_owned(),
        title: format!("Starter: {} painting styles", STYLES.len()),
        family: "style-transfer".to_owned(),
        size: FrameSize { width: 512, height: 512, multiple_of: 1, keep_aspect: true },
        controls: Controls {
            // A prompt that names a style chooses it.
            prompt: true,
            strength: Some(Bounds { min: 0.0, max: 1.0, default: 1.0 }),
            styles: styles(),
            default_style: Some(DEFAULT_STYLE.to_owned()),
            ..Controls::default()
        },
        loading: None,
        bytes: WEIGHTS.len() as u64,
        commit: None,
        broken: None,
    }
}

/// The styles in the order of the weights.
pub(super) fn styles() -> Vec<Style> {
    STYLES.map(|name| Style { name: name.to_owned() }).to_vec()
}

/// The network halves the frame's sides twice.
const MULTIPLE: usize = 4;

/// The network with its weights.
#[derive(Debug)]
pub(super) struct Starter {
    contract: [Layer; 3],
    residual: [[Layer; 2]; 6],
    expand: [Layer; 3],
}

/// A convolution and the normalisation after it.
#[derive(Debug)]
struct Layer {
    conv: Conv2d,
    norm: StyleNorm,
}

impl Layer {
    fn load(weights: &SliceSafetensors<'_>, name: &str, stride: usize) -> Result<Self> {
        let tensor = |part: &str| weights.load(&format!("{name}.{part}"), &Device::Cpu);
        Ok(Self {
            conv: Conv2d::new(&tensor("w")?, stride)?,
            norm: StyleNorm::new(tensor("norm.gamma")?, tensor("norm.beta")?),
        })
    }

    fn forward(&self, x: &Tensor, shares: &Tensor, activation: Activation) -> Result<Tensor> {
        self.norm.blend(shares)?.forward(&self.conv.forward(x)?, activation)
    }
}

impl Starter {
    /// The built-in weights.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub(super) fn load() -> Result<Self> {
        let weights = SliceSafetensors::new(WEIGHTS)?;
        let layer = |name: &str, stride| Layer::load(&weights, name, stride);
        let block = |i| Result::Ok([layer(&format!("res.{i}.0"), 1)?, layer(&format!("res.{i}.1"), 1)?]);
        Ok(Self {
            contract: [layer("contract.0", 1)?, layer("contract.1", 2)?, layer("contract.2", 2)?],
            residual: [block(0)?, block(1)?, block(2)?, block(3)?, block(4)?, block(5)?],
            expand: [layer("expand.0", 1)?, layer("expand.1", 1)?, layer("expand.2", 1)?],
        })
    }

    /// Paints a picture of any size.
    ///
    /// `shares` are the shares of the styles and sum to 1. Strength 1 gives the painting, 0 the frame, and what is between a
    /// mixture of both.
    ///
    /// # Errors
    /// Out of step with the weights, or interrupted by `watch` between two layers.
    pub(super) fn paint(
        &self,
        frame: &RgbImage,
        shares: &[f32],
        strength: f64,
        watch: &mut dyn Watch,
    ) -> std::result::Result<RgbImage, PaintError> {
        watch.progress(Progress { phase: Phase::Paint, step: 0, steps: 1 })?;
        let (width, height) = frame.dimensions();
        let values: Vec<f32> = frame.as_raw().iter().map(|byte| f32::from(*byte) / 255.0).collect();
        let x = Tensor::from_vec(values, (height as usize, width as usize, 3), &Device::Cpu)?;
        let painting: Vec<f32> = self.forward(&x, shares, watch)?.flatten_all()?.to_vec1()?;
        let strength = strength as f32;
        // The cast cuts off, so half a step more makes it round.
        let blend = |painted: f32, byte: u8| painted * 255.0 * strength + f32::from(byte) * (1.0 - strength) + 0.5;
        let blended = painting.iter().zip(frame.as_raw()).map(|(painted, byte)| blend(*painted, *byte) as u8);
        Ok(RgbImage::from_raw(width, height, blended.collect()).expect("three bytes for each pixel of the frame"))
    }

    /// `[height, width, 3]` with values 0 to 1 → the same shape.
    fn forward(
        &self,
        frame: &Tensor,
        shares: &[f32],
        watch: &mut dyn Watch,
    ) -> std::result::Result<Tensor, PaintError> {
        let (height, width, _) = frame.dims3()?;
        let shares = Tensor::from_slice(shares, (STYLES.len(), 1), frame.device())?;
        let missing = |side: usize| side.next_multiple_of(MULTIPLE) - side;
        let mut x = reflect_pad(frame, missing(height), missing(width))?;
        for layer in &self.contract {
            watch.check()?;
            x = layer.forward(&x, &shares, Activation::Relu)?;
        }
        for [first, second] in &self.residual {
            watch.check()?;
            let inner = first.forward(&x, &shares, Activation::Relu)?;
            x = add(&second.forward(&inner, &shares, Activation::None)?, &x)?;
        }
        let [first, second, last] = &self.expand;
        watch.check()?;
        x = first.forward(&upsample_nearest_2x(&x)?, &shares, Activation::Relu)?;
        x = second.forward(&upsample_nearest_2x(&x)?, &shares, Activation::Relu)?;
        watch.check()?;
        x = last.forward(&x, &shares, Activation::Sigmoid)?;
        Ok(x.narrow(0, 0, height)?.narrow(1, 0, width)?)
    }
}

//! `starter`: the painting model that is built into the runner. 26 styles, one pass, no download.
//!
//! A convolutional network with conditional instance normalisation (Dumoulin, Shlens, Kudlur: A Learned Representation
//! for Artistic Style, 2016). Where its weights come from is told in `models/starter/README.md`.

use candle_core::safetensors::SliceSafetensors;
use candle_core::{Device, Result};
use image::RgbImage;
use livewebcam_jobs::{Bounds, Controls, FrameSize, ModelInfo, Phase, Progress, Style};
use rayon::prelude::*;

use super::{PaintError, Watch};
use crate::nn::activation::Activation;
use crate::nn::conv2d::{Conv2d, Edge, Kernel};
use crate::nn::group_norm::GroupNorm;
use crate::nn::map::{Map, MapSize};
use crate::nn::weights::{Format, Placement};
use crate::threads::computing;

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

/// The network with its weights.
#[derive(Debug)]
pub(super) struct Starter {
    contract: [Layer; 3],
    residual: [[Layer; 2]; 6],
    expand: [Layer; 3],
}

/// A convolution, and after it a normalisation of each channel over all pixels, whose scales and shifts are the style.
#[derive(Debug)]
struct Layer {
    conv: Conv2d,
    /// `[styles, channels]`
    scales: Vec<f32>,
    /// `[styles, channels]`
    shifts: Vec<f32>,
}

impl Layer {
    /// Added to the variance.
    const EPSILON: f64 = 1e-5;

    fn load(weights: &SliceSafetensors<'_>, name: &str, stride: usize) -> Result<Self> {
        let tensor = |part: &str| weights.load(&format!("{name}.{part}"), &Device::Cpu);
        let weight = tensor("w")?;
        let (outputs, inputs, size, _) = weight.dims4()?;
        let kernel = Kernel { size, stride, before: size / 2, after: size / 2, edge: Edge::Mirrored };
        let styles = |part: &str| tensor(part)?.flatten_all()?.to_vec1();
        Ok(Self {
            conv: Conv2d::new(&weight.flatten_all()?.to_vec1::<f32>()?, inputs, outputs, kernel)?,
            scales: styles("norm.gamma")?,
            shifts: styles("norm.beta")?,
        })
    }

    fn forward(&self, x: &Map, shares: &[f32], activation: Option<Activation>) -> Result<Map> {
        self.normalise(&self.conv.forward(x)?, shares, activation)
    }

    /// Doubles the map's height and width first.
    fn forward_doubled(&self, x: &Map, shares: &[f32]) -> Result<Map> {
        let size = x.size();
        let y = self.conv.forward_resized(x, 2 * size.height, 2 * size.width)?;
        self.normalise(&y, shares, Some(Activation::Relu))
    }

    fn normalise(&self, x: &Map, shares: &[f32], activation: Option<Activation>) -> Result<Map> {
        let channels = x.size().channels;
        let norm = GroupNorm::new(blend(&self.scales, shares), blend(&self.shifts, shares), channels, Self::EPSILON);
        match activation {
            Some(activation) => norm.forward_activated(x, activation),
            None => norm.forward(x),
        }
    }
}

/// The sum of the rows of `styles`, of which there is one for each share.
fn blend(styles: &[f32], shares: &[f32]) -> Vec<f32> {
    let mut sum = vec![0.0; styles.len() / shares.len()];
    for (style, share) in styles.chunks_exact(sum.len()).zip(shares) {
        sum.iter_mut().zip(style).for_each(|(sum, value)| *sum += share * value);
    }
    sum
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
        let width = frame.width();
        let map = computing(|| self.forward(frame, shares, watch))?;
        let painting = map.pixels()?;
        let strength = strength as f32;
        // The cast cuts off, so half a step more makes it round.
        let blend = |painted: f32, byte: u8| painted * 255.0 * strength + f32::from(byte) * (1.0 - strength) + 0.5;
        let mut blended = frame.clone();
        // The network's map may be wider and higher than the frame.
        let padded = 3 * padded(width) as usize;
        let rows = blended.par_chunks_exact_mut(3 * width as usize).zip(painting.par_chunks_exact(padded));
        rows.for_each(|(bytes, painted)| {
            bytes.iter_mut().zip(painted).for_each(|(byte, painted)| *byte = blend(*painted, *byte) as u8);
        });
        Ok(blended)
    }

    /// A map of the frame's size or a little more.
    fn forward(&self, frame: &RgbImage, shares: &[f32], watch: &mut dyn Watch) -> std::result::Result<Map, PaintError> {
        let mut x = to_map(frame)?;
        for layer in &self.contract {
            watch.check()?;
            x = layer.forward(&x, shares, Some(Activation::Relu))?;
        }
        for [first, second] in &self.residual {
            watch.check()?;
            let inner = first.forward(&x, shares, Some(Activation::Relu))?;
            x = second.forward(&inner, shares, None)?.add(&x)?;
        }
        let [first, second, last] = &self.expand;
        watch.check()?;
        x = first.forward_doubled(&x, shares)?;
        x = second.forward_doubled(&x, shares)?;
        watch.check()?;
        Ok(last.forward(&x, shares, Some(Activation::Sigmoid))?)
    }
}

/// The frame in 0 to 1, mirrored at its bottom and its right until the network can halve its sides twice.
fn to_map(frame: &RgbImage) -> Result<Map> {
    let (width, height) = frame.dimensions();
    let (padded_width, padded_height) = (padded(width), padded(height));
    let size = MapSize { batch: 1, height: padded_height as usize, width: padded_width as usize, channels: 3 };
    let line = 3 * width as usize;
    Map::from_pixels(size, &Placement::Kernels(Format::F32), |values| {
        values.par_chunks_exact_mut(3 * size.width).enumerate().for_each(|(row, to)| {
            let from = &frame.as_raw()[mirrored(row as u32, height) as usize * line..][..line];
            let beyond = (width..padded_width).flat_map(|column| &from[3 * mirrored(column, width) as usize..][..3]);
            to.iter_mut().zip(from.iter().chain(beyond)).for_each(|(to, &byte)| *to = f32::from(byte) / 255.0);
        });
    })
}

/// The network halves the frame's sides twice.
fn padded(side: u32) -> u32 {
    side.next_multiple_of(4)
}

/// The position in a frame of that at most a few pixels behind its end, going back and forth between its edges.
fn mirrored(position: u32, side: u32) -> u32 {
    let period = 2 * side.saturating_sub(1).max(1);
    let position = position % period;
    if side == 1 { 0 } else { position.min(period - position) }
}

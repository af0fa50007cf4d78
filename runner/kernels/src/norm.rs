//! Group and layer normalisation.

use rayon::prelude::*;

use crate::element::{Element, Values, ValuesMut};
use crate::gemm::PANEL;
use crate::memory::{fence, is_streamed};
use crate::moments::Moments;
use crate::simd::{Simd, Task};
use crate::{Activation, Cpu};

/// How many values are normalised before the activation goes over them: 16 KiB stay in the first cache.
const BLOCK: usize = 1 << 10;

/// How many values one task takes: 256 KiB of them.
const TASK: usize = 1 << 16;

/// Rows of fewer values are taken several at a time.
const SHORT: usize = 64;

/// Normalises each picture's channels in groups, over all their pixels.
#[derive(Clone, Copy, Debug)]
pub struct GroupNorm<'a> {
    /// `[channels]`
    pub weight: &'a [f32],
    /// `[channels]`
    pub bias: &'a [f32],
    /// How many groups; they divide the channels.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f64,
    /// Applied last.
    pub activation: Activation,
}

/// Normalises each row.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm<'a> {
    /// `[width]`
    pub weight: &'a [f32],
    /// `[width]`
    pub bias: &'a [f32],
    /// Added to the variance.
    pub eps: f64,
}

impl Cpu {
    /// `x` and `y` are `[batch, pixels, channels]`.
    ///
    /// # Panics
    /// Lengths that do not fit.
    pub fn group_norm<'a>(self, x: &[f32], batch: usize, norm: GroupNorm<'_>, y: impl Into<ValuesMut<'a>>) {
        match y.into() {
            ValuesMut::F32(y) => self.group_norm_into(x, batch, norm, y),
            ValuesMut::Bf16(y) => self.group_norm_into(x, batch, norm, y),
        }
    }

    fn group_norm_into<Y: Element>(self, x: &[f32], batch: usize, norm: GroupNorm<'_>, y: &mut [Y]) {
        assert_eq!(x.len(), y.len());
        let normal = &Normal::of(self, x, batch, norm);
        if x.is_empty() {
            return;
        }
        let picture = x.len() / batch;
        let task = (TASK / normal.row).max(1) * normal.row;
        y.par_chunks_mut(picture).zip(x.par_chunks(picture)).enumerate().for_each(|(picture, (y, x))| {
            let streamed = normal.row.is_multiple_of(PANEL) && matches!(Y::values(y), Values::F32(y) if is_streamed(y));
            y.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(y, x)| {
                self.run(Normalise { x, normal, picture, streamed, y });
            });
        });
    }

    /// `x` and `y` are `[rows, width]`.
    ///
    /// # Panics
    /// Lengths that do not fit.
    pub fn layer_norm<'a>(self, x: &[f32], norm: LayerNorm<'_>, y: impl Into<ValuesMut<'a>>) {
        match y.into() {
            ValuesMut::F32(y) => self.layer_norm_into(x, norm, y),
            ValuesMut::Bf16(y) => self.layer_norm_into(x, norm, y),
        }
    }

    fn layer_norm_into<Y: Element>(self, x: &[f32], norm: LayerNorm<'_>, y: &mut [Y]) {
        let width = norm.weight.len();
        assert_eq!((norm.bias.len(), x.len(), x.len() % width), (width, y.len(), 0));
        let task = (TASK / 4 / width).max(1) * width;
        y.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(y, x)| self.run(NormaliseRows { x, norm, y }));
    }
}

/// What a group norm does to the pixels of some pictures.
pub(crate) struct Normal {
    /// Of each picture.
    affines: Vec<Affine>,
    activation: Activation,
    /// How many values are taken as one row.
    row: usize,
}

/// What is done to the values of a row: `(x - mean) · scale + bias`.
struct Affine {
    mean: Vec<f32>,
    scale: Vec<f32>,
    bias: Vec<f32>,
}

impl Normal {
    /// Of `x`, `[batch, pixels, channels]`.
    ///
    /// # Panics
    /// Lengths that do not fit.
    pub(crate) fn of(cpu: Cpu, x: &[f32], batch: usize, norm: GroupNorm<'_>) -> Self {
        let channels = norm.weight.len();
        assert_eq!((norm.bias.len(), channels % norm.groups), (channels, 0));
        assert_eq!(x.len() % (batch * channels), 0, "the input is not whole pixels");
        // Several pixels of few channels are taken as one row.
        let row = SHORT.div_ceil(channels) * channels;
        let affine = |x| Affine::new(norm, &Moments::of_groups(cpu, x, row, channels, norm.groups, norm.eps), row);
        let affines = x.par_chunks((x.len() / batch).max(1)).map(affine).collect();
        Self { affines, activation: norm.activation, row }
    }

    /// Normalises some pixels of a picture, and applies the activation.
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(&self, simd: S, picture: usize, x: &[f32], y: &mut [f32]) {
        let Affine { mean, scale, bias } = &self.affines[picture];
        for (y, x) in y.chunks_mut(mean.len()).zip(x.chunks(mean.len())) {
            let columns = mean.iter().zip(scale).zip(bias);
            for ((y, x), ((mean, scale), bias)) in y.iter_mut().zip(x).zip(columns) {
                *y = simd.mul_add(x - mean, *scale, *bias);
            }
        }
        self.activation.apply(simd, y);
    }

    /// How many values are best normalised at once: whole rows that stay in the first cache.
    pub(crate) fn block(&self) -> usize {
        (BLOCK / self.row).max(1) * self.row
    }
}

impl Affine {
    fn new(norm: GroupNorm<'_>, moments: &[Moments], row: usize) -> Self {
        let channels = norm.weight.len();
        let mut affine = Self { mean: Vec::new(), scale: Vec::new(), bias: norm.bias.repeat(row / channels) };
        for _ in 0..row / channels {
            for (moments, weights) in moments.iter().zip(norm.weight.chunks_exact(channels / norm.groups)) {
                affine.mean.extend(weights.iter().map(|_| moments.mean as f32));
                affine.scale.extend(weights.iter().map(|weight| (moments.scale * f64::from(*weight)) as f32));
            }
        }
        affine
    }
}

/// Normalises rows, of which the last may be shorter.
struct Normalise<'a, Y> {
    x: &'a [f32],
    normal: &'a Normal,
    picture: usize,
    /// Whether `y`, whole lines of the cache, is written past it.
    streamed: bool,
    y: &'a mut [Y],
}

impl<Y: Element> Task for Normalise<'_, Y> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { x, normal, picture, streamed, y } = self;
        let block = normal.block();
        let mut lines = Vec::new();
        for (y, x) in y.chunks_mut(block).zip(x.chunks(block)) {
            match Y::values_mut(y) {
                ValuesMut::F32(y) if !streamed => normal.apply(simd, picture, x, y),
                y => {
                    lines.resize(x.len(), 0.0);
                    normal.apply(simd, picture, x, &mut lines);
                    match y {
                        ValuesMut::F32(y) => {
                            let to = y.as_chunks_mut().0;
                            lines.as_chunks().0.iter().zip(to).for_each(|(line, y)| simd.stream(line, y));
                        }
                        ValuesMut::Bf16(y) => simd.round(&lines, y),
                    }
                }
            }
        }
        if streamed {
            fence();
        }
    }
}

struct NormaliseRows<'a, Y> {
    x: &'a [f32],
    norm: LayerNorm<'a>,
    y: &'a mut [Y],
}

impl<Y: Element> Task for NormaliseRows<'_, Y> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.norm.weight.len();
        let mut row = Vec::new();
        for (y, x) in self.y.chunks_exact_mut(width).zip(self.x.chunks_exact(width)) {
            match Y::values_mut(y) {
                ValuesMut::F32(y) => self.norm.apply(simd, x, y),
                ValuesMut::Bf16(y) => {
                    row.resize(width, 0.0);
                    self.norm.apply(simd, x, &mut row);
                    simd.round(&row, y);
                }
            }
        }
    }
}

impl LayerNorm<'_> {
    /// Normalises a row.
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, x: &[f32], y: &mut [f32]) {
        let Self { weight, bias, eps } = *self;
        let moments = Moments::of_row(x, eps);
        let (mean, scale) = (moments.mean as f32, moments.scale as f32);
        for ((y, x), (weight, bias)) in y.iter_mut().zip(x).zip(weight.iter().zip(bias)) {
            *y = simd.mul_add((x - mean) * scale, *weight, *bias);
        }
    }
}

//! The softmax of scores that come in blocks.

use std::mem;

use crate::element::{Element, ValuesMut};
use crate::gemm::{PANEL, Scratch, bytes_of};
use crate::math::{self, EXP2, EXP2_ROUGHLY, fold};
use crate::simd::{MOST_POWER, Simd, Task};

/// How far above what shares are relative to a score may come, as a power of two, before they become relative to it. Until
/// then nothing has to be scaled, and what is added up is as exact: these are floating-point numbers.
const HEADROOM: f32 = MOST_POWER;

/// The numbers of two panels, which are rounded together.
pub(super) const PAIR: usize = 2 * PANEL;

/// What is known of each row after the blocks so far. Scores are counted in powers of two: multiplied by `scale`.
pub(super) struct Shares<'a> {
    scale: f32,
    /// What shares are relative to: the row's largest score so far, or one that is hardly smaller.
    reference: &'a mut [f32],
    /// The sums of the shares, one of every sixteenth key.
    totals: &'a mut [[f32; PANEL]],
}

impl<'a> Shares<'a> {
    /// How much scratch memory it takes.
    pub(super) fn bytes(rows: usize) -> usize {
        bytes_of::<f32>(rows) + bytes_of::<f32>(rows * PANEL)
    }

    /// For scores that are multiplied by `scale`.
    pub(super) fn new(scratch: &mut Scratch<'a>, rows: usize, scale: f32) -> Self {
        let (reference, totals) = (scratch.take(rows), scratch.take(rows * PANEL));
        reference.fill(f32::NEG_INFINITY);
        totals.fill(0.0);
        Self { scale, reference, totals: totals.as_chunks_mut().0 }
    }

    /// The sums of the shares, in sixteen parts.
    pub(super) fn totals(&self) -> &[[f32; PANEL]] {
        self.totals
    }

    /// Makes shares of a block of scores, `[pairs of panels][2][height][16]`. The sums that were made with shares before,
    /// `[panels][rows][16]`, are scaled to suit them.
    pub(super) fn take<R: Rows>(
        &mut self,
        simd: impl Simd,
        (scores, height): (&[f32], usize),
        shares: R,
        sums: &mut [f32],
    ) {
        let (scores, sums) = (scores.as_chunks().0, sums.as_chunks_mut().0);
        simd.run(Take { state: self, scores, height, shares, sums });
    }
}

/// Where the shares of a block go, row after row.
pub(super) trait Rows {
    /// What they are made of.
    type Element: Element;

    /// Whether they are rounded afterwards, so that an error of 1e-4 does not count.
    const ROUGHLY: bool = false;

    /// A row, to be written.
    fn row(&mut self, row: usize) -> &mut [Self::Element];

    /// It is written.
    fn written(&mut self, row: usize);
}

/// As they are.
pub(super) struct Plain<'a, E> {
    pub(super) shares: &'a mut [E],
    pub(super) stride: usize,
}

impl<E: Element> Rows for Plain<'_, E> {
    type Element = E;

    #[inline(always)]
    fn row(&mut self, row: usize) -> &mut [E] {
        &mut self.shares[row * self.stride..][..self.stride]
    }

    #[inline(always)]
    fn written(&mut self, _: usize) {}
}

struct Take<'a, 'b, R> {
    state: &'a mut Shares<'b>,
    scores: &'a [[f32; PANEL]],
    height: usize,
    shares: R,
    sums: &'a mut [[f32; PANEL]],
}

impl<R: Rows> Task for Take<'_, '_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { state: Shares { scale, reference, totals }, scores, height, mut shares, sums } = self;
        let (scale, rows) = (*scale, reference.len());
        let (one, units) = (simd.splat(1.0), 1.0 / scale);
        let (unit, offset) = if rounds::<R::Element>() { (S::SHARES_UNIT, S::SHARES_OFFSET) } else { (1.0, 0.0) };
        let scales = simd.splat(scale * unit);
        let pairs = scores.len() / (2 * height);
        for row in 0..rows {
            let (reference, total) = (&mut reference[row], &mut totals[row]);
            let pair = |index: usize| [0, 1].map(|half| simd.load(&scores[(2 * index + half) * height + row]));
            let mut most = [simd.splat(f32::NEG_INFINITY); 2];
            for index in 0..pairs {
                let scores = pair(index);
                most = [simd.at_least_each(most[0], scores[0]), simd.at_least_each(most[1], scores[1])];
            }
            let most = simd.at_least_each(most[0], most[1]);
            if simd.any_above(most, (*reference + HEADROOM) * units) {
                let mut lanes = [0.0; PANEL];
                simd.store(most, &mut lanes);
                let before = mem::replace(reference, fold(lanes, math::at_least) * scale);
                if before > f32::NEG_INFINITY {
                    let keep = math::exp2(simd, &EXP2, before - *reference);
                    for values in sums[row..].iter_mut().step_by(rows).chain([&mut *total]) {
                        values.iter_mut().for_each(|value| *value *= keep);
                    }
                }
            }
            let less = simd.splat((offset - *reference) * unit);
            let mut totals = [simd.load(total), simd.splat(0.0)];
            for (index, to) in shares.row(row).as_chunks_mut::<PAIR>().0[..pairs].iter_mut().enumerate() {
                let [low, high] = pair(index);
                let powers = [simd.mul_add_each(low, scales, less), simd.mul_add_each(high, scales, less)];
                match R::Element::values_mut(to) {
                    // Their totals are those of what values are multiplied with, so that one share that outweighs the others
                    // is 1 however it was rounded.
                    ValuesMut::Bf16(shares) => {
                        let shares = shares.first_chunk_mut().expect("a pair of panels");
                        totals[0] = simd.shares(powers, totals[0], shares);
                    }
                    ValuesMut::F32(shares) => {
                        for ((power, to), total) in powers.into_iter().zip(shares.as_chunks_mut().0).zip(&mut totals) {
                            let value = if R::ROUGHLY {
                                simd.exp2_each(power, &EXP2_ROUGHLY)
                            } else {
                                simd.exp2_each(power, &EXP2)
                            };
                            simd.store(value, to);
                            *total = simd.mul_add_each(value, one, *total);
                        }
                    }
                }
            }
            simd.store(simd.mul_add_each(totals[0], one, totals[1]), total);
            shares.written(row);
        }
    }
}

/// Whether shares are `bf16`.
const fn rounds<E>() -> bool {
    size_of::<E>() < size_of::<f32>()
}

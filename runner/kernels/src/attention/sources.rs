//! Keys and values in panels.

use std::ops::Range;

use rayon::prelude::*;

use super::{Attention, Heads};
use crate::element::convert;
use crate::gemm::{Element, Kernel, PANEL};
use crate::simd::{Simd, Task};

/// Keys and values of all heads, in blocks of keys.
pub(super) struct Sources<'a, E> {
    memory: &'a [E],
    layout: Layout,
}

/// The order of a block: `[panels of keys][depth][16 keys]`, then `[panels of channels][keys][16 channels]`.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    shape: Heads,
    /// Keys of a block, filled up.
    pub(super) keys: usize,
    /// Channels of a head, filled up as inputs of a product.
    pub(super) depth: usize,
    /// Channels of a head, filled up as its outputs.
    pub(super) outputs: usize,
}

/// A block of keys and values.
#[derive(Clone, Copy)]
pub(super) struct Source<'a, E> {
    pub(super) keys: &'a [E],
    pub(super) values: &'a [E],
}

impl Layout {
    /// Of blocks of up to `most` keys, for products whose inputs are multiples of `whole`.
    pub(super) fn new(shape: Heads, most: usize, whole: usize) -> Self {
        let keys = shape.keys.div_ceil(shape.keys.div_ceil(most));
        Self {
            shape,
            keys: keys.next_multiple_of(PANEL).next_multiple_of(whole),
            depth: shape.width.next_multiple_of(whole),
            outputs: shape.width.next_multiple_of(PANEL),
        }
    }

    /// How many blocks a head has.
    pub(super) fn blocks(self) -> usize {
        self.shape.keys.div_ceil(self.keys)
    }

    /// How many elements a block has.
    pub(super) fn length(self) -> usize {
        self.keys * (self.depth + self.outputs)
    }

    /// Fills a block. Those of all heads are counted together.
    pub(super) fn fill<K: Kernel, X: Element>(
        self,
        kernel: K,
        attention: Attention<'_, X>,
        index: usize,
        to: &mut [K::Element],
    ) {
        let (head, from) = (index / self.blocks(), index % self.blocks() * self.keys);
        let keys = from..attention.shape.keys.min(from + self.keys);
        kernel.simd().run(Pack { kernel, attention, layout: self, head, keys, to });
    }
}

impl<'a, E: Element> Sources<'a, E> {
    /// How many elements they take in blocks of up to `most` keys.
    pub(super) fn count<K: Kernel<Element = E>>(shape: Heads, most: usize) -> usize {
        let layout = Layout::new(shape, most, K::WHOLE_INPUTS);
        shape.batch * shape.heads * layout.blocks() * layout.length()
    }

    /// In memory of [`Sources::count`], which is overwritten.
    pub(super) fn new<K: Kernel<Element = E>, X: Element>(
        kernel: K,
        attention: Attention<'_, X>,
        most: usize,
        memory: &'a mut [E],
    ) -> Self {
        let layout = Layout::new(attention.shape, most, K::WHOLE_INPUTS);
        let blocks = memory.par_chunks_exact_mut(layout.length()).enumerate();
        blocks.for_each(|(index, to)| layout.fill(kernel, attention, index, to));
        Self { memory, layout }
    }

    /// How many keys a block has, filled up.
    pub(super) fn keys(&self) -> usize {
        self.layout.keys
    }

    /// Channels of a head, filled up as inputs of a product.
    pub(super) fn depth(&self) -> usize {
        self.layout.depth
    }

    /// Channels of a head, filled up as outputs of a product.
    pub(super) fn outputs(&self) -> usize {
        self.layout.outputs
    }

    /// The blocks of a head of a picture, which are counted together.
    pub(super) fn of_head(&self, head: usize) -> impl Iterator<Item = Source<'_, E>> {
        let (length, blocks) = (self.layout.length(), self.layout.blocks());
        self.memory[head * blocks * length..][..blocks * length].chunks_exact(length).map(|block| {
            let (keys, values) = block.split_at(self.layout.keys * self.layout.depth);
            Source { keys, values }
        })
    }
}

/// Fills a block, with zeros beyond the keys and the channels that there are.
struct Pack<'a, K: Kernel, X> {
    kernel: K,
    attention: Attention<'a, X>,
    layout: Layout,
    head: usize,
    keys: Range<usize>,
    to: &'a mut [K::Element],
}

impl<K: Kernel, X: Element> Task for Pack<'_, K, X> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { kernel, attention: Attention { k, v, shape, .. }, layout, head, keys, to } = self;
        let (picture, head) = (head / shape.heads, head % shape.heads);
        let (to_keys, to_values) = to.split_at_mut(layout.keys * layout.depth);
        let side = K::Element::SIDE_BY_SIDE;
        let stride = layout.depth.max(layout.outputs);
        let mut rows: Vec<Unit> = vec![0; layout.keys * stride / side];
        // All rows are fetched before any is taken apart, so that the memory's answers are waited for together.
        let fetch = |from: &[X], rows: &mut [K::Element]| {
            for (key, row) in keys.clone().zip(rows.chunks_exact_mut(stride)) {
                let start = (picture * shape.keys + key) * shape.channels() + head * shape.width;
                convert(kernel.simd(), &from[start..][..shape.width], &mut row[..shape.width]);
            }
        };
        fetch(k, of_units(&mut rows));
        // Their shares may be nothing, where shares are whole numbers first, but not their values' products with those.
        let is_broken = |row: &[K::Element]| row.iter().any(|number| number.is_nan());
        let broken: Vec<bool> = of_units(&mut rows).chunks_exact(stride).map(is_broken).collect();
        let panels = units_of(to_keys).chunks_exact_mut(layout.depth / side * PANEL);
        for (rows, panel) in rows.chunks_exact(stride / side * PANEL).zip(panels) {
            for (input, to) in panel.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
                for key in 0..PANEL {
                    to[key] = rows[key * (stride / side) + input];
                }
            }
        }
        let rows = of_units(&mut rows);
        fetch(v, rows);
        for (row, _) in rows.chunks_exact_mut(stride).zip(&broken).filter(|(_, is_broken)| **is_broken) {
            row.fill(K::Element::NAN);
        }
        for (index, rows) in rows.chunks_exact(side * stride).enumerate() {
            for (panel, to) in to_values.chunks_exact_mut(layout.keys * PANEL).enumerate() {
                let to = &mut to[index * side * PANEL..][..side * PANEL];
                for row in 0..side {
                    let from = &rows[row * stride + panel * PANEL..][..PANEL];
                    for lane in 0..PANEL {
                        to[lane * side + row] = from[lane];
                    }
                }
            }
        }
    }
}

/// What an output of a panel has of the inputs side by side: a panel of keys is a transposed matrix of these.
type Unit = u32;

fn units_of<E: Element>(elements: &mut [E]) -> &mut [Unit] {
    const { assert!(size_of::<E>() * E::SIDE_BY_SIDE == size_of::<Unit>()) };
    // SAFETY: every pattern of bits is a number of either type.
    let (before, units, after) = unsafe { elements.align_to_mut() };
    assert!(before.is_empty() && after.is_empty(), "panels begin at multiples of 64 bytes");
    units
}

fn of_units<E: Element>(units: &mut [Unit]) -> &mut [E] {
    // SAFETY: every pattern of bits is a number of either type.
    unsafe { units.align_to_mut() }.1
}

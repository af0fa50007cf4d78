//! Keys and values in panels.

use std::ops::Range;

use rayon::prelude::*;

use super::{Attention, Heads};
use crate::gemm::{Element, Kernel, PANEL};
use crate::simd::{Simd, Task};

/// The most keys of a block.
const KEYS: usize = 256;

/// Keys and values of all heads, in blocks of keys.
pub(super) struct Sources<'a, E> {
    memory: &'a [E],
    layout: Layout,
}

/// The order of a block: `[panels of keys][depth][16 keys]`, then `[panels of channels][keys][16 channels]`.
#[derive(Clone, Copy)]
struct Layout {
    shape: Heads,
    /// Keys of a block, filled up.
    keys: usize,
    /// Channels of a head, filled up as inputs of a product.
    depth: usize,
    /// Channels of a head, filled up as its outputs.
    outputs: usize,
}

/// A block of keys and values.
#[derive(Clone, Copy)]
pub(super) struct Source<'a, E> {
    pub(super) keys: &'a [E],
    pub(super) values: &'a [E],
}

impl Layout {
    fn new<K: Kernel>(shape: Heads) -> Self {
        let keys = shape.keys.div_ceil(shape.keys.div_ceil(KEYS));
        Self {
            shape,
            keys: keys.next_multiple_of(PANEL).next_multiple_of(K::WHOLE_INPUTS),
            depth: shape.width.next_multiple_of(K::WHOLE_INPUTS),
            outputs: shape.width.next_multiple_of(PANEL),
        }
    }

    fn blocks(self) -> usize {
        self.shape.keys.div_ceil(self.keys)
    }

    /// Whether a block of so many keys leaves none of its elements out.
    fn is_full(self, keys: usize) -> bool {
        (self.keys, self.depth, self.outputs) == (keys, self.shape.width, self.shape.width)
    }

    /// How many elements a block has.
    fn length(self) -> usize {
        self.keys * (self.depth + self.outputs)
    }
}

impl<'a, E: Element> Sources<'a, E> {
    /// How many elements they take.
    pub(super) fn count<K: Kernel<Element = E>>(shape: Heads) -> usize {
        let layout = Layout::new::<K>(shape);
        shape.batch * shape.heads * layout.blocks() * layout.length()
    }

    /// In memory of [`Sources::count`], which is overwritten.
    pub(super) fn new<K: Kernel<Element = E>>(kernel: K, attention: Attention<'_>, memory: &'a mut [E]) -> Self {
        let layout = Layout::new::<K>(attention.shape);
        let blocks = layout.blocks();
        memory.par_chunks_exact_mut(layout.length()).enumerate().for_each(|(index, to)| {
            let (head, from) = (index / blocks, index % blocks * layout.keys);
            let keys = from..attention.shape.keys.min(from + layout.keys);
            if !layout.is_full(keys.len()) {
                to.fill(E::default());
            }
            kernel.simd().run(Pack { kernel, attention, layout, head, keys, to });
        });
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

/// Fills a block, but for what is beyond the keys and the channels that there are.
struct Pack<'a, K: Kernel> {
    kernel: K,
    attention: Attention<'a>,
    layout: Layout,
    head: usize,
    keys: Range<usize>,
    to: &'a mut [K::Element],
}

impl<K: Kernel> Task for Pack<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { kernel, attention: Attention { k, v, shape, .. }, layout, head, keys, to } = self;
        let side = K::Element::SIDE_BY_SIDE;
        let (to_keys, to_values) = to.split_at_mut(layout.keys * layout.depth);
        let (picture, head) = (head / shape.heads, head % shape.heads);
        let start = |key: usize| (picture * shape.keys + key) * shape.channels() + head * shape.width;
        // All rows are fetched before any is taken apart, so that the memory's answers are waited for together.
        let stride = layout.depth.max(layout.outputs);
        let mut rows = vec![K::Element::default(); keys.len() * stride];
        for (key, row) in keys.clone().zip(rows.chunks_exact_mut(stride)) {
            kernel.copy(&k[start(key)..][..shape.width], &mut row[..shape.width]);
        }
        for (index, row) in rows.chunks_exact(stride).enumerate() {
            let panel = &mut to_keys[index / PANEL * layout.depth * PANEL..][..layout.depth * PANEL];
            for (inputs, from) in panel.chunks_exact_mut(side * PANEL).zip(row.chunks_exact(side)) {
                for (to, from) in inputs[index % PANEL * side..][..side].iter_mut().zip(from) {
                    *to = *from;
                }
            }
        }
        for (key, row) in keys.zip(rows.chunks_exact_mut(stride)) {
            kernel.copy(&v[start(key)..][..shape.width], &mut row[..shape.width]);
        }
        for (index, row) in rows.chunks_exact(stride).enumerate() {
            let panels = to_values.chunks_exact_mut(layout.keys * PANEL);
            for (from, panel) in row[..layout.outputs].as_chunks::<PANEL>().0.iter().zip(panels) {
                let to = &mut panel[index / side * side * PANEL..][..side * PANEL];
                for lane in 0..PANEL {
                    to[lane * side + index % side] = from[lane];
                }
            }
        }
    }
}

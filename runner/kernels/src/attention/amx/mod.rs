//! Attention with AMX, whose tiles multiply while the registers make shares.
//!
//! A task has 32 queries of one head. It goes through the keys in groups of 32, of which each is multiplied with the queries,
//! made shares of while the next one is, and multiplied with its values in a block of up to [`KEYS`], after which sums must be
//! put away. Shares are relative to a whole power of two, so that whatever is relative to another is scaled without rounding.

mod quad;

use half::bf16;
use rayon::prelude::*;

use super::queries::{Hide, Queries, Write};
use super::sources::{Source, Sources};
use super::{Attention, Heads, Mask};
use crate::amx::Amx;
use crate::element::Element;
use crate::gemm::{Kernel, Output, PANEL, Scratch, bytes_of};
use crate::math::{at_least, fold};
use crate::simd::{MOST_POWER, Simd};
use quad::{QUAD, Rows, Scale, Step, Sums};

/// The most keys of a block: as many shares, twice, are in the first cache with a group's scores and the sums.
const KEYS: usize = 128;

/// The most bytes of a head's keys and values: they stay in the second cache, from where all queries read them again. More of
/// them are better multiplied with more queries at once.
const MOST: usize = 2 << 20;

/// The queries of a task: two tiles.
const ROWS: usize = 32;

/// The keys of a group: two panels, or what a tile of shares has of them.
const GROUP: usize = 2 * PANEL;

/// How many groups' scores are kept: of one that shares are made of, and of one that is being multiplied.
const SLOTS: usize = 2;

/// Of how many groups shares are kept: of a block, and of the one before, which is multiplied with its values.
const KEPT: usize = 2 * KEYS / GROUP;

/// Fours of rows of a group.
const QUADS: usize = ROWS / QUAD;

/// Whether it is an attention for this: of a block of keys at least, as fewer leave little to be done at once, and of no more
/// than [`MOST`].
pub(super) fn suits(shape: Heads) -> bool {
    let head = Heads { batch: 1, heads: 1, ..shape };
    shape.keys >= KEYS && bytes_of::<bf16>(Sources::count::<Amx>(head, KEYS)) <= MOST
}

impl<X: Element> Attention<'_, X> {
    /// Computes it, if it [`suits`].
    pub(super) fn run_tiles<Y: Element>(self, kernel: Amx, y: &mut [Y]) {
        let Heads { batch, queries, heads, .. } = self.shape;
        if y.is_empty() {
            return;
        }
        let output = &Output::new(y);
        let tasks = queries.div_ceil(ROWS);
        let count = Sources::count::<Amx>(self.shape, KEYS);
        Scratch::shared(bytes_of::<bf16>(count), |mut scratch| {
            let sources = &Sources::new(kernel, self, KEYS, scratch.take(count));
            (0..batch * heads * tasks).into_par_iter().for_each(|task| {
                let (head, from) = (task / tasks, task % tasks * ROWS);
                let queries = Queries { attention: self, head, rows: from..queries.min(from + ROWS) };
                // SAFETY: each task has other queries, or another head.
                kernel.session(|| unsafe { attend(kernel, &queries, sources, output) });
            });
        });
    }
}

/// # Safety
/// No other task has these queries of this head.
unsafe fn attend<X: Element, Y: Element>(
    kernel: Amx,
    queries: &Queries<'_, X>,
    sources: &Sources<'_, bf16>,
    output: &Output<'_, Y>,
) {
    let (depth, outputs) = (sources.depth(), sources.outputs());
    let bytes = bytes_of::<bf16>(ROWS * depth)
        + bytes_of::<f32>(SLOTS * ROWS * GROUP)
        + bytes_of::<bf16>(KEPT * ROWS * GROUP)
        + bytes_of::<f32>(ROWS * outputs)
        + bytes_of::<f32>(ROWS * PANEL)
        + bytes_of::<f32>(ROWS);
    Scratch::with(bytes, |mut scratch| {
        let q: &mut [bf16] = scratch.take(ROWS * depth);
        queries.gather_tiles(kernel, depth, q);
        let (scores, shares) = (scratch.take(SLOTS * ROWS * GROUP), scratch.take(KEPT * ROWS * GROUP));
        let (sums, totals, less) = (scratch.take(ROWS * outputs), scratch.take(ROWS * PANEL), scratch.take(ROWS));
        totals.fill(0.0);
        less.fill(f32::INFINITY);
        let mut pipeline = Pipeline {
            kernel,
            queries,
            sources,
            q,
            scores,
            shares,
            sums,
            totals: totals.as_chunks_mut().0,
            less,
            references: [f32::NEG_INFINITY; ROWS],
            scale: queries.attention.scale(),
            made: 0,
            scored: 0,
            has_sums: None,
            pace: 0,
        };
        // SAFETY: an `Amx` is a proof of these instructions, and its session has begun.
        unsafe { pipeline.run() };
        let Pipeline { sums, totals, .. } = pipeline;
        kernel.simd().run(Write { queries, sums: sums.as_chunks().0, totals, output });
    });
}

/// The state of a task.
struct Pipeline<'a, 'b, X> {
    kernel: Amx,
    queries: &'a Queries<'b, X>,
    sources: &'a Sources<'b, bf16>,
    /// `[depth / 32][32][32]`
    q: &'a [bf16],
    /// `[2 groups][2 panels][32][16]`
    scores: &'a mut [f32],
    /// `[kept groups][32][32]`
    shares: &'a mut [bf16],
    /// `[panels][32][16]`
    sums: &'a mut [f32],
    /// The sums of each row's shares, in sixteen parts.
    totals: &'a mut [[f32; PANEL]],
    /// [`Scale::less`] of each row.
    less: &'a mut [f32],
    /// What each row's shares are relative to, a whole power of two.
    references: [f32; ROWS],
    /// What makes powers of two of scores.
    scale: f32,
    /// How many fours of rows have been made shares of, counted over all groups.
    made: usize,
    /// How many have scores.
    scored: usize,
    /// Where the sums that are in the tiles belong.
    has_sums: Option<Sums>,
    /// What is due of the next four rows, in parts of the steps of a group.
    pace: usize,
}

/// Keys of which shares are added up in the tiles.
#[derive(Clone, Copy)]
struct Block<'a> {
    /// Its first group.
    first: usize,
    groups: usize,
    source: Source<'a, bf16>,
}

/// Products of tiles that are added up.
#[derive(Clone, Copy)]
struct Steps {
    count: usize,
    /// `[_][32][32]`: queries, or shares.
    rows: *const bf16,
    /// The first of them, where they are shares of a group.
    group: Option<usize>,
    /// `[count][16][16][2]` each.
    panels: [*const bf16; 2],
}

impl<X: Element> Pipeline<'_, '_, X> {
    /// # Safety
    /// The processor has the instructions, and tiles are configured; so below.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn run(&mut self) {
        let Queries { attention: Attention { shape, mask, .. }, head, ref rows } = *self.queries;
        let scale = Scale::new(self.scale);
        let seen = if mask == Mask::Causal { rows.end } else { shape.keys };
        let (groups, whole, pairs) = (seen.div_ceil(GROUP), self.sources.keys() / GROUP, self.pairs());
        let sources = self.sources.of_head(head).take(groups.div_ceil(whole)).enumerate();
        let mut before: Option<Block<'_>> = None;
        for (index, source) in sources {
            let first = index * whole;
            let block = Block { first, groups: whole.min(groups - first), source };
            let mut pair = 0;
            for group in 0..block.groups {
                // SAFETY: the caller's promise.
                unsafe { self.score(scale, block, group) };
                // Products of either kind take turns, evenly.
                while let Some(before) = before
                    && pair < pairs
                    && (2 * pair + 1) * block.groups < 2 * pairs * (group + 2)
                {
                    // SAFETY: the caller's promise.
                    unsafe { self.weigh(scale, before, pair) };
                    pair += 1;
                }
            }
            before = Some(block);
        }
        for pair in 0..pairs {
            // SAFETY: the caller's promise.
            unsafe { self.weigh(scale, before.expect("a query sees a key"), pair) };
        }
    }

    /// Multiplies queries with a group's keys.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn score(&mut self, scale: Scale, block: Block<'_>, group: usize) {
        let (number, depth) = (block.first + group, self.sources.depth());
        let keys = &block.source.keys[group * GROUP * depth..][..GROUP * depth];
        let (first, second) = keys.split_at(PANEL * depth);
        let steps = Steps {
            count: depth / GROUP,
            rows: self.q[..depth * ROWS].as_ptr(),
            group: None,
            panels: [first, second].map(<[bf16]>::as_ptr),
        };
        let slot = number % SLOTS * ROWS * GROUP;
        // SAFETY: the caller's promise; the queries and keys are there.
        unsafe {
            Sums::clear();
            self.multiply(scale, steps);
            self.make_until(scale, (number + 1).saturating_sub(SLOTS) * QUADS);
            let (first, second) = self.scores[slot..][..GROUP * ROWS].split_at_mut(PANEL * ROWS);
            Sums([first, second].map(<[f32]>::as_mut_ptr)).store();
        }
        let from = number * GROUP;
        let Attention { shape, mask, .. } = self.queries.attention;
        if from + GROUP > shape.keys || mask == Mask::Causal {
            let scores = &mut self.scores[slot..][..GROUP * ROWS];
            let keys = from..shape.keys.min(from + GROUP);
            self.kernel.simd().run(Hide { queries: self.queries, keys, rows: ROWS, scores });
        }
        self.scored += QUADS;
    }

    /// Multiplies a block's shares with a pair of panels of its values.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn weigh(&mut self, scale: Scale, block: Block<'_>, pair: usize) {
        let keys = self.sources.keys();
        // A last panel that has none beside it is multiplied twice.
        let panels = [2 * pair, (2 * pair + 1).min(self.sources.outputs() / PANEL - 1)];
        let sums = Sums(panels.map(|panel| self.sums[panel * PANEL * ROWS..][..PANEL * ROWS].as_mut_ptr()));
        let steps = Steps {
            count: block.groups,
            rows: self.shares.as_ptr(),
            group: Some(block.first),
            panels: panels.map(|panel| block.source.values[panel * PANEL * keys..][..PANEL * keys].as_ptr()),
        };
        // SAFETY: the caller's promise; the shares, values and sums are there.
        unsafe {
            if block.first == 0 {
                Sums::clear();
            } else {
                sums.load();
            }
            self.has_sums = Some(sums);
            self.multiply(scale, steps);
            self.has_sums = None;
            sums.store();
        }
    }

    /// Multiplies tiles, and makes as many shares meanwhile as keep pace with the products.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn multiply(&mut self, scale: Scale, steps: Steps) {
        let pace = self.sources.depth() / GROUP + self.pairs();
        for index in 0..steps.count {
            let place = match steps.group {
                None => index,
                Some(group) => {
                    // SAFETY: the caller's promise; they have scores, as all of a block has.
                    unsafe { self.make_until(scale, (group + index + 1) * QUADS) };
                    (group + index) % KEPT
                }
            };
            let step = Step {
                rows: steps.rows.wrapping_add(place * ROWS * GROUP),
                panels: steps.panels.map(|panel| panel.wrapping_add(index * GROUP * PANEL)),
            };
            self.pace += QUADS;
            let due = usize::from(self.pace >= pace) + usize::from(self.pace >= 2 * pace);
            self.pace -= due * pace;
            // What is after a group's last rows is elsewhere.
            let most = QUADS - self.made % QUADS;
            let due = due.min(self.scored - self.made).min(most);
            // SAFETY: the caller's promise; there are scores of as many rows.
            let large = unsafe {
                match due {
                    0 => quad::multiply(step),
                    1 => quad::multiply_and_make(step, self.rows(self.made), scale),
                    _ => quad::multiply_and_make_twice(step, self.rows(self.made), scale),
                }
            };
            if large != 0 {
                for quad in (0..due).filter(|quad| large >> quad & 1 != 0) {
                    // SAFETY: the caller's promise.
                    unsafe { self.raise(scale, self.made + quad) };
                }
            }
            self.made += due;
        }
    }

    /// Makes shares until there are those of the first `quads` fours of rows.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn make_until(&mut self, scale: Scale, quads: usize) {
        while self.made < quads {
            // SAFETY: the caller's promise; there are scores of these rows.
            unsafe { self.make(scale) };
        }
    }

    /// Makes shares of the next four rows.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn make(&mut self, scale: Scale) {
        // SAFETY: the caller's promise.
        unsafe {
            if quad::make(self.rows(self.made), scale) != 0 {
                self.raise(scale, self.made);
            }
        }
        self.made += 1;
    }

    /// Makes shares of four rows of which at least one has a larger score than its shares can be relative to.
    #[cold]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn raise(&mut self, scale: Scale, quad: usize) {
        if let Some(sums) = self.has_sums {
            // SAFETY: the caller's promise; it is where they will be stored.
            unsafe { sums.store() };
        }
        let slot = quad / QUADS % SLOTS * ROWS * GROUP;
        let first = quad % QUADS * QUAD;
        // Of very large scores, the difference to the reference is not exact.
        let mut margin = 0.0;
        loop {
            for row in first..first + QUAD {
                let scores: &[[f32; PANEL]] = self.scores[slot..][..GROUP * ROWS].as_chunks().0;
                let mut most = [f32::NEG_INFINITY; PANEL];
                for scores in [scores[row], scores[ROWS + row]] {
                    most.iter_mut().zip(scores).for_each(|(most, score)| *most = at_least(score, *most));
                }
                self.refer(row, (fold(most, at_least) * self.scale).ceil() + margin);
            }
            // SAFETY: the caller's promise.
            if unsafe { quad::make(self.rows(quad), scale) } == 0 {
                break;
            }
            margin = f32::max(2.0 * margin, MOST_POWER);
        }
        if let Some(sums) = self.has_sums {
            // SAFETY: as above.
            unsafe { sums.load() };
        }
    }

    /// Makes a row's shares relative to `reference`, if that is more than what they are relative to.
    fn refer(&mut self, row: usize, reference: f32) {
        let before = self.references[row];
        if reference > before {
            self.references[row] = reference;
            self.less[row] = Scale::less(reference);
            if before > f32::NEG_INFINITY {
                self.scale_row(row, (before - reference).exp2());
            }
        }
    }

    /// Scales what is relative to a row's reference.
    fn scale_row(&mut self, row: usize, by: f32) {
        self.totals[row].iter_mut().for_each(|total| *total *= by);
        for sums in self.sums.as_chunks_mut::<PANEL>().0.chunks_exact_mut(ROWS) {
            sums[row].iter_mut().for_each(|sum| *sum *= by);
        }
        for shares in self.shares.as_chunks_mut::<GROUP>().0.chunks_exact_mut(ROWS) {
            shares[row].iter_mut().for_each(|share| *share = bf16::from_f32(share.to_f32() * by));
        }
    }

    /// The `quad`th four rows.
    #[inline(always)]
    fn rows(&mut self, quad: usize) -> Rows {
        let (group, row) = (quad / QUADS, quad % QUADS * QUAD);
        Rows {
            scores: self.scores.as_ptr().wrapping_add(group % SLOTS * ROWS * GROUP + row * PANEL),
            shares: self.shares.as_mut_ptr().wrapping_add((group % KEPT * ROWS + row) * GROUP),
            less: self.less.as_ptr().wrapping_add(row),
            totals: self.totals.as_mut_ptr().wrapping_add(row).cast(),
        }
    }

    /// Pairs of panels of the values.
    #[inline(always)]
    fn pairs(&self) -> usize {
        (self.sources.outputs() / PANEL).div_ceil(2)
    }
}

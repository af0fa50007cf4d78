//! The left operand of a convolution: one row for each pixel of the result, with the inputs that its kernel covers.

use std::ops::Range;

use super::{Element, Kernel};
use crate::conv::{Edge, MapSize, Window};
use crate::element::{Values, convert};
use crate::norm::Normal;
use crate::simd::{Simd, Task};

/// A feature map as a matrix whose rows are never all in memory. A linear layer's tokens are a map of 1×1 patches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patches<'a, X = f32> {
    x: &'a [X],
    size: MapSize,
    window: Window,
    out: MapSize,
}

impl<'a, X: Element> Patches<'a, X> {
    /// Of `x`, which has `size`.
    pub(crate) fn new(x: &'a [X], size: MapSize, window: Window) -> Self {
        assert_eq!(x.len(), size.values(), "the input has another size");
        Self { x, size, window, out: window.of(size, 1) }
    }

    /// How many there are.
    pub(crate) fn rows(&self) -> usize {
        self.out.values()
    }

    /// How many inputs each has.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn inputs(&self) -> usize {
        self.window.size * self.window.size * self.size.channels
    }

    /// How many of them belong to one picture.
    pub(crate) fn rows_per_picture(&self) -> usize {
        self.out.height * self.out.width
    }

    /// Each pixel of the map alone.
    pub(crate) fn points(&self) -> Self {
        Self::new(self.x, self.size, Window::POINT)
    }

    #[cfg(target_arch = "x86_64")]
    /// The map.
    pub(crate) fn map(&self) -> &'a [X] {
        self.x
    }

    /// The size of the map.
    pub(crate) fn size(&self) -> MapSize {
        self.size
    }

    /// What moves over the map.
    pub(crate) fn window(&self) -> Window {
        self.window
    }

    /// The size of the result, of one channel.
    pub(crate) fn out(&self) -> MapSize {
        self.out
    }

    /// The channels at a position of the padded map, where it has any.
    #[inline(always)]
    pub(crate) fn pixel(&self, picture: usize, row: usize, column: usize) -> Option<&'a [X]> {
        let (row, column) = (self.line(row)?, self.column(column)?);
        let MapSize { height, width, channels, .. } = self.size;
        Some(&self.x[((picture * height + row) * width + column) * channels..][..channels])
    }

    #[cfg(target_arch = "x86_64")]
    /// The same matrix of a map that is one pixel wide, where a row is one pixel.
    pub(crate) fn as_lines(&self) -> Self {
        let MapSize { channels, .. } = self.size;
        if self.window != Window::POINT {
            return *self;
        }
        Self::new(self.x, MapSize { batch: 1, height: self.rows(), width: 1, channels }, self.window)
    }

    #[cfg(target_arch = "x86_64")]
    /// How wide the padded map is.
    pub(crate) fn padded_width(&self) -> usize {
        self.size.width * self.window.repeat + self.window.before + self.window.after
    }

    /// Copies a row of the padded map as far as `to` goes, normalised if there are zeros around the map. Behind it are zeros.
    pub(crate) fn copy_line<S: Simd, Y: Element>(
        &self,
        simd: S,
        normal: Option<&Normal>,
        picture: usize,
        row: usize,
        to: &mut [Y],
    ) {
        let MapSize { height, width, channels, .. } = self.size;
        let (columns, before) = (to.len() / channels, self.window.before);
        let edge = |columns: Range<usize>, to: &mut [Y]| {
            let mut pixels = to.chunks_exact_mut(channels);
            for (column, to) in columns.zip(&mut pixels) {
                match self.pixel(picture, row, column) {
                    Some(pixel) => convert(simd, pixel, to),
                    None => to.fill(Y::default()),
                }
            }
            pixels.into_remainder().fill(Y::default());
        };
        // Where no pixel is repeated, those between the edges lie in the map as they are wanted.
        let inside = if self.window.repeat == 1 { before..columns.min(before + width) } else { 0..0 };
        let Some(line) = self.line(row).filter(|_| !inside.is_empty()) else { return edge(0..columns, to) };
        let (left, rest) = to.split_at_mut(inside.start * channels);
        let (to, right) = rest.split_at_mut(inside.len() * channels);
        edge(0..inside.start, left);
        edge(inside.end..columns, right);
        let line = &self.x[(picture * height + line) * width * channels..][..to.len()];
        match (normal, X::values(line)) {
            (None, _) => convert(simd, line, to),
            (Some(normal), Values::F32(line)) => simd.run(CopyNormalised { normal, picture, line, to }),
            (Some(_), Values::Bf16(_)) => unreachable!("what is normalised is not rounded yet"),
        }
    }

    /// The matrix, where it is in memory as it is: row after row.
    pub(crate) fn in_place(&self) -> Option<&'a [X]> {
        (self.window == Window::POINT).then_some(self.x)
    }

    /// Copies the `inputs` of `rows`, each row `stride` elements after the one before. What is between them is set to 0.
    pub(crate) fn gather<K: Kernel>(
        &self,
        kernel: K,
        rows: Range<usize>,
        inputs: Range<usize>,
        stride: usize,
        to: &mut [K::Element],
    ) {
        let Window { size, stride: step, .. } = self.window;
        let Range { start, end } = inputs;
        let length = size * self.size.channels;
        let (mut row, mut column) = (rows.start / self.out.width, rows.start % self.out.width);
        for to in to.chunks_exact_mut(stride).take(rows.len()) {
            let (picture, top) = (row / self.out.height, row % self.out.height * step);
            to[end - start..].fill(K::Element::default());
            // The inputs are the kernel's rows one after the other.
            for i in start / length..end.div_ceil(length) {
                let (from, until) = (start.max(i * length), end.min((i + 1) * length));
                let to = &mut to[from - start..until - start];
                let within = from - i * length..until - i * length;
                match self.line(top + i) {
                    Some(y) => {
                        let line = picture * self.size.height + y;
                        let line = &self.x[line * self.size.width * self.size.channels..];
                        let line = &line[..self.size.width * self.size.channels];
                        self.gather_line(kernel, line, column * step, within, to);
                    }
                    None => to.fill(K::Element::default()),
                }
            }
            column += 1;
            if column == self.out.width {
                (row, column) = (row + 1, 0);
            }
        }
    }

    /// Which row of the map is at this row of the padded one, if any is.
    #[inline(always)]
    pub(crate) fn line(&self, position: usize) -> Option<usize> {
        self.source(position, self.size.height)
    }

    /// The same of columns.
    #[inline(always)]
    pub(crate) fn column(&self, position: usize) -> Option<usize> {
        self.source(position, self.size.width)
    }

    /// Which row or column of the map is at this position of the padded one.
    #[inline(always)]
    fn source(&self, position: usize, length: usize) -> Option<usize> {
        let Window { before, repeat, edge, .. } = self.window;
        match (position.checked_sub(before), edge) {
            (Some(position), _) if position < length * repeat => Some(position / repeat),
            (_, Edge::Zeros) => None,
            (_, Edge::Mirrored) => Some(mirrored(position, before, length * repeat) / repeat),
        }
    }

    /// Copies the part `within` one row of the kernel that begins at the padded column `left`.
    fn gather_line<K: Kernel>(&self, kernel: K, line: &[X], left: usize, within: Range<usize>, to: &mut [K::Element]) {
        let channels = self.size.channels;
        let Window { size, before, repeat, edge, .. } = self.window;
        let is_inside = left >= before && left - before + size <= self.size.width;
        if repeat == 1 && (edge == Edge::Zeros || is_inside) {
            // The columns follow one another in the map, too.
            let zeros = before.saturating_sub(left) * channels;
            let (first, last) = (within.start.max(zeros), within.end);
            let skipped = (first - within.start).min(to.len());
            let (halo, to) = to.split_at_mut(skipped);
            halo.fill(K::Element::default());
            let begin = (left * channels + first).saturating_sub(before * channels).min(line.len());
            let count = last.saturating_sub(first).min(line.len() - begin);
            let (to, halo) = to.split_at_mut(count);
            convert(kernel.simd(), &line[begin..begin + count], to);
            halo.fill(K::Element::default());
            return;
        }
        for j in within.start / channels..within.end.div_ceil(channels) {
            let (from, until) = (within.start.max(j * channels), within.end.min((j + 1) * channels));
            let to = &mut to[from - within.start..until - within.start];
            match self.column(left + j) {
                Some(x) => {
                    convert(kernel.simd(), &line[x * channels + from - j * channels..][..until - from], to);
                }
                None => to.fill(K::Element::default()),
            }
        }
    }
}

struct CopyNormalised<'a, Y> {
    normal: &'a Normal,
    picture: usize,
    line: &'a [f32],
    to: &'a mut [Y],
}

impl<Y: Element> Task for CopyNormalised<'_, Y> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { normal, picture, line, to } = self;
        let mut values = vec![0.0; normal.block()];
        for (line, to) in line.chunks(values.len()).zip(to.chunks_mut(normal.block())) {
            let values = &mut values[..line.len()];
            normal.apply(simd, picture, line, values);
            convert(simd, values, to);
        }
    }
}

/// Which of `length` rows or columns is at a position of those that are mirrored around the outermost ones, `before` of them
/// before the first.
fn mirrored(position: usize, before: usize, length: usize) -> usize {
    let period = 2 * length.saturating_sub(1).max(1);
    // Moved on by whole periods, position -before is not negative.
    let position = (position + before.next_multiple_of(period) - before) % period;
    match position {
        _ if length == 1 => 0,
        inside if inside < length => inside,
        beyond => period - beyond,
    }
}

#[cfg(test)]
mod tests {
    use super::mirrored;

    fn positions(length: usize, before: usize, after: usize) -> Vec<usize> {
        (0..before + length + after).map(|position| mirrored(position, before, length)).collect()
    }

    #[test]
    fn edges_are_mirrored_without_being_repeated() {
        assert_eq!(positions(4, 2, 2), [2, 1, 0, 1, 2, 3, 2, 1]);
        assert_eq!(positions(3, 0, 1), [0, 1, 2, 1]);
    }

    #[test]
    fn a_padding_wider_than_the_map_bounces() {
        assert_eq!(positions(1, 4, 3), [0; 8]);
        assert_eq!(positions(2, 4, 3), [0, 1, 0, 1, 0, 1, 0, 1, 0]);
        assert_eq!(positions(3, 4, 4), [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]);
    }
}

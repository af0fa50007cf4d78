//! Padding by reflection.

use std::ops::Range;

use candle_core::{Result, Tensor};

/// Grows a feature map at its bottom and its right by mirroring it around its edge pixels, which are not repeated:
/// `a b c` becomes `a b c b a`, as ONNX's `reflect` and torch's `ReflectionPad2d` have it.
///
/// A padding wider than the map goes on bouncing between its edges, so that any size is defined; a map one pixel wide
/// repeats that pixel.
///
/// # Errors
/// `x` is not `[height, width, channels]`, or is empty.
pub fn reflect_pad(x: &Tensor, bottom: usize, right: usize) -> Result<Tensor> {
    let (height, width, _) = x.dims3()?;
    let rows = select_reflected(x, 0, 0..height + bottom, 0)?;
    select_reflected(&rows, 1, 0..width + right, 0)
}

/// The positions `range` along a dimension of `x` that is grown by `before` mirrored positions at its start.
pub(super) fn select_reflected(x: &Tensor, dim: usize, range: Range<usize>, before: usize) -> Result<Tensor> {
    let length = x.dim(dim)?;
    let positions: Vec<u32> = reflected(length, range, before).collect();
    x.index_select(&Tensor::new(positions, x.device())?, dim)
}

fn reflected(length: usize, range: Range<usize>, before: usize) -> impl Iterator<Item = u32> {
    let period = 2 * length.saturating_sub(1).max(1);
    // Moved on by whole periods, position -before is not negative.
    let shift = before.next_multiple_of(period) - before;
    range.map(move |position| {
        let position = (position + shift) % period;
        let reflected = if position < length { position } else { period - position };
        u32::try_from(if length == 1 { 0 } else { reflected }).expect("a picture's side fits in 32 bits")
    })
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn positions(length: usize, before: usize, after: usize) -> Vec<u32> {
        reflected(length, 0..before + length + after, before).collect()
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

    #[test]
    fn rows_and_columns_are_padded_apart() {
        let x = Tensor::new(&[[[1f32], [2.], [3.]], [[4.], [5.], [6.]]], &Device::Cpu).expect("a map");
        let padded = reflect_pad(&x, 1, 2).and_then(|x| x.squeeze(2)).and_then(|x| x.to_vec2::<f32>());
        assert_eq!(padded.expect("padded"), [[1., 2., 3., 2., 1.], [4., 5., 6., 5., 4.], [1., 2., 3., 2., 1.]]);
    }
}

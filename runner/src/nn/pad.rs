//! Padding by reflection.

use candle_core::{Result, Tensor};

/// Grows a feature map at its four edges by mirroring it around the edge pixels, which are not repeated: `a b c` becomes
/// `c b a b c`, as ONNX's `reflect` and torch's `ReflectionPad2d` have it.
///
/// A padding wider than the map goes on bouncing between its edges, so that any size is defined; a map one pixel wide
/// repeats that pixel.
///
/// # Errors
/// `x` is not `[height, width, channels]` or is empty.
pub fn reflect_pad(x: &Tensor, top: usize, bottom: usize, left: usize, right: usize) -> Result<Tensor> {
    let (height, width, _) = x.dims3()?;
    let rows = if top + bottom > 0 { x.index_select(&indexes(x, height, top, bottom)?, 0)? } else { x.clone() };
    if left + right > 0 { rows.index_select(&indexes(x, width, left, right)?, 1) } else { Ok(rows) }
}

fn indexes(x: &Tensor, length: usize, before: usize, after: usize) -> Result<Tensor> {
    let indexes: Vec<u32> = mirrored(length, before, after).collect();
    Tensor::new(indexes, x.device())
}

/// The source positions of `before + length + after` positions.
fn mirrored(length: usize, before: usize, after: usize) -> impl Iterator<Item = u32> {
    let period = 2 * length.saturating_sub(1).max(1);
    // Position -before, moved up by whole periods so that it is not negative.
    let start = period * before.div_ceil(period) - before;
    (start..start + before + length + after).map(move |position| {
        let position = position % period;
        let mirrored = if position < length { position } else { period - position };
        u32::try_from(if length == 1 { 0 } else { mirrored }).expect("a picture's side fits in 32 bits")
    })
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn edges_are_mirrored_without_being_repeated() {
        let positions = |length, before, after| mirrored(length, before, after).collect::<Vec<_>>();
        assert_eq!(positions(4, 2, 2), [2, 1, 0, 1, 2, 3, 2, 1]);
        assert_eq!(positions(3, 0, 1), [0, 1, 2, 1]);
    }

    #[test]
    fn a_padding_wider_than_the_map_bounces() {
        let positions = |length, before, after| mirrored(length, before, after).collect::<Vec<_>>();
        assert_eq!(positions(1, 4, 3), [0; 8]);
        assert_eq!(positions(2, 4, 3), [0, 1, 0, 1, 0, 1, 0, 1, 0]);
        assert_eq!(positions(3, 4, 4), [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]);
    }

    #[test]
    fn rows_and_columns_are_padded_apart() {
        let x = Tensor::new(&[[[1f32], [2.], [3.]], [[4.], [5.], [6.]]], &Device::Cpu).expect("a map");
        let padded = reflect_pad(&x, 1, 0, 0, 2).expect("padded");
        let rows: Vec<Vec<f32>> = padded.squeeze(2).and_then(|x| x.to_vec2()).expect("one channel");
        assert_eq!(rows, [[4., 5., 6., 5., 4.], [1., 2., 3., 2., 1.], [4., 5., 6., 5., 4.]]);
    }
}

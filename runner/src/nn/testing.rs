//! What the tests of the layers share: random tensors, and a comparison.

use candle_core::{Device, Tensor};
use livewebcam_kernels::{Format, Packed, WeightShape};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::weights::Matrix;

/// Numbers in −1 to 1.
pub(super) fn random(seed: usize, shape: &[usize]) -> Tensor {
    let mut random = SmallRng::seed_from_u64(seed as u64);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| random.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor")
}

/// A weight for the kernels, and the same for candle.
pub(super) fn matrices(weight: &Tensor) -> [Matrix; 2] {
    let dims = weight.dims();
    let shape = WeightShape { outputs: dims[0], channels: dims[1], taps: dims[2..].iter().product() };
    let packed = Packed::pack(&numbers(weight), shape, Format::F32);
    [Matrix::Packed(packed), Matrix::Tensor(weight.clone())]
}

/// Fails unless the shapes are the same and the numbers nearly: sums of some dozen products near 1, added up in another order.
pub(super) fn assert_close(found: &Tensor, wanted: &Tensor) {
    assert_eq!(found.dims(), wanted.dims());
    let (found, wanted) = (numbers(found), numbers(wanted));
    let worst = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-4, "{worst}");
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|tensor| tensor.to_vec1()).expect("numbers")
}

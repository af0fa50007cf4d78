//! What the tests of the layers share: random numbers, both ways to compute, and a comparison.

use candle_core::{DType, Device, Tensor};
use livewebcam_kernels::{Format, Packed};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::weights::{Matrix, Needed, Placement, Vector};

/// Numbers in −1 to 1.
pub(super) fn random(seed: u64, count: usize) -> Vec<f32> {
    let mut random = SmallRng::seed_from_u64(seed);
    (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
}

/// The kernels, and candle on the processor in the place of another device.
pub(super) fn places() -> [Placement; 2] {
    [
        Placement::Kernels(Format::F32),
        Placement::Candle { device: Device::Cpu, storage: DType::F32, compute: DType::F32 },
    ]
}

/// Random weights of a product, for each of the [`places`].
pub(super) fn matrices(seed: u64, shape: &[usize]) -> [Matrix; 2] {
    let values = random(seed, shape.iter().product());
    let packed = Packed::pack(&values, Needed::weight_shape(shape).expect("outputs and inputs"), Format::F32);
    [Matrix::Packed(packed), Matrix::Tensor(Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor"))]
}

/// A random bias or scale, for each of the [`places`].
pub(super) fn vectors(seed: u64, length: usize) -> [Vector; 2] {
    let values = random(seed, length);
    let tensor = Tensor::from_slice(&values, length, &Device::Cpu).expect("a tensor");
    [Vector::Host(values.into()), Vector::Candle(tensor)]
}

/// Fails unless the numbers are nearly the same: sums of some dozen products near 1, added up in another order.
#[track_caller]
pub(super) fn assert_close(found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len());
    let worst = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-4, "{worst}");
}

//! Normalisations and activations against their definitions in `f64`, on every instruction set of this machine.

#[path = "common/pace.rs"]
mod pace;

use livewebcam_kernels::{Activation, Cpu, GroupNorm, Isa, LayerNorm};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Numbers between -1 and 1.
fn noise(seed: u64, count: usize) -> Vec<f32> {
    let rng = &mut StdRng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn cpus() -> impl Iterator<Item = Cpu> {
    Isa::available().iter().map(|isa| Cpu::with(*isa).expect("it is available"))
}

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// Within `tolerance`, for values of some units.
fn assert_close(found: &[f32], wanted: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (index, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let error = (f64::from(*found) - wanted).abs();
        assert!(error <= tolerance * (1.0 + wanted.abs()), "{what}: value {index} is {found}, not {wanted}");
    }
}

/// Mean and variance.
fn moments(values: impl Iterator<Item = f32> + Clone) -> (f64, f64) {
    let count = values.clone().count() as f64;
    let mean = values.clone().map(f64::from).sum::<f64>() / count;
    (mean, values.map(|x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count)
}

struct Map {
    batch: usize,
    pixels: usize,
    channels: usize,
    groups: usize,
}

impl Map {
    fn check(&self, x: &[f32], tolerance: f64) {
        let Self { batch, pixels, channels, groups } = *self;
        let (weight, bias) = (noise(2, channels), noise(3, channels));
        let width = channels / groups;
        let mut wanted = vec![0.0; x.len()];
        for picture in 0..batch {
            for group in 0..groups {
                let index = |pixel, channel| (picture * pixels + pixel) * channels + group * width + channel;
                let indices = (0..pixels).flat_map(|pixel| (0..width).map(move |channel| index(pixel, channel)));
                let (mean, variance) = moments(indices.clone().map(|index| x[index]));
                for index in indices {
                    let channel = index % channels;
                    let value = (f64::from(x[index]) - mean) / (variance + 1e-5).sqrt();
                    wanted[index] = value * f64::from(weight[channel]) + f64::from(bias[channel]);
                }
            }
        }
        for cpu in cpus() {
            let what = format!("{}, {batch}×{pixels}×{channels} in {groups} groups", cpu.isa());
            for activation in [Activation::None, Activation::Silu] {
                let mut y = vec![f32::NAN; x.len()];
                let norm = GroupNorm { weight: &weight, bias: &bias, groups, eps: 1e-5, activation };
                cpu.group_norm(x, batch, norm, &mut y);
                let wanted: Vec<f64> = match activation {
                    Activation::Silu => wanted.iter().map(|x| silu(*x)).collect(),
                    _ => wanted.clone(),
                };
                assert_close(&y, &wanted, tolerance, &what);
            }
        }
    }
}

#[test]
fn groups_get_mean_0_and_variance_1() {
    let shapes = [
        (1, 1, 1, 1),
        (2, 1, 64, 32),
        (2, 7, 3, 3),
        (1, 1000, 3, 1),
        (2, 33, 320, 32),
        (1, 64, 2560, 32),
        (2, 1023, 40, 8),
        (1, 5000, 128, 32),
        (1, 300, 77, 7),
    ];
    for (batch, pixels, channels, groups) in shapes {
        let x = noise(1, batch * pixels * channels);
        Map { batch, pixels, channels, groups }.check(&x, 1e-6);
    }
}

#[test]
fn a_large_map_far_from_0_loses_nothing() {
    let map = Map { batch: 1, pixels: pace::choose(1 << 18, 1 << 13), channels: 32, groups: 2 };
    let x: Vec<f32> = noise(1, map.pixels * map.channels).iter().map(|x| 300.0 + x).collect();
    // The inputs' own last places are 3e-5 apart, which is what the mean is rounded to.
    map.check(&x, 6e-5);
    let means = moments(x.iter().copied());
    let (weight, bias) = (vec![1.0; 32], vec![0.0; 32]);
    let norm = GroupNorm { weight: &weight, bias: &bias, groups: 2, eps: 0.0, activation: Activation::None };
    for cpu in cpus() {
        let mut y = vec![0.0; x.len()];
        cpu.group_norm(&x, 1, norm, &mut y);
        let (_, variance) = moments(y.into_iter());
        assert!((variance - 1.0).abs() < 1e-6, "{}: {variance} of {means:?}", cpu.isa());
    }
}

#[test]
fn an_even_picture_becomes_the_bias() {
    let (weight, bias) = (noise(1, 8), noise(2, 8));
    let norm = GroupNorm { weight: &weight, bias: &bias, groups: 8, eps: 1e-5, activation: Activation::None };
    for cpu in cpus() {
        let mut y = vec![f32::NAN; 80];
        cpu.group_norm(&[0.7; 80], 1, norm, &mut y);
        assert_close(&y, &bias.repeat(10).iter().map(|x| f64::from(*x)).collect::<Vec<_>>(), 1e-5, "even");
    }
}

#[test]
fn rows_get_mean_0_and_variance_1() {
    for (rows, width) in [(1, 1), (3, 7), (77, 768), (5, 1280), (2, 320), (300, 33)] {
        let mut x = noise(5, rows * width);
        // One value far above the others, as in the rows of text encoders.
        x[0] += 200.0;
        let (weight, bias) = (noise(6, width), noise(7, width));
        let mut wanted = Vec::new();
        for row in x.chunks_exact(width) {
            let (mean, variance) = moments(row.iter().copied());
            for (index, x) in row.iter().enumerate() {
                let value = (f64::from(*x) - mean) / (variance + 1e-5).sqrt();
                wanted.push(value * f64::from(weight[index]) + f64::from(bias[index]));
            }
        }
        for cpu in cpus() {
            let mut y = vec![f32::NAN; x.len()];
            cpu.layer_norm(&x, LayerNorm { weight: &weight, bias: &bias, eps: 1e-5 }, &mut y);
            assert_close(&y, &wanted, 1e-6, &format!("{}, {rows}×{width}", cpu.isa()));
        }
    }
}

#[test]
fn activations_are_their_definitions() {
    let x: Vec<f32> = noise(8, 40_003).iter().map(|x| 20.0 * x).collect();
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    for cpu in cpus() {
        for activation in
            [Activation::None, Activation::Sigmoid, Activation::Silu, Activation::Relu, Activation::QuickGelu]
        {
            let mut y = x.clone();
            cpu.activate(activation, &mut y);
            let definition = |x: f32| match activation {
                Activation::None | Activation::Gelu => f64::from(x),
                Activation::Sigmoid => sigmoid(f64::from(x)),
                Activation::Silu => silu(f64::from(x)),
                Activation::Relu => f64::from(x.max(0.0)),
                Activation::QuickGelu => f64::from(x) * sigmoid(f64::from(1.702_f32 * x)),
            };
            let wanted: Vec<f64> = x.iter().copied().map(definition).collect();
            assert_close(&y, &wanted, 3e-7, &format!("{}, {activation:?}", cpu.isa()));
        }
    }
}

#[test]
fn gelu_has_the_exact_distribution() {
    // With 30 digits.
    let known = [
        (-10.0, -7.619_853_024_160_526e-23),
        (-3.0, -4.049_694_094_890_284e-3),
        (-1.0, -0.158_655_253_931_457_05),
        (-0.5, -0.154_268_769_362_993_45),
        (0.0, 0.0),
        (0.25, 0.149_676_581_420_730_93),
        (1.0, 0.841_344_746_068_542_9),
        (3.0, 2.995_950_305_905_11),
        (20.0, 20.0),
    ];
    for cpu in cpus() {
        let mut y = known.map(|(x, _)| x as f32);
        cpu.activate(Activation::Gelu, &mut y);
        for ((x, wanted), found) in known.iter().zip(y) {
            assert!((f64::from(found) - wanted).abs() <= 5e-7 * wanted.abs(), "{}: {x}: {found}", cpu.isa());
        }
    }
}

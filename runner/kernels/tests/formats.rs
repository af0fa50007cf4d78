//! Layers whose operands and results are `bf16`, against the same layers of `f32`, on every instruction set of this machine.

use half::bf16;
use livewebcam_kernels::{
    Activation, Cpu, Epilogue, Format, GroupNorm, Heads, Isa, LayerNorm, Mask, Packed, Values, ValuesMut, WeightShape,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How far sums in another order may be from each other.
const TOLERANCE: f32 = 2e-6;

fn noise(seed: u64, count: usize) -> Vec<f32> {
    let rng = &mut StdRng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Numbers of `bf16`, and the same in `f32`.
fn rounded_noise(seed: u64, count: usize) -> (Vec<bf16>, Vec<f32>) {
    let rounded: Vec<bf16> = noise(seed, count).into_iter().map(bf16::from_f32).collect();
    let widened = rounded.iter().map(|x| x.to_f32()).collect();
    (rounded, widened)
}

fn cpus() -> impl Iterator<Item = Cpu> {
    Isa::available().iter().map(|isa| Cpu::with(*isa).expect("it is available"))
}

/// The results of `layer` for operands of `bf16` and of `f32`, in either format.
fn assert_alike(count: usize, cpu: Cpu, largest: f32, layer: impl Fn(bool, ValuesMut<'_>), what: &str) {
    let mut wanted = vec![f32::NAN; count];
    layer(false, ValuesMut::F32(&mut wanted));
    let mut found = vec![f32::NAN; count];
    layer(true, ValuesMut::F32(&mut found));
    let close = |found: f32, wanted: f32, tolerance: f32| (found - wanted).abs() <= tolerance;
    for (found, wanted) in found.iter().zip(&wanted) {
        assert!(close(*found, *wanted, TOLERANCE * largest), "{}: {what}: {found}, not {wanted}", cpu.isa());
    }
    for is_rounded in [false, true] {
        let mut found = vec![bf16::NAN; count];
        layer(is_rounded, ValuesMut::Bf16(&mut found));
        for (found, wanted) in found.iter().zip(&wanted) {
            let found = found.to_f32();
            let tolerance = 0.5f32.powi(8) * wanted.abs() + 1e-5 * largest;
            assert!(close(found, *wanted, tolerance), "{}: {what}, rounded: {found}, not {wanted}", cpu.isa());
        }
    }
}

fn operand<'a>(is_rounded: bool, (rounded, widened): &'a (Vec<bf16>, Vec<f32>)) -> Values<'a> {
    if is_rounded { Values::Bf16(rounded) } else { Values::F32(widened) }
}

#[test]
fn products_take_and_make_either() {
    // Whole tiles, that are read in place, and others; more inputs than are added up at once.
    for (rows, inputs, outputs) in [(48, 64, 48), (32, 320, 80), (1, 1, 1), (5, 33, 47), (77, 96, 32), (16, 1600, 34)] {
        let x = rounded_noise(1, rows * inputs);
        let (weight, bias, residual) = (noise(2, inputs * outputs), noise(3, outputs), noise(4, rows * outputs));
        let shape = WeightShape { outputs, channels: inputs, taps: 1 };
        for format in [Format::F32, Format::Bf16] {
            let weight = Packed::pack(&weight, shape, format);
            for activation in [Activation::None, Activation::QuickGelu] {
                let epilogue =
                    Epilogue { bias: Some(&bias), residual: Some(&residual), activation, ..Epilogue::default() };
                let what = format!("{rows} of {inputs} to {outputs}, {format:?}");
                for cpu in cpus() {
                    let layer =
                        |is_rounded, y: ValuesMut<'_>| cpu.linear(operand(is_rounded, &x), 1, &weight, epilogue, y);
                    assert_alike(rows * outputs, cpu, inputs as f32, layer, &what);
                }
            }
        }
    }
}

#[test]
fn gated_products_take_and_make_either() {
    for (rows, inputs, width) in [(48, 64, 48), (3, 20, 7), (37, 96, 160)] {
        let x = rounded_noise(1, rows * inputs);
        let (weight, bias) = (noise(2, 2 * inputs * width), noise(3, 2 * width));
        let shape = WeightShape { outputs: 2 * width, channels: inputs, taps: 1 };
        for format in [Format::F32, Format::Bf16] {
            let weight = Packed::pack(&weight, shape, format);
            for cpu in cpus() {
                let layer =
                    |is_rounded, y: ValuesMut<'_>| cpu.linear_geglu(operand(is_rounded, &x), &weight, Some(&bias), y);
                assert_alike(rows * width, cpu, inputs as f32, layer, &format!("{rows} of {inputs}, {format:?}"));
            }
        }
    }
}

#[test]
fn attention_takes_and_makes_either() {
    for (queries, keys, heads, width) in [(64, 96, 2, 64), (33, 77, 3, 40), (5, 7, 1, 12), (16, 300, 1, 160)] {
        let shape = Heads { batch: 2, queries, keys, heads, width };
        let channels = 2 * heads * width;
        let [q, k, v] = [(1, queries), (2, keys), (3, keys)].map(|(seed, rows)| rounded_noise(seed, rows * channels));
        for cpu in cpus() {
            let layer = |is_rounded, y: ValuesMut<'_>| {
                let [q, k, v] = [&q, &k, &v].map(|x| operand(is_rounded, x));
                cpu.attention(q, k, v, shape, Mask::None, y);
            };
            assert_alike(queries * channels, cpu, 1.0, layer, &format!("{shape:?}"));
        }
    }
}

#[test]
#[should_panic(expected = "different formats")]
fn attention_takes_one_format_at_a_time() {
    let (rounded, widened) = rounded_noise(1, 4);
    let shape = Heads { batch: 1, queries: 1, keys: 1, heads: 1, width: 4 };
    Cpu::detect().attention(&widened, Values::Bf16(&rounded), &widened, shape, Mask::None, &mut [0.0; 4]);
}

#[test]
fn norms_round_last() {
    for (rows, width, groups) in [(7, 96, 3), (1, 5, 5), (300, 320, 32)] {
        let (mut x, weight, bias) = (noise(1, 2 * rows * width), noise(2, width), noise(3, width));
        x[0] = f32::NAN;
        for cpu in cpus() {
            let norm = LayerNorm { weight: &weight, bias: &bias, eps: 1e-5 };
            let (mut wanted, mut found) = (vec![0.0; x.len()], vec![bf16::ZERO; x.len()]);
            cpu.layer_norm(&x, norm, &mut wanted);
            cpu.layer_norm(&x, norm, ValuesMut::Bf16(&mut found));
            assert_rounded(&found, &wanted);
            let norm = GroupNorm { weight: &weight, bias: &bias, groups, eps: 1e-5, activation: Activation::Silu };
            cpu.group_norm(&x, 2, norm, &mut wanted);
            cpu.group_norm(&x, 2, norm, ValuesMut::Bf16(&mut found));
            assert_rounded(&found, &wanted);
        }
    }
}

fn assert_rounded(found: &[bf16], wanted: &[f32]) {
    for (found, wanted) in found.iter().zip(wanted) {
        let rounded = bf16::from_f32(*wanted);
        assert!(rounded == *found || rounded.is_nan() && found.is_nan(), "{found}, not {wanted}");
    }
}

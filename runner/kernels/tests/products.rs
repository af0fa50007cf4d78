//! Convolutions and linear layers against plain loops, in both formats, on every instruction set of this machine.

mod common;

use common::{Kind, Parts, Problem, assert_solves, pace, relative_error};
use livewebcam_kernels::{
    Activation, Cpu, Edge, Epilogue, Format, GroupNorm, Isa, MapSize, Packed, WeightShape, Window,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Of the magnitude of what is summed: a few roundings of `f32`.
const TOLERANCE: f64 = 1e-6;

/// The same of whole numbers that share a scale: a quarter of what rounding an operand to `bf16` may do.
const NEAR: f64 = 0.25 / 512.0;

const ALL: Parts = Parts(7, Activation::Silu);

const SAME: Window = Window { size: 3, stride: 1, before: 1, after: 1, repeat: 1, edge: Edge::Zeros };

fn map(batch: usize, height: usize, width: usize, channels: usize) -> MapSize {
    MapSize { batch, height, width, channels }
}

fn check(problem: &Problem) {
    problem.on_each(|y, solution, kind, what| {
        let tolerance = if kind == Kind::Near { NEAR } else { TOLERANCE };
        assert_solves(y, solution, tolerance, what);
    });
}

fn check_shape(size: MapSize, window: Window, outputs: usize, parts: Parts) {
    check(&Problem::random(7, size, window, outputs, parts));
}

#[test]
fn a_point_is_a_pixel() {
    check_shape(map(1, 1, 1, 1), Window::POINT, 1, ALL);
    check_shape(map(2, 1, 1, 320), Window::POINT, 1280, ALL);
    check_shape(map(2, 5, 7, 33), Window::POINT, 47, ALL);
}

#[test]
fn nothing_is_nothing() {
    check_shape(map(0, 8, 8, 32), SAME, 16, ALL);
    check_shape(map(0, 5, 7, 33), Window::POINT, 47, ALL);
}

#[test]
fn windows_move_and_reach_beyond_the_edges() {
    check_shape(map(2, 9, 7, 20), SAME, 18, ALL);
    check_shape(map(1, 8, 8, 16), Window { stride: 2, ..SAME }, 16, ALL);
    check_shape(map(2, 9, 6, 16), Window { stride: 2, before: 0, ..SAME }, 32, ALL);
    check_shape(map(1, 6, 9, 17), Window { after: 0, ..SAME }, 5, ALL);
    check_shape(map(1, 5, 4, 8), Window { before: 0, after: 0, ..SAME }, 16, ALL);
    check_shape(map(1, 3, 2, 3), Window { before: 3, after: 2, ..SAME }, 4, ALL);
    check_shape(map(1, 9, 9, 3), Window { size: 9, before: 4, after: 4, ..SAME }, 32, ALL);
    check_shape(map(1, 6, 8, 6), Window { size: 2, stride: 2, before: 0, after: 0, ..SAME }, 9, ALL);
}

#[test]
fn edges_are_mirrored() {
    let mirrored = Window { edge: Edge::Mirrored, ..SAME };
    let wide = Window { size: 9, before: 4, after: 4, ..mirrored };
    check_shape(map(2, 9, 7, 20), mirrored, 18, ALL);
    check_shape(map(1, 25, 26, 64), mirrored, 17, ALL);
    check_shape(map(1, 9, 8, 16), Window { stride: 2, ..mirrored }, 16, ALL);
    check_shape(map(1, 4, 5, 12), Window { repeat: 2, ..mirrored }, 20, ALL);
    check_shape(map(1, 13, 11, 3), wide, 32, ALL);
    check_shape(map(2, 15, 13, 32), Window { stride: 2, ..mirrored }, 40, ALL);
    for (height, width) in [(1, 1), (1, 2), (3, 1), (2, 3)] {
        check_shape(map(2, height, width, 3), wide, 5, ALL);
        check_shape(map(1, height, width, 40), mirrored, 5, ALL);
    }
}

#[test]
fn maps_are_upsampled_first() {
    check_shape(map(2, 4, 5, 24), Window { repeat: 2, ..SAME }, 20, ALL);
    check_shape(map(1, 3, 3, 4), Window { repeat: 3, stride: 2, ..SAME }, 16, ALL);
    check_shape(map(1, 3, 5, 40), Window { repeat: 2, ..Window::POINT }, 16, ALL);
}

#[test]
fn sums_are_short_and_long() {
    check_shape(map(1, 10, 12, 4), SAME, 320, ALL);
    check_shape(map(1, 16, 16, 320), SAME, 4, ALL);
    check_shape(map(1, 8, 8, 640), SAME, 40, ALL);
    check_shape(map(1, 3, 4, 259), SAME, 33, ALL);
}

#[test]
fn rows_are_many() {
    check_shape(map(1, 31, 37, 19), SAME, 70, ALL);
    check_shape(map(2, 23, 24, 64), Window::POINT, 96, ALL);
    // Rows that are not converted all at once.
    let side = pace::choose(120, 20);
    check_shape(map(1, side, side, 320), Window::POINT, 40, ALL);
}

#[test]
fn tiles_are_many() {
    let side = pace::choose(126, 46);
    check_shape(map(1, side, side + 1, 32), SAME, 5, ALL);
    check_shape(map(pace::choose(2, 1), 25, 26, 160), Window { repeat: 2, ..SAME }, 17, ALL);
    check_shape(map(3, 8, 8, 320), SAME, 48, ALL);
}

#[test]
fn lines_of_pixels_are_tiles() {
    // Widths of whole tiles, and less; more inputs than are added up at once; and more of a line than that.
    check_shape(map(2, 7, 16, 64), SAME, 33, ALL);
    check_shape(map(2, 8, 8, 32), SAME, 16, ALL);
    check_shape(map(3, 12, 33, 64), Window { stride: 2, ..SAME }, 47, ALL);
    check_shape(map(2, 5, 8, 32), Window { repeat: 2, edge: Edge::Mirrored, ..SAME }, 20, ALL);
    check_shape(map(2, 4, 6, 448), SAME, 32, ALL);
    check_shape(map(1, 3, 5, 1056), SAME, 70, ALL);
    check_shape(map(2, 3, 15, 3104), Window::POINT, 18, ALL);
    // A map that is not multiplied all at once.
    check_shape(map(1, pace::choose(270, 20), 512, 32), SAME, 5, ALL);
}

#[test]
fn a_map_is_normalised_on_the_way() {
    for (size, window) in [(map(2, 9, 7, 64), SAME), (map(1, 16, 16, 96), Window { stride: 2, before: 0, ..SAME })] {
        let rng = &mut StdRng::seed_from_u64(3);
        let mut noise = |count: usize| -> Vec<f32> { (0..count).map(|_| rng.random_range(-2.0..3.0)).collect() };
        let shape = WeightShape { outputs: 40, channels: size.channels, taps: 9 };
        let weight = Packed::pack(&noise(shape.outputs * shape.inputs()), shape, Format::Bf16);
        let (x, scale, bias) = (noise(size.values()), noise(size.channels), noise(size.channels));
        let norm = GroupNorm { weight: &scale, bias: &bias, groups: 8, eps: 1e-5, activation: Activation::Silu };
        let epilogue = Epilogue::default();
        for cpu in Isa::available().iter().filter_map(|isa| Cpu::with(*isa)) {
            if cpu.normalises(&x, size, window, &weight) {
                let mut first = vec![0.0; x.len()];
                cpu.group_norm(&x, size.batch, norm, &mut first);
                let [mut expected, mut found] = [(); 2].map(|()| vec![0.0; window.of(size, shape.outputs).values()]);
                cpu.conv2d(&first, size, window, &weight, epilogue, &mut expected);
                cpu.conv2d_normalised(&x, size, norm, window, &weight, epilogue, &mut found);
                assert_eq!(found, expected, "{}", cpu.isa());
            }
        }
    }
}

#[test]
fn outputs_are_few() {
    check_shape(map(2, 37, 210, 20), SAME, 3, ALL);
    check_shape(map(1, 9, 5, 64), Window { before: 2, after: 0, ..SAME }, 4, ALL);
    check_shape(map(2, 3, 4, 8), Window { before: 3, after: 2, ..SAME }, 1, ALL);
    check_shape(map(1, 6, 7, 33), Window { size: 2, before: 0, after: 0, ..SAME }, 2, ALL);
    let wide = Window { size: 9, before: 4, after: 4, ..SAME };
    check_shape(map(1, 12, 200, 8), wide, 3, ALL);
    for (height, width) in [(1, 1), (1, 2), (3, 1), (2, 3), (11, 13)] {
        check_shape(map(2, height, width, 32), Window { edge: Edge::Mirrored, ..wide }, 3, ALL);
        check_shape(map(1, height, width, 5), wide, 4, ALL);
    }
    check_shape(map(1, 40, 9, 16), Window { edge: Edge::Mirrored, ..SAME }, 3, ALL);
}

#[test]
fn outputs_of_doubled_pixels_are_few() {
    for edge in [Edge::Zeros, Edge::Mirrored] {
        let doubled = Window { repeat: 2, edge, ..SAME };
        check_shape(map(2, 9, 14, 32), doubled, 8, ALL);
        check_shape(map(1, 14, 9, 8), doubled, 4, ALL);
        check_shape(map(1, 5, 6, 37), doubled, 3, Parts(0, Activation::None));
        for (height, width) in [(1, 1), (1, 2), (3, 1)] {
            check_shape(map(2, height, width, 5), doubled, 7, ALL);
        }
    }
}

#[test]
fn rounding_stays_near_that_of_plain_sums() {
    let problem = Problem::random(5, map(1, 12, 16, 320), SAME, 32, Parts(0, Activation::None));
    problem.on_each(|y, solution, kind, what| {
        // Adding up 2880 products one after the other errs by 1.0e-6, and rounding one operand to bf16 by 1.7e-3.
        let bound = if kind == Kind::Near { 1.2e-3 } else { 2e-6 };
        let error = relative_error(y, solution);
        assert!(error < bound, "{what}: {error:e}");
    });
}

#[test]
fn each_part_of_the_epilogue_counts_alone() {
    for parts in 0..8 {
        check_shape(map(2, 5, 3, 12), SAME, 21, Parts(parts, Activation::None));
    }
    for activation in [Activation::Silu, Activation::Relu, Activation::Gelu, Activation::QuickGelu] {
        check_shape(map(2, 5, 3, 12), SAME, 21, Parts(0, activation));
    }
}

#[test]
fn a_linear_layer_is_a_convolution_of_points() {
    for (batch, rows, inputs, outputs) in [(1, 1, 320, 1280), (2, 1, 100, 17), (1, 77, 96, 200), (2, 77, 65, 48)] {
        let problem = Problem::random(3, map(batch, 1, rows, inputs), Window::POINT, outputs, ALL);
        check(&problem);
        for format in [Format::F32, Format::Bf16] {
            let weight = Packed::pack(&problem.weight, problem.shape, format);
            let (mut y, mut expected) =
                (vec![f32::NAN; batch * rows * outputs], vec![f32::NAN; batch * rows * outputs]);
            let cpu = Cpu::detect();
            cpu.linear(&problem.x, batch, &weight, problem.epilogue(), &mut y);
            cpu.conv2d(&problem.x, problem.size, problem.window, &weight, problem.epilogue(), &mut expected);
            assert_eq!(y, expected);
        }
    }
}

#[test]
fn what_is_not_a_number_stays_near_its_pixel() {
    let mut problem = Problem::random(2, map(1, 40, 40, 64), SAME, 32, Parts(1, Activation::None));
    let (row, column, outputs) = (21, 18, problem.shape.outputs);
    for strange in [f32::NAN, f32::INFINITY] {
        problem.x[(row * 40 + column) * 64 + 7] = strange;
        problem.on_each_cpu(|cpu, weight, format| {
            let mut y = vec![0.0; 40 * 40 * outputs];
            cpu.conv2d(&problem.x, problem.size, problem.window, weight, problem.epilogue(), &mut y);
            for (pixel, y) in y.chunks_exact(outputs).enumerate() {
                let away = (pixel / 40).abs_diff(row).max((pixel % 40).abs_diff(column));
                let what = format!("{}, {format:?}: {away} pixels from {strange}", cpu.isa());
                assert!(away > 1 || y.iter().all(|y| !y.is_finite()), "{what}");
                assert!(away < 8 || y.iter().all(|y| y.is_finite()), "{what}");
            }
        });
    }
}

#[test]
fn an_empty_map_becomes_the_bias() {
    let mut problem = Problem::random(2, map(1, 40, 40, 64), SAME, 32, Parts(1, Activation::None));
    problem.x.fill(0.0);
    problem.on_each_cpu(|cpu, weight, format| {
        let mut y = vec![f32::NAN; 40 * 40 * 32];
        cpu.conv2d(&problem.x, problem.size, problem.window, weight, problem.epilogue(), &mut y);
        let bias = problem.bias.as_deref().expect("a bias");
        assert!(y.chunks_exact(32).all(|y| y == bias), "{}, {format:?}", cpu.isa());
    });
}

#[test]
fn gates_are_the_second_half() {
    for (rows, inputs, width) in [(1, 1, 1), (5, 7, 3), (13, 96, 16), (300, 320, 160)] {
        let parts = Parts(1, Activation::None);
        let problem = Problem::random(9, map(1, 1, rows, inputs), Window::POINT, 2 * width, parts);
        problem.on_each_cpu(|cpu, weight, format| {
            let what = format!("{}, {format:?}, {rows} of {inputs}→{width}", cpu.isa());
            let (mut both, mut y) = (vec![f32::NAN; rows * 2 * width], vec![f32::NAN; rows * width]);
            cpu.linear(&problem.x, 1, weight, problem.epilogue(), &mut both);
            cpu.linear_geglu(&problem.x, weight, problem.bias.as_deref(), &mut y);
            let mut gates = both.clone();
            cpu.activate(Activation::Gelu, &mut gates);
            for (index, found) in y.iter().enumerate() {
                let at = index / width * 2 * width + index % width;
                let wanted = both[at] * gates[at + width];
                assert!((found - wanted).abs() <= 1e-6 * wanted.abs(), "{what}: {index} is {found}, not {wanted}");
            }
        });
    }
}

#[test]
fn any_shape_will_do() {
    let rng = &mut StdRng::seed_from_u64(11);
    let (rounds, larger) = pace::choose((50, 20), (30, 12));
    for seed in 0..rounds {
        let size = [rng.random_range(1..=4), 3][seed as usize % 2];
        let window = Window {
            size,
            stride: [rng.random_range(1..=2), 1][seed as usize % 2],
            before: rng.random_range(0..size),
            after: rng.random_range(0..size),
            repeat: rng.random_range(1..=2),
            edge: [Edge::Zeros, Edge::Mirrored][rng.random_range(0..2)],
        };
        let side = |rng: &mut StdRng| rng.random_range(size..=size + larger);
        let channels = [rng.random_range(1..=70), 16 * rng.random_range(1..=8)][seed as usize % 2];
        let size = map(rng.random_range(1..=2), side(rng), side(rng), channels);
        let parts = Parts(rng.random_range(0..8), Activation::None);
        check(&Problem::random(seed, size, window, rng.random_range(1..=70), parts));
    }
}

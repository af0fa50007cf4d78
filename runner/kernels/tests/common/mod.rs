//! Random problems, and their solutions in plain loops with sums in `f64`.

pub(crate) mod pace;

use half::bf16;
use livewebcam_kernels::{Activation, Cpu, Edge, Epilogue, Format, Isa, MapSize, Packed, WeightShape, Window};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

/// Numbers between -1 and 1.
pub fn noise(rng: &mut StdRng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// A convolution with everything that belongs to it.
pub struct Problem {
    pub size: MapSize,
    pub window: Window,
    pub shape: WeightShape,
    pub x: Vec<f32>,
    pub weight: Vec<f32>,
    pub bias: Option<Vec<f32>>,
    pub shift: Option<Vec<f32>>,
    pub residual: Option<Vec<f32>>,
    pub activation: Activation,
}

/// What a problem's values are, and of what magnitude their terms.
pub type Solution = Vec<(f64, f64)>;

/// What an instruction set computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The solution, of rounded operands or as they are, with sums in `f32`.
    Exact,
    /// Something near it, with fewer bits than `f32`.
    Near,
}

/// Which parts of the epilogue there are: bits 1, 2 and 4 for the bias, the shift and the residual.
#[derive(Clone, Copy)]
pub struct Parts(pub u32, pub Activation);

impl Problem {
    pub fn random(seed: u64, size: MapSize, window: Window, outputs: usize, parts: Parts) -> Self {
        let rng = &mut StdRng::seed_from_u64(seed);
        let shape = WeightShape { outputs, channels: size.channels, taps: window.size * window.size };
        let values = window.of(size, outputs).values();
        Self {
            x: noise(rng, size.values()),
            weight: noise(rng, outputs * shape.inputs()),
            bias: (parts.0 & 1 != 0).then(|| noise(rng, outputs)),
            shift: (parts.0 & 2 != 0).then(|| noise(rng, size.batch * outputs)),
            residual: (parts.0 & 4 != 0).then(|| noise(rng, values)),
            activation: parts.1,
            size,
            window,
            shape,
        }
    }

    pub fn epilogue(&self) -> Epilogue<'_> {
        Epilogue {
            bias: self.bias.as_deref(),
            shift: self.shift.as_deref(),
            residual: self.residual.as_deref(),
            activation: self.activation,
        }
    }

    /// On each instruction set of this machine, with weights of each format: what it computes, the solution, what that is for
    /// it, and a name.
    pub fn on_each(&self, mut check: impl FnMut(&[f32], &Solution, Kind, &str)) {
        let solutions = [(Format::F32, false), (Format::Bf16, false), (Format::Bf16, true)].map(|(format, round)| {
            if round && !Isa::best().rounds() { Solution::new() } else { self.solve(format, round) }
        });
        self.on_each_cpu(|cpu, weight, format| {
            let mut y = vec![f32::NAN; solutions[0].len()];
            cpu.conv2d(&self.x, self.size, self.window, weight, self.epilogue(), &mut y);
            let [of_f32, exact, rounded] = &solutions;
            let (solution, kind) = match format {
                Format::F32 => (of_f32, Kind::Exact),
                // What it was meant to be is told by what it is nearest to.
                Format::Bf16 if cpu.isa().rounds() && relative_error(&y, rounded) < 1e-5 => (rounded, Kind::Exact),
                Format::Bf16 => (exact, if cpu.isa().approximates() { Kind::Near } else { Kind::Exact }),
            };
            let Self { size, window, shape, .. } = self;
            let what = format!("{}, {format:?}, {size:?}, {window:?}, {} outputs", cpu.isa(), shape.outputs);
            check(&y, solution, kind, &what);
        });
    }

    /// Each instruction set of this machine, with the weight in each format.
    pub fn on_each_cpu(&self, mut work: impl FnMut(Cpu, &Packed, Format)) {
        for format in [Format::F32, Format::Bf16] {
            let weight = Packed::pack(&self.weight, self.shape, format);
            for &isa in Isa::available() {
                work(Cpu::with(isa).expect("it is available"), &weight, format);
            }
        }
    }

    /// The result, and for each value the sum of all its terms' magnitudes.
    fn solve(&self, format: Format, round: bool) -> Solution {
        let Self { size, window, shape, .. } = *self;
        let out = window.of(size, shape.outputs);
        let rounded = |x: f32, round: bool| f64::from(if round { bf16::from_f32(x).to_f32() } else { x });
        let x: Vec<f64> = (self.x.iter()).map(|&x| rounded(x, round)).collect();
        let weight: Vec<f64> = self.weight.iter().map(|&w| rounded(w, format == Format::Bf16)).collect();
        let source = |position: usize, length: usize| {
            let (at, last) = (position as isize - window.before as isize, (length * window.repeat) as isize - 1);
            let at = match window.edge {
                Edge::Zeros => at,
                Edge::Mirrored => bounce(at, last),
            };
            (0..=last).contains(&at).then(|| at as usize / window.repeat)
        };
        let of_pixel = |pixel: usize| -> Vec<(f64, f64)> {
            let (picture, row, column) =
                (pixel / (out.height * out.width), pixel / out.width % out.height, pixel % out.width);
            let of_output = |output: usize| {
                let (mut sum, mut magnitude) = (0.0, 0.0);
                let mut add = |term: f64| (sum, magnitude) = (sum + term, magnitude + term.abs());
                for tap in 0..shape.taps {
                    let i = source(row * window.stride + tap / window.size, size.height);
                    let j = source(column * window.stride + tap % window.size, size.width);
                    let (Some(i), Some(j)) = (i, j) else { continue };
                    let pixel = &x[((picture * size.height + i) * size.width + j) * size.channels..];
                    for (channel, x) in pixel[..size.channels].iter().enumerate() {
                        add(x * weight[(output * size.channels + channel) * shape.taps + tap]);
                    }
                }
                let part = |part: &Option<Vec<f32>>, row: usize| {
                    part.as_ref().map_or(0.0, |values| f64::from(values[row * shape.outputs + output]))
                };
                add(part(&self.bias, 0));
                add(part(&self.shift, picture));
                add(part(&self.residual, pixel));
                (activate(self.activation, sum), magnitude)
            };
            (0..shape.outputs).map(of_output).collect()
        };
        (0..out.values() / out.channels).into_par_iter().flat_map_iter(of_pixel).collect()
    }
}

/// A position that turns around at 0 and at the last one.
fn bounce(mut at: isize, last: isize) -> isize {
    while last > 0 && !(0..=last).contains(&at) {
        at = if at < 0 { -at } else { 2 * last - at };
    }
    at.clamp(0, last)
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::None => x,
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Relu => x.max(0.0),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
        Activation::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
    }
}

/// By its Taylor series, which is exact enough for the small numbers here.
fn erf(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..150 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}

/// `y` is the solution, but for `tolerance` times the largest magnitude of what was summed: near an edge, where most terms
/// are zeros, a sum that is made of others' differences is no more exact than elsewhere.
pub fn assert_solves(y: &[f32], solution: &[(f64, f64)], tolerance: f64, what: &str) {
    assert_eq!(y.len(), solution.len(), "{what}");
    let largest = solution.iter().map(|&(_, magnitude)| magnitude).fold(0.0, f64::max);
    for (index, (&y, &(expected, _))) in y.iter().zip(solution).enumerate() {
        let error = (f64::from(y) - expected).abs();
        assert!(error <= tolerance * largest, "{what}: value {index} is {y}, not {expected}");
    }
}

/// The root of the mean of the squared errors, in roots of the mean of the squared solution.
pub fn relative_error(y: &[f32], solution: &[(f64, f64)]) -> f64 {
    let errors: f64 = y.iter().zip(solution).map(|(&y, &(expected, _))| (f64::from(y) - expected).powi(2)).sum();
    let squares: f64 = solution.iter().map(|&(expected, _)| expected.powi(2)).sum();
    (errors / squares).sqrt()
}

//! The speed of attention, gated linear layers, normalisations and activations in Stable Diffusion's shapes:
//! `cargo bench -p livewebcam-kernels --bench attention -- [--threads N] [--seconds S] [WORD…]`. Of the lines, those that
//! contain all of the words.
//!
//! Times are medians of wall clock, and the least time that all threads together were on a processor, which other
//! programs on the machine disturb less. Speeds are for the latter: of products in their operations alone,
//! of the rest in bytes that are read and written once.

use std::hint::black_box;
use std::time::{Duration, Instant};

use half::bf16;
use livewebcam_kernels::{
    Activation, Cpu, Format, GroupNorm, Heads, Isa, LayerNorm, Mask, Packed, Values, ValuesMut, WeightShape,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

fn main() {
    let (mut threads, mut seconds, mut words) = (0, 0.5, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|value| value.parse::<f64>().ok()).expect("a number");
        match argument.as_str() {
            "--threads" => threads = number() as usize,
            "--seconds" => seconds = number(),
            "--bench" => {}
            _ => words.push(argument),
        }
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
    let threads = pool.current_num_threads();
    println!("{threads} threads\n{:<44} {:>9} {:>9} {:>8}", "", "wall ms", "CPU ms", "");
    for isa in Isa::available().iter().rev() {
        let cpu = Cpu::with(*isa).expect("it is available");
        for case in cases() {
            let name = format!("{isa} {}", case.name());
            if words.iter().all(|word| name.contains(word.as_str())) {
                let (wall, busy) = pool.install(|| case.time(cpu, Duration::from_secs_f64(seconds)));
                let speed = case.work() / busy * threads as f64 / 1e9;
                println!("{name:<44} {:>9.3} {:>9.3} {speed:>8.1} {}", wall * 1e3, busy * 1e3, case.unit());
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Case {
    Attention(Heads, Mask),
    GroupNorm { pixels: usize, channels: usize, activation: Activation },
    LayerNorm { rows: usize, width: usize },
    Geglu { rows: usize, inputs: usize },
    Activate(Activation),
}

/// Values of the map that activations are applied to.
const ACTIVATED: usize = 4096 * 1280;

fn cases() -> Vec<Case> {
    let heads =
        |queries, keys, heads, width| Case::Attention(Heads { batch: 1, queries, keys, heads, width }, Mask::None);
    let text = |heads| Case::Attention(Heads { batch: 1, queries: 77, keys: 77, heads, width: 64 }, Mask::Causal);
    let group = |side: usize, channels| Case::GroupNorm { pixels: side * side, channels, activation: Activation::Silu };
    vec![
        heads(4096, 4096, 5, 64),
        heads(1024, 1024, 10, 64),
        heads(256, 256, 20, 64),
        heads(64, 64, 20, 64),
        heads(4096, 77, 5, 64),
        heads(1024, 77, 10, 64),
        heads(256, 77, 20, 64),
        heads(4096, 4096, 8, 40),
        heads(1024, 1024, 8, 80),
        heads(256, 256, 8, 160),
        heads(4096, 77, 8, 40),
        heads(4096, 4096, 1, 512),
        text(12),
        text(20),
        group(64, 320),
        group(64, 960),
        group(32, 640),
        group(16, 1280),
        group(8, 2560),
        group(512, 128),
        group(256, 256),
        Case::GroupNorm { pixels: 64 * 64, channels: 320, activation: Activation::None },
        Case::LayerNorm { rows: 4096, width: 320 },
        Case::LayerNorm { rows: 256, width: 1280 },
        Case::LayerNorm { rows: 77, width: 1024 },
        Case::Geglu { rows: 4096, inputs: 320 },
        Case::Geglu { rows: 256, inputs: 1280 },
        Case::Activate(Activation::Silu),
        Case::Activate(Activation::Gelu),
    ]
}

impl Case {
    fn name(self) -> String {
        match self {
            Self::Attention(Heads { queries, keys, heads, width, .. }, mask) => {
                let causal = if mask == Mask::Causal { " causal" } else { "" };
                format!("attention {queries} to {keys}, {heads} of {width}{causal}")
            }
            Self::GroupNorm { pixels, channels, activation } => {
                format!("group norm {pixels} of {channels}, {activation:?}")
            }
            Self::LayerNorm { rows, width } => format!("layer norm {rows} of {width}"),
            Self::Geglu { rows, inputs } => format!("gated linear {rows} of {inputs}"),
            Self::Activate(activation) => format!("activation {activation:?}"),
        }
    }

    /// Operations or bytes.
    fn work(self) -> f64 {
        let work = match self {
            Self::Attention(Heads { batch, queries, keys, heads, width }, _) => {
                4 * batch * queries * keys * heads * width
            }
            // The input is read twice.
            Self::GroupNorm { pixels, channels, .. } => 12 * pixels * channels,
            Self::LayerNorm { rows, width } => 8 * rows * width,
            Self::Geglu { rows, inputs } => 16 * rows * inputs * inputs,
            Self::Activate(_) => 8 * ACTIVATED,
        };
        work as f64
    }

    fn unit(self) -> &'static str {
        if matches!(self, Self::Attention(..) | Self::Geglu { .. }) { "GFLOP/s" } else { "GB/s" }
    }

    /// Seconds on the clock and on the processors.
    fn time(self, cpu: Cpu, least: Duration) -> (f64, f64) {
        let rng = &mut StdRng::seed_from_u64(1);
        let mut noise = |count: usize| -> Vec<f32> { (0..count).map(|_| rng.random_range(-2.0..2.0)).collect() };
        match self {
            Self::Attention(shape, mask) => {
                let channels = shape.batch * shape.heads * shape.width;
                let (q, k, v) =
                    (noise(shape.queries * channels), noise(shape.keys * channels), noise(shape.keys * channels));
                let mut y = noise(q.len());
                if cpu.isa().rounds() {
                    // As the layers around it make and take them.
                    let round = |x: &[f32]| -> Vec<bf16> { x.iter().copied().map(bf16::from_f32).collect() };
                    let (q, k, v, mut y) = (round(&q), round(&k), round(&v), round(&y));
                    return time(least, || {
                        let [q, k, v] = [&q, &k, &v].map(|x| Values::Bf16(black_box(x)));
                        cpu.attention(q, k, v, shape, mask, ValuesMut::Bf16(black_box(&mut y)));
                    });
                }
                time(least, || cpu.attention(black_box(&q), &k, &v, shape, mask, black_box(&mut y)))
            }
            Self::GroupNorm { pixels, channels, activation } => {
                let (x, mut y) = (noise(pixels * channels), noise(pixels * channels));
                let (weight, bias) = (noise(channels), noise(channels));
                let norm = GroupNorm { weight: &weight, bias: &bias, groups: 32, eps: 1e-5, activation };
                time(least, || cpu.group_norm(black_box(&x), 1, norm, black_box(&mut y)))
            }
            Self::LayerNorm { rows, width } => {
                let (x, mut y, weight, bias) = (noise(rows * width), noise(rows * width), noise(width), noise(width));
                let norm = LayerNorm { weight: &weight, bias: &bias, eps: 1e-5 };
                time(least, || cpu.layer_norm(black_box(&x), norm, black_box(&mut y)))
            }
            Self::Geglu { rows, inputs } => {
                let shape = WeightShape { outputs: 8 * inputs, channels: inputs, taps: 1 };
                let weight = Packed::pack(&noise(shape.outputs * inputs), shape, Format::Bf16);
                let (x, bias, mut y) = (noise(rows * inputs), noise(shape.outputs), noise(rows * 4 * inputs));
                time(least, || cpu.linear_geglu(black_box(&x), &weight, Some(&bias), black_box(&mut y)))
            }
            Self::Activate(activation) => {
                let mut x = noise(ACTIVATED);
                time(least, || cpu.activate(activation, black_box(&mut x)))
            }
        }
    }
}

/// The median wall time and the least processor time of runs that go on for `least`.
fn time(least: Duration, mut work: impl FnMut()) -> (f64, f64) {
    let (mut walls, mut busiest) = (Vec::new(), f64::INFINITY);
    let begin = Instant::now();
    while walls.len() < 5 || begin.elapsed() < least {
        let (wall, busy) = (Instant::now(), on_processors());
        work();
        busiest = busiest.min(on_processors() - busy);
        walls.push(wall.elapsed().as_secs_f64());
    }
    walls.sort_by(f64::total_cmp);
    (walls[walls.len() / 2], busiest)
}

/// How many seconds all threads of this process have been on a processor.
fn on_processors() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it only writes the time.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(status, 0, "the clock is there");
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

//! The speed of products of Stable Diffusion's shapes: `cargo bench -p livewebcam-kernels -- [--threads N] [--seconds S] [WORD…]`.
//! Of the lines, those that contain all of the words.
//!
//! Times are medians of wall clock, and the least time that all threads together were on a processor, which other
//! programs on the machine disturb less. Operations are those of the plain sums, so that a share of the peak above 1 is
//! an algorithm that needs fewer.

use std::hint::black_box;
use std::time::Instant;

use livewebcam_kernels::{Cpu, Edge, Epilogue, Format, Isa, MapSize, Packed, WeightShape, Window};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::peak::{peak, peaks_from_cache, time_of};

mod peak;

const SAME: Window = Window { size: 3, stride: 1, before: 1, after: 1, repeat: 1, edge: Edge::Zeros };

const WIDE: Window = Window { size: 9, before: 4, after: 4, edge: Edge::Mirrored, ..SAME };

struct Options {
    threads: usize,
    seconds: f64,
    words: Vec<String>,
}

impl Options {
    fn parse() -> Self {
        let mut options = Self { threads: 0, seconds: 0.5, words: Vec::new() };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number = || arguments.next().and_then(|value| value.parse::<f64>().ok()).expect("a number");
            match argument.as_str() {
                "--threads" => options.threads = number() as usize,
                "--seconds" => options.seconds = number(),
                "--bench" => {}
                _ => options.words.push(argument),
            }
        }
        options
    }
}

fn main() {
    let options = Options::parse();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads).build().expect("threads start");
    let threads = pool.current_num_threads();
    let of_all = |speeds: Vec<f64>| speeds.into_iter().sum::<f64>();
    println!("{threads} threads, GFLOP/s from registers:");
    for isa in Isa::available().iter().copied() {
        for format in [Format::F32, Format::Bf16] {
            let peak = of_all(pool.broadcast(|_| peak(isa, format)));
            println!("{:<44} {:>28.1}", format!("{isa} {format:?}").to_lowercase(), peak / 1e9);
        }
        if peaks_from_cache(isa).is_some() {
            let peaks = pool.broadcast(|_| peaks_from_cache(isa).expect("it has been asked for"));
            for (index, how) in ["", ", and nops"].into_iter().enumerate() {
                let peak = of_all(peaks.iter().map(|peaks| peaks[index]).collect());
                println!("{:<44} {:>28.1}", format!("{isa} bf16, tiles from the first cache{how}"), peak / 1e9);
            }
        }
    }
    for format in [Format::F32, Format::Bf16] {
        let shape = WeightShape { outputs: 1280, channels: 1280, taps: 9 };
        let weight = vec![1.0; shape.outputs * shape.inputs()];
        let busy = on_processors();
        black_box(pool.install(|| Packed::pack(&weight, shape, format)));
        let speed = 4e-9 * weight.len() as f64 / (on_processors() - busy);
        println!("packing to {format:?}: {speed:.2} GB/s for each thread");
    }
    println!("{:<44} {:>9} {:>9} {:>8} {:>6}", "", "wall ms", "CPU ms", "GFLOP/s", "share");
    for isa in Isa::available().iter().rev().copied() {
        for format in [Format::F32, Format::Bf16] {
            let peak = of_all(pool.broadcast(|_| peak(isa, format)));
            for case in cases() {
                let name = format!("{isa} {format:?} {}", case.name()).to_lowercase();
                if options.words.iter().all(|word| name.contains(word)) {
                    let (wall, cpu) = pool.install(|| case.time(isa, format, options.seconds));
                    let speed = case.operations() / cpu * threads as f64;
                    let (wall, cpu, gigas) = (wall * 1e3, cpu * 1e3, speed / 1e9);
                    println!("{name:<44} {wall:>9.3} {cpu:>9.3} {gigas:>8.1} {:>6.2}", speed / peak);
                }
            }
        }
    }
}

struct Case {
    size: MapSize,
    window: Window,
    outputs: usize,
}

fn cases() -> Vec<Case> {
    let map = |height, width, channels| MapSize { batch: 1, height, width, channels };
    let conv = |side, channels, outputs| Case { size: map(side, side, channels), window: SAME, outputs };
    let linear = |rows, inputs, outputs| Case { size: map(1, rows, inputs), window: Window::POINT, outputs };
    vec![
        conv(64, 4, 320),
        conv(64, 320, 320),
        conv(64, 960, 320),
        Case { size: map(64, 64, 320), window: Window { stride: 2, ..SAME }, outputs: 320 },
        Case { size: map(32, 32, 640), window: Window { repeat: 2, ..SAME }, outputs: 640 },
        conv(32, 640, 640),
        conv(16, 1280, 1280),
        conv(8, 1280, 1280),
        linear(1, 1280, 1280),
        linear(77, 1024, 1024),
        linear(64, 1280, 10240),
        linear(1024, 640, 5120),
        linear(4096, 320, 2560),
        linear(4096, 1280, 320),
        conv(512, 64, 64),
        conv(512, 128, 128),
        conv(256, 256, 256),
        conv(128, 512, 512),
        conv(64, 512, 512),
        conv(512, 128, 3),
        conv(64, 320, 4),
        conv(512, 64, 3),
        // The starter's.
        Case { size: map(512, 512, 3), window: WIDE, outputs: 32 },
        Case { size: map(512, 512, 32), window: Window { stride: 2, edge: Edge::Mirrored, ..SAME }, outputs: 32 },
        Case { size: map(128, 128, 32), window: Window { edge: Edge::Mirrored, ..SAME }, outputs: 32 },
        Case { size: map(128, 128, 32), window: Window { repeat: 2, edge: Edge::Mirrored, ..SAME }, outputs: 8 },
        Case { size: map(256, 256, 8), window: Window { repeat: 2, edge: Edge::Mirrored, ..SAME }, outputs: 4 },
        Case { size: map(512, 512, 4), window: WIDE, outputs: 3 },
    ]
}

impl Case {
    fn name(&self) -> String {
        let Self { size: MapSize { height, width, channels, .. }, window, outputs } = self;
        if *height == 1 {
            return format!("linear {width} {channels}→{outputs}");
        }
        let stride = if window.stride > 1 { " stride 2" } else { "" };
        let repeat = if window.repeat > 1 { " upsampled" } else { "" };
        format!("conv {height}×{width} {channels}→{outputs}{stride}{repeat}")
    }

    fn shape(&self) -> WeightShape {
        WeightShape { outputs: self.outputs, channels: self.size.channels, taps: self.window.size * self.window.size }
    }

    fn operations(&self) -> f64 {
        2.0 * (self.window.of(self.size, self.outputs).values() * self.shape().inputs()) as f64
    }

    /// Seconds on the clock and on the processors.
    fn time(&self, isa: Isa, format: Format, seconds: f64) -> (f64, f64) {
        let cpu = Cpu::with(isa).expect("it is available");
        let mut rng = StdRng::seed_from_u64(1);
        let mut noise = |count| -> Vec<f32> { (0..count).map(|_| rng.random_range(-1.0..1.0)).collect() };
        let (x, weight) = (noise(self.size.values()), noise(self.outputs * self.shape().inputs()));
        let weight = Packed::pack(&weight, self.shape(), format);
        let bias = noise(self.outputs);
        // Where it lies matters: a line of a cache is 16 numbers.
        let count = self.window.of(self.size, self.outputs).values();
        let mut y = noise(count + 16);
        let first = y.as_ptr().align_offset(64);
        let y = &mut y[first..first + count];
        let epilogue = Epilogue { bias: Some(&bias), ..Epilogue::default() };
        let (mut walls, mut least) = (Vec::new(), f64::INFINITY);
        let begin = Instant::now();
        while walls.len() < 5 || begin.elapsed().as_secs_f64() < seconds {
            let (wall, busy) = (Instant::now(), on_processors());
            cpu.conv2d(black_box(&x), self.size, self.window, &weight, epilogue, black_box(&mut *y));
            least = least.min(on_processors() - busy);
            walls.push(wall.elapsed().as_secs_f64());
        }
        walls.sort_by(f64::total_cmp);
        (walls[walls.len() / 2], least)
    }
}

/// How many seconds all threads of this process have been on a processor.
fn on_processors() -> f64 {
    time_of(libc::CLOCK_PROCESS_CPUTIME_ID)
}

//! `make bench`: how long everything takes, beside the peers.

use std::process::Command;

use anyhow::{Context, Result};
use livewebcam_jobs::JobId;
use livewebcam_kernels::{Format, Isa};
use livewebcam_runner::nn::profile::Kind;

use super::Options;
use super::child::Contender;
use super::cold::{self, Cold, Way};
use super::machine::Machine;
use super::peak::{peak, peaks_from_cache};
use super::place::{Place, run};
use super::race::{median, race};
use super::report::{Report, gigabytes, time};
use super::worker::PROMPT;

/// What is measured in warm processes: its name, its part as workers call it, and whether in f32 too.
const PARTS: [(&str, &str, bool); 7] = [
    ("UNet, one forward", "denoise", true),
    ("VAE encode", "encode", true),
    ("VAE decode", "decode", true),
    ("TAESD encode", "encode-taesd", true),
    ("TAESD decode", "decode-taesd", true),
    ("text encoder", "text", true),
    ("one warm frame with TAESD", "frame-taesd", false),
];

struct Bench<'a> {
    options: &'a Options,
    place: Place,
    machine: Machine,
    report: Report,
    /// Milliseconds of the UNet in each number format, and its multiplications and additions.
    unet: Vec<(&'static str, f64, f64)>,
}

pub(crate) fn measure(options: &Options) -> Result<()> {
    let (place, machine) = (Place::prepare(options)?, Machine::read()?);
    let mut bench = Bench { options, place, machine, report: Report::default(), unet: Vec::new() };
    let side = options.size;
    bench.report.line(format!("{}. {side}×{side}, batch 1, medians.", bench.machine.describe()));
    if !bench.machine.multiplies_bf16() {
        bench.report.line(
            "Products of bf16 are not faster than those of f32 here, so the peers compute in f32 where we store bf16.",
        );
    }
    bench.report.table(&["", "ours:", "peer", "peer's:", "ours ÷ peer's:"]);
    for (name, part, in_f32) in PARTS {
        for dtype in ["bf16", "f32"] {
            if dtype == "bf16" || in_f32 {
                bench.part(&format!("{name}, {dtype}"), part, dtype)?;
            }
        }
    }
    bench.starter()?;
    bench.cold()?;
    bench.profiles()?;
    bench.growth()?;
    bench.roofline()?;
    bench.report.keep(&bench.place, "speed.md", options.update)
}

impl Bench<'_> {
    fn wanted(&self, name: &str) -> bool {
        name.contains(&self.options.only)
    }

    /// The number format in which a user of the peers would compute on this machine.
    fn peers_dtype(&self, dtype: &'static str) -> &'static str {
        if self.machine.multiplies_bf16() { dtype } else { "f32" }
    }

    fn ours(&self, part: &str, dtype: &str, side: u32, threads: usize) -> Result<Contender> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["worker", part, dtype]).arg(&self.place.model).arg(self.place.photo(side)?);
        command.env("RAYON_NUM_THREADS", threads.to_string());
        Contender::start("ours", &mut command, &self.place.bench)
    }

    fn pytorch(&self, part: &str, dtype: &str, side: u32, threads: usize) -> Result<Contender> {
        let mut command = self.place.script("pytorch.py", threads);
        command.args([part, dtype]).arg(&self.place.model).arg(self.place.photo(side)?);
        let name = if part.starts_with("frame") { "diffusers" } else { "PyTorch" };
        Contender::start(&format!("{name} {dtype}"), &mut command, &self.place.bench)
    }

    fn openvino(&self, dtype: &str) -> Result<Contender> {
        let threads = self.machine.threads;
        let model = self.place.model.file_name().unwrap_or_default().to_string_lossy();
        let file = self.place.bench.join(format!("{model}-unet-openvino.xml"));
        let script = || self.place.script("unet_openvino.py", threads);
        if !file.exists() {
            run(script().arg("export").arg(&self.place.model).arg(&file))?;
        }
        let side = self.options.size.to_string();
        let mut command = script();
        command.arg(dtype).arg(&file).args([&side, &side]);
        Contender::start(&format!("OpenVINO {dtype}"), &mut command, &self.place.bench)
    }

    /// One part beside its peers.
    fn part(&mut self, name: &str, part: &str, dtype: &'static str) -> Result<()> {
        if !self.wanted(name) {
            return Ok(());
        }
        let (side, threads) = (self.options.size, self.machine.threads);
        let peers_dtype = self.peers_dtype(dtype);
        let mut contenders =
            vec![self.ours(part, dtype, side, threads)?, self.pytorch(part, peers_dtype, side, threads)?];
        if part == "denoise" {
            contenders.push(self.openvino(peers_dtype)?);
        }
        let medians = race(&mut contenders, self.options.rounds)?;
        if part == "denoise" {
            let (operations, _) = profile(&mut contenders[0])?;
            self.unet.push((dtype, medians[0], operations));
        }
        self.compare(name, &contenders, &medians, time);
        Ok(())
    }

    /// A row for each peer; the first contender is ours.
    fn compare(&mut self, name: &str, contenders: &[Contender], medians: &[f64], unit: fn(f64) -> String) {
        for (peer, median) in contenders.iter().zip(medians).skip(1) {
            let remark = if peer.remark.is_empty() { String::new() } else { format!(", {}", peer.remark) };
            self.ratio(name, medians[0], &format!("{}{remark}", peer.name), *median, unit);
        }
    }

    fn ratio(&mut self, name: &str, ours: f64, peer: &str, theirs: f64, unit: fn(f64) -> String) {
        self.report.row(&[name, &unit(ours), peer, &unit(theirs), &format!("{:.2}", ours / theirs)]);
    }

    fn starter(&mut self) -> Result<()> {
        let name = "`starter`, one warm frame";
        if !self.wanted(name) {
            return Ok(());
        }
        let (side, threads) = (self.options.size, self.machine.threads);
        let mut command = self.place.script("starter_onnx.py", threads);
        command.arg(self.place.project.join("runner/models/starter/starter.safetensors"));
        command.args([side.to_string(), side.to_string()]);
        let peer = Contender::start("onnxruntime", &mut command, &self.place.bench)?;
        let mut contenders = [self.ours("starter", "f32", side, threads)?, peer];
        let medians = race(&mut contenders, self.options.rounds)?;
        self.compare(name, &contenders, &medians, time);
        Ok(())
    }

    /// From the start of a process to the picture.
    fn cold(&mut self) -> Result<()> {
        let name = "one cold job with TAESD, bf16";
        if !self.wanted(name) {
            return Ok(());
        }
        let way = Way { dtype: "bf16", taesd: true, threads: self.machine.threads };
        let theirs = Way { dtype: self.peers_dtype("bf16"), ..way };
        let photo = self.place.photo(self.options.size)?;
        let mut samples: [Vec<Cold>; 3] = Default::default();
        // The first of each brings the files into memory, and our first packs the weights.
        for round in 0..=self.options.rounds {
            let known = cold::ours(&self.place, way, &photo, PROMPT)?;
            let new = cold::ours(&self.place, way, &photo, &format!("{PROMPT}, number {}", JobId::new()))?;
            let diffusers = cold::diffusers(&self.place, theirs, &photo)?;
            if round > 0 {
                samples.iter_mut().zip([known, new, diffusers]).for_each(|(samples, cold)| samples.push(cold));
            }
        }
        let of = |samples: &[Cold], value: fn(&Cold) -> f64| median(samples.iter().map(value).collect());
        let milliseconds = |cold: &Cold| cold.seconds * 1e3;
        let bytes = |cold: &Cold| cold.bytes as f64;
        let gigabytes = |bytes| gigabytes(bytes as u64);
        let [known, new, diffusers] = &samples;
        let peer = format!("diffusers {}", theirs.dtype);
        for (name, ours) in [(name.to_owned(), known), (format!("{name}, with a new prompt"), new)] {
            self.ratio(&name, of(ours, milliseconds), &peer, of(diffusers, milliseconds), time);
            self.ratio("its peak memory", of(ours, bytes), &peer, of(diffusers, bytes), gigabytes);
        }
        Ok(())
    }

    /// What our time is spent on.
    fn profiles(&mut self) -> Result<()> {
        let parts: Vec<_> =
            PARTS.into_iter().filter(|(name, part, _)| self.wanted(name) && !part.starts_with("frame")).collect();
        if parts.is_empty() {
            return Ok(());
        }
        self.report.line("\nWhat the time of ours goes into, in bf16, and its multiplications and additions:");
        let columns =
            ["", "convolutions:", "linear, 1×1:", "attention:", "norms:", "activations:", "else:", "operations:"];
        self.report.table(&columns);
        for (name, part, _) in parts {
            let mut ours = self.ours(part, "bf16", self.options.size, self.machine.threads)?;
            let (operations, shares) = profile(&mut ours)?;
            let rest = 1.0 - shares.iter().sum::<f64>();
            let mut cells = vec![name.to_owned()];
            cells.extend(shares.iter().chain([&rest]).map(|share| format!("{:.0} %", share * 100.0)));
            cells.push(format!("{:.1} billion", operations / 1e9));
            self.report.row(&cells);
        }
        Ok(())
    }

    /// How time grows with size and falls with threads.
    fn growth(&mut self) -> Result<()> {
        let name = "growth";
        if !self.wanted(name) {
            return Ok(());
        }
        self.report.line("\nHow time grows with size, and falls with threads, in bf16:");
        let dtype = self.peers_dtype("bf16");
        let (unet, frame) = (format!("UNet, PyTorch {dtype}:"), format!("frame, diffusers {dtype}:"));
        self.report.table(&["", "UNet, ours:", &unet, "frame with TAESD, ours:", &frame]);
        let sizes = self.options.sizes.iter().map(|&side| (side, self.machine.threads));
        let fewer = std::iter::successors(Some(self.machine.threads / 2), |threads| Some(threads / 2));
        let threads = fewer.take_while(|&threads| threads > 0).map(|threads| (self.options.size, threads));
        for (side, threads) in sizes.chain(threads).collect::<Vec<_>>() {
            let mut cells = vec![format!("{side}×{side}, {threads} threads")];
            for part in ["denoise", "frame-taesd"] {
                let mut contenders =
                    [self.ours(part, "bf16", side, threads)?, self.pytorch(part, dtype, side, threads)?];
                cells.extend(race(&mut contenders, self.options.rounds.min(3))?.into_iter().map(time));
            }
            self.report.row(&cells);
        }
        Ok(())
    }

    /// How near the UNet comes to what the processor can do.
    fn roofline(&mut self) -> Result<()> {
        if self.unet.is_empty() {
            return Ok(());
        }
        let (isa, threads) = (Isa::best(), self.machine.threads);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let of_all = |speed: &(dyn Fn() -> f64 + Sync)| pool.broadcast(|_| speed()).into_iter().sum::<f64>();
        self.report.line(format!(
            "\nWhat {threads} threads can do at most, and how much of it the UNet does; its operations are those of plain \
             sums, though some convolutions need fewer:\n"
        ));
        if peaks_from_cache(isa).is_some() {
            let cached = of_all(&|| peaks_from_cache(isa).map_or(f64::NAN, |[_, spaced]| spaced));
            self.report.line(format!("- {isa}, operands from the first cache: {:.0} GFLOP/s", cached / 1e9));
        }
        for (dtype, milliseconds, operations) in std::mem::take(&mut self.unet) {
            let format = if dtype == "bf16" { Format::Bf16 } else { Format::F32 };
            let most = of_all(&|| peak(isa, format));
            let speed = operations / milliseconds * 1e3;
            self.report.line(format!(
                "- {isa} for {dtype} weights, operands in registers: {:.0} GFLOP/s; the UNet: {:.0}, {:.0} %",
                most / 1e9,
                speed / 1e9,
                100.0 * speed / most
            ));
        }
        Ok(())
    }
}

/// Multiplications and additions of one run, and the shares of its time.
fn profile(ours: &mut Contender) -> Result<(f64, Vec<f64>)> {
    let answer = ours.ask("profile")?;
    let numbers: Vec<f64> =
        answer.split(' ').map(str::parse).collect::<std::result::Result<_, _>>().with_context(|| answer.clone())?;
    let (operations, shares) = numbers.split_first().context("no numbers")?;
    anyhow::ensure!(shares.len() == Kind::ALL.len(), "not a profile: {answer}");
    Ok((*operations, shares.to_vec()))
}

//! `make bench-model`: how near the pictures are to diffusers', and what a model of full size takes.

#[allow(dead_code, reason = "shared with the runner's tests")]
#[path = "../../../runner/tests/sd/small.rs"]
mod small;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use livewebcam_runner::sd::{Painting, Precision};

use self::small::{Case, cases, compare, fixtures, load, paint, picture};
use super::Options;
use super::child::Contender;
use super::cold::{self, Cold, Way};
use super::machine::Machine;
use super::place::{Place, run};
use super::report::{Report, gigabytes};
use super::worker::PROMPT;

/// How many times the error of diffusers in bf16 ours may be.
const BOUND: f32 = 1.2;

const MODELS: [&str; 5] = ["sd15", "sd21v", "sdturbo", "lcm", "sdxl"];

type Latents = HashMap<String, Tensor>;

pub(crate) fn measure(options: &Options) -> Result<()> {
    let (place, machine) = (Place::prepare(options)?, Machine::read()?);
    let mut report = Report::default();
    report.line(format!("{}.", machine.describe()));
    let mut beyond = Vec::new();
    if options.only.is_empty() || "cases".contains(&options.only) {
        beyond.extend(parity(&place, &machine, &mut report)?);
    }
    if options.only.is_empty() || "full size".contains(&options.only) {
        full_size(&place, &machine, options, &mut report)?;
        beyond.extend(rounding(&place, &machine, options, &mut report)?);
    }
    report.keep(&place, "model.md", false)?;
    let beyond = beyond.join(", ");
    ensure!(beyond.is_empty(), "in bf16 the latents' error is more than {BOUND} times that of diffusers: {beyond}");
    Ok(())
}

/// Every case of the fixtures. Returns those that are beyond the bound.
fn parity(place: &Place, machine: &Machine, report: &mut Report) -> Result<Vec<String>> {
    let diffusers = diffusers_bf16(place, machine)?;
    report.line("\nLatents: the largest difference from diffusers' in f32 over the largest value, at the worst step.");
    report.table(&["case", "PSNR:", "worst pixel:", "latents:", "in bf16:", "diffusers' in bf16:", "ours ÷ theirs:"]);
    let mut beyond = Vec::new();
    for model in MODELS {
        for taesd in [false, true] {
            let cases: Vec<Case> = cases(model).into_iter().filter(|case| case.taesd == taesd).collect();
            if cases.is_empty() {
                continue;
            }
            let folder = fixtures().join(model);
            let [full, half] = [Precision::F32, Precision::Bf16].map(|precision| load(&folder, taesd, precision));
            let (full, half) = (full?, half?);
            for case in cases {
                let name = format!("{model}-{}", case.name);
                let expected = read(&folder.join(format!("{}.safetensors", case.name)))?;
                let painting = paint(&full, &case);
                let (psnr, worst) = compare(&painting.image, &picture(&folder.join(format!("{}.png", case.name))));
                let ours = apart(&latents(&paint(&half, &case))?, &expected)?;
                let theirs = apart(&read(&diffusers.join(format!("{name}.safetensors")))?, &expected)?;
                if ours > BOUND * theirs {
                    beyond.push(name.clone());
                }
                report.row(&[
                    name,
                    format!("{psnr:.1} dB"),
                    worst.to_string(),
                    format!("{:.1e}", apart(&latents(&painting)?, &expected)?),
                    format!("{ours:.1e}"),
                    format!("{theirs:.1e}"),
                    format!("{:.2}", ours / theirs),
                ]);
            }
        }
    }
    Ok(beyond)
}

/// The folder in which diffusers left its latents of all cases.
fn diffusers_bf16(place: &Place, machine: &Machine) -> Result<PathBuf> {
    let folder = place.bench.join("cases-bf16");
    fs::create_dir_all(&folder)?;
    run(place.script("cases.py", machine.threads).arg(fixtures()).arg("bf16").arg(&folder))?;
    Ok(folder)
}

fn read(path: &Path) -> Result<Latents> {
    candle_core::safetensors::load(path, &Device::Cpu).with_context(|| format!("cannot read {}", path.display()))
}

fn latents(painting: &Painting) -> Result<Latents> {
    let trace = painting.trace.as_ref().context("a trace")?;
    let tensor = |(step, values): (usize, &Vec<f32>)| {
        Ok((format!("latents_{step}"), Tensor::from_slice(values, values.len(), &Device::Cpu)?))
    };
    trace.steps.iter().enumerate().map(tensor).collect()
}

/// The largest difference over the largest expected value, in the worst tensor that both have.
fn apart(found: &Latents, expected: &Latents) -> Result<f32> {
    let mut worst = 0.0_f32;
    for (name, expected) in expected.iter().filter(|(name, _)| name.starts_with("latents")) {
        let found = found.get(name).with_context(|| format!("{name} is missing"))?;
        let difference = found.flatten_all()?.sub(&expected.flatten_all()?)?.abs()?.max(0)?.to_scalar::<f32>()?;
        worst = worst.max(difference / expected.flatten_all()?.abs()?.max(0)?.to_scalar::<f32>()?);
    }
    Ok(worst)
}

/// Memory and seconds of one painting from the start of a process; the better of two runs, the first of which finds the
/// files in memory or brings them there.
fn full_size(place: &Place, machine: &Machine, options: &Options, report: &mut Report) -> Result<()> {
    let side = options.size;
    report.line(format!(
        "\nSD-Turbo at full size, {side}×{side}, one step, from the start of the process to the picture:"
    ));
    report.table(&["", "ours:", "peak memory:", "diffusers':", "peak memory:"]);
    let photo = place.photo(side)?;
    for (taesd, name) in [(true, "TAESD"), (false, "own VAE")] {
        for dtype in ["bf16", "f32"] {
            let way = Way { dtype, taesd, threads: machine.threads };
            let better = |a: Cold, b: Cold| if a.seconds < b.seconds { a } else { b };
            let ours = better(cold::ours(place, way, &photo, PROMPT)?, cold::ours(place, way, &photo, PROMPT)?);
            let mut cells = vec![format!("{name}, {dtype}"), format!("{:.2} s", ours.seconds), gigabytes(ours.bytes)];
            // Emulated, a painting may take an hour.
            if dtype == "f32" || machine.multiplies_bf16() {
                let theirs = better(cold::diffusers(place, way, &photo)?, cold::diffusers(place, way, &photo)?);
                cells.extend([format!("{:.2} s", theirs.seconds), gigabytes(theirs.bytes)]);
            } else {
                cells.extend(["", ""].map(str::to_owned));
            }
            report.row(&cells);
        }
    }
    Ok(())
}

/// How far the latents of full size are from diffusers' in f32. Returns what it is if that is beyond the bound.
fn rounding(place: &Place, machine: &Machine, options: &Options, report: &mut Report) -> Result<Option<String>> {
    let photo = place.photo(options.size)?;
    let latents = |command: &mut Command, name: &str, dtype: &str| -> Result<Latents> {
        command.args(["frame-taesd", dtype]).arg(&place.model).arg(&photo);
        let file = place.bench.join(format!("frame-{name}-{dtype}.safetensors"));
        let mut contender = Contender::start(&format!("{name} {dtype}"), command, &place.bench)?;
        contender.run()?;
        contender.ask(&format!("save {}", file.display()))?;
        read(&file)
    };
    let theirs = |dtype| latents(&mut place.script("pytorch.py", machine.threads), "diffusers", dtype);
    let ours = |dtype| {
        let mut command = Command::new(std::env::current_exe()?);
        latents(command.arg("worker"), "ours", dtype)
    };
    let expected = theirs("f32")?;
    let (full, ours) = (apart(&ours("f32")?, &expected)?, apart(&ours("bf16")?, &expected)?);
    let theirs = apart(&theirs("bf16")?, &expected)?;
    report.line(format!(
        "\nIts latents with TAESD, from diffusers' in f32: ours in f32 {full:.1e}, ours in bf16 {ours:.1e}, diffusers' in \
         bf16 {theirs:.1e}; ours ÷ theirs {:.2}.",
        ours / theirs
    ));
    Ok((ours > BOUND * theirs).then(|| format!("SD-Turbo at full size, {0}×{0}", options.size)))
}

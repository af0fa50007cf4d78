//! `livewebcam-runner`: see `livewebcam-runner --help`.

use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use livewebcam_jobs::{Root, local};
use livewebcam_runner::cli::{Cli, Command, Img2img};
use livewebcam_runner::fetch::fetch;
use livewebcam_runner::frame::read_photo;
use livewebcam_runner::job::{Ending, Seat, replay, run};
use livewebcam_runner::log::Log;
use livewebcam_runner::model::{Catalogue, FindError, Installed, Plan, Spent, Unwatched, milliseconds};
use livewebcam_runner::picture::{encode_png, save};
use livewebcam_runner::serve::serve;
use livewebcam_runner::threads;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let started = Instant::now();
    threads::limit();
    let log = Log::since(started);
    match execute(Cli::parse().command, started, log) {
        Ok(code) => code,
        Err(error) => {
            log.line(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command, started: Instant, log: Log) -> Result<ExitCode> {
    match command {
        Command::Run { job } => {
            let seat = Seat::with_signals(log, |_| {}).context("cannot watch for signals")?;
            let ending = run(&job, &seat, started, log)?;
            return Ok(if ending == Ending::Failed { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
        Command::Serve(options) => serve(&options.settings(), started, log)?,
        Command::Replay { job, output } => replay(&job, &output, log)?,
        Command::Img2img(options) => img2img(&options, log)?,
        Command::Fetch(options) => fetch(&options.request(), log)?,
        Command::Models { verify: true, root, .. } => return verify(&catalogue(root.as_deref())?, log),
        Command::Models { json, root, .. } => {
            let catalogue = catalogue(root.as_deref())?;
            let listing = if json { local::to_json(&catalogue.models()) } else { table(&catalogue).into_bytes() };
            match io::stdout().write_all(&listing) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                written => written.context("cannot write the list")?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn img2img(options: &Img2img, log: Log) -> Result<()> {
    let installed = installed(&options.model, options.root.as_deref())?;
    let name = &installed.info.name;
    let mut plan = Plan::new(&installed.info, &options.parameters())?;
    plan.trace = options.trace.is_some();
    ensure!(!plan.trace || plan.parameters.steps.is_some(), "model `{name}` has no latents; leave --trace away");
    let frame = read_photo(&options.input).with_context(|| format!("cannot read {}", options.input.display()))?;
    let started = Instant::now();
    let model = installed.load(options.loading(), log)?;
    let load_ms = milliseconds(started);
    let painting = model.paint(&frame, &plan, &mut Unwatched)?;
    plan.tell(&painting, log);
    let png = encode_png(&painting.picture, name, &painting.parameters, &options.loading());
    let png = png.context("cannot encode the painting")?;
    save(&options.output, &png).with_context(|| format!("cannot write {}", options.output.display()))?;
    if let (Some(path), Some(trace)) = (&options.trace, &painting.trace) {
        trace.save(path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let Spent { encode_ms, paint_ms, decode_ms } = painting.spent;
    let paint_ms = encode_ms + paint_ms + decode_ms;
    log.line(format_args!("loaded in {load_ms:.0} ms, painted in {paint_ms:.0} ms: {}", options.output.display()));
    Ok(())
}

/// The model with this name, or else the one in this folder.
fn installed(model: &str, root: Option<&Path>) -> Result<Installed> {
    match catalogue(root)?.find(model) {
        Err(FindError::Unknown { .. }) if Path::new(model).is_dir() => {
            Installed::in_folder(Path::new(model)).with_context(|| format!("cannot read {model}"))
        }
        found => Ok(found?),
    }
}

fn catalogue(root: Option<&Path>) -> Result<Catalogue> {
    let Some(root) = root else { return Ok(Catalogue::built_in()) };
    let root = Root::new(root);
    let models = root.models();
    let catalogue = Catalogue::with_folder(&models).with_context(|| format!("cannot list {}", models.display()))?;
    Ok(catalogue.keeping(root.cache()))
}

/// Says what is wrong with what is kept of the models, on standard output.
fn verify(catalogue: &Catalogue, log: Log) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for model in catalogue.models().into_iter().filter(|model| model.broken.is_none()) {
        let problems = catalogue.find(&model.name)?.verify(log)?;
        for problem in &problems {
            println!("{}: {problem}", model.name);
        }
        if problems.is_empty() {
            println!("{}: nothing is wrong", model.name);
        } else {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

fn table(catalogue: &Catalogue) -> String {
    let mut table = String::new();
    for model in catalogue.models() {
        let state = model.broken.as_deref().map_or_else(String::new, |reason| format!(" (cannot paint: {reason})"));
        let megabytes = model.bytes as f64 / 1e6;
        let (name, family) = (&model.name, &model.family);
        table.push_str(&format!("{name:<40} {megabytes:>9.1} MB  {family}{state}\n"));
    }
    table
}

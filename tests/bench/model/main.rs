//! Stable Diffusion and the starter model, measured beside PyTorch, OpenVINO, onnxruntime and diffusers in the same run.
//!
//! `make bench` prints what takes how long; `make bench-model` how near the pictures are to diffusers', and what a full-size
//! model takes. What is compared is described in `docs/performance.md`.

mod accuracy;
mod child;
mod cold;
mod machine;
#[expect(unsafe_code, reason = "instructions that not every processor has")]
#[path = "../../../runner/kernels/benches/peak/mod.rs"]
mod peak;
mod place;
mod race;
mod report;
mod speed;
mod worker;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use livewebcam_runner::threads;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Given by cargo
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Command {
    /// How long everything takes
    Speed(Options),
    /// How near the pictures are to diffusers', and what a full-size model takes
    Model(Options),
    /// Runs a part of a painting whenever it is told to
    #[command(hide = true)]
    Worker(worker::Options),
}

/// What is measured, and how often.
#[derive(clap::Args)]
struct Options {
    /// How often each contender runs; medians are printed
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Another model than the random one of full size: a folder with a `taesd` in it
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
    /// Width and height of the pictures
    #[arg(long, default_value_t = 512)]
    size: u32,
    /// Width and height of the pictures that show how time grows with size, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "256,384,512,768")]
    sizes: Vec<u32>,
    /// Only what has this text in its name
    #[arg(long, default_value = "", hide_default_value = true)]
    only: String,
    /// Put the result into docs/performance.md as well
    #[arg(long)]
    update: bool,
}

fn main() -> Result<()> {
    let command = Cli::parse().command;
    match command {
        Command::Worker(options) => {
            threads::limit();
            worker::work(&options)
        }
        Command::Speed(options) => speed::measure(&options),
        Command::Model(options) => accuracy::measure(&options),
    }
}

//! The command line of the frontend.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use livewebcam::application::Application;
use livewebcam::operator::{check, deploy, jobs, submit};
use livewebcam::settings::Settings;
use livewebcam::telemetry;

/// Takes webcam frames from browsers and has a cluster paint them.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// The settings file; without it, everything runs on this machine.
    #[arg(long, global = true, env = "LIVEWEBCAM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the page.
    Serve(Serve),
    /// Try each step to the cluster and say what to do about failures.
    Check,
    /// Upload the runner and prove by a short job that it starts where jobs run.
    Deploy {
        /// The runner's binary; by default the one beside this program.
        #[arg(long, value_name = "FILE")]
        runner: Option<PathBuf>,
    },
    /// Send a picture through a running server and check what comes back.
    Submit(submit::Arguments),
    /// Look at job directories, and tidy them.
    #[command(subcommand)]
    Jobs(jobs::Command),
}

#[derive(Args)]
struct Serve {
    /// Address to listen on.
    #[arg(long)]
    host: Option<IpAddr>,
    /// Port to listen on; 0 takes a free one.
    #[arg(long)]
    port: Option<u16>,
    /// Listen on a non-loopback address although there is no TLS; job pages and cancelling are off then.
    #[arg(long)]
    insecure: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("livewebcam: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let mut settings = Settings::load(cli.config.as_deref(), std::env::vars())?;
    telemetry::start();
    match cli.command {
        Command::Serve(serve) => {
            settings.server.host = serve.host.unwrap_or(settings.server.host);
            settings.server.port = serve.port.unwrap_or(settings.server.port);
            settings.server.insecure |= serve.insecure;
            let application = Application::build(settings).await?;
            let (page, jobs) = application.links();
            println!("The page:          {page}");
            if let Some(jobs) = jobs {
                println!("The jobs, for you: {jobs}");
            }
            application.run_until(told_to_stop()).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check => check::run(&settings).await,
        Command::Deploy { runner } => deploy::run(&settings, runner).await.map(|()| ExitCode::SUCCESS),
        Command::Submit(arguments) => submit::run(settings, arguments).await.map(|()| ExitCode::SUCCESS),
        Command::Jobs(command) => jobs::run(&settings, command).await.map(|()| ExitCode::SUCCESS),
    }
}

/// Resolves on Ctrl-C and on SIGTERM.
async fn told_to_stop() {
    let interrupt = tokio::signal::ctrl_c();
    let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
        let _ = interrupt.await;
        return;
    };
    tokio::select! {
        _ = interrupt => {}
        _ = terminate.recv() => {}
    }
}

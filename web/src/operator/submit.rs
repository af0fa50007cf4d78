//! `livewebcam submit`: one picture through a server, checked as a visitor would check it.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use image::RgbImage;
use livewebcam_jobs::ModelInfo;
use reqwest::multipart::{Form, Part};
use serde::Deserialize;
use tokio::sync::oneshot;

use crate::application::Application;
use crate::frame::{self, Limits};
use crate::settings::Settings;

/// The flags of `livewebcam submit`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The picture: PNG, JPEG or WebP.
    file: PathBuf,
    /// Where to save the painting.
    #[arg(long, short, value_name = "FILE", default_value = "painting.png")]
    output: PathBuf,
    /// The server.
    #[arg(long, default_value = "http://localhost:5000", conflicts_with = "start")]
    url: String,
    /// Start a server with the settings on a free port, and stop it again.
    #[arg(long)]
    start: bool,
    /// The model; the server's default if absent.
    #[arg(long)]
    model: Option<String>,
    /// A style, or a blend like `embers:0.3, midnight:0.7`.
    #[arg(long)]
    style: Option<String>,
    /// What the picture should show.
    #[arg(long)]
    prompt: Option<String>,
    /// How far the painting may leave the picture, 0 to 1.
    #[arg(long)]
    strength: Option<f64>,
    /// Seed of the random numbers.
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Deserialize)]
struct ServerInfo {
    hostname: String,
    transport: String,
    scheduler: String,
    models: Vec<ModelInfo>,
}

/// Sends the picture, checks the painting, saves it and tells its story.
///
/// # Errors
/// No painting, one of the wrong size, or one that is the picture itself.
pub async fn run(mut settings: Settings, arguments: Arguments) -> anyhow::Result<()> {
    if !arguments.start {
        return submit(&arguments, &arguments.url).await;
    }
    settings.server.host = [127, 0, 0, 1].into();
    settings.server.port = 0;
    let application = Application::build(settings).await?;
    let url = format!("http://{}", application.address());
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(application.run_until(async {
        let _ = stopped.await;
    }));
    let submitted = submit(&arguments, &url).await;
    drop(stop);
    server.await.context("the server's task failed")??;
    submitted
}

async fn submit(arguments: &Arguments, url: &str) -> anyhow::Result<()> {
    let picture =
        std::fs::read(&arguments.file).with_context(|| format!("cannot read {}", arguments.file.display()))?;
    let client = reqwest::Client::new();
    let unreachable = || format!("there is no server at {url}; start one with `make run`, or use --start");
    let info = client.get(format!("{url}/serverinfo")).send().await.with_context(unreachable)?;
    let info: ServerInfo =
        info.error_for_status()?.json().await.context("/serverinfo is not a LiveWebcamAI server's")?;

    let mut form = Form::new().part("input", Part::bytes(picture.clone()).file_name("picture"));
    let strength = arguments.strength.map(|strength| strength.to_string());
    let seed = arguments.seed.map(|seed| seed.to_string());
    for (name, value) in [
        ("model", &arguments.model),
        ("style", &arguments.style),
        ("prompt", &arguments.prompt),
        ("strength", &strength),
        ("seed", &seed),
    ] {
        if let Some(value) = value {
            form = form.text(name, value.clone());
        }
    }
    let start = Instant::now();
    let response = client.post(format!("{url}/generate")).multipart(form).send().await.with_context(unreachable)?;
    let status = response.status();
    let header = |name: &str| -> String {
        let value = response.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or("-").to_owned()
    };
    let (job, model, timing, clamped) =
        (header("X-Job-Id"), header("X-Model"), header("Server-Timing"), header("X-Clamped"));
    let body = response.bytes().await.context("the answer broke off")?;
    let took = start.elapsed();
    if !status.is_success() {
        bail!("the server answers {status}: {}", crate::text::printable(&String::from_utf8_lossy(&body)));
    }

    let used =
        info.models.iter().find(|candidate| candidate.name == model).context("X-Model names no installed model")?;
    let size = compare(&picture, &body, used)?;
    if let Some(folder) = arguments.output.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::write(&arguments.output, &body).with_context(|| format!("cannot write {}", arguments.output.display()))?;
    println!(
        "path      {url} on {} → transport {} → scheduler {} → runner → model {model}",
        info.hostname, info.transport, info.scheduler
    );
    println!("job       {job}");
    println!("timings   {timing} ms; {:.0} ms in all", took.as_secs_f64() * 1000.0);
    if clamped != "-" {
        println!("clamped   {clamped}");
    }
    println!("painting  {size}, saved as {}", arguments.output.display());
    Ok(())
}

/// Checks that the painting has the size that the model gives this picture, and that it is not the picture itself.
fn compare(picture: &[u8], painting: &[u8], model: &ModelInfo) -> anyhow::Result<String> {
    let limits = Limits { max_bytes: usize::MAX, max_pixels: u64::MAX };
    let frame = frame::prepare(picture, &limits, model.size).context("the picture itself cannot be read")?;
    let painting = image::load_from_memory(painting).context("the answer is no picture")?.into_rgb8();
    let size = (painting.width(), painting.height());
    ensure!(
        size == (frame.width, frame.height),
        "the painting has {} × {} pixels, not {} × {}",
        size.0,
        size.1,
        frame.width,
        frame.height
    );
    let frame = image::load_from_memory(&frame.png).context("the prepared frame cannot be read")?.into_rgb8();
    let difference = mean_difference(&frame, &painting);
    ensure!(difference > 2.0, "the painting is the picture itself (mean difference {difference:.2} of 255)");
    Ok(format!("{} × {} pixels, {difference:.0} of 255 away from the picture on average", size.0, size.1))
}

fn mean_difference(a: &RgbImage, b: &RgbImage) -> f64 {
    let sum: u64 = a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.as_raw().len().max(1) as f64
}

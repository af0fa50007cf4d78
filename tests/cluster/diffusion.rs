//! Stable Diffusion by ssh and Slurm: what comes back is what the runner paints of the same frame on the command line.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use image::RgbImage;
use livewebcam::settings::Model;
use livewebcam_jobs::{JobFile, JobId, LoadOptions, Phase, Progress, Root, local};

use crate::models::{install, painted, worst};
use crate::support::{Answer, CLUSTER, PHOTO, Server};

const PROMPT: &str = "a cat in the style of Van Gogh";

/// Reads `progress.json` of every job over and over, until it is asked what it has seen.
struct Onlooker {
    enough: Arc<AtomicBool>,
    seen: JoinHandle<BTreeMap<JobId, Vec<Progress>>>,
}

impl Onlooker {
    fn of(root: &Root) -> Self {
        let (root, enough) = (root.clone(), Arc::new(AtomicBool::new(false)));
        let ended = enough.clone();
        let seen = thread::spawn(move || {
            let mut seen: BTreeMap<JobId, Vec<Progress>> = BTreeMap::new();
            while !ended.load(Ordering::Relaxed) {
                for entry in std::fs::read_dir(root.jobs()).expect("the jobs") {
                    let Ok(id) = entry.expect("an entry").file_name().to_string_lossy().parse() else { continue };
                    // A half-written file would be an error.
                    let progress = local::read_json(&root.job(id).file(JobFile::Progress)).expect("progress");
                    let known: &mut Vec<Progress> = seen.entry(id).or_default();
                    known.extend(progress.filter(|progress| known.last() != Some(progress)));
                }
                thread::sleep(Duration::from_millis(1));
            }
            seen
        });
        Self { enough, seen }
    }

    fn seen(self) -> BTreeMap<JobId, Vec<Progress>> {
        self.enough.store(true, Ordering::Relaxed);
        self.seen.join().expect("no panic")
    }
}

fn picture(answer: &Answer) -> RgbImage {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    image::load_from_memory(&answer.body).expect("a picture").into_rgb8()
}

/// What the runner paints of a job's frame on the command line.
fn by_hand(server: &Server, id: JobId, options: &[&str]) -> RgbImage {
    let (root, input) = (server.root.path(), server.root.job(id).file(JobFile::Input));
    let (root, input) = (root.to_str().expect("text"), input.to_str().expect("text"));
    let arguments = ["img2img", "--root", root, "--model", "tiny/sd15", "--input", input, "--prompt", PROMPT];
    painted(&server.root, &[&arguments, options].concat())
}

fn replayed(server: &Server, id: JobId) -> RgbImage {
    let job = server.root.job(id);
    painted(&server.root, &["replay", "--job", job.path().to_str().expect("text")])
}

/// The text that Stable Diffusion's tools read.
fn chunk(png: &[u8]) -> String {
    String::from_utf8_lossy(png).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photograph_goes_through_slurm_and_comes_back_as_the_runner_paints_it() {
    let settings = CLUSTER.deployed("diffusion");
    let name = install(&Root::new(&settings.cluster.root), "sd15");
    let server = Server::start(settings).await;
    let onlooker = Onlooker::of(&server.root);
    let ask = |seed: &'static str| {
        let fields = [("model", "tiny/sd15"), ("prompt", PROMPT), ("negative_prompt", "blurry"), ("seed", seed)];
        [&fields[..], &[("steps", "60"), ("strength", "0.8"), ("scale", "6"), ("scheduler", "dpmpp_2m")]].concat()
    };
    let answer = server.generate_with(&ask("4711")).await;
    let (id, painting) = (answer.job.expect("X-Job-Id"), picture(&answer));
    assert_eq!(painting.dimensions(), (128, 128));

    // The same machine, though not the same number of threads.
    let numbers = ["--steps", "60", "--strength", "0.8", "--guidance", "6", "--scheduler", "dpmpp_2m"];
    let options = [&["--negative-prompt", "blurry", "--seed", "4711"][..], &numbers].concat();
    assert!(worst(&painting, &by_hand(&server, id, &options)) <= 1);
    assert!(worst(&painting, &replayed(&server, id)) <= 1);
    let frame = image::open(server.root.job(id).file(JobFile::Input)).expect("a frame").into_rgb8();
    let photo = image::load_from_memory(PHOTO).expect("a photograph");
    assert!(photo.width() > frame.width() && worst(&painting, &frame) > 30);
    let other = picture(&server.generate_with(&ask("4712")).await);
    assert!(worst(&painting, &other) > 10, "the seed makes no difference");

    let outcome = server.outcome(id).expect("a result");
    assert_eq!((outcome.model.as_str(), outcome.loading), (name.as_str(), Some(LoadOptions::default())));
    assert!(outcome.clamped.is_empty() && outcome.warnings.is_empty());
    let used = outcome.parameters.expect("parameters");
    assert_eq!((used.prompt.as_str(), used.seed, used.steps), (PROMPT, Some(4711), Some(60)));
    let timings = outcome.timings;
    let parts = [timings.load_ms, timings.encode_ms, timings.paint_ms, timings.decode_ms, timings.write_ms];
    assert!(parts.iter().all(|part| *part > 0.0) && parts.iter().sum::<f64>() <= timings.total_ms, "{timings:?}");
    let expected = "Negative prompt: blurry\nSteps: 60, Sampler: dpmpp_2m, CFG scale: 6, Seed: 4711, Size: 128x128, \
                    Model: tiny/sd15, Denoising strength: 0.8";
    assert!(chunk(&answer.body).contains(expected));

    let seen = onlooker.seen().remove(&id).expect("progress");
    let order = |progress: &Progress| (progress.phase as u32, progress.step);
    assert!(seen.windows(2).all(|pair| order(&pair[0]) < order(&pair[1])), "{seen:?}");
    let steps = seen.iter().filter(|progress| progress.phase == Phase::Paint);
    // 0.8 of 60 steps; an onlooker may miss some.
    assert!(steps.clone().count() > 4 && steps.clone().all(|progress| progress.steps == 48), "{seen:?}");
    assert_eq!(seen.last().map(|progress| progress.phase), Some(Phase::Write));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_models_setting_paints_with_taesd_and_what_is_changed_is_told() {
    let mut settings = CLUSTER.deployed("taesd");
    let name = install(&Root::new(&settings.cluster.root), "sd15");
    settings.models.own.insert(name, Model { taesd: true, ..Model::default() });
    let server = Server::start(settings).await;
    let fields =
        [("model", "sd15"), ("prompt", PROMPT), ("steps", "0"), ("strength", "0.25"), ("scale", "99"), ("seed", "7")];
    let answer = server.generate_with(&fields).await;
    let (id, painting) = (answer.job.expect("X-Job-Id"), picture(&answer));
    assert_eq!(answer.clamped, "steps=0->4, scale=99->30");
    let outcome = server.outcome(id).expect("a result");
    assert_eq!(outcome.loading, Some(LoadOptions { taesd: true, ..LoadOptions::default() }));
    assert_eq!(outcome.clamped.iter().map(ToString::to_string).collect::<Vec<_>>(), ["steps=1->4"]);
    assert!(chunk(&answer.body).contains(", VAE Encoder: TAESD, VAE Decoder: TAESD"));
    assert!(server.job_page(id).await.contains("on cpu in f32, with TAESD"));

    let options = ["--steps", "4", "--strength", "0.25", "--guidance", "30", "--seed", "7"];
    assert!(worst(&painting, &by_hand(&server, id, &[&options[..], &["--taesd"]].concat())) <= 1);
    assert!(worst(&painting, &by_hand(&server, id, &options)) > 10, "TAESD makes no difference");
    assert!(worst(&painting, &replayed(&server, id)) <= 1);
    server.stop().await;
}

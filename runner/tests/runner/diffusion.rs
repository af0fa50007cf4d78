//! Stable Diffusion through the real binary: jobs, replays and pictures of one's own. The models and what diffusers made
//! of them are those of `tests/parity`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use candle_core::{Device, Tensor};
use image::RgbImage;
use livewebcam_jobs::{
    DeviceChoice, JobFile, LoadChoices, LoadOptions, ModelInfo, Parameters, Phase, Progress, Stage, State, Status,
    local,
};
use serde::Deserialize;

use crate::support::{Job, content, runner};

const NAME: &str = "some/model";

pub(crate) fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(name)
}

pub(crate) fn picture(path: &Path) -> RgbImage {
    image::open(path).expect("a picture").into_rgb8()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a listing") {
        let (path, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).expect("an entry");
        if path.is_dir() { copy(&path, &to) } else { fs::write(to, content(&path)).expect("a copy") }
    }
}

/// A job in a tree where `model` of the fixtures is installed.
pub(crate) fn job(model: &str, parameters: Parameters) -> Job {
    job_loading(model, parameters, LoadOptions::default())
}

fn job_loading(model: &str, parameters: Parameters, loading: LoadOptions) -> Job {
    let job = Job::with(&picture(&fixtures("input.png")), |request| {
        request.model = NAME.to_owned();
        request.parameters = parameters;
        request.loading = loading;
    });
    copy(&fixtures(model), &installed(&job));
    job
}

pub(crate) fn installed(job: &Job) -> PathBuf {
    job.root.models().join(NAME)
}

/// A call of diffusers.
#[derive(Deserialize)]
struct Case {
    name: String,
    prompt: String,
    negative_prompt: Option<String>,
    num_inference_steps: u32,
    strength: f64,
    guidance_scale: f64,
    seed: u64,
    scheduler: Option<String>,
}

fn case(model: &str, name: &str) -> Case {
    let cases: Vec<Case> = serde_json::from_slice(&content(&fixtures(model).join("cases.json"))).expect("cases");
    cases.into_iter().find(|case| case.name == name).expect("a case")
}

impl Case {
    fn parameters(&self) -> Parameters {
        Parameters {
            prompt: self.prompt.clone(),
            negative_prompt: self.negative_prompt.clone().unwrap_or_default(),
            steps: Some(self.num_inference_steps),
            guidance_scale: Some(self.guidance_scale),
            strength: Some(self.strength),
            seed: Some(self.seed),
            scheduler: self.scheduler.clone(),
            style: None,
        }
    }
}

/// Two right implementations differ in the rounding of f32, which decides on a value of a pixel here and there.
#[track_caller]
fn assert_same(painted: &Path, expected: &Path) {
    let (painted, expected) = (picture(painted), picture(expected));
    assert_eq!(painted.dimensions(), expected.dimensions());
    let differences = || painted.as_raw().iter().zip(expected.as_raw()).map(|(a, b)| a.abs_diff(*b));
    let squares: f64 = differences().map(|difference| f64::from(difference).powi(2)).sum();
    let psnr = 10.0 * (255.0_f64.powi(2) * painted.as_raw().len() as f64 / squares.max(1e-9)).log10();
    let worst = differences().max().unwrap_or(0);
    assert!(psnr >= 50.0 && worst <= 2, "{psnr:.1} dB, worst pixel {worst}");
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_job_gives_diffusers_picture_and_so_does_its_replay() {
    let case = case("sd15", "ddim");
    let job = job("sd15", case.parameters());
    let ended = job.run();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let painted = job.dir.file(JobFile::Output);
    assert_same(&painted, &fixtures("sd15/ddim.png"));
    let outcome = job.outcome().expect("a result");
    assert_eq!((outcome.model.as_str(), outcome.warnings), (NAME, Vec::new()));
    assert_eq!((outcome.parameters, outcome.loading), (Some(case.parameters()), Some(LoadOptions::default())));
    let timings = outcome.timings;
    let parts = [timings.load_ms, timings.encode_ms, timings.paint_ms, timings.decode_ms, timings.write_ms];
    assert!(parts.iter().all(|part| *part > 0.0) && parts.iter().sum::<f64>() <= timings.total_ms, "{timings:?}");
    let progress: Option<Progress> = local::read_json(&job.dir.file(JobFile::Progress)).expect("progress");
    assert_eq!(progress.map(|progress| progress.phase), Some(Phase::Write));

    assert_replays(&job);
}

/// A replay gives the same bytes.
fn assert_replays(job: &Job) {
    let folder = tempfile::tempdir().expect("a folder");
    let again = folder.path().join("again.png");
    let replay = runner().arg("replay").arg("--job").arg(job.dir.path()).arg("--output").arg(&again).output();
    let replay = replay.expect("the runner starts");
    assert!(replay.status.success(), "{}", stderr(&replay));
    assert!(content(&again) == content(&job.dir.file(JobFile::Output)), "other bytes");
}

/// What a painting says of itself to Stable Diffusion's tools.
fn chunk(job: &Job) -> String {
    let file = std::io::BufReader::new(fs::File::open(job.dir.file(JobFile::Output)).expect("a picture"));
    let mut reader = png::Decoder::new(file).read_info().expect("a header");
    reader.finish().expect("its chunks");
    let chunk = reader.info().utf8_text.first().expect("a text");
    assert_eq!(chunk.keyword, "parameters");
    chunk.get_text().expect("text")
}

#[test]
fn a_job_is_painted_as_its_operator_has_the_model_loaded_and_so_is_its_replay() {
    let case = case("sd15", "taesd");
    let taesd = LoadOptions { taesd: true, ..LoadOptions::default() };
    let parameters = Parameters { scheduler: Some("ddim".to_owned()), ..case.parameters() };
    let job = job_loading("sd15", parameters.clone(), taesd);
    assert_eq!(job.run().code, Some(0));
    assert_same(&job.dir.file(JobFile::Output), &fixtures("sd15/taesd.png"));
    assert_eq!(job.outcome().expect("a result").loading, Some(taesd));
    assert!(chunk(&job).ends_with(", VAE Encoder: TAESD, VAE Decoder: TAESD"), "{}", chunk(&job));
    assert_replays(&job);

    let half = LoadOptions { precision: "bf16".parse().expect("a format"), ..taesd };
    let job = job_loading("sd15", parameters, half);
    assert_eq!(job.run().code, Some(0));
    assert_eq!(job.outcome().expect("a result").loading, Some(half));
    assert!(content(&job.dir.file(JobFile::Output)) != content(&fixtures("sd15/taesd.png")));
    assert_replays(&job);
}

#[test]
fn what_the_operator_asks_and_cannot_be_met_is_the_jobs_reason() {
    let taesd = LoadOptions { taesd: true, ..LoadOptions::default() };
    let without = job_loading("sd21v", Parameters::default(), taesd);
    assert_eq!(without.run().code, Some(1));
    without.assert_reason(
        "model `some/model` cannot be loaded as asked: there is no TAESD for it; put madebyollin/taesd (for SDXL \
         madebyollin/taesdxl) into a folder `taesd` (`taesdxl`) inside the model's or beside it, or leave taesd away",
    );
    assert_eq!(without.outcome().and_then(|outcome| outcome.loading), Some(taesd));
    if !cfg!(feature = "cuda") {
        let cuda = LoadOptions { device: DeviceChoice::Cuda, ..LoadOptions::default() };
        let job = job_loading("sd15", Parameters::default(), cuda);
        assert_eq!(job.run().code, Some(1));
        let failure = job.outcome().and_then(|outcome| outcome.failure).expect("a failure");
        assert_eq!(failure.stage, Stage::Load);
        assert!(failure.reason.contains("this runner was built without `cuda`"), "{}", failure.reason);
    }
}

#[test]
fn a_scheduler_that_does_not_go_with_the_model_is_the_jobs_reason() {
    let job = job("sd15", Parameters { scheduler: Some("deis".to_owned()), ..Parameters::default() });
    edit(
        installed(&job).join("scheduler/scheduler_config.json"),
        "{",
        "{\"solver_type\": \"bh2\", \"algorithm_type\": \"sde\",",
    );
    assert_eq!(job.run().code, Some(1));
    job.assert_reason(
        "this model cannot be painted with the noise scheduler `deis`; choose another one \
         (scheduler/scheduler_config.json: `algorithm_type` is \"sde\"; supported: \"deis\", \"dpmsolver\", \
         \"dpmsolver++\")",
    );
}

fn edit(file: PathBuf, from: &str, to: &str) {
    let text = fs::read_to_string(&file).expect("text");
    assert!(text.contains(from), "{text}");
    fs::write(file, text.replacen(from, to, 1)).expect("a file");
}

#[test]
fn what_is_not_asked_takes_the_defaults_and_all_of_it_is_in_the_picture() {
    let Case { prompt, negative_prompt, num_inference_steps, .. } = case("sd15", "default");
    let negative_prompt = negative_prompt.expect("a negative prompt");
    let asked = Parameters { prompt, negative_prompt, steps: Some(num_inference_steps), ..Parameters::default() };
    let job = job("sd15", asked.clone());
    assert_eq!(job.run().code, Some(0));
    assert_same(&job.dir.file(JobFile::Output), &fixtures("sd15/default.png"));
    let used = Parameters {
        guidance_scale: Some(7.5),
        strength: Some(0.5),
        seed: Some(33),
        scheduler: Some("pndm".to_owned()),
        ..asked
    };
    assert_eq!(job.outcome().and_then(|outcome| outcome.parameters), Some(used));
    let expected = "a portrait in the style of Van Gogh, thick oil paint\n\
                    Negative prompt: blurry, lowres, watermark\n\
                    Steps: 10, Sampler: pndm, CFG scale: 7.5, Seed: 33, Size: 128x128, Model: some/model, \
                    Denoising strength: 0.5";
    assert_eq!(chunk(&job), expected);
}

#[test]
fn numbers_that_were_changed_and_a_prompt_that_was_cut_are_told_in_the_result() {
    let asked = Parameters {
        prompt: "word ".repeat(80),
        negative_prompt: "blurry".to_owned(),
        steps: Some(9),
        strength: Some(0.1),
        ..Parameters::default()
    };
    let job = job("sdturbo", asked);
    assert_eq!(job.run().code, Some(0));
    let outcome = job.outcome().expect("a result");
    assert_eq!(
        outcome.warnings,
        [
            "model `some/model` has no use for a negative prompt; it is ignored",
            "the prompt is too long: its last 5 tokens were left out",
        ]
    );
    let clamped: Vec<String> = outcome.clamped.iter().map(ToString::to_string).collect();
    assert_eq!(clamped, ["steps=9->10"]);
    let used = outcome.parameters.expect("parameters");
    assert_eq!((used.steps, used.strength, used.guidance_scale), (Some(10), Some(0.1), None));
}

#[test]
fn a_broken_model_ends_in_a_reason_and_gives_nothing_away() {
    const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
    type Breakage<'a> = (&'a str, &'a dyn Fn(&Path));
    let breakages: [Breakage<'_>; 6] = [
        ("unet/diffusion_pytorch_model.safetensors is not a complete safetensors file: ", &|model| {
            let file = fs::OpenOptions::new().write(true).open(model.join(UNET)).expect("a file");
            file.set_len(700_000).expect("a shorter file");
        }),
        ("vae/diffusion_pytorch_model.safetensors is missing; download the model again", &|model| {
            fs::remove_file(model.join("vae/diffusion_pytorch_model.safetensors")).expect("a file");
        }),
        ("model_index.json: `_class_name` is FluxPipeline; supported: ", &|model| {
            edit(model.join("model_index.json"), "StableDiffusionImg2ImgPipeline", "FluxPipeline");
        }),
        ("model_index.json: `unet` is FluxTransformer2DModel; supported: UNet2DConditionModel", &|model| {
            edit(model.join("model_index.json"), "UNet2DConditionModel", "FluxTransformer2DModel");
        }),
        ("holds values that are not finite; the file is damaged", &|model| {
            let mut weights = content(&model.join(UNET));
            let end = weights.len();
            // A NaN of 16 bits.
            weights[end - 2..].copy_from_slice(&0x7e00_u16.to_le_bytes());
            fs::write(model.join(UNET), weights).expect("a file");
        }),
        (", but its config.json makes it ", &|model| {
            edit(model.join("text_encoder/config.json"), "\"intermediate_size\": ", "\"intermediate_size\": 1");
        }),
    ];
    for (problem, break_model) in breakages {
        let job = job("sd15", Parameters::default());
        break_model(&installed(&job));
        let ended = job.run();
        assert_eq!((ended.code, job.state()), (Some(1), State::Concluded(Status::Failed)), "{}", ended.log);
        let failure = job.outcome().and_then(|outcome| outcome.failure).expect("a failure");
        assert!(failure.reason.starts_with("model `some/model` cannot paint: "), "{}", failure.reason);
        assert!(failure.reason.contains(problem), "{}", failure.reason);
        assert_eq!(failure.stage, Stage::Load);
        assert!(failure.detail.starts_with(&failure.reason) && ended.log.contains(&failure.detail), "{}", ended.log);
        job.assert_reason(&failure.reason);
    }
}

#[test]
fn a_request_names_a_model_and_never_a_folder() {
    for path in ["../outside", "some/../some/model", "./some/model"] {
        let job = job("sdturbo", Parameters::default());
        copy(&installed(&job), &job.root.path().join("outside"));
        let request = fs::read_to_string(job.dir.file(JobFile::Request)).expect("a request");
        job.write(JobFile::Request, request.replace(NAME, path).as_bytes());
        assert_eq!(job.run().code, Some(1));
        let failure = job.outcome().and_then(|outcome| outcome.failure).expect("a failure");
        let expected = format!("no model `{path}` is installed; installed are: starter, some/model");
        assert_eq!((failure.stage, failure.reason), (Stage::Load, expected));
    }
}

#[test]
fn an_unknown_scheduler_is_answered_with_the_known_ones() {
    let job = job("sdturbo", Parameters { scheduler: Some("heun".to_owned()), ..Parameters::default() });
    assert_eq!(job.run().code, Some(1));
    job.assert_reason(
        "there is no noise scheduler `heun`; there are pndm, ddim, ddpm, euler, euler_a, unipc, dpmpp_2m, deis, lcm, and \
         each of them but lcm with `_trailing`",
    );
}

#[test]
fn a_cancelled_job_ends_before_it_begins_or_between_two_steps() {
    let before = job("sd15", Parameters::default());
    before.write(JobFile::Cancel, b"");
    assert_eq!((before.run().code, before.state()), (Some(0), State::Concluded(Status::Cancelled)));
    before.assert_reason("nobody wants the painting any more");

    let long = Parameters { steps: Some(150), strength: Some(1.0), ..Parameters::default() };
    let between = job("sd15", long);
    let running = between.start();
    between.write(JobFile::Cancel, b"");
    assert_eq!((running.end().code, between.state()), (Some(0), State::Concluded(Status::Cancelled)));
    between.assert_reason("nobody wants the painting any more");
    let progress: Option<Progress> = local::read_json(&between.dir.file(JobFile::Progress)).expect("progress");
    let progress = progress.expect("progress");
    assert!(progress.phase == Phase::Paint && progress.step < progress.steps, "{progress:?}");
}

#[test]
fn installed_models_say_what_they_take() {
    let job = job("sdturbo", Parameters::default());
    copy(&fixtures("lcm"), &job.root.models().join("alone"));
    fs::remove_dir_all(job.root.models().join("alone/tokenizer")).expect("a folder");
    let list = |options: &[&str]| {
        let output = runner().arg("models").args(options).arg("--root").arg(job.root.path()).output();
        output.expect("the runner starts").stdout
    };
    let models: Vec<ModelInfo> = serde_json::from_slice(&list(&["--json"])).expect("a list of models");
    let families: Vec<(&str, &str)> = models.iter().map(|model| (model.name.as_str(), model.family.as_str())).collect();
    let expected = [("starter", "style-transfer"), ("alone", "latent-consistency"), (NAME, "stable-diffusion-turbo")];
    assert_eq!(families, expected);
    assert_eq!(models[1].broken.as_deref(), Some("tokenizer/vocab.json is missing; download the model again"));
    let turbo = &models[2];
    assert_eq!((turbo.size.width, turbo.size.multiple_of, turbo.broken.as_deref()), (128, 8, None));
    let choices = |model: &ModelInfo| model.loading.clone().map(|LoadChoices { devices, taesd }| (devices[0], taesd));
    let of_each: Vec<_> = models.iter().map(choices).collect();
    assert_eq!(of_each, [None, Some((DeviceChoice::Cpu, false)), Some((DeviceChoice::Cpu, true))]);
    assert!(turbo.bytes > 1_000_000 && turbo.controls.seed && turbo.controls.schedulers[0] == "euler");
    let table = String::from_utf8(list(&[])).expect("text");
    assert!(table.contains("MB  latent-consistency (cannot paint: tokenizer/vocab.json is missing"), "{table}");
}

/// Runs `img2img` on the fixtures' frame.
fn img2img(model: &Path, output: &Path, options: &[&str]) -> Output {
    let mut command = runner();
    command.args(["img2img", "--model"]).arg(model).arg("--input").arg(fixtures("input.png"));
    command.arg("--output").arg(output).args(options).env("CUDA_VISIBLE_DEVICES", "");
    command.output().expect("the runner starts")
}

#[test]
fn a_folder_paints_with_taesd_and_leaves_its_latents() {
    let folder = tempfile::tempdir().expect("a folder");
    let (output, trace) = (folder.path().join("output.png"), folder.path().join("trace.safetensors"));
    let case = case("sd15", "taesd");
    let numbers =
        [f64::from(case.num_inference_steps), case.guidance_scale, case.strength].map(|number| number.to_string());
    let [steps, guidance, strength] = numbers.each_ref().map(String::as_str);
    let negative = case.negative_prompt.as_deref().expect("a negative prompt");
    let trace_file = trace.to_str().expect("a path of text");
    let options = [
        ["--prompt", case.prompt.as_str()],
        ["--negative-prompt", negative],
        ["--steps", steps],
        ["--guidance", guidance],
        ["--strength", strength],
        ["--scheduler", "ddim"],
        ["--trace", trace_file],
    ];
    let options = [&["--taesd", "--device", "cpu", "--dtype", "f32"][..], options.as_flattened()].concat();
    let model = folder.path().join("model");
    copy(&fixtures("sd15"), &model);
    let ended = img2img(&model, &output, &options);
    assert!(ended.status.success(), "{}", stderr(&ended));
    assert_same(&output, &fixtures("sd15/taesd.png"));
    let read = |path: &Path| candle_core::safetensors::load(path, &Device::Cpu).expect("latents");
    let (painted, expected) = (read(&trace), read(&fixtures("sd15/taesd.safetensors")));
    assert_eq!(painted.len(), expected.len());
    for (name, expected) in expected {
        let numbers = |tensor: &Tensor| tensor.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("numbers");
        assert_eq!(painted[&name].dims(), expected.dims());
        let (painted, expected) = (numbers(&painted[&name]), numbers(&expected));
        let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        assert!(painted.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-4 * largest), "{name}");
    }
}

#[test]
fn options_that_cannot_be_met_are_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("output.png");
    let starter = Path::new("starter");
    let turbo = fixtures("sdturbo");
    // The GPU of a machine that has one is hidden.
    let gpu = if cfg!(feature = "cuda") {
        "the device `cuda` cannot be used"
    } else {
        "this runner was built without `cuda`"
    };
    let cases = [
        (starter, ["--trace", "trace.safetensors"], "model `starter` has no latents; leave --trace away"),
        (
            starter,
            ["--dtype", "bf16"],
            "model `starter` cannot be loaded as asked: it always computes on the CPU in f32",
        ),
        (&turbo, ["--dtype", "int8"], "unknown precision `int8`; there are f32, bf16 and f16"),
        (&turbo, ["--device", "tpu"], "unknown device `tpu`; there are cpu, cuda and metal"),
        (&turbo, ["--scheduler", "heun"], "there is no noise scheduler `heun`"),
        (&turbo, ["--device", "cuda"], gpu),
    ];
    for (model, options, message) in cases {
        let ended = img2img(model, &output, &options);
        assert!(!ended.status.success() && stderr(&ended).contains(message), "{}", stderr(&ended));
        assert!(!output.exists());
    }
}

//! What a warm runner has loaded, frame by frame.

use std::fs;

use livewebcam_jobs::{JobFile, LoadOptions, Parameters, Stage, Status};

use crate::diffusion::{copy, fixtures, picture};
use crate::serving::Warm;
use crate::support::{Job, Tree, content, photo};

const SD: &str = "some/model";

/// A tree where a model of the fixtures is installed.
fn tree(model: &str) -> Tree {
    let tree = Tree::new();
    copy(&fixtures(model), &tree.root.models().join(SD));
    tree
}

/// A frame of one queue, whatever model it asks for.
fn stage(tree: &Tree, model: &str, loading: LoadOptions, parameters: Parameters) -> Job {
    let frame = if model == "starter" { photo() } else { picture(&fixtures("input.png")) };
    tree.stage_in(Some("mixed"), &frame, |request| {
        request.model = model.to_owned();
        request.loading = loading;
        request.parameters = parameters;
    })
}

fn prompt(prompt: &str) -> Parameters {
    Parameters { prompt: prompt.to_owned(), steps: Some(2), ..Parameters::default() }
}

/// Whether the model was loaded for this painting.
#[track_caller]
fn loaded(job: &Job) -> bool {
    let outcome = job.outcome().expect("a result");
    assert_eq!((outcome.status, outcome.failure), (Status::Done, None));
    outcome.timings.load_ms > 0.0
}

#[test]
fn stable_diffusion_is_as_exact_from_a_warm_runner() {
    let tree = tree("sd15");
    let prompts = ["a cat", "a dog", "a cat"];
    let stage_all = || prompts.map(|text| stage(&tree, SD, LoadOptions::default(), prompt(text)));
    let warm = stage_all();
    Warm::of(&tree).paint_all("mixed");
    assert_eq!(warm.each_ref().map(loaded), [true, false, false]);
    let alone = stage_all();
    for (warm, alone) in warm.iter().zip(&alone) {
        alone.run();
        let [picture, expected] = [warm, alone].map(|job| content(&job.dir.file(JobFile::Output)));
        assert!(picture == expected, "other bytes");
    }
}

#[test]
fn a_frame_that_asks_for_another_model_or_another_way_has_it_loaded() {
    let tree = tree("sd15");
    let (plain, taesd) = (LoadOptions::default(), LoadOptions { taesd: true, ..LoadOptions::default() });
    let asked = [("starter", plain), (SD, plain), (SD, plain), (SD, taesd), ("model", taesd), ("starter", plain)];
    let jobs = asked.map(|(model, loading)| stage(&tree, model, loading, prompt("")));
    Warm::of(&tree).paint_all("mixed");
    for ((_, loading), job) in asked.iter().zip(&jobs) {
        assert_eq!(job.outcome().and_then(|outcome| outcome.loading), Some(*loading));
    }
    let models = jobs.each_ref().map(|job| job.outcome().expect("a result").model);
    assert_eq!(models, ["starter", SD, SD, SD, SD, "starter"]);
    let [first, switched, same, other_way, short_name, back] = &jobs;
    assert_eq!([first, switched, same, other_way, back].map(loaded), [true, true, false, true, true]);
    // To know whose name it is the catalogue is read, and nothing else.
    let ms = |job: &Job| job.outcome().expect("a result").timings.load_ms;
    assert!(ms(short_name) > 0.0);
    // Its warnings, parameters and picture are those of its own request.
    let [one, two] = [other_way, short_name].map(|job| content(&job.dir.file(JobFile::Output)));
    assert!(one == two);
}

#[test]
fn a_frame_that_fails_keeps_nobody_else_from_being_painted() {
    let tree = tree("sd15");
    let broken = tree.root.models().join("some/broken");
    copy(&fixtures("sdturbo"), &broken);
    fs::remove_file(broken.join("vae/diffusion_pytorch_model.safetensors")).expect("a file");
    let plain = LoadOptions::default();
    let fails = |model: &str, parameters: Parameters| stage(&tree, model, plain, parameters);
    let style = Parameters { style: Some("vermeer".parse().expect("a name")), ..Parameters::default() };
    let scheduler = Parameters { scheduler: Some("heun".to_owned()), ..prompt("") };

    let failing = [
        (fails("some/broken", prompt("")), Stage::Load),
        (fails("starter", style), Stage::Paint),
        (fails(SD, scheduler.clone()), Stage::Paint),
    ];
    let first = stage(&tree, SD, plain, prompt(""));
    let unplanned = fails(SD, scheduler);
    let truncated = stage(&tree, SD, plain, prompt(""));
    truncated.write(JobFile::Input, b"no picture");
    let unknown = fails("nobody/has-it", prompt(""));
    let second = stage(&tree, SD, plain, prompt(""));
    Warm::of(&tree).paint_all("mixed");

    for (job, stage) in failing.iter().map(|(job, stage)| (job, *stage)).chain([
        (&unplanned, Stage::Paint),
        (&truncated, Stage::Read),
        (&unknown, Stage::Load),
    ]) {
        let failure = job.outcome().and_then(|outcome| outcome.failure).expect("a failure");
        assert_eq!((failure.stage, failure.handed_back), (stage, false), "{failure:?}");
        job.assert_reason(&failure.reason);
    }
    // What a visitor asks wrongly costs the next one no loading.
    assert!(loaded(&first) && !loaded(&second));
}

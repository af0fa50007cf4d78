//! Models with noise, steps and a prompt: what is asked of them, how their operator has them loaded, what is told of it.

use std::sync::Arc;

use livewebcam::settings::Model;
use livewebcam_jobs::{LoadOptions, Precision, Status};
use reqwest::multipart::Form;
use serde_json::Value;

use crate::models::{install, painted, worst};
use crate::pictures;
use crate::runners::SLEEP;
use crate::site::Site;
use crate::tree::Tree;

/// A tree with this model, and its name.
fn tree(model: &str) -> (Arc<Tree>, String) {
    let tree = Tree::new();
    let name = install(&tree.root, model);
    (Arc::new(tree), name)
}

fn form(fields: &[(&'static str, String)]) -> Form {
    fields.iter().fold(pictures::form(), |form, (name, value)| form.text(*name, value.clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_loaded_as_its_settings_say_and_every_record_says_so() {
    let (tree, name) = tree("sd15");
    let own = Model { taesd: true, dtype: Precision::Bf16, ..Model::default() };
    let site = Site::on(tree, |settings| {
        settings.models.own.insert(name.to_uppercase(), own.clone());
    })
    .await;
    let fields = [("model", name.clone()), ("prompt", "a cat".to_owned()), ("steps", "2".to_owned())];
    let answer = site.generate(form(&fields)).await.expect(200);
    let options = LoadOptions { taesd: true, precision: Precision::Bf16, ..LoadOptions::default() };
    assert_eq!(site.tree.request(answer.job()).loading, options);
    assert_eq!(site.tree.outcome(answer.job()).expect("a result").loading, Some(options));
    let page = site.inspect(&format!("/jobs/{}", answer.job())).await.expect(200);
    assert!(page.text().contains("on cpu in bf16, with TAESD"), "the page says nothing of it");
    let directory = site.tree.dir(answer.job());
    let replayed = painted(&site.tree.root, &["replay", "--job", directory.path().to_str().expect("text")]);
    assert_eq!(worst(&replayed, &answer.picture()), 0);

    let starter = site.paint().await.expect(200);
    assert_eq!(site.tree.request(starter.job()).loading, LoadOptions::default());
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_met_keep_a_model_from_painting_and_say_why() {
    let (tree, name) = tree("sd21v");
    let own = Model { taesd: true, ..Model::default() };
    let site = Site::on(tree, |settings| {
        settings.models.own.insert(name.clone(), own);
    })
    .await;
    let error = site.generate(form(&[("model", name.clone())])).await.expect(422).error();
    let problem = "its settings cannot be met: there is no TAESD for it; put madebyollin/taesd";
    assert!(error.starts_with(&format!("the model `{name}` cannot paint: {problem}")), "{error}");
    let info = site.get("/serverinfo").await.expect(200).json();
    let models = info["models"].as_array().expect("models");
    let broken = |model: &&Value| model["name"] == name.as_str() && model["broken"].as_str().is_some();
    assert!(models.iter().any(|model| broken(&model)), "{info}");
    assert!(!site.get("/").await.expect(200).text().contains(&name), "the page offers it");
    site.paint().await.expect(200);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_runner_changes_is_told_with_what_the_server_changes() {
    let (tree, name) = tree("sdturbo");
    let site = Site::on(tree, |_| {}).await;
    let fields = |steps: &str, strength: &str| {
        form(&[("model", name.clone()), ("steps", steps.to_owned()), ("strength", strength.to_owned())])
    };
    let answer = site.generate(fields("0", "0.25")).await.expect(200);
    assert_eq!(answer.header("x-clamped"), "steps=0->4");
    let (request, outcome) = (site.tree.request(answer.job()), site.tree.outcome(answer.job()).expect("a result"));
    assert_eq!(
        (request.clamped[0].to_string(), outcome.clamped[0].to_string()),
        ("steps=0->1".into(), "steps=1->4".into())
    );
    assert_eq!(outcome.parameters.and_then(|parameters| parameters.steps), Some(4));
    let page = site.inspect(&format!("/jobs/{}", answer.job())).await.expect(200);
    assert!(page.text().contains("steps=0-&gt;4"), "the page says nothing of it");
    // What is clamped and then changed back is no news.
    let answer = site.generate(fields("10", "0.1")).await.expect(200);
    assert!(answer.headers.get("x-clamped").is_none(), "{:?}", answer.headers);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_may_have_a_deadline_of_its_own() {
    let (tree, name) = tree("sdturbo");
    let own = Model { deadline: Some(0.7), ..Model::default() };
    let site = Site::on(tree, |settings| {
        settings.models.own.insert(name.clone(), own);
    })
    .await;
    site.tree.replace_runner(SLEEP);
    let error = site.generate(form(&[("model", name)])).await.expect(504).error();
    assert_eq!(error, "the job took longer than 0.7 s; try again later");
    let outcome = site.tree.concluded(site.tree.only_job().await).await;
    assert_eq!(outcome.status, Status::Cancelled);
    site.stop().await;
}

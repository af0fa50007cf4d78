//! The form's other fields: numbers, names and prompts.

use livewebcam_jobs::Parameters;
use reqwest::multipart::{Form, Part};

use crate::pictures;
use crate::site::Site;

fn form(name: &'static str, value: impl Into<String>) -> Form {
    pictures::form().text(name, value.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_the_wrong_type_is_named() {
    let site = Site::start().await;
    let cases = [
        ("steps", "many", "`steps` is no whole number: \"many\""),
        ("steps", "2.5", "`steps` is no whole number"),
        ("steps", "0x10", "`steps` is no whole number"),
        ("seed", "33; rm -rf /", "`seed` is no whole number"),
        ("scale", "high", "`scale` is no number: \"high\""),
        ("scale", "NaN", "`scale` is no number"),
        ("strength", "inf", "`strength` is no number"),
        ("strength", "0,5", "`strength` is no number"),
        ("strength", "\u{1b}[31m0.5", "`strength` is no number"),
        ("style", "pastel:much", "the share of style `pastel` is not a positive number"),
        ("style", "pastel:-1", "not a positive number"),
        ("style", ",", "no style is named"),
    ];
    for (name, value, words) in cases {
        let error = site.generate(form(name, value)).await.expect(400).error();
        assert!(error.contains(words), "{words:?} is not in {error:?}");
    }
    for name in ["model", "style", "scheduler", "steps", "scale"] {
        let error = site.generate(form(name, "1".repeat(5000))).await.expect(400).error();
        assert_eq!(error, format!("the field `{name}` is too long"));
    }
    let no_text = pictures::form().part("prompt", Part::bytes(b"caf\xe9".as_slice()));
    let error = site.generate(no_text).await.expect(400).error();
    assert_eq!(error, "the field `prompt` is not UTF-8 text");
    assert!(site.tree.jobs().is_empty());
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_out_of_bounds_are_clamped_and_reported_everywhere() {
    let site = Site::start().await;
    let fields = [("strength", "7"), ("steps", "9999"), ("scale", "-1"), ("seed", "33")];
    let form = fields.iter().fold(pictures::form(), |form, (name, value)| form.text(*name, *value));
    let answer = site.generate(form).await.expect(200);
    assert_eq!(answer.header("x-clamped"), "steps=9999->150, scale=-1->0, strength=7->1");
    let request = site.tree.request(answer.job());
    let Parameters { steps, guidance_scale, strength, seed, .. } = request.parameters;
    assert_eq!((steps, guidance_scale, strength, seed), (Some(150), Some(0.0), Some(1.0), Some(33)));
    let report: Vec<String> = request.clamped.iter().map(ToString::to_string).collect();
    assert_eq!(report.join(", "), answer.header("x-clamped"));
    let outcome = site.tree.outcome(answer.job()).expect("a result");
    assert_eq!(outcome.parameters.expect("parameters").strength, Some(1.0));
    let page = site.inspect(&format!("/jobs/{}", answer.job())).await.expect(200);
    assert!(page.text().contains("steps=9999-&gt;150"), "the page says nothing of it");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_numbers_beyond_every_type_are_clamped_too() {
    let site = Site::start().await;
    let cases = [
        ("steps", "99999999999999", "steps=99999999999999->150"),
        ("steps", "-99999999999999", "steps=-99999999999999->1"),
        ("seed", "-5", "seed=-5->0"),
        ("seed", "18446744073709551616", "seed=18446744073709551616->18446744073709551615"),
    ];
    for (name, value, report) in cases {
        let answer = site.generate(form(name, value)).await.expect(200);
        assert_eq!(answer.header("x-clamped"), report);
        assert_eq!(site.tree.request(answer.job()).clamped.len(), 1);
    }
    // Sliders of other clients write whole numbers so.
    let answer = site.generate(form("steps", "5.0")).await.expect(200);
    assert!(answer.headers.get("x-clamped").is_none());
    assert_eq!(site.tree.request(answer.job()).parameters.steps, Some(5));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_model_is_answered_with_the_installed_ones() {
    let site = Site::start().await;
    let error = site.generate(form("model", "stabilityai/sd-turbo")).await.expect(422).error();
    assert!(error.contains("unknown model `stabilityai/sd-turbo`; installed: starter"), "{error}");
    assert!(error.contains("`livewebcam-runner fetch stabilityai/sd-turbo --root ROOT`"), "{error}");
    for hostile in
        ["../../etc/passwd", "a/$(reboot)", "-rf/x", "<script>/x", "a/b c", "\u{1b}[31mred", "a/../b", "org/"]
    {
        let error = site.generate(form("model", hostile)).await.expect(422).error();
        assert!(error.ends_with("installed: starter"), "{error}");
    }
    for known in ["starter", "STARTER", "  starter  ", "Lykon/DreamShaper-8", "runwayml/stable-diffusion-v1-5", ""] {
        let answer = site.generate(form("model", known)).await.expect(200);
        assert_eq!(answer.header("x-model"), "starter", "{known:?}");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_style_is_answered_with_the_models_own() {
    let site = Site::start().await;
    for style in ["vermeer", "pastel:0.5, vermeer:0.5"] {
        let error = site.generate(form("style", style)).await.expect(422).error();
        assert!(error.contains("unknown style `vermeer`; this model has: pastel,"), "{error}");
    }
    assert!(site.tree.jobs().is_empty());
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_reaches_the_request_as_it_was_written_and_nothing_else() {
    let site = Site::start().await;
    let canary = site.tree.beside("canary");
    let canary = canary.display();
    let prompts = [
        "\"double\" and 'single' quotes \\ and a backslash".to_owned(),
        format!("$(touch {canary}) `touch {canary}` ; touch {canary} | touch {canary}"),
        format!("line\nbreaks\r\ntouch {canary}\n#SBATCH --wrap=reboot\nEND\n"),
        "NUL \0 and \u{1b}[31mred\u{1b}]0;title\u{7} and \u{202e}turned".to_owned(),
        "<script>alert(1)</script> {{ 7 * 7 }} {% raw %}".to_owned(),
        "  Ärger 山水 🦊 \u{feff} ".to_owned(),
        "💥".repeat(2000),
    ];
    for prompt in &prompts {
        let form = form("prompt", prompt).text("negative_prompt", prompt.clone());
        let id = site.generate(form).await.expect(200).job();
        let asked = site.tree.request(id).parameters;
        assert_eq!((&asked.prompt, &asked.negative_prompt), (prompt, prompt));
        let script = std::fs::read_to_string(site.tree.dir(id).path().join("job.sbatch")).expect("a script");
        assert!(!script.contains("touch") && !script.contains("alert"), "the prompt is in the script");
        let page = site.inspect(&format!("/jobs/{id}")).await.expect(200);
        assert!(!page.text().contains("<script>alert") && !page.text().contains(['\u{1b}', '\0', '\u{202e}']));
    }
    assert!(!site.tree.beside("canary").exists(), "a prompt was executed");
    let list = site.inspect("/jobs").await.expect(200);
    assert!(!list.text().contains("<script>alert") && !list.text().contains(['\u{1b}', '\0', '\u{202e}']));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_is_too_long_is_refused_with_the_limit() {
    let site = Site::start().await;
    for (name, prompt) in [("prompt", "x".repeat(10_000)), ("negative_prompt", "💥".repeat(2001))] {
        let length = prompt.chars().count();
        let error = site.generate(form(name, prompt)).await.expect(400).error();
        assert_eq!(error, format!("the field `{name}` has {length} characters; at most 2000 are allowed"));
    }
    let error = site.generate(form("prompt", "x".repeat(1 << 20))).await.expect(400).error();
    assert!(error.contains("`prompt`"), "{error}");
    assert!(site.tree.jobs().is_empty());
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_ignored_and_of_a_repeated_one_the_last_counts() {
    let site = Site::start().await;
    let form = form("controlnet", "canny").text("", "nameless").text("strength", "0.1").text("strength", "0.9");
    let answer = site.generate(form.part("file", Part::bytes(vec![7; 100_000]))).await.expect(200);
    assert_eq!(site.tree.request(answer.job()).parameters.strength, Some(0.9));
    site.stop().await;
}

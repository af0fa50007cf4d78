//! What cannot be fetched, what is said about it, and who gets the token.

use std::fs;
use std::net::TcpListener;

use crate::hub::Files;
use crate::support::{NAME, Tree, UNET, is_large_asked, names, repository};

const TOKEN: &str = "hf_abcdefgh";

#[test]
fn a_model_that_is_not_there_a_revision_that_is_not_and_a_private_model() {
    let tree = Tree::new();
    tree.fetch(&[]).with("or it is private: check the name; for a private one set HF_TOKEN or run `hf auth login`");
    // Nothing is left of it.
    assert_eq!(fs::read_dir(tree.root().join("models")).expect("a folder").count(), 0);
    tree.hub.commit(NAME, repository("sd15"));
    tree.fetch(&["--revision", "v9"]).with("small/model has no revision `v9`; its page lists them: http://127.0.0.1:");
    tree.hub.edit(NAME, |repository| repository.private = true);
    tree.fetch(&[]).with("there is no model small/model at http://127.0.0.1:");
    tree.hub.state().token = Some(TOKEN.to_owned());
    tree.run(tree.command(&[NAME]).env("HF_TOKEN", TOKEN)).well();
    tree.assert_installed();
    tree.run(tree.command(&["small/other"]).env("HF_TOKEN", TOKEN)).with("that the token's account may read it");
}

#[test]
fn a_gated_model_tells_what_to_do_and_comes_with_a_token_that_only_the_hub_sees() {
    let tree = Tree::with("sd15");
    tree.hub.edit(NAME, |repository| repository.gated = true);
    tree.hub.state().token = Some(TOKEN.to_owned());
    let page = format!("small/model is gated: accept its licence at {}/small/model", tree.hub.endpoint);
    tree.fetch(&[]).with(&format!("{page}, then set HF_TOKEN"));
    let with_token = || tree.run(tree.command(&[NAME]).env("HF_TOKEN", TOKEN));
    let ended = with_token().with(&format!("{page} with the account of your token"));
    assert!(!ended.log.contains(TOKEN));
    assert!(!is_large_asked(&tree.hub.asked()));
    tree.hub.edit(NAME, |repository| repository.accepted = true);
    assert!(!with_token().well().log.contains(TOKEN));
    let asked = tree.hub.asked();
    assert!(is_large_asked(&asked));
    let bearer = Some(format!("Bearer {TOKEN}"));
    assert!(asked.iter().all(|asked| asked.authorization == if asked.storage { None } else { bearer.clone() }));
    tree.assert_installed();
}

#[test]
fn the_token_is_taken_from_where_the_hubs_own_tools_put_it() {
    let tree = Tree::with("sd15");
    tree.hub.state().token = Some(TOKEN.to_owned());
    let [file, other] = ["token", "other"].map(|name| tree.home().join(name));
    fs::create_dir(tree.home()).expect("a folder");
    fs::write(&file, format!("{TOKEN}\n")).expect("a file");
    fs::write(&other, "hf_other").expect("a file");
    let sent = || tree.hub.asked()[0].authorization.clone();
    tree.fetch(&["--revision", "none"]).with("has no revision");
    assert_eq!(sent(), Some(format!("Bearer {TOKEN}")));
    let refused = tree.run(tree.command(&[NAME]).env("HF_TOKEN_PATH", &other));
    refused.with(&format!("the hub refuses the token from {}; make a new one at", other.display()));
    assert_eq!(sent(), Some("Bearer hf_other".to_owned()));
    let both = tree.run(tree.command(&[NAME]).env("HF_TOKEN_PATH", &file).env("HF_TOKEN", "hf_third"));
    both.with("the hub refuses the token from HF_TOKEN; make a new one at");
    assert_eq!(sent(), Some("Bearer hf_third".to_owned()));
    let broken = tree.run(tree.command(&[NAME]).env("HF_TOKEN", "two\nlines"));
    assert!(!broken.with("HF_TOKEN holds no token of the hub").log.contains("lines"));
    let mut in_home = tree.command(&[NAME]);
    let cache = tree.home().join(".cache/huggingface");
    fs::create_dir_all(&cache).expect("a folder");
    fs::rename(&file, cache.join("token")).expect("a file");
    tree.run(in_home.env_remove("HF_HOME").env("HOME", tree.home())).well();
    assert_eq!(sent(), Some(format!("Bearer {TOKEN}")));
}

/// Fails unless the repository is refused with this message before anything large is asked for.
#[track_caller]
fn assert_refused(edit: impl FnOnce(&mut Files), message: &str) {
    let tree = Tree::new();
    let mut files = repository("sd15");
    edit(&mut files);
    tree.hub.commit(NAME, files);
    tree.fetch(&[]).with(message);
    let asked = tree.hub.asked();
    assert!(!is_large_asked(&asked) && !names(&asked).iter().any(|name| name.ends_with(".bin")), "{asked:?}");
    tree.assert_nothing_installed();
}

fn replace(files: &mut Files, name: &str, from: &str, to: &str) {
    let text = String::from_utf8(files[name].clone()).expect("text");
    assert!(text.contains(from), "{text}");
    files.insert(name.to_owned(), text.replace(from, to).into_bytes());
}

#[test]
fn a_model_that_cannot_be_painted_with_is_refused_before_anything_large() {
    assert_refused(
        |files| files.retain(|name, _| !name.starts_with("unet/") || !name.ends_with(".safetensors")),
        "has its weights only as unet/diffusion_pytorch_model.bin, which runs code when it is read. Convert the model on a \
         machine with Python: `python -c",
    );
    assert_refused(
        |files| replace(files, "model_index.json", "\"StableDiffusionImg2ImgPipeline\"", "\"FluxPipeline\""),
        "small/model cannot be painted with: model_index.json: `_class_name` is FluxPipeline; supported: ",
    );
    assert_refused(
        |files| replace(files, "unet/config.json", "\"silu\"", "\"relu6\""),
        "small/model cannot be painted with: unet/config.json: `act_fn` is \"relu6\"; supported: ",
    );
    assert_refused(
        |files| drop(files.remove("model_index.json")),
        "small/model is not in diffusers' layout: it has no model_index.json",
    );
    assert_refused(|files| drop(files.remove("vae/config.json")), "small/model lacks vae/config.json");
    assert_refused(|files| drop(files.remove("tokenizer/merges.txt")), "small/model lacks tokenizer/merges.txt");
    assert_refused(
        |files| files.retain(|name, _| !name.starts_with("vae/") || name.ends_with(".json")),
        "small/model lacks vae/diffusion_pytorch_model.safetensors",
    );
    assert_refused(
        |files| drop(files.insert("model_index.json".to_owned(), b"<html>".to_vec())),
        "model_index.json is not valid JSON",
    );
}

#[test]
fn without_internet_the_way_by_hand_is_told() {
    let tree = Tree::new();
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let endpoint = format!("http://{closed}");
    let ended = tree.run(tree.command(&[NAME]).env("HF_ENDPOINT", format!("{endpoint}/")));
    let ended = ended.with(&format!("cannot reach {endpoint}. Compute nodes seldom have internet"));
    for part in ["`hf download small/model --include ", "`rsync -a MODEL/ CLUSTER:ROOT/models/small/model/`", "refused"]
    {
        assert!(ended.log.contains(part), "{}", ended.log);
    }
    tree.run(tree.command(&[NAME]).env("HF_ENDPOINT", "huggingface.co"))
        .with("HF_ENDPOINT is `huggingface.co`; it should");
}

#[test]
fn names_that_could_be_paths_are_refused() {
    let tree = Tree::with("sd15");
    for name in ["../model", "small/..", "/etc/passwd", "small", "small/model/", "a/b/c", "small/mo del"] {
        tree.run(&mut tree.command(&[name])).with("a model is named like stabilityai/sd-turbo");
    }
    for revision in ["../../other", "a b", "", "-x", "main?x"] {
        tree.fetch(&[&format!("--revision={revision}")]).with("not a branch, tag or commit");
    }
    assert_eq!(tree.hub.asked(), []);
    fs::remove_dir(tree.root()).expect("an empty folder");
    tree.fetch(&[]).with("`livewebcam deploy` makes the shared tree");
    assert!(!tree.root().exists());
}

#[test]
fn a_hostile_description_names_no_place_outside_the_model() {
    let tree = Tree::with("sd15");
    tree.hub.edit(NAME, |repository| {
        let files = repository.commits.values().next().expect("a commit").clone();
        repository.commits.insert("../../../evil".to_owned(), files);
        repository.branches.insert("main".to_owned(), "../../../evil".to_owned());
    });
    tree.fetch(&[]).with("`../../../evil` is no commit");
    tree.hub.edit(NAME, |repository| repository.branches.clear());
    tree.assert_nothing_installed();
    assert!(!is_large_asked(&tree.hub.asked()) && !tree.model().join(UNET).exists());
}

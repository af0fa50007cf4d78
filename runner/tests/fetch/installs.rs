//! Models that are not there yet.

use std::collections::HashMap;

use candle_core::safetensors::{load_buffer, save};
use candle_core::{Device, Tensor};
use serde_json::{Value, json};

use crate::hub::Files;
use crate::support::{
    NAME, NEEDED, TEXT, Tree, UNET, VAE, files, fixtures, is_large_asked, names, repository, taesd_repository,
};

const UNET_FP16: &str = "unet/diffusion_pytorch_model.fp16.safetensors";

#[test]
fn a_model_comes_with_what_it_needs_and_no_more_and_paints_diffusers_picture() {
    let tree = Tree::new();
    let commit = tree.hub.commit(NAME, repository("sd15"));
    let log = tree.fetch(&[]).well().log;
    let asked = tree.hub.asked();
    assert_eq!(names(&asked), NEEDED);
    assert!(asked.iter().all(|asked| asked.range.is_none() && asked.authorization.is_none()), "{asked:?}");

    tree.assert_installed();
    let mut installed = files(&tree.model());
    assert!(installed.remove("fetched.json").is_some());
    let mut expected = repository("sd15");
    expected.retain(|name, _| NEEDED.contains(&name.as_str()));
    assert!(installed == expected, "{:?}", installed.keys());
    tree.assert_paints("sd15", "ddim", &[]);

    assert_eq!(tree.models()[0].commit.as_ref(), Some(&commit));
    let record = tree.record();
    assert_eq!((&record["repository"], &record["revision"]), (&json!(NAME), &json!("main")));
    assert_eq!((record["commit"].as_str(), record.get("variant")), (Some(commit.as_str()), None));
    assert_eq!(record["files"].as_array().map(Vec::len), Some(NEEDED.len()));
    // Without a terminal there is a line for each file, and no bar.
    for file in NEEDED {
        assert_eq!(log.lines().filter(|line| line.contains(&format!(" {file}: "))).count(), 1, "{log}");
    }
    assert!(log.contains(&format!("main is commit {commit}")) && log.contains("is installed in "), "{log}");
    assert!(!log.contains(['\r', '\u{1b}']), "{log}");
}

#[test]
fn every_family_is_fetched() {
    for (model, case) in [("sd21v", "default"), ("sdturbo", "one"), ("lcm", "eight"), ("sdxl", "default")] {
        let tree = Tree::with(model);
        tree.fetch(&[]).well();
        tree.assert_installed();
        tree.assert_paints(model, case, &[]);
    }
}

#[test]
fn all_files_are_of_the_commit_that_the_branch_was_at_the_beginning() {
    let tree = Tree::new();
    let first = tree.hub.commit(NAME, repository("sd15"));
    let second = tree.hub.commit(NAME, Files::from([("model_index.json".to_owned(), b"{}".to_vec())]));
    tree.hub.edit(NAME, |repository| {
        repository.branches.insert("main".to_owned(), first.clone());
        repository.branches.insert("refs/pr/1".to_owned(), second.clone());
        repository.moves_to = Some(second.clone());
    });
    tree.fetch(&[]).well();
    let asked = tree.hub.asked();
    assert!(asked.iter().filter(|asked| !asked.commit.is_empty()).all(|asked| asked.commit == first), "{asked:?}");
    assert_eq!(tree.record()["commit"], json!(first));
    tree.assert_installed();

    let by_commit = Tree::new();
    let first = by_commit.hub.commit(NAME, repository("sd15"));
    by_commit.hub.commit(NAME, Files::from([("model_index.json".to_owned(), b"{}".to_vec())]));
    by_commit.fetch(&["--revision", &first]).well();
    by_commit.assert_installed();
    assert_eq!(by_commit.record()["revision"], json!(first));
    by_commit.hub.asked();
    by_commit.fetch(&["--revision", "main"]).with("is installed from commit");
    by_commit.fetch(&["--revision", "refs/pr/1"]).with("has no revision `refs/pr/1`");
    assert_eq!(by_commit.hub.asked()[1].what, "/api/models/small/model/revision/refs%2Fpr%2F1");
}

#[test]
fn half_precision_comes_where_it_is_asked_for_or_all_there_is() {
    let half = |files: &mut Files| {
        for name in [UNET, VAE] {
            files.insert(name.replace(".safetensors", ".fp16.safetensors"), files[name].clone());
        }
    };
    let asked_for = Tree::new();
    let mut both = repository("sd15");
    half(&mut both);
    asked_for.hub.commit(NAME, both.clone());
    let log = asked_for.fetch(&["--variant", "fp16"]).well().log;
    assert!(log.contains(&format!("there is no fp16 in place of {TEXT}")), "{log}");
    let asked = asked_for.hub.asked();
    assert!(names(&asked).contains(&UNET_FP16) && !names(&asked).contains(&UNET), "{asked:?}");
    asked_for.assert_paints("sd15", "ddim", &[]);
    asked_for.fetch(&[]).well();
    asked_for.fetch(&["--variant", "bf16"]).with("is installed in fp16; to have it in bf16, remove ");

    let no_other = Tree::new();
    both.retain(|name, _| name != UNET && name != VAE);
    no_other.hub.commit(NAME, both);
    no_other.fetch(&["--variant", "bf16"]).with("has no weights in bf16; leave --variant away");
    assert!(!is_large_asked(&no_other.hub.asked()));
    no_other.fetch(&[]).well();
    no_other.assert_installed();
}

#[test]
fn weights_in_several_files_come_with_their_index() {
    let tree = Tree::new();
    let mut files = repository("sd15");
    let unet = files.remove(UNET).expect("a unet");
    let folder = tempfile::tempdir().expect("a folder");
    let tensors = load_buffer(&unet, &Device::Cpu).expect("tensors");
    let mut shards: [HashMap<String, Tensor>; 2] = Default::default();
    let mut map = serde_json::Map::new();
    for (number, (name, tensor)) in tensors.into_iter().enumerate() {
        let shard = number % 2;
        map.insert(name.clone(), json!(format!("diffusion_pytorch_model-0000{}-of-00002.safetensors", shard + 1)));
        shards[shard].insert(name, tensor);
    }
    for (number, shard) in shards.iter().enumerate() {
        let name = format!("diffusion_pytorch_model-0000{}-of-00002.safetensors", number + 1);
        save(shard, folder.path().join(&name)).expect("a shard");
        files.insert(format!("unet/{name}"), std::fs::read(folder.path().join(&name)).expect("a shard"));
    }
    let index = "unet/diffusion_pytorch_model.safetensors.index.json";
    files.insert(index.to_owned(), json!({ "metadata": {}, "weight_map": map }).to_string().into_bytes());
    tree.hub.commit(NAME, files.clone());
    tree.fetch(&[]).well();
    tree.assert_installed();
    tree.assert_paints("sd15", "ddim", &[]);

    for outside in ["../../../evil.safetensors", "evil?.safetensors"] {
        let tree = Tree::new();
        let mut value: Value = serde_json::from_slice(&files[index]).expect("JSON");
        value["weight_map"]["hostile"] = json!(outside);
        files.insert(index.to_owned(), value.to_string().into_bytes());
        files.insert(format!("unet/{outside}"), Vec::new());
        tree.hub.commit(NAME, files.clone());
        assert!(!tree.fetch(&[]).succeeded);
        assert!(!is_large_asked(&tree.hub.asked()));
        tree.assert_nothing_installed();
    }
}

#[test]
fn the_small_autoencoder_comes_into_the_models_folder() {
    let tree = Tree::with("sd15");
    tree.hub.commit("madebyollin/taesd", taesd_repository());
    tree.fetch(&["--taesd"]).well();
    let asked = tree.hub.asked();
    assert!(names(&asked).contains(&"diffusion_pytorch_model.safetensors"), "{asked:?}");
    assert!(!names(&asked).contains(&"taesd_decoder.safetensors"), "{asked:?}");
    tree.assert_installed();
    tree.assert_paints("sd15", "taesd", &["--taesd"]);

    let large = Tree::with("sdxl");
    large.fetch(&["--taesd"]).with("there is no model madebyollin/taesdxl");
    assert!(!is_large_asked(&large.hub.asked()));
    large.assert_nothing_installed();
    large.hub.commit("madebyollin/taesdxl", taesd_repository());
    large.fetch(&["--taesd"]).well();
    assert!(large.model().join("taesdxl/fetched.json").is_file());
}

#[test]
fn a_mirror_may_tell_of_files_only_one_by_one() {
    let tree = Tree::with("sd15");
    tree.hub.state().terse = true;
    tree.fetch(&[]).well();
    tree.assert_installed();
    let asked = tree.hub.asked();
    assert_eq!(asked.iter().filter(|asked| asked.method == "HEAD" && asked.what == UNET).count(), 1);
    let record = tree.record();
    let unet = record["files"].as_array().and_then(|files| files.iter().find(|file| file["path"] == UNET));
    let expected = std::fs::read(fixtures("sd15").join(UNET)).expect("a file");
    assert_eq!(unet.expect("a unet")["sha256"], json!(crate::hub::sha256(&expected)));
}

//! Models that are there already.

use std::fs;

use crate::hub::Fault;
use crate::support::{NAME, Tree, UNET, VAE, names, repository, taesd_repository};

#[test]
fn an_installed_model_is_checked_without_asking_anyone() {
    let tree = Tree::with("sd15");
    tree.fetch(&[]).well();
    tree.hub.commit(NAME, repository("sd21v"));
    tree.hub.asked();
    let log = tree.fetch(&[]).well().log;
    assert!(log.contains("small/model is complete in "), "{log}");
    assert_eq!(tree.hub.asked(), []);
    tree.assert_installed();
}

#[test]
fn what_is_missing_or_damaged_is_mended_from_the_same_commit() {
    let tree = Tree::with("sd15");
    tree.fetch(&[]).well();
    let before = tree.record();
    for file in ["model_index.json", "vae/config.json"] {
        fs::remove_file(tree.model().join(file)).expect("a file");
    }
    let mut unet = fs::read(tree.model().join(UNET)).expect("a file");
    *unet.last_mut().expect("a byte") ^= 1;
    fs::write(tree.model().join(UNET), unet).expect("a file");
    tree.hub.commit(NAME, repository("sd21v"));
    tree.hub.asked();
    let log = tree.fetch(&[]).well().log;
    assert!(log.contains("small/model is complete: 3 files were fetched"), "{log}");
    assert_eq!(names(&tree.hub.asked()), ["model_index.json", UNET, "vae/config.json"]);
    assert_eq!(tree.record(), before);
    assert!(!tree.model().join(".parts").exists());
    tree.assert_installed();
    tree.assert_paints("sd15", "ddim", &[]);
}

#[test]
fn the_small_autoencoder_is_added_whole() {
    let tree = Tree::with("sd15");
    tree.hub.commit("madebyollin/taesd", taesd_repository());
    tree.fetch(&[]).well();
    let weights = "diffusion_pytorch_model.safetensors";
    tree.hub.fault(weights, Fault::Damage);
    tree.fetch(&["--taesd"]).with("came damaged");
    assert!(!tree.model().join("taesd").exists());
    tree.assert_installed();
    tree.hub.state().faults.clear();
    tree.fetch(&["--taesd"]).well();
    tree.assert_installed();
    tree.assert_paints("sd15", "taesd", &["--taesd"]);
    // It belongs to the model from now on.
    fs::remove_file(tree.model().join("taesd").join(weights)).expect("a file");
    tree.hub.asked();
    tree.fetch(&[]).well();
    assert_eq!(names(&tree.hub.asked()), [weights]);
}

/// Puts a model into the tree as someone does who copies it.
fn copied() -> Tree {
    let tree = Tree::with("sd15");
    for (name, content) in repository("sd15") {
        let path = tree.model().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    }
    tree
}

#[test]
fn a_copied_model_is_left_alone_where_it_is_whole_and_completed_where_it_is_not() {
    let tree = copied();
    tree.fetch(&[]).well();
    assert_eq!(tree.hub.asked(), []);
    assert!(!tree.model().join("fetched.json").exists());

    fs::remove_file(tree.model().join(VAE)).expect("a file");
    tree.fetch(&[]).well();
    assert_eq!(names(&tree.hub.asked()), [VAE]);
    assert!(tree.model().join("README.md").is_file());
    tree.assert_installed();
    assert_eq!(tree.record()["repository"], serde_json::json!(NAME));
}

#[test]
fn a_file_that_nobody_fetched_is_not_replaced() {
    let tree = copied();
    fs::remove_file(tree.model().join(VAE)).expect("a file");
    fs::write(tree.model().join(UNET), "of someone else").expect("a file");
    tree.fetch(&[]).with(&format!("{UNET} is not the file of small/model at commit "));
    assert_eq!(fs::read_to_string(tree.model().join(UNET)).expect("a file"), "of someone else");
    assert!(!tree.model().join(VAE).exists());
}

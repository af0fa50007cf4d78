//! Downloads that do not come to their end at once.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::hub::{Fault, sha256};
use crate::support::{NAME, Tree, UNET, VAE, fixtures, names, ranges, repository};

/// Waits until a file is there with at least this many bytes.
fn wait_for(path: &std::path::Path, bytes: u64) {
    let patience = Instant::now() + Duration::from_secs(60);
    while fs::metadata(path).map_or(0, |file| file.len()) < bytes {
        assert!(Instant::now() < patience, "{} does not grow", path.display());
        sleep(Duration::from_millis(2));
    }
}

fn unet() -> Vec<u8> {
    fs::read(fixtures("sd15").join(UNET)).expect("a file")
}

/// A fetch that was killed after so many bytes of the UNet.
fn killed(tree: &Tree, bytes: usize) {
    tree.hub.fault(UNET, Fault::Stall(bytes));
    let running = tree.start();
    wait_for(&tree.parts().join(sha256(&unet())), bytes as u64);
    running.kill();
    tree.assert_nothing_installed();
}

#[test]
fn a_broken_connection_goes_on_where_it_broke() {
    let tree = Tree::with("sd15");
    // An empty folder of the model's name is no model.
    fs::create_dir_all(tree.model()).expect("a folder");
    tree.hub.fault(UNET, Fault::Cut(700_000));
    tree.hub.fault("tokenizer/vocab.json", Fault::Cut(1000));
    let log = tree.fetch(&[]).well().log;
    assert_eq!(ranges(&tree.hub.asked(), UNET), [None, Some("bytes=700000-".to_owned())]);
    assert!(log.contains("going on at byte 700000") && log.contains("going on at byte 1000"), "{log}");
    tree.assert_installed();
    tree.assert_paints("sd15", "ddim", &[]);
}

#[test]
fn a_killed_fetch_goes_on_the_next_time() {
    let tree = Tree::with("sd15");
    killed(&tree, 500_000);
    let first = tree.hub.asked();
    let log = tree.fetch(&[]).well().log;
    let second = tree.hub.asked();
    assert_eq!(ranges(&second, UNET), [Some("bytes=500000-".to_owned())]);
    assert!(log.contains("500.00 kB of it from before"), "{log}");
    // What was whole is not asked for again.
    for whole in [VAE, "text_encoder/model.safetensors"] {
        assert_eq!(ranges(&first, whole).len() + ranges(&second, whole).len(), 1, "{whole}");
    }
    tree.assert_installed();
    tree.assert_paints("sd15", "ddim", &[]);
}

#[test]
fn a_new_commit_with_the_same_weights_takes_over_what_came_of_the_old_one() {
    let tree = Tree::with("sd15");
    killed(&tree, 500_000);
    let mut files = repository("sd15");
    let config = files.get_mut("unet/config.json").expect("a config");
    // As long as before.
    let space = config.iter().position(|byte| *byte == b' ').expect("a space");
    config[space] = b'\n';
    let (config, commit) = (config.clone(), tree.hub.commit(NAME, files));
    tree.hub.asked();
    tree.fetch(&[]).well();
    assert_eq!(ranges(&tree.hub.asked(), UNET), [Some("bytes=500000-".to_owned())]);
    assert_eq!(tree.record()["commit"], serde_json::json!(commit));
    assert_eq!(fs::read(tree.model().join("unet/config.json")).expect("a file"), config);
    tree.assert_installed();
}

#[test]
fn what_was_staged_for_another_request_is_not_installed() {
    let tree = Tree::with("sd15");
    tree.hub.fault(VAE, Fault::Damage);
    tree.fetch(&[]).with("came damaged");
    let half = "unet/diffusion_pytorch_model.fp16.safetensors";
    let mut files = repository("sd15");
    files.insert(half.to_owned(), unet());
    tree.hub.state().faults.clear();
    tree.hub.commit(NAME, files);
    tree.fetch(&["--variant", "fp16"]).well();
    assert!(tree.model().join(half).is_file() && !tree.model().join(UNET).exists());
    tree.assert_installed();
}

#[test]
fn a_server_without_ranges_and_one_that_is_busy_are_borne_with() {
    let tree = Tree::with("sd15");
    tree.hub.fault(UNET, Fault::NoRanges(Some(300_000)));
    tree.hub.fault(VAE, Fault::Unavailable(1));
    let log = tree.fetch(&[]).well().log;
    assert_eq!(ranges(&tree.hub.asked(), UNET), [None, Some("bytes=300000-".to_owned())]);
    assert!(log.contains("the hub answered 503; going on at byte 0"), "{log}");
    tree.assert_installed();
}

#[test]
fn a_damaged_download_is_not_installed_and_the_next_one_begins_anew() {
    let tree = Tree::with("sd15");
    tree.hub.fault(UNET, Fault::Damage);
    tree.fetch(&[]).with(&format!("{UNET} came damaged: its SHA-256 is "));
    tree.assert_nothing_installed();
    tree.hub.state().faults.clear();
    tree.hub.asked();
    tree.fetch(&[]).well();
    assert_eq!(ranges(&tree.hub.asked(), UNET), [None]);
    tree.assert_installed();
}

#[test]
fn a_damaged_beginning_from_before_is_given_up() {
    let tree = Tree::with("sd15");
    killed(&tree, 500_000);
    let part = tree.parts().join(sha256(&unet()));
    let mut content = fs::read(&part).expect("a part");
    content[1000] ^= 1;
    fs::write(&part, content).expect("a file");
    tree.hub.asked();
    let log = tree.fetch(&[]).well().log;
    assert!(log.contains("what was there of unet/diffusion_pytorch_model.safetensors is damaged"), "{log}");
    assert_eq!(ranges(&tree.hub.asked(), UNET), [Some("bytes=500000-".to_owned()), None]);
    tree.assert_installed();
}

#[test]
fn of_two_fetches_at_once_the_second_says_so() {
    let tree = Tree::with("sd15");
    tree.hub.fault(UNET, Fault::Stall(400_000));
    let first = tree.start();
    wait_for(&tree.parts().join(sha256(&unet())), 400_000);
    tree.hub.asked();
    tree.fetch(&[]).with("another fetch of small/model is running");
    assert_eq!(names(&tree.hub.asked()), [""; 0]);
    assert_eq!(tree.names(), [".staging-model"]);
    first.kill();
    tree.fetch(&[]).well();
    tree.assert_installed();
}

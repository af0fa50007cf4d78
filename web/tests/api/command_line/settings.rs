//! Settings that cannot be used, and `livewebcam check`.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use super::{livewebcam, run};
use crate::models::install;
use crate::tree::Tree;

#[tokio::test]
async fn a_settings_file_that_cannot_be_used_is_named_with_what_is_wrong() {
    let tree = Tree::new();
    let file = tree.beside("livewebcam.toml");
    let path = file.to_str().expect("a path of text");
    let cases = [
        ("[cluster]\nroute = \"x\"\n", "unknown field `route`"),
        ("[clutser]\n", "unknown field `clutser`"),
        ("[slurm]\npartiton = \"gpu\"\n", "`partiton`"),
        ("[server]\nport = \"high\"\n", "invalid type"),
        ("[server]\nport = 70000\n", "port"),
        ("[limits]\nupload_bytes = -1\n", "upload_bytes"),
        ("[cluster]\ntransport = \"pigeon\"\n", "unknown variant `pigeon`"),
        ("[cluster\n", "line 1"),
    ];
    for (text, words) in cases {
        std::fs::write(&file, text).expect("a file");
        for command in ["serve", "check"] {
            let said = run(&mut livewebcam(&tree, &[command, "--config", path])).await;
            said.failed_with(&[path, words, "livewebcam.example.toml explains every key"]);
        }
    }
    std::fs::write(&file, "[deadlines]\njob = 0\n").expect("a file");
    run(&mut livewebcam(&tree, &["serve", "--config", path])).await.failed_with(&["must be positive"]);
    let missing = run(&mut livewebcam(&tree, &["serve", "--config", "/no/such.toml"])).await;
    missing.failed_with(&["/no/such.toml", "name an existing one with --config"]);
    let said = run(livewebcam(&tree, &["serve"]).env("LIVEWEBCAM__SERVER__PROT", "1")).await;
    said.failed_with(&["LIVEWEBCAM__SERVER__PROT names the unknown setting server.prot"]);
    let said = run(livewebcam(&tree, &["serve"]).env("LIVEWEBCAM__SERVER__PORT", "high")).await;
    said.failed_with(&["LIVEWEBCAM__SERVER__PORT is not a TOML value"]);
    assert!(!tree.root.jobs().exists(), "settings that cannot be used touched the tree");
}

#[tokio::test]
async fn a_server_that_cannot_start_says_what_to_do() {
    let tree = Tree::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let said = run(&mut livewebcam(&tree, &["serve", "--port", &port])).await;
    said.failed_with(&[&format!("cannot listen on 127.0.0.1:{port}"), "choose another port with --port"]);
    let said = run(&mut livewebcam(&tree, &["serve", "--host", "0.0.0.0"])).await;
    said.failed_with(&["will not listen on 0.0.0.0", "ssh -L", "--insecure"]);
    let said = run(livewebcam(&tree, &["serve"]).env("LIVEWEBCAM__SERVER__OPERATOR_TOKEN", "short")).await;
    said.failed_with(&["server.operator_token", "16 to 256 letters"]);
    assert!(!said.stderr.contains("short\""), "a token is printed");
    let said = run(livewebcam(&tree, &["serve"]).env("LIVEWEBCAM__SERVER__ALLOWED_HOSTS", "[\"http://x/\"]")).await;
    said.failed_with(&["server.allowed_hosts", "not a host: \"http://x/\""]);
    let said = run(livewebcam(&tree, &["serve"]).env("LIVEWEBCAM__SERVER__ASSETS", "/no/such")).await;
    said.failed_with(&["/no/such", "name their folder with server.assets"]);
    // No mode keeps the superuser from writing, but a file is no folder for anybody.
    std::fs::write(tree.beside("file"), "").expect("a file");
    let below = tree.beside("file/root");
    let said = run(livewebcam(&tree, &["serve"]).env("LIVEWEBCAM__CLUSTER__ROOT", &below)).await;
    said.failed_with(&[
        "the root cannot be used; check cluster.root",
        below.to_str().expect("text"),
        "Not a directory",
    ]);
    assert!(!tree.root.frontend().exists());
}

#[tokio::test]
async fn check_finds_the_embedded_default_in_order() {
    let tree = Tree::new();
    let said = run(&mut livewebcam(&tree, &["check"])).await;
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let steps: Vec<&str> = said.stdout.lines().filter_map(|line| line.strip_prefix("ok    ")).collect();
    let names: Vec<&str> = steps.iter().map(|step| step[..12].trim()).collect();
    assert_eq!(names, ["connection", "start files", "root", "writing", "scheduler", "runner", "models"]);
    assert!(said.stdout.ends_with("Everything is in order.\n") && said.stdout.contains("starter"));
    assert!(tree.jobs().is_empty() && tree.markers().is_empty() && !tree.root.frontend().exists());

    // A root that is not there yet, and no runner in it.
    let fresh = tree.beside("fresh");
    let said = run(livewebcam(&tree, &["check"]).env("LIVEWEBCAM__CLUSTER__ROOT", &fresh)).await;
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("`livewebcam serve` puts it in place"));
}

#[tokio::test]
async fn check_names_the_step_that_fails_and_goes_on() {
    let tree = Tree::new();
    std::fs::set_permissions(tree.root.path(), std::fs::Permissions::from_mode(0o755)).expect("a mode");
    tree.replace_runner("echo 'livewebcam-runner 9.9.9'");
    let said = run(&mut livewebcam(&tree, &["check"])).await;
    assert_eq!(said.code, 1);
    let failed: Vec<&str> = said.stdout.lines().filter(|line| line.starts_with("FAIL")).collect();
    let [root, runner, models] = failed.as_slice() else { panic!("{failed:#?}") };
    assert!(root.contains("others can see visitors' frames: chmod 700"), "{root}");
    assert!(runner.contains("livewebcam deploy"), "{runner}");
    assert!(models.contains("models"), "{models}");
    assert!(said.stdout.contains("3 steps failed."));

    std::fs::write(tree.beside("file"), "").expect("a file");
    let below = tree.beside("file/root");
    let said = run(livewebcam(&tree, &["check"]).env("LIVEWEBCAM__CLUSTER__ROOT", below)).await;
    assert_eq!(said.code, 1);
    assert!(
        said.stdout.contains("cluster.root cannot be used; choose a folder that you may write to"),
        "{}",
        said.stdout
    );
}

#[tokio::test]
async fn check_says_which_settings_of_models_cannot_be_met() {
    let tree = Tree::new();
    let name = install(&tree.root, "sd21v");
    let file = tree.beside("livewebcam.toml");
    let models = "[models.starter]\ndtype = \"bf16\"\n[models.\"no/such\"]\n[models.\"tiny/sd21v\"]\ntaesd = true\n";
    std::fs::write(&file, models).expect("a file");
    let check = ["check", "--config", file.to_str().expect("a path of text")];
    let said = run(&mut livewebcam(&tree, &check)).await;
    assert_eq!(said.code, 1, "{}", said.stdout);
    let failed: Vec<&str> = said.stdout.lines().filter(|line| line.starts_with("FAIL")).collect();
    let [models] = failed.as_slice() else { panic!("{failed:#?}") };
    for words in [
        "[models.\"no/such\"] is of no installed model; installed: starter, tiny/sd21v",
        "[models.\"starter\"] in the settings cannot be met: it always computes on the CPU in f32",
        &format!("[models.\"{name}\"] in the settings cannot be met: there is no TAESD for it"),
    ] {
        assert!(models.contains(words), "{words:?} is not in {models}");
    }
    std::fs::write(&file, "[models.\"tiny/sd21v\"]\ndtype = \"bf16\"\ndeadline = 900\n").expect("a file");
    let said = run(&mut livewebcam(&tree, &check)).await;
    assert_eq!(said.code, 0, "{}", said.stdout);
}

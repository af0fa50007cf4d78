//! `livewebcam submit`.

use std::path::Path;

use livewebcam_jobs::Status;

use super::{Server, livewebcam, run};
use crate::tree::Tree;

fn photograph() -> String {
    format!("{}/../tests/photos/chelsea.png", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test]
async fn a_photograph_goes_through_a_server_of_its_own_on_a_new_root() {
    let tree = Tree::new();
    let (root, output) = (tree.beside("fresh"), tree.beside("new folder/painting.png"));
    let output_argument = output.to_str().expect("a path of text");
    let arguments =
        ["submit", &photograph(), "--start", "--output", output_argument, "--style", "pastel", "--strength", "3"];
    let said = run(livewebcam(&tree, &arguments).env("LIVEWEBCAM__CLUSTER__ROOT", &root)).await;
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    let painting = image::open(&output).expect("a painting");
    assert_eq!((painting.width(), painting.height()), (451, 300));
    for words in ["transport local", "scheduler process", "model starter", "451 × 300", "paint;dur=", "strength=3->1"]
    {
        assert!(said.stdout.contains(words), "{words:?} is not in {}", said.stdout);
    }
    assert!(said.stdout.contains(output_argument));
    assert!(!root.join("frontend.json").exists() && root.join("bin/livewebcam-runner").exists());
}

#[tokio::test]
async fn what_goes_wrong_is_said_and_makes_the_exit_code() {
    let tree = Tree::new();
    let text = tree.beside("text.png");
    std::fs::write(&text, "I am a text.").expect("a file");
    let text = text.to_str().expect("a path of text");
    run(&mut livewebcam(&tree, &["submit", text, "--start"])).await.failed_with(&["415", "is not a PNG, JPEG or WebP"]);
    let missing = run(&mut livewebcam(&tree, &["submit", "/no/such.png", "--start"])).await;
    missing.failed_with(&["cannot read /no/such.png"]);
    let model = ["submit", &photograph(), "--start", "--model", "a/b"];
    run(&mut livewebcam(&tree, &model)).await.failed_with(&["422", "unknown model `a/b`; installed: starter"]);
    // Nobody listens on the port of a listener that is gone.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|gone| gone.local_addr()).expect("a port").port();
    let url = format!("http://127.0.0.1:{port}");
    let said = run(&mut livewebcam(&tree, &["submit", &photograph(), "--url", &url])).await;
    said.failed_with(&[&format!("there is no server at {url}"), "`make run`", "--start"]);
    assert!(!Path::new(&tree.beside("painting.png")).exists());
    assert!(!tree.root.frontend().exists(), "the started server's root was not given up");
}

#[tokio::test]
async fn a_running_server_is_used_and_its_failure_told() {
    let tree = Tree::new();
    let mut server = Server::start(&tree, &[("LIVEWEBCAM__CLUSTER__POLICY", "per-request")]).await;
    let said = run(&mut livewebcam(&tree, &["submit", &photograph(), "--url", &server.url])).await;
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert!(tree.beside("painting.png").exists());
    assert_eq!(tree.outcome(tree.jobs()[0]).expect("a result").status, Status::Done);
    tree.replace_runner("exit 3");
    let said = run(&mut livewebcam(&tree, &["submit", &photograph(), "--url", &server.url])).await;
    said.failed_with(&["502", "the job ended without a result (exit status: 3)"]);
    assert_eq!(server.end("TERM").await, Some(0));
}

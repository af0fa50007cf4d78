//! The program itself, as its operator starts it.

mod jobs;
mod serve;
mod settings;
mod submit;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::tree::Tree;

/// What a finished command said.
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// It failed as a command should: code 1, one line that begins with the program's name and has these words.
    #[track_caller]
    fn failed_with(&self, words: &[&str]) {
        assert_eq!(self.code, 1, "{}{}", self.stdout, self.stderr);
        let error = self.stderr.lines().last().unwrap_or_default();
        assert!(self.stderr.contains("livewebcam: "), "{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{error}");
        for words in words {
            assert!(self.stderr.contains(words), "{words:?} is not in {:?}", self.stderr);
        }
    }
}

/// The program on a tree and a free port, with nothing of this shell's settings.
fn livewebcam(tree: &Tree, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_livewebcam"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LIVEWEBCAM") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .current_dir(tree.beside("."))
        .env("LIVEWEBCAM__CLUSTER__ROOT", tree.root.path())
        .env("LIVEWEBCAM__SERVER__ASSETS", Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .env("LIVEWEBCAM__SERVER__PORT", "0")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs a command to its end.
async fn run(command: &mut Command) -> Said {
    let output = tokio::time::timeout(Duration::from_secs(90), command.output()).await;
    let output = output.expect("an end").expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Said { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// `livewebcam serve` in a process of its own; killed when it goes out of scope.
pub struct Server {
    child: Child,
    pub url: String,
    /// Whatever else it prints must find an open pipe.
    _printed: Lines<BufReader<ChildStdout>>,
}

impl Server {
    pub async fn start(tree: &Tree, environment: &[(&str, &str)]) -> Self {
        let mut command = livewebcam(tree, &["serve"]);
        command.envs(environment.iter().copied()).env("RUST_LOG", "error").stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let first = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await;
        let first = first.expect("a line").expect("a readable line").expect("a line before the end");
        let page = first.strip_prefix("The page:").unwrap_or_else(|| panic!("{first:?}")).trim();
        Self { child, url: page.replace("localhost", "127.0.0.1"), _printed: lines }
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("a process")
    }

    /// As `kill -9` does.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("an end");
    }

    /// Sends a signal by its name and waits for the end; the exit code.
    pub async fn end(&mut self, signal: &str) -> Option<i32> {
        let kill = format!("kill -{signal} {}", self.pid());
        let sent = Command::new("sh").args(["-c", &kill]).status().await;
        assert!(sent.expect("a shell").success());
        let ended = tokio::time::timeout(Duration::from_secs(45), self.child.wait()).await;
        ended.expect("an end").expect("a status").code()
    }
}

//! A process at the other end of a transport, and a long-lived `/bin/sh` that runs one command after another.
//!
//! A shell per command costs tens to hundreds of milliseconds on a login node, because each reads the account's start files.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

/// A process with pipes, here or on the cluster. Dropping it closes its standard input.
pub struct Process {
    /// Its standard input.
    pub stdin: Pin<Box<dyn AsyncWrite + Send>>,
    /// Its standard output.
    pub stdout: Pin<Box<dyn AsyncRead + Send>>,
    /// Its standard error.
    pub stderr: Pin<Box<dyn AsyncRead + Send>>,
    /// Ends when the process does, with its exit status in words (`exit status: 3`); `None` where it cannot be known.
    pub ended: Pin<Box<dyn Future<Output = Option<String>> + Send>>,
}

/// What a command printed and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// Whether the exit code is 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.code == 0
    }
}

/// A running `/bin/sh` that reads commands from its standard input.
pub(super) struct Shell {
    stdin: Pin<Box<dyn AsyncWrite + Send>>,
    stdout: BufReader<Pin<Box<dyn AsyncRead + Send>>>,
    /// What it has printed on standard error since the last command began; read all the time, so that it never blocks.
    stderr: Arc<Mutex<String>>,
    _ended: Pin<Box<dyn Future<Output = Option<String>> + Send>>,
}

/// Most that one command may print on either stream.
const OUTPUT_LIMIT: usize = 4 << 20;
/// How long a failed command's last words may be on their way.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Shell {
    pub(super) fn new(process: Process) -> Self {
        let stderr = Arc::<Mutex<String>>::default();
        tokio::spawn(collect(process.stderr, stderr.clone()));
        Self { stdin: process.stdin, stdout: BufReader::new(process.stdout), stderr, _ended: process.ended }
    }

    /// Runs one command line.
    ///
    /// The answer comes in one piece, between marks that only this call knows: what start files printed stands in front of
    /// the first and is dropped, and a connection through a jump host holds small pieces back for 40 ms each (Nagle's
    /// algorithm meets delayed acknowledgements). Standard error is waited for only if the command failed.
    pub(super) async fn run(&mut self, command: &str) -> io::Result<Output> {
        let mark = format!("livewebcam-mark-{:032x}", rand::random::<u128>());
        lock(&self.stderr).clear();
        let script = format!(
            "livewebcam_out=$({{ {command}\n}} </dev/null); livewebcam_code=$?\n\
             [ $livewebcam_code = 0 ] || printf '\\n%s\\n' {mark} >&2\n\
             printf '%s\\n%s\\n%s %d\\n' {mark} \"$livewebcam_out\" {mark} $livewebcam_code\n"
        );
        self.stdin.write_all(script.as_bytes()).await?;
        self.stdin.flush().await?;
        let (stdout, code) = between(&mut self.stdout, &mark).await?;
        let stderr = if code == 0 { lock(&self.stderr).clone() } else { last_words(self.stderr.clone(), &mark).await };
        Ok(Output { code, stdout, stderr })
    }
}

/// Everything on standard error up to the mark; after a while, whatever has come.
async fn last_words(stderr: Arc<Mutex<String>>, mark: &str) -> String {
    let end = Instant::now() + LAST_WORDS;
    loop {
        {
            let text = lock(&stderr);
            if let Some((words, _)) = text.split_once(mark) {
                return words.trim_end_matches('\n').to_owned();
            }
            if Instant::now() > end {
                return text.clone();
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn lock(text: &Mutex<String>) -> MutexGuard<'_, String> {
    text.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads a stream to its end; of what is too much, the beginning goes.
async fn collect(mut stream: Pin<Box<dyn AsyncRead + Send>>, text: Arc<Mutex<String>>) {
    let mut buffer = vec![0; 8192];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let mut text = lock(&text);
        if text.len() > OUTPUT_LIMIT {
            text.clear();
        }
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
}

/// The text between two marks, and the number after the second.
async fn between(stream: &mut (impl AsyncBufRead + Unpin), mark: &str) -> io::Result<(String, i32)> {
    let mut text: Option<String> = None;
    let mut line = Vec::new();
    let mut total = 0;
    loop {
        line.clear();
        total += stream.read_until(b'\n', &mut line).await?;
        let Some(content) = line.strip_suffix(b"\n") else {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the shell on the cluster ended"));
        };
        if total > OUTPUT_LIMIT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a command printed more than 4 MiB"));
        }
        let content = String::from_utf8_lossy(content);
        match &mut text {
            // Noise without a final line break may stand in front of the first mark.
            None if content.ends_with(mark) => text = Some(String::new()),
            None => {}
            Some(text) => match content.strip_prefix(mark).map(str::trim) {
                Some(code) => {
                    let code = code.parse().unwrap_or(-1);
                    return Ok((std::mem::take(text).trim_end_matches('\n').to_owned(), code));
                }
                None => {
                    text.push_str(&content);
                    text.push('\n');
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Transport;
    use super::*;
    use crate::settings::Settings;

    async fn transport() -> (tempfile::TempDir, Transport) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut settings = Settings::default();
        settings.cluster.root = folder.path().to_owned();
        let transport = Transport::connect(&settings).await.expect("a local tree");
        assert_eq!(transport.root().path(), Path::new(folder.path()));
        (folder, transport)
    }

    #[tokio::test]
    async fn one_shell_answers_command_after_command() {
        let (_folder, transport) = transport().await;
        let run = async |command: &str| transport.run(command, Duration::from_secs(10)).await.expect("an answer");
        let output = |code, stdout: &str, stderr: &str| Output { code, stdout: stdout.into(), stderr: stderr.into() };
        assert_eq!(run("echo one; echo; echo two").await, output(0, "one\n\ntwo", ""));
        assert_eq!(run("echo words >&2; (exit 3)").await, output(3, "", "words"));
        assert_eq!(run("false").await, output(1, "", ""));
        assert_eq!(run("cat; printf 'no line break'").await, output(0, "no line break", ""));
        assert_eq!(run("no-such-command").await.code, 127);
        assert_eq!(run("seq 100000 | tail -n 1").await, output(0, "100000", ""));
    }

    #[tokio::test]
    async fn a_command_past_its_deadline_takes_its_shell_with_it() {
        let (_folder, transport) = transport().await;
        let late = transport.run("sleep 5; echo late", Duration::from_millis(50)).await;
        assert!(late.is_err());
        let next = transport.run("echo next", Duration::from_secs(10)).await.expect("an answer");
        assert_eq!(next.stdout, "next");
    }
}

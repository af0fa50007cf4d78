//! A process at the other end of a transport, and a long-lived `/bin/sh` that runs one command after another.
//!
//! A shell per command costs tens to hundreds of milliseconds on a login node, because each reads the account's start files.

use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};

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
    stderr: BufReader<Pin<Box<dyn AsyncRead + Send>>>,
    _ended: Pin<Box<dyn Future<Output = Option<String>> + Send>>,
    sequence: u64,
}

/// Most that one command may print on either stream.
const OUTPUT_LIMIT: usize = 4 << 20;

impl Shell {
    pub(super) fn new(process: Process) -> Self {
        Self {
            stdin: process.stdin,
            stdout: BufReader::new(process.stdout),
            stderr: BufReader::new(process.stderr),
            _ended: process.ended,
            sequence: 0,
        }
    }

    /// Runs one command line. Both streams are read up to a mark that only this call knows, so whatever the account's start
    /// files printed before the first command goes in front of it and is dropped.
    pub(super) async fn run(&mut self, command: &str) -> io::Result<Output> {
        self.sequence += 1;
        let mark = format!("livewebcam-mark-{:016x}-{}", rand::random::<u64>(), self.sequence);
        let script = format!(
            "printf '%s\\n' {mark}; printf '%s\\n' {mark} >&2\n\
             {{ {command}\n}} </dev/null\n\
             livewebcam_code=$?; printf '\\n%s %d\\n' {mark} $livewebcam_code; printf '\\n%s 0\\n' {mark} >&2\n"
        );
        self.stdin.write_all(script.as_bytes()).await?;
        self.stdin.flush().await?;
        let (stdout, stderr) = tokio::try_join!(between(&mut self.stdout, &mark), between(&mut self.stderr, &mark))?;
        Ok(Output { code: stdout.1, stdout: stdout.0, stderr: stderr.0 })
    }
}

/// The text between two marks, and the number after the second.
async fn between(stream: &mut (impl AsyncBufReadExt + Unpin), mark: &str) -> io::Result<(String, i32)> {
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

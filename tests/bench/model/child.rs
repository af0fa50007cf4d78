//! A contender in a process of its own, which runs a part of a painting whenever it is told to. `peers/protocol.py` is the
//! other end, and `worker.rs`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};

pub(crate) struct Contender {
    /// How it names itself.
    pub(crate) name: String,
    /// What it said of itself when it was ready.
    pub(crate) remark: String,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Contender {
    /// Starts it, and waits until it has loaded its part and warmed up.
    pub(crate) fn start(name: &str, command: &mut Command, bench: &Path) -> Result<Self> {
        let log = bench.join(format!("{}.log", name.replace(|c: char| !c.is_alphanumeric(), "-")));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("a pipe")?);
        let mut contender = Self { name: name.to_owned(), remark: String::new(), child, input, output, log };
        let ready = contender.answer()?;
        contender.remark = ready.strip_prefix("ready").unwrap_or(&ready).trim().to_owned();
        Ok(contender)
    }

    /// Has the part run once: milliseconds.
    pub(crate) fn run(&mut self) -> Result<f64> {
        let answer = self.ask("run")?;
        answer.parse().with_context(|| format!("{} answered {answer:?}", self.name))
    }

    /// Says something, and waits for the answer.
    pub(crate) fn ask(&mut self, what: &str) -> Result<String> {
        let input = self.input.as_mut().context("a pipe")?;
        writeln!(input, "{what}").with_context(|| format!("{} does not listen any more", self.name))?;
        self.answer()
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            bail!("{} ended:\n{}", self.name, lines[lines.len().saturating_sub(20)..].join("\n"));
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Contender {
    /// It ends when its input does.
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

//! How far a download is: bars on a terminal, otherwise a line for each file.

use std::io::{IsTerminal, stderr};

use indicatif::{DecimalBytes, MultiProgress, ProgressBar, ProgressStyle};

use crate::log::Log;

/// Of a bar's name.
const WIDTH: usize = 24;
const TEMPLATE: &str =
    "{msg:24} [{wide_bar}] {decimal_bytes:>9}/{decimal_total_bytes:<9} {decimal_bytes_per_sec:>11} {eta:>4}";

/// Tells of one download.
pub(super) struct Progress {
    log: Log,
    bars: Option<Bars>,
    /// The current file and how much of it was there before.
    file: (String, u64, u64),
}

struct Bars {
    all: MultiProgress,
    overall: ProgressBar,
    file: ProgressBar,
}

impl Progress {
    pub(super) fn new(log: Log) -> Self {
        let bars = stderr().is_terminal().then(|| {
            let all = MultiProgress::new();
            let overall = all.add(bar(0).with_message("all"));
            Bars { file: ProgressBar::hidden(), all, overall }
        });
        Self { log, bars, file: (String::new(), 0, 0) }
    }

    /// There is this much more to download.
    pub(super) fn expect(&self, bytes: u64) {
        if let Some(bars) = &self.bars {
            bars.overall.inc_length(bytes);
        }
    }

    /// A file of `size` bytes begins; `there` of them are from an earlier try.
    pub(super) fn begin(&mut self, path: &str, size: u64, there: u64) {
        self.file = (path.to_owned(), size, there);
        if let Some(bars) = &mut self.bars {
            bars.file = bars.all.insert_before(&bars.overall, bar(size).with_message(shortened(path)));
        }
        self.set(there);
        if let Some(bars) = self.bars.as_ref().filter(|_| there > 0) {
            // What was there did not come at any speed.
            bars.file.reset_eta();
            bars.overall.reset_eta();
        }
    }

    /// So much of the current file is there now.
    pub(super) fn set(&self, position: u64) {
        if let Some(bars) = &self.bars {
            let before = bars.file.position();
            bars.file.set_position(position);
            bars.overall.set_position((bars.overall.position() + position).saturating_sub(before));
        }
    }

    /// The current file is whole.
    pub(super) fn end(&self) {
        let (path, size, there) = &self.file;
        let resumed = if *there > 0 { format!(", {} of it from before", DecimalBytes(*there)) } else { String::new() };
        if let Some(bars) = &self.bars {
            bars.file.finish_and_clear();
        }
        self.say(&format!("{path}: {}{resumed}", DecimalBytes(*size)));
    }

    /// A line that stays.
    pub(super) fn say(&self, text: &str) {
        let line = || self.log.line(format_args!("{text}"));
        match &self.bars {
            Some(bars) => bars.all.suspend(line),
            None => line(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bars) = &self.bars {
            bars.file.finish_and_clear();
            bars.overall.finish_and_clear();
        }
    }
}

fn bar(size: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(TEMPLATE).expect("the fixed template is one");
    ProgressBar::new(size).with_style(style.progress_chars("=> "))
}

/// The end of a path tells more than its beginning.
fn shortened(path: &str) -> String {
    let surplus = path.chars().count().saturating_sub(WIDTH);
    if surplus == 0 { path.to_owned() } else { format!("…{}", path.chars().skip(surplus + 1).collect::<String>()) }
}

//! What a bench found, in Markdown: printed as it comes, and kept.

use std::fs;

use anyhow::{Context, Result};

use super::place::Place;

/// The lines so far.
#[derive(Default)]
pub(crate) struct Report(String);

/// What stands before and after the report in the page.
const BEGIN: &str = "<!-- from here on written by `make bench UPDATE=1` -->\n";
const END: &str = "<!-- to here -->\n";

impl Report {
    pub(crate) fn line(&mut self, line: impl AsRef<str>) {
        println!("{}", line.as_ref());
        self.0.push_str(line.as_ref());
        self.0.push('\n');
    }

    /// The head of a table: names of columns, those of numbers with a colon behind them.
    pub(crate) fn table(&mut self, columns: &[&str]) {
        self.line("");
        let names: Vec<_> = columns.iter().map(|name| name.trim_end_matches(':')).collect();
        let rules: Vec<_> = columns.iter().map(|name| if name.ends_with(':') { "---:" } else { "---" }).collect();
        self.row(&names);
        self.row(&rules);
    }

    pub(crate) fn row<T: AsRef<str>>(&mut self, cells: &[T]) {
        let cells: Vec<_> = cells.iter().map(T::as_ref).collect();
        self.line(format!("| {} |", cells.join(" | ")));
    }

    /// Keeps the report in the bench's folder, and in the page if `update` is set.
    pub(crate) fn keep(&self, place: &Place, name: &str, update: bool) -> Result<()> {
        fs::write(place.bench.join(name), &self.0)?;
        if update {
            let path = place.project.join("docs/performance.md");
            let page = fs::read_to_string(&path)?;
            let (before, rest) = page.split_once(BEGIN).context("docs/performance.md has lost its first mark")?;
            let (_, after) = rest.split_once(END).context("docs/performance.md has lost its second mark")?;
            fs::write(&path, format!("{before}{BEGIN}\n{}\n{END}{after}", self.0))?;
        }
        Ok(())
    }
}

/// Milliseconds, or seconds from one on.
pub(crate) fn time(milliseconds: f64) -> String {
    match milliseconds {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.2} s", ms / 1e3),
    }
}

pub(crate) fn gigabytes(bytes: u64) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}

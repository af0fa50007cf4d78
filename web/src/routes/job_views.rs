//! What the templates show of a job: plain texts and numbers, safe to print. Pure.

use livewebcam_jobs::{Clamped, JobId, LoadOptions, ModelInfo, Outcome, Request, State, Status, Timings};
use serde::Serialize;

use crate::inspect::Job;
use crate::text::printable;

/// A job in a list.
#[derive(Debug, Serialize)]
pub(super) struct JobView {
    id: JobId,
    created: String,
    state: String,
    model: String,
    style: Option<String>,
    prompt: String,
    width: u32,
    height: u32,
    reason: Option<String>,
    total_ms: Option<f64>,
    has_input: bool,
    has_output: bool,
}

/// A row of a job's request.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    name: &'static str,
    value: String,
    /// Whether the value is words of the project's own, which another language has in its own words.
    said: bool,
}

/// A part of the timing bar.
#[derive(Debug, Serialize)]
pub(super) struct Timing {
    name: &'static str,
    ms: f64,
    percent: f64,
}

impl JobView {
    pub(super) fn new(job: &Job) -> Self {
        let request = job.request.as_ref();
        let outcome = job.outcome.as_ref();
        Self {
            id: job.id,
            created: job.id.created_unix_ms().map_or_else(String::new, utc),
            state: job.state.to_string(),
            model: printable(request.map_or("", |request| &request.model)),
            style: style(request, outcome).map(|style| printable(&style)),
            prompt: printable(request.map_or("", |request| &request.parameters.prompt)),
            width: request.map_or(0, |request| request.width),
            height: request.map_or(0, |request| request.height),
            reason: outcome.and_then(|outcome| outcome.failure.as_ref()).map(|failure| printable(&failure.reason)),
            total_ms: outcome.map(|outcome| outcome.timings.total_ms).filter(|ms| *ms > 0.0),
            has_input: request.is_some(),
            has_output: job.state == State::Concluded(Status::Done),
        }
    }
}

/// What was painted, else what was asked for.
fn style(request: Option<&Request>, outcome: Option<&Outcome>) -> Option<String> {
    let used = outcome.and_then(|outcome| outcome.parameters.as_ref()?.style.as_ref());
    used.or_else(|| request?.parameters.style.as_ref()).map(ToString::to_string)
}

/// The request as rows; parameters as they were used where the job has painted.
pub(super) fn request_rows(job: &Job) -> Vec<Row> {
    let Some(request) = &job.request else { return Vec::new() };
    let used = job.outcome.as_ref().and_then(|outcome| outcome.parameters.as_ref()).unwrap_or(&request.parameters);
    let later = job.outcome.as_ref().map(|outcome| outcome.clamped.clone()).unwrap_or_default();
    let clamped: Vec<String> =
        Clamped::joined(request.clamped.clone(), later).iter().map(ToString::to_string).collect();
    let rows = [
        ("Model", Some(request.model.clone())),
        ("Size", Some(format!("{} × {}", request.width, request.height))),
        ("Style", used.style.as_ref().map(ToString::to_string)),
        ("Prompt", Some(used.prompt.clone())),
        ("Negative prompt", Some(used.negative_prompt.clone())),
        ("Steps", used.steps.map(|steps| steps.to_string())),
        ("Guidance scale", used.guidance_scale.map(|scale| scale.to_string())),
        ("Strength", used.strength.map(|strength| strength.to_string())),
        ("Seed", used.seed.map(|seed| seed.to_string())),
        ("Scheduler", used.scheduler.clone()),
        ("Clamped", Some(clamped.join(", "))),
        ("Computed", job.outcome.as_ref().and_then(|outcome| outcome.loading.as_ref()).map(computed)),
        ("Retry of", request.retry_of.map(|id| id.to_string())),
        ("Slurm job", slurm_job(job)),
    ];
    let warnings = job.outcome.iter().flat_map(|outcome| &outcome.warnings);
    let rows = rows.into_iter().chain(warnings.map(|warning| ("Warning", Some(warning.clone()))));
    let filled = rows.filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
    let said = |name| matches!(name, "Style" | "Computed" | "Warning");
    filled.map(|(name, value)| Row { name, value: printable(&value), said: said(name) }).collect()
}

fn computed(loading: &LoadOptions) -> String {
    let LoadOptions { device, precision, taesd } = loading;
    format!("on {device} in {precision}{}", if *taesd { ", with TAESD" } else { "" })
}

/// Slurm's number of the job, where Slurm ran it.
fn slurm_job(job: &Job) -> Option<String> {
    let submission = job.submission.as_ref().filter(|submission| submission.scheduler == "slurm")?;
    Some(submission.scheduler_job_id.clone())
}

/// The runner's own time, split. What is in no part is `other`.
pub(super) fn timing_bar(timings: &Timings) -> Vec<Timing> {
    let Timings { load_ms, encode_ms, paint_ms, decode_ms, write_ms, total_ms } = *timings;
    if total_ms <= 0.0 {
        return Vec::new();
    }
    let other = (total_ms - load_ms - encode_ms - paint_ms - decode_ms - write_ms).max(0.0);
    let parts = [
        ("load", load_ms),
        ("encode", encode_ms),
        ("paint", paint_ms),
        ("decode", decode_ms),
        ("write", write_ms),
        ("other", other),
    ];
    let shown = parts.into_iter().filter(|(_, ms)| *ms > 0.0);
    shown.map(|(name, ms)| Timing { name, ms, percent: (ms / total_ms * 100.0).min(100.0) }).collect()
}

/// Models without the ones that cannot paint: the page offers only what works.
pub(super) fn offered(models: Vec<ModelInfo>) -> Vec<ModelInfo> {
    models.into_iter().filter(|model| model.broken.is_none()).collect()
}

/// `2026-11-22 16:05:09 UTC` from milliseconds since the Unix epoch.
pub(crate) fn utc(unix_ms: u64) -> String {
    let seconds = i64::try_from(unix_ms / 1000).unwrap_or(0);
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| String::new(), |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_utc() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(1_795_363_509_123), "2026-11-22 16:05:09 UTC");
    }

    #[test]
    fn the_timing_bar_is_whole() {
        let timings = Timings { load_ms: 10.0, paint_ms: 60.0, write_ms: 20.0, total_ms: 100.0, ..Timings::default() };
        let bar = timing_bar(&timings);
        let names: Vec<_> = bar.iter().map(|part| part.name).collect();
        assert_eq!(names, ["load", "paint", "write", "other"]);
        assert!((bar.iter().map(|part| part.percent).sum::<f64>() - 100.0).abs() < 1e-9);
        assert!(timing_bar(&Timings::default()).is_empty());
    }
}

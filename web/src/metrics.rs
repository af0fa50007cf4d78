//! What becomes of frames, counted for Prometheus.

use std::sync::LazyLock;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Five milliseconds to eighty seconds.
static BUCKETS: LazyLock<Vec<f64>> = LazyLock::new(|| exponential_buckets(0.005, 2.0, 15).collect());

/// Counts since the server's start. Clones share them.
#[derive(Clone)]
pub(crate) struct Metrics {
    answers: Family<Answer, Counter>,
    stages: Family<Stage, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    /// Of HTTP.
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    /// As in `Server-Timing`.
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Runners {
    model: String,
    state: &'static str,
}

/// What is true at the moment of asking.
pub(crate) struct Now {
    pub(crate) connected: bool,
    /// Frames that have a place on the cluster.
    pub(crate) in_flight: usize,
    pub(crate) waiting: usize,
    pub(crate) places: usize,
    /// Model and state of each warm runner.
    pub(crate) runners: Vec<(String, &'static str)>,
    pub(crate) sbatch: u64,
    pub(crate) squeue: u64,
    pub(crate) connections: u64,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS.iter().copied());
        Self { answers: Family::default(), stages: Family::new_with_constructor(histogram) }
    }

    /// `POST /generate` was answered with this status.
    pub(crate) fn answered(&self, status: u16) {
        self.answers.get_or_create(&Answer { status }).inc();
    }

    /// A painted frame spent this long in a stage.
    pub(crate) fn spent(&self, stage: &'static str, milliseconds: f64) {
        self.stages.get_or_create(&Stage { stage }).observe(milliseconds / 1000.0);
    }

    /// In the text format of OpenMetrics.
    pub(crate) fn encode(&self, now: &Now) -> String {
        let mut registry = Registry::with_prefix("livewebcam");
        registry.register("answers", "Answers to POST /generate", self.answers.clone());
        let help = "Time of painted frames in each stage";
        registry.register_with_unit("stage", help, Unit::Seconds, self.stages.clone());
        let gauges = [
            ("cluster_connected", "Whether the shared tree can be reached", usize::from(now.connected)),
            ("frames_in_flight", "Frames on the cluster", now.in_flight),
            ("frames_waiting", "Frames that wait in line for a place", now.waiting),
            ("places", "Frames that may be on the cluster at once", now.places),
        ];
        for (name, help, value) in gauges {
            let gauge = Gauge::<i64>::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            registry.register(name, help, gauge);
        }
        let runners = Family::<Runners, Gauge>::default();
        for (model, state) in &now.runners {
            runners.get_or_create(&Runners { model: model.clone(), state }).inc();
        }
        registry.register("runners", "Warm runners", runners);
        let counters = [
            ("sbatch_calls", "Calls of sbatch", now.sbatch),
            ("squeue_calls", "Calls of squeue", now.squeue),
            ("ssh_connections", "SSH connections opened", now.connections),
        ];
        for (name, help, value) in counters {
            let counter = Counter::<u64>::default();
            counter.inc_by(value);
            registry.register(name, help, counter);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("a String takes everything");
        text
    }
}

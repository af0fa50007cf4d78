//! The settings: one TOML file, environment variables over it, flags over those.
//!
//! Every key has a default, so the empty file is the embedded default: `local` + `process` + `starter`.

mod models;
mod page;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use livewebcam_jobs::RunnerId;
use livewebcam_jobs::batch_script::{Resources, Serving};
use serde::{Deserialize, Serialize};

pub use self::models::{Model, Models};
pub use self::page::{Page, Preset};

/// Everything that an installation can choose. `livewebcam.example.toml` explains every key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the page is served.
    pub server: Server,
    /// Where frames are painted.
    pub cluster: Cluster,
    /// How the cluster is reached, for `cluster.transport = "ssh"`.
    pub ssh: Ssh,
    /// What a job asks of Slurm, for `cluster.scheduler = "slurm"`.
    pub slurm: Slurm,
    /// How many warm runners there are and how long they stay.
    pub warm: Warm,
    /// Bounds on what visitors may ask.
    pub limits: Limits,
    /// How long each stage of a frame may take.
    pub deadlines: Deadlines,
    /// How often the watcher looks.
    pub watch: Watch,
    /// How much of the past is kept.
    pub keep: Keep,
    /// Which model paints.
    pub models: Models,
    /// What the page offers.
    pub page: Page,
}

/// `[server]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// Names by which visitors reach the page besides loopback's, for instance through a reverse proxy.
    pub allowed_hosts: Vec<String>,
    /// The operator's token; empty for a new random one at each start.
    pub operator_token: String,
    /// Whether a non-loopback `host` is allowed although there is no TLS. The flag `--insecure`.
    pub insecure: bool,
    /// The folder of `templates` and `static`; empty to look in the working directory and above the binary.
    pub assets: PathBuf,
}

impl Default for Server {
    fn default() -> Self {
        let host = IpAddr::from([127, 0, 0, 1]);
        Self {
            host,
            port: 5000,
            allowed_hosts: Vec::new(),
            operator_token: String::new(),
            insecure: false,
            assets: PathBuf::new(),
        }
    }
}

/// `[cluster]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// How the shared tree is reached.
    pub transport: TransportKind,
    /// Who starts the runners.
    pub scheduler: SchedulerKind,
    /// Whether runners stay for further frames.
    pub policy: PolicyChoice,
    /// The shared tree, as the cluster sees it; a leading `~/` is the home directory there.
    pub root: PathBuf,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            transport: TransportKind::Local,
            scheduler: SchedulerKind::Process,
            policy: PolicyChoice::Auto,
            root: "var".into(),
        }
    }
}

/// `cluster.transport`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportKind {
    /// The tree is mounted here.
    Local,
    /// The tree is reached by SFTP.
    Ssh,
}

/// `cluster.scheduler`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SchedulerKind {
    /// The batch script runs as a child process at the transport's other end.
    Process,
    /// The batch script is submitted to Slurm.
    Slurm,
}

/// `cluster.policy`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyChoice {
    /// The scheduler's default: `process` warm, `slurm` per-request.
    Auto,
    /// See [`Policy::PerRequest`].
    PerRequest,
    /// See [`Policy::Warm`].
    Warm,
}

/// How long a runner stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Every frame is a batch job of its own.
    PerRequest,
    /// A runner that has painted its frame takes the next.
    Warm,
}

/// `[warm]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Warm {
    /// Seconds without a frame after which a runner leaves.
    pub idle_exit: u32,
    /// Runners of the default model that are kept even if nobody watches.
    pub min_standby: usize,
    /// Runners at once, over all models; 0 for the scheduler's default (`process` 1, `slurm` 4).
    pub max_runners: usize,
    /// A runner's time limit, in place of `slurm.time_limit`; empty to keep that.
    pub time_limit: String,
}

impl Default for Warm {
    fn default() -> Self {
        Self { idle_exit: 60, min_standby: 0, max_runners: 0, time_limit: String::new() }
    }
}

/// `[ssh]`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ssh {
    /// The destination, an alias of the ssh config as a rule.
    pub host: String,
    /// The ssh config to use; empty for the user's own `~/.ssh/config`.
    pub config: PathBuf,
}

/// `[slurm]`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Slurm {
    /// The folder of `sbatch`, `squeue` and `scancel` on the login node; empty if they are on its PATH.
    pub bin: String,
    /// What a job asks for.
    #[serde(flatten)]
    pub resources: Resources,
}

/// `[limits]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest upload in bytes.
    pub upload_bytes: usize,
    /// Largest frame in pixels, before it is resized.
    pub pixels: u64,
    /// Longest prompt in characters.
    pub prompt_chars: usize,
    /// Frames on the cluster at once over all visitors; 0 for two per warm runner, or else for the scheduler's default
    /// (`process` 2, `slurm` 8).
    pub max_in_flight: usize,
    /// Frames that wait in line for a place, over all visitors.
    pub max_waiting: usize,
    /// Frames on the cluster at once of one visitor.
    pub per_visitor: usize,
    /// Batch jobs submitted in a minute; 0 for the scheduler's default (`process` 1200, `slurm` 240).
    pub submits_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            upload_bytes: 12 << 20,
            pixels: 40_000_000,
            prompt_chars: 2000,
            max_in_flight: 0,
            max_waiting: 64,
            per_visitor: 4,
            submits_per_minute: 0,
        }
    }
}

impl Settings {
    /// `cluster.policy` with the scheduler's default.
    #[must_use]
    pub fn policy(&self) -> Policy {
        match (self.cluster.policy, self.cluster.scheduler) {
            (PolicyChoice::PerRequest, _) | (PolicyChoice::Auto, SchedulerKind::Slurm) => Policy::PerRequest,
            (PolicyChoice::Warm, _) | (PolicyChoice::Auto, SchedulerKind::Process) => Policy::Warm,
        }
    }

    /// `warm.max_runners` with the scheduler's default.
    #[must_use]
    pub fn max_runners(&self) -> usize {
        match (self.warm.max_runners, self.cluster.scheduler) {
            // A runner uses every processor that it has.
            (0, SchedulerKind::Process) => 1,
            (0, SchedulerKind::Slurm) => 4,
            (chosen, _) => chosen,
        }
    }

    /// `limits.max_in_flight` with its default.
    #[must_use]
    pub fn max_in_flight(&self) -> usize {
        match (self.limits.max_in_flight, self.cluster.scheduler) {
            (0, _) if self.policy() == Policy::Warm => PLACES_PER_RUNNER * self.max_runners(),
            (0, SchedulerKind::Process) => 2,
            (0, SchedulerKind::Slurm) => 8,
            (chosen, _) => chosen,
        }
    }

    /// `limits.submits_per_minute` with the scheduler's default.
    #[must_use]
    pub fn submits_per_minute(&self) -> u32 {
        match (self.limits.submits_per_minute, self.cluster.scheduler) {
            (0, SchedulerKind::Process) => 1200,
            (0, SchedulerKind::Slurm) => 240,
            (chosen, _) => chosen,
        }
    }
}

/// `[deadlines]`, in seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deadlines {
    /// Reading an upload and decoding the frame.
    pub validate: f64,
    /// Opening the connection to the cluster.
    pub connect: f64,
    /// Putting the job directory together.
    pub stage: f64,
    /// One command of the scheduler.
    pub submit: f64,
    /// From the submission to the result.
    pub job: f64,
    /// Fetching the painting.
    pub retrieve: f64,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { validate: 15.0, connect: 20.0, stage: 20.0, submit: 30.0, job: 300.0, retrieve: 30.0 }
    }
}

/// `[watch]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Watch {
    /// Milliseconds between two looks into `done/` while a frame is in flight.
    pub look_ms: u64,
    /// Seconds between two `squeue` while a frame is in flight.
    pub squeue_seconds: f64,
    /// Seconds between two heartbeats in `frontend.json`.
    pub heartbeat_seconds: f64,
}

impl Default for Watch {
    fn default() -> Self {
        Self { look_ms: 40, squeue_seconds: 5.0, heartbeat_seconds: 5.0 }
    }
}

/// `[keep]`: what the sweeper leaves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keep {
    /// The newest concluded jobs.
    pub count: usize,
    /// Of older ones, the newest that failed.
    pub failed: usize,
    /// Bytes in all concluded jobs; the oldest go first.
    pub bytes: u64,
}

impl Default for Keep {
    fn default() -> Self {
        Self { count: 500, failed: 100, bytes: 2 << 30 }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the settings file {path}; name an existing one with --config")]
    Read {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no TOML, or has an unknown key or a wrong type in it.
    #[error("the settings file {path} is not usable; livewebcam.example.toml explains every key")]
    Parse {
        /// Its path.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// An environment variable is no setting.
    #[error("the environment variable {name} {problem}")]
    Environment {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A value that makes no sense.
    #[error("{0}")]
    Value(String),
}

/// One frame that a warm runner paints, and one that lies ready for it.
pub const PLACES_PER_RUNNER: usize = 2;

const ENVIRONMENT_PREFIX: &str = "LIVEWEBCAM__";

impl Settings {
    /// Reads `file` (or nothing), then lets `environment` override single keys.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let mut settings = match file {
            None => Self::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
                toml::from_str(&text)
                    .map_err(|source| SettingsError::Parse { path: path.to_owned(), source: Box::new(source) })?
            }
        };
        for (name, value) in environment {
            if let Some(key) = name.strip_prefix(ENVIRONMENT_PREFIX) {
                settings = settings
                    .with_override(key, &value)
                    .map_err(|problem| SettingsError::Environment { name: name.clone(), problem })?;
            }
        }
        settings.finish()
    }

    /// One key replaced: `CLUSTER__ROOT` is `cluster.root`. A text key takes the value as it is, any other key a TOML value.
    fn with_override(self, key: &str, value: &str) -> Result<Self, String> {
        let path: Vec<String> = key.split("__").map(str::to_lowercase).collect();
        let mut table = toml::Table::try_from(&self).map_err(|error| error.to_string())?;
        let [section, key] = path.as_slice() else {
            return Err("names no setting; write it like LIVEWEBCAM__CLUSTER__ROOT for cluster.root".to_owned());
        };
        let unknown = || format!("names the unknown setting {section}.{key}");
        let slot = table
            .get_mut(section)
            .and_then(toml::Value::as_table_mut)
            .and_then(|section| section.get_mut(key))
            .ok_or_else(unknown)?;
        *slot = if slot.is_str() {
            toml::Value::String(value.to_owned())
        } else {
            let parsed: toml::Table = toml::from_str(&format!("value = {value}"))
                .map_err(|_| format!("is not a TOML value of the kind of {section}.{key}: {value:?}"))?;
            parsed["value"].clone()
        };
        table.try_into().map_err(|error: toml::de::Error| format!("does not fit {section}.{key}: {}", error.message()))
    }

    fn finish(mut self) -> Result<Self, SettingsError> {
        if self.cluster.transport == TransportKind::Ssh && self.ssh.host.is_empty() {
            let message = "ssh.host is empty: cluster.transport = \"ssh\" needs the name of a host or of an alias in ~/.ssh/config";
            return Err(SettingsError::Value(message.to_owned()));
        }
        if self.cluster.root.as_os_str().is_empty() {
            return Err(SettingsError::Value(
                "cluster.root is empty: name the folder of the job directories".to_owned(),
            ));
        }
        let Deadlines { validate, connect, stage, submit, job, retrieve } = self.deadlines;
        let Watch { squeue_seconds, heartbeat_seconds, look_ms } = self.watch;
        let everywhere = [validate, connect, stage, submit, job, retrieve, squeue_seconds, heartbeat_seconds];
        let own = self.models.own.values().filter_map(|model| model.deadline);
        for seconds in everywhere.into_iter().chain(own) {
            if !(seconds > 0.0 && seconds <= 86_400.0) {
                let message = "every value in [deadlines] and [watch], and a model's deadline, must be positive and at most 86400 seconds";
                return Err(SettingsError::Value(message.to_owned()));
            }
        }
        if look_ms == 0 {
            return Err(SettingsError::Value("watch.look_ms must be at least 1".to_owned()));
        }
        let resources = self.slurm.resources.options();
        resources.map_err(|error| SettingsError::Value(format!("slurm.{error}")))?;
        let serving = Serving { model: "", idle_exit: None, time_limit: &self.warm.time_limit };
        let script = self.slurm.resources.script_of_runner(RunnerId::new(), &serving);
        script.map_err(|error| SettingsError::Value(format!("warm.{error}")))?;
        if self.warm.min_standby > self.max_runners() {
            return Err(SettingsError::Value("warm.min_standby is larger than warm.max_runners".to_owned()));
        }
        if self.limits.per_visitor == 0 {
            return Err(SettingsError::Value("limits.per_visitor must be at least 1".to_owned()));
        }
        if self.is_embedded() {
            self.models.add_python_names();
        }
        Ok(self)
    }

    /// Whether everything happens on this machine, without a cluster.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.cluster.transport == TransportKind::Local && self.cluster.scheduler == SchedulerKind::Process
    }
}

/// A duration from a setting in seconds.
#[must_use]
pub fn seconds(value: f64) -> Duration {
    Duration::from_secs_f64(value)
}

#[cfg(test)]
mod tests {
    use livewebcam_jobs::{DeviceChoice, LoadOptions, Precision};

    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("livewebcam.toml");
        std::fs::write(&path, text).expect("a file");
        Settings::load(Some(&path), environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    fn message(error: SettingsError) -> String {
        format!("{:#}", anyhow::Error::from(error))
    }

    #[test]
    fn the_empty_file_is_the_embedded_default() {
        let settings = load("", &[]).expect("settings");
        assert!(settings.is_embedded() && settings.server.host.is_loopback());
        assert_eq!((settings.server.port, settings.max_in_flight()), (5000, 2));
        assert_eq!(settings.models.alias["lykon/dreamshaper-8"], "starter");
    }

    #[test]
    fn the_example_explains_every_key_with_its_default() {
        let example = include_str!("../../livewebcam.example.toml");
        let uncommented: String = example
            .lines()
            .map(|line| line.strip_prefix("#").filter(|rest| !rest.starts_with([' ', '#'])).unwrap_or(line))
            .fold(String::new(), |text, line| text + line + "\n");
        let from_example: toml::Table = toml::from_str(&uncommented).expect("TOML once every key is uncommented");
        let default = toml::Table::try_from(Settings::default()).expect("a table");
        for (section, keys) in &default {
            // A table of free keys has an example in it.
            for (key, value) in keys.as_table().expect("a section").iter().filter(|(_, value)| !value.is_table()) {
                assert_eq!(from_example[section].get(key), Some(value), "{section}.{key}");
            }
        }
        load(&uncommented, &[]).expect("settings");
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let file = "[server]\nport = 5001\n[cluster]\nroot = \"/a\"\n";
        let environment = [
            ("LIVEWEBCAM__CLUSTER__ROOT", "/b"),
            ("LIVEWEBCAM__SERVER__PORT", "5002"),
            ("LIVEWEBCAM__SLURM__QOS", "123"),
            ("LIVEWEBCAM__SLURM__SETUP", "[\"module load CUDA\"]"),
            ("PATH", "/bin"),
        ];
        let settings = load(file, &environment).expect("settings");
        assert_eq!(settings.cluster.root, PathBuf::from("/b"));
        assert_eq!(settings.server.port, 5002);
        assert_eq!(settings.slurm.resources.qos, "123");
        assert_eq!(settings.slurm.resources.setup, ["module load CUDA"]);
    }

    #[test]
    fn a_model_has_settings_of_its_own() {
        let file = "[models]\ndefault = \"a/b\"\n[models.alias]\nb = \"a/b\"\n\
                    [models.\"a/b\"]\ntaesd = true\ndevice = \"cuda\"\ndtype = \"bf16\"\ndeadline = 900\n\
                    [models.\"a/c\"]\n";
        let settings = load(file, &[("LIVEWEBCAM__MODELS__DEFAULT", "a/c")]).expect("settings");
        assert_eq!((settings.models.default.as_str(), settings.models.alias["b"].as_str()), ("a/c", "a/b"));
        let loading = LoadOptions { device: DeviceChoice::Cuda, precision: Precision::Bf16, taesd: true };
        assert_eq!((settings.models.of("A/B").loading(), settings.models.of("a/b").deadline), (loading, Some(900.0)));
        assert_eq!((settings.models.of("a/c"), settings.models.of("b")), (Model::default(), Model::default()));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        type Variables = &'static [(&'static str, &'static str)];
        let cases: [(&str, Variables, &str); 13] = [
            ("[cluster]\nroute = \"x\"\n", &[], "unknown field `route`"),
            ("[slurm]\npartiton = \"x\"\n", &[], "partiton"),
            ("[server]\nport = \"high\"\n", &[], "invalid type"),
            ("[cluster]\ntransport = \"carrier pigeon\"\n", &[], "unknown variant `carrier pigeon`"),
            ("[cluster]\ntransport = \"ssh\"\n", &[], "ssh.host is empty"),
            ("[deadlines]\njob = -1\n", &[], "must be positive"),
            ("[slurm]\npartition = \"a b\"\n", &[], "slurm.partition"),
            ("[models.\"a/b\"]\ndeadline = 0\n", &[], "a model's deadline, must be positive"),
            ("[models.\"a/b\"]\ntaesdd = true\n", &[], "models.\"a/b\": unknown field `taesdd`"),
            ("[models.\"a/b\"]\ndevice = \"tpu\"\n", &[], "unknown variant `tpu`"),
            ("[models]\ndefualt = \"starter\"\n", &[], "unknown field `defualt`, expected `default`"),
            ("", &[("LIVEWEBCAM__CLUSTER__ROUTE", "x")], "unknown setting cluster.route"),
            ("", &[("LIVEWEBCAM__SERVER__PORT", "high")], "LIVEWEBCAM__SERVER__PORT is not a TOML value"),
        ];
        for (file, environment, expected) in cases {
            let message = message(load(file, environment).expect_err(expected));
            assert!(message.contains(expected), "{expected:?} is not in {message:?}");
        }
        let missing = Settings::load(Some(Path::new("/nonexistent.toml")), []).expect_err("no file");
        assert!(message(missing).contains("/nonexistent.toml"));
    }
}

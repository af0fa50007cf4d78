//! `job.sbatch`: the script that a scheduler runs for one frame or for a warm runner. The same script serves Slurm and a
//! plain shell.
//!
//! It is submitted with its own directory as its working directory, so it holds no path of the installation and nothing
//! that a visitor wrote. `cd jobs/<id> && sbatch job.sbatch` repeats the submission by hand.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{InvalidJobId, JobId, RunnerId, model_key};

/// What a scheduler runs. Its text is the unique job name that it is submitted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BatchJob {
    /// A runner that paints one frame.
    Frame(JobId),
    /// A warm runner.
    Runner(RunnerId),
}

impl BatchJob {
    const PREFIX: &str = "livewebcam-";
    const RUNNER_PREFIX: &str = "livewebcam-runner-";
}

impl fmt::Display for BatchJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(id) => write!(f, "{}{id}", Self::PREFIX),
            Self::Runner(id) => write!(f, "{}{id}", Self::RUNNER_PREFIX),
        }
    }
}

impl FromStr for BatchJob {
    type Err = InvalidJobId;

    fn from_str(name: &str) -> Result<Self, InvalidJobId> {
        if let Some(id) = name.strip_prefix(Self::RUNNER_PREFIX) {
            return id.parse().map(Self::Runner).map_err(|_| InvalidJobId);
        }
        name.strip_prefix(Self::PREFIX).ok_or(InvalidJobId)?.parse().map(Self::Frame)
    }
}

/// What a warm runner is started for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving<'a> {
    /// The model whose frames it paints, by name.
    pub model: &'a str,
    /// Seconds without a frame after which it leaves; `None` to stay.
    pub idle_exit: Option<u32>,
    /// `--time` in place of the setting for single frames; empty to keep that.
    pub time_limit: &'a str,
}

/// What a site wants of Slurm for every frame. Empty values leave the choice to Slurm's defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// `--partition`.
    pub partition: String,
    /// `--account`.
    pub account: String,
    /// `--qos`.
    pub qos: String,
    /// `--gres`, for instance `gpu:1`.
    pub gres: String,
    /// `--cpus-per-task`; 0 for Slurm's default.
    pub cpus: u32,
    /// `--mem`, for instance `8G`.
    pub memory: String,
    /// `--time`, for instance `00:05:00`.
    pub time_limit: String,
    /// `--constraint`.
    pub constraint: String,
    /// Further directives without `#SBATCH`, for instance `--reservation=openday`.
    pub directives: Vec<String>,
    /// Shell lines that run before the runner, for instance `module load CUDA`.
    pub setup: Vec<String>,
}

/// A setting that cannot stand in a batch script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value:?} cannot stand in a batch script: {problem}")]
pub struct InvalidResource {
    /// Name of the setting.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// What is wrong with it, and what to write instead.
    pub problem: &'static str,
}

impl Resources {
    /// The `#SBATCH` options, in a fixed order.
    ///
    /// # Errors
    /// A value with a line break, a space or a quote in it, or a directive that does not begin with `-`.
    pub fn options(&self) -> Result<Vec<String>, InvalidResource> {
        let single = [
            ("partition", "--partition", self.partition.as_str()),
            ("account", "--account", &self.account),
            ("qos", "--qos", &self.qos),
            ("gres", "--gres", &self.gres),
            ("memory", "--mem", &self.memory),
            ("time_limit", "--time", &self.time_limit),
            ("constraint", "--constraint", &self.constraint),
        ];
        let mut options = Vec::new();
        for (key, option, value) in single {
            if value.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '#' | '\\')) {
                let problem = "spaces, quotes, backslashes and line breaks are not allowed in it";
                return Err(InvalidResource { key, value: value.to_owned(), problem });
            }
            if !value.is_empty() {
                options.push(format!("{option}={value}"));
            }
        }
        if self.cpus > 0 {
            options.push(format!("--cpus-per-task={}", self.cpus));
        }
        for directive in &self.directives {
            if !directive.starts_with('-') || directive.contains(char::is_control) {
                let problem = "a directive is one line that begins with a dash, like `--reservation=openday`";
                return Err(InvalidResource { key: "directives", value: directive.clone(), problem });
            }
            options.push(directive.clone());
        }
        Ok(options)
    }

    /// The script that paints one frame.
    ///
    /// # Errors
    /// See [`Resources::options`].
    pub fn script(&self, id: JobId) -> Result<String, InvalidResource> {
        self.script_of(BatchJob::Frame(id), "run --job \"$job\"")
    }

    /// The script of a warm runner. It knows its model by the queue's folder name, in which no character means anything
    /// to a shell.
    ///
    /// # Errors
    /// See [`Resources::options`].
    pub fn script_of_runner(&self, id: RunnerId, serving: &Serving<'_>) -> Result<String, InvalidResource> {
        let mut resources = self.clone();
        if !serving.time_limit.is_empty() {
            serving.time_limit.clone_into(&mut resources.time_limit);
        }
        let model = model_key(serving.model);
        let idle_exit = serving.idle_exit.map_or_else(|| "never".to_owned(), |seconds| seconds.to_string());
        let mut command = format!("serve --root \"$job/../..\" --runner {id} --model {model} --idle-exit {idle_exit}");
        if !resources.time_limit.is_empty() {
            command.push_str(&format!(" --time-limit '{}'", resources.time_limit));
        }
        resources.script_of(BatchJob::Runner(id), &command)
    }

    fn script_of(&self, batch_job: BatchJob, command: &str) -> Result<String, InvalidResource> {
        let mut script = String::from("#!/bin/sh\n");
        // A requeued job would start twice; its log must survive that all the same.
        let fixed = [
            format!("--job-name={batch_job}"),
            "--no-requeue".to_owned(),
            "--output=slurm.log".to_owned(),
            "--open-mode=append".to_owned(),
        ];
        for option in fixed.into_iter().chain(self.options()?) {
            script.push_str(&format!("#SBATCH {option}\n"));
        }
        script.push_str("umask 077\njob=$PWD\n");
        script.push_str("echo \"$(date +%s.%N) job ${SLURM_JOB_ID:-$$} starts on $(uname -n)\"\n");
        for line in &self.setup {
            script.push_str(line);
            script.push('\n');
        }
        script.push_str(&format!("exec \"$job/../../bin/livewebcam-runner\" {command}\n"));
        Ok(script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> JobId {
        "0198f0c2-7b1e-7c3a-9d2e-5f6a7b8c9d0e".parse().expect("an id")
    }

    #[test]
    fn a_script_carries_what_the_site_needs() {
        let resources = Resources {
            partition: "gpu".to_owned(),
            account: "p_live".to_owned(),
            qos: "demo".to_owned(),
            gres: "gpu:1".to_owned(),
            cpus: 4,
            memory: "8G".to_owned(),
            time_limit: "00:05:00".to_owned(),
            constraint: "a100|h100".to_owned(),
            directives: vec!["--reservation=openday".to_owned()],
            setup: vec!["module load CUDA/12.4".to_owned()],
        };
        let expected = "\
#!/bin/sh
#SBATCH --job-name=livewebcam-0198f0c2-7b1e-7c3a-9d2e-5f6a7b8c9d0e
#SBATCH --no-requeue
#SBATCH --output=slurm.log
#SBATCH --open-mode=append
#SBATCH --partition=gpu
#SBATCH --account=p_live
#SBATCH --qos=demo
#SBATCH --gres=gpu:1
#SBATCH --mem=8G
#SBATCH --time=00:05:00
#SBATCH --constraint=a100|h100
#SBATCH --cpus-per-task=4
#SBATCH --reservation=openday
umask 077
job=$PWD
echo \"$(date +%s.%N) job ${SLURM_JOB_ID:-$$} starts on $(uname -n)\"
module load CUDA/12.4
exec \"$job/../../bin/livewebcam-runner\" run --job \"$job\"
";
        assert_eq!(resources.script(id()).expect("a script"), expected);
    }

    #[test]
    fn a_warm_runner_knows_its_queue_and_its_limits() {
        let runner: RunnerId = "0198f0c2-7b1e-7c3a-9d2e-5f6a7b8c9d0e".parse().expect("an id");
        let resources = Resources { time_limit: "00:05:00".to_owned(), ..Resources::default() };
        let serving = Serving { model: "stabilityai/sd-turbo", idle_exit: Some(60), time_limit: "01:00:00" };
        let script = resources.script_of_runner(runner, &serving).expect("a script");
        assert!(script.contains(&format!("#SBATCH --job-name=livewebcam-runner-{runner}\n#SBATCH")), "{script}");
        assert!(script.contains("#SBATCH --time=01:00:00\n"), "{script}");
        let command = format!(
            "exec \"$job/../../bin/livewebcam-runner\" serve --root \"$job/../..\" --runner {runner} --model \
             stabilityai--sd-turbo --idle-exit 60 --time-limit '01:00:00'\n"
        );
        assert!(script.ends_with(&command), "{script}");
    }

    #[test]
    fn a_job_name_tells_what_the_job_is() {
        for batch_job in [BatchJob::Frame(JobId::new()), BatchJob::Runner(RunnerId::new())] {
            assert_eq!(batch_job.to_string().parse(), Ok(batch_job));
        }
        for foreign in ["", "livewebcam-", "livewebcam-../x", "livewebcam-runner-", "train"] {
            assert_eq!(foreign.parse::<BatchJob>(), Err(InvalidJobId), "{foreign:?}");
        }
    }

    #[test]
    fn nothing_is_asked_of_slurm_by_default() {
        assert_eq!(Resources::default().options(), Ok(Vec::new()));
    }

    #[test]
    fn a_value_that_would_become_another_directive_is_refused() {
        for value in ["gpu\n#SBATCH --account=root", "a b", "gpu\"", "x\u{7f}"] {
            let resources = Resources { partition: value.to_owned(), ..Resources::default() };
            assert_eq!(resources.options().expect_err(value).key, "partition");
        }
        let resources = Resources { directives: vec!["rm -rf".to_owned()], ..Resources::default() };
        assert!(resources.options().is_err());
    }
}

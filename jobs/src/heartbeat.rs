//! `heartbeat.json`: what a warm runner says of itself.

use serde::{Deserialize, Serialize};

use crate::{Author, DeviceChoice, JobId};

/// Written when the runner starts, every few seconds from then on, and when it leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Grows with every beat. A runner whose number stands still is dead or cut off; the time of a beat says nothing.
    pub sequence: u64,
    /// Who it is.
    #[serde(flatten)]
    pub author: Author,
    /// What it is at.
    #[serde(flatten)]
    pub state: RunnerState,
    /// The model that it has loaded, by its full name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Where that computes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceChoice>,
    /// Frames that it has painted so far.
    pub painted: u64,
}

/// What a warm runner is at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum RunnerState {
    /// It looks for a frame.
    Idle,
    /// It has claimed a frame: it loads the model for it, or paints it.
    Painting {
        /// The frame's job.
        job: JobId,
    },
    /// It takes no more frames.
    Left {
        /// Why, in words.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunnerId;

    #[test]
    fn a_heartbeat_is_one_flat_object() {
        let author = Author::Runner {
            host: "node7".to_owned(),
            pid: 42,
            slurm_job_id: Some("4711".to_owned()),
            runner: Some(RunnerId::new()),
        };
        let job = JobId::new();
        let state = RunnerState::Painting { job };
        let heartbeat = Heartbeat { sequence: 3, author, state, model: None, device: None, painted: 2 };
        let json = serde_json::to_value(&heartbeat).expect("JSON");
        assert_eq!((&json["state"], &json["job"]), (&"painting".into(), &job.to_string().into()));
        assert_eq!(json["host"], "node7");
        assert_eq!(serde_json::from_value::<Heartbeat>(json).expect("a heartbeat"), heartbeat);
    }
}

//! What can go wrong with a download, and what to do about it.

use std::io;
use std::path::PathBuf;

use crate::sd::LoadError;

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The shared tree is not there.
    #[error("there is no folder {}; `livewebcam deploy` makes the shared tree, or make the folder yourself", .root.display())]
    Root {
        /// The tree.
        root: PathBuf,
    },
    /// Two fetches of one model.
    #[error("another fetch of {name} is running; it holds {}", .lock.display())]
    Busy {
        /// The model.
        name: String,
        /// What it has locked.
        lock: PathBuf,
    },
    /// A file that should be readable.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or folder that should be writable.
    #[error("cannot write {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `HF_ENDPOINT` is no address.
    #[error("HF_ENDPOINT is `{value}`; it should be like https://huggingface.co")]
    Endpoint {
        /// Its value.
        value: String,
    },
    /// What should be a token is none.
    #[error("{source_name} holds no token of the hub; `hf auth login` writes one")]
    Token {
        /// The variable or the file.
        source_name: String,
    },
    /// The client of the hub cannot be set up.
    #[error("cannot set up the connection to the hub")]
    Setup {
        /// What is wrong.
        source: Box<hf_hub::api::sync::ApiError>,
    },
    /// No connection.
    #[error(
        "cannot reach {endpoint}. Compute nodes seldom have internet: fetch on a login node, or set https_proxy if there is \
         a proxy. By hand, where there is internet: `hf download {name} --include '*.json' '*.txt' '*/*.safetensors' \
         --local-dir MODEL`, then `rsync -a MODEL/ CLUSTER:ROOT/models/{name}/`"
    )]
    Unreachable {
        /// The hub's address.
        endpoint: String,
        /// The model.
        name: String,
        /// What went wrong.
        source: Box<ureq::Error>,
    },
    /// The hub knows no such model, or does not say so to everyone.
    #[error("there is no model {name} at {endpoint}, or it is private: check the name{}", token_advice(*.token))]
    NoModel {
        /// The model.
        name: String,
        /// The hub's address.
        endpoint: String,
        /// Whether a token was sent.
        token: bool,
    },
    /// The model has no such branch, tag or commit.
    #[error("{name} has no revision `{revision}`; its page lists them: {endpoint}/{name}/commits/main")]
    NoRevision {
        /// The model.
        name: String,
        /// What was asked for.
        revision: String,
        /// The hub's address.
        endpoint: String,
    },
    /// The model's licence is to be accepted first.
    #[error("{name} is gated: accept its licence at {endpoint}/{name}{}", gate_advice(*.token))]
    Gated {
        /// The model.
        name: String,
        /// The hub's address.
        endpoint: String,
        /// Whether a token was sent.
        token: bool,
    },
    /// The token is no good.
    #[error("the hub refuses the token from {source_name}; make a new one at {endpoint}/settings/tokens")]
    Refused {
        /// The variable or the file.
        source_name: String,
        /// The hub's address.
        endpoint: String,
    },
    /// The hub gave another answer.
    #[error("the hub answered {status} for {what}{message}")]
    Answer {
        /// The status.
        status: u16,
        /// What it was asked for.
        what: String,
        /// What it says itself, after a colon.
        message: String,
    },
    /// The hub gave an answer that is none of its protocol.
    #[error("the hub's answer for {what} cannot be used: {problem}")]
    Protocol {
        /// What it was asked for.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The hub's list of files cannot be understood.
    #[error("the hub's description of {name} cannot be read")]
    Description {
        /// The model.
        name: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The repository is none of diffusers' layout.
    #[error("{name} is not in diffusers' layout: it has no model_index.json. Look for one on the hub that is")]
    NotDiffusers {
        /// The model.
        name: String,
    },
    /// The repository is incomplete.
    #[error("{name} lacks {file} in its repository")]
    Lacks {
        /// The model.
        name: String,
        /// The file.
        file: String,
    },
    /// There are weights, but only pickled ones.
    #[error(
        "{name} has its weights only as {file}, which runs code when it is read. Convert the model on a machine with \
         Python: `python -c \"from diffusers import DiffusionPipeline as P; P.from_pretrained('{name}').save_pretrained(\
         'MODEL')\"`, then `rsync -a MODEL/ CLUSTER:ROOT/models/{name}/`"
    )]
    PickleOnly {
        /// The model.
        name: String,
        /// A pickled file.
        file: String,
    },
    /// No weights in this number format.
    #[error("{name} has no weights in {variant}; leave --variant away")]
    NoVariant {
        /// The model.
        name: String,
        /// What was asked for.
        variant: String,
    },
    /// A pipeline, a component or a setting that is not supported.
    #[error("{name} cannot be painted with")]
    Unsupported {
        /// The model.
        name: String,
        /// What is not supported.
        source: LoadError,
    },
    /// A file's name that is none.
    #[error("{name} names a file `{file}`, which has no place in a model's folder")]
    FileName {
        /// The model.
        name: String,
        /// The file.
        file: String,
    },
    /// What came is not what the hub said.
    #[error(
        "{file} came damaged: {problem}. Fetch again; if that happens again, something between here and the hub changes it"
    )]
    Damaged {
        /// The file.
        file: String,
        /// How that shows.
        problem: String,
    },
    /// The connection broke, and broke again.
    #[error(
        "the download of {file} broke off several times; what came is kept, and the same command goes on from there"
    )]
    Broken {
        /// The file.
        file: String,
        /// What went wrong the last time.
        source: io::Error,
    },
    /// The installed model is of another commit.
    #[error("{name} is installed from commit {installed}, and {revision} is {asked}; remove {} first", .folder.display())]
    OtherCommit {
        /// The model.
        name: String,
        /// The commit that is there.
        installed: String,
        /// What was asked for.
        revision: String,
        /// The commit that it is.
        asked: String,
        /// The model's folder.
        folder: PathBuf,
    },
    /// The installed model is in another number format.
    #[error("{name} is installed in {installed}; to have it in {asked}, remove {} first", .folder.display())]
    OtherVariant {
        /// The model.
        name: String,
        /// What is there.
        installed: String,
        /// What was asked for.
        asked: String,
        /// The model's folder.
        folder: PathBuf,
    },
    /// A file that nobody fetched is in the way.
    #[error("{} is not the file of {name} at commit {commit}; remove it to have it fetched", .path.display())]
    InTheWay {
        /// The file.
        path: PathBuf,
        /// The model.
        name: String,
        /// The commit.
        commit: String,
    },
    /// All came, and yet it is no whole model.
    #[error("{name} was fetched, but cannot paint: {reason}")]
    Unpaintable {
        /// The model.
        name: String,
        /// Why.
        reason: String,
    },
}

fn token_advice(token: bool) -> &'static str {
    if token {
        ", and that the token's account may read it"
    } else {
        "; for a private one set HF_TOKEN or run `hf auth login`"
    }
}

fn gate_advice(token: bool) -> &'static str {
    if token {
        " with the account of your token, which must be allowed to read gated models"
    } else {
        ", then set HF_TOKEN or run `hf auth login`"
    }
}

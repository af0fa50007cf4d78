//! A hub on loopback: repositories with commits and branches, large files on a storage host of their own, and faults.

use std::collections::{BTreeMap, HashMap};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::protocol::{Answer, Question, serve};

/// A repository's files at one commit.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What goes wrong with one file's content.
#[derive(Clone, Copy)]
pub enum Fault {
    /// The connection ends after so many bytes, once.
    Cut(usize),
    /// Nothing comes after so many bytes, and the connection stays.
    Stall(usize),
    /// One byte is another.
    Damage,
    /// The server answers 503, so many times.
    Unavailable(usize),
    /// A request for a range is answered with all of it; before that, the connection ends once after so many bytes.
    NoRanges(Option<usize>),
}

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Whether it came to the storage host.
    pub storage: bool,
    pub method: String,
    /// The file's name for a file, otherwise the address.
    pub what: String,
    /// The commit in the address of a file.
    pub commit: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
}

#[derive(Default)]
pub struct State {
    repositories: HashMap<String, Repository>,
    blobs: HashMap<String, (String, Vec<u8>)>,
    pub faults: HashMap<String, Fault>,
    pub asked: Vec<Asked>,
    /// Whether descriptions leave out what is not in every mirror's.
    pub terse: bool,
    /// Only this token is known.
    pub token: Option<String>,
    storage: String,
}

#[derive(Default)]
pub struct Repository {
    pub branches: HashMap<String, String>,
    pub commits: HashMap<String, Files>,
    /// Its description is for everyone, its files only for those with a token that has accepted the licence.
    pub gated: bool,
    pub accepted: bool,
    pub private: bool,
    /// The main branch becomes this commit as soon as it has been resolved.
    pub moves_to: Option<String>,
}

pub struct Hub {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Hub {
    pub fn new() -> Self {
        let [hub, storage] = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        // The same machine under another name: another host.
        let state = State { storage: format!("http://localhost:{}", port(&storage)), ..State::default() };
        let (endpoint, state) = (format!("http://127.0.0.1:{}", port(&hub)), Arc::new(Mutex::new(state)));
        for (listener, is_storage) in [(hub, false), (storage, true)] {
            let state = Arc::clone(&state);
            thread::spawn(move || {
                serve(&listener, &move |question| {
                    let mut state = state.lock().expect("no panic");
                    if is_storage { state.stored(question) } else { state.answer(question) }
                });
            });
        }
        Self { endpoint, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    /// Adds a commit, makes it the main branch's, and returns its name.
    pub fn commit(&self, repository: &str, files: Files) -> String {
        let mut state = self.state();
        for (name, content) in files.iter().filter(|(name, content)| is_large(name, content)) {
            state.blobs.insert(sha256(content), (name.clone(), content.clone()));
        }
        let repository = state.repositories.entry(repository.to_owned()).or_default();
        let commit = format!("{:040x}", 0xabc_0001 + repository.commits.len());
        repository.commits.insert(commit.clone(), files);
        repository.branches.insert("main".to_owned(), commit.clone());
        commit
    }

    pub fn edit(&self, repository: &str, edit: impl FnOnce(&mut Repository)) {
        edit(self.state().repositories.get_mut(repository).expect("a repository"));
    }

    pub fn fault(&self, file: &str, fault: Fault) {
        self.state().faults.insert(file.to_owned(), fault);
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state().asked)
    }
}

pub fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As on the hub, large files and weights are stored apart and have a SHA-256.
fn is_large(name: &str, content: &[u8]) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".bin") || content.len() > 10_000_000
}

fn refusal(status: u16, code: &str) -> Answer {
    Answer::new(status).with("X-Error-Code", code).with("X-Error-Message", "the hub's own words")
}

impl State {
    fn note(&mut self, storage: bool, question: &Question, what: &str, commit: &str) {
        self.asked.push(Asked {
            storage,
            method: question.method.clone(),
            what: what.to_owned(),
            commit: commit.to_owned(),
            range: question.header("range"),
            authorization: question.header("authorization"),
        });
    }

    fn answer(&mut self, question: &Question) -> Answer {
        let path = question.path.split('?').next().unwrap_or_default().to_owned();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let token = question.header("authorization");
        let known = self.token.as_ref().map(|token| format!("Bearer {token}"));
        if token.is_some() && token != known {
            self.note(false, question, &path, "");
            return refusal(401, "");
        }
        match parts.as_slice() {
            ["api", "models", org, name, "revision", revision] => {
                self.note(false, question, &path, "");
                let with_blobs = question.path.contains("blobs=true") && !self.terse;
                self.describe(&format!("{org}/{name}"), revision, token.is_some(), with_blobs)
            }
            ["api", "resolve-cache", "models", org, name, commit, file @ ..]
            | [org, name, "resolve", commit, file @ ..] => {
                let (repository, file) = (format!("{org}/{name}"), file.join("/"));
                let direct = path.starts_with("/api/");
                if !direct {
                    self.note(false, question, &file, commit);
                }
                self.resolve(&repository, commit, &file, question, direct)
            }
            _ => refusal(404, ""),
        }
    }

    fn describe(&mut self, name: &str, revision: &str, authorized: bool, blobs: bool) -> Answer {
        let missing = if authorized { 404 } else { 401 };
        let Some(repository) = self.repositories.get_mut(name).filter(|found| authorized || !found.private) else {
            return refusal(missing, "RepoNotFound");
        };
        let revision = revision.replace("%2F", "/");
        let commit = repository.branches.get(&revision).cloned().unwrap_or(revision);
        let Some(files) = repository.commits.get(&commit) else { return refusal(404, "RevisionNotFound") };
        let sibling = |(name, content): (&String, &Vec<u8>)| {
            let mut sibling = json!({ "rfilename": name });
            if blobs {
                sibling["size"] = json!(content.len());
                sibling["blobId"] = json!("0123456789012345678901234567890123456789");
                if is_large(name, content) {
                    sibling["lfs"] = json!({ "sha256": sha256(content), "size": content.len(), "pointerSize": 134 });
                }
            }
            sibling
        };
        let siblings: Vec<Value> = files.iter().map(sibling).collect();
        let description = json!({ "id": name, "sha": commit, "siblings": siblings });
        if let Some(next) = repository.moves_to.take() {
            repository.branches.insert("main".to_owned(), next);
        }
        Answer::new(200).content(description.to_string().into_bytes())
    }

    fn resolve(&mut self, name: &str, commit: &str, file: &str, question: &Question, direct: bool) -> Answer {
        let authorized = question.header("authorization").is_some();
        let Some(repository) = self.repositories.get(name) else { return refusal(404, "RepoNotFound") };
        if repository.gated && !(authorized && repository.accepted) {
            return refusal(if authorized { 403 } else { 401 }, "GatedRepo");
        }
        let commit = repository.branches.get(commit).cloned().unwrap_or_else(|| commit.to_owned());
        let Some(files) = repository.commits.get(&commit) else { return refusal(404, "RevisionNotFound") };
        let Some(content) = files.get(file) else { return refusal(404, "EntryNotFound") };
        if is_large(file, content) {
            let sha256 = sha256(content);
            return Answer::new(302)
                .with("X-Repo-Commit", &commit)
                .with("X-Linked-Size", &content.len().to_string())
                .with("X-Linked-ETag", &format!("\"{sha256}\""))
                .with("Location", &format!("{}/blobs/{sha256}?signature=1", self.storage));
        }
        if !direct {
            let location = format!("/api/resolve-cache/models/{name}/{commit}/{file}");
            return Answer::new(307).with("X-Repo-Commit", &commit).with("Location", &location);
        }
        let content = content.clone();
        self.send(file, content, question).with("X-Repo-Commit", &commit).with("ETag", "\"0123456789\"")
    }

    fn stored(&mut self, question: &Question) -> Answer {
        let sha256 = question.path.trim_start_matches("/blobs/").split('?').next().unwrap_or_default().to_owned();
        let Some((name, content)) = self.blobs.get(&sha256).cloned() else { return Answer::new(404) };
        self.note(true, question, &name, "");
        if question.header("authorization").is_some() {
            // As storage with signed addresses does.
            return Answer::new(400);
        }
        self.send(&name, content, question).with("ETag", &format!("\"{sha256}\""))
    }

    /// The content from the asked byte on, or whatever the file's fault makes of it.
    fn send(&mut self, name: &str, mut content: Vec<u8>, question: &Question) -> Answer {
        let size = content.len();
        let fault = self.faults.remove(name);
        let again = match fault {
            Some(Fault::Unavailable(times)) if times > 1 => Some(Fault::Unavailable(times - 1)),
            Some(Fault::NoRanges(_)) => Some(Fault::NoRanges(None)),
            Some(Fault::Damage) => Some(Fault::Damage),
            _ => None,
        };
        self.faults.extend(again.map(|fault| (name.to_owned(), fault)));
        let range = question.header("range").filter(|_| !matches!(fault, Some(Fault::NoRanges(_))));
        let from: Option<usize> = range.map(|range| {
            let from = range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-'));
            from.and_then(|from| from.parse().ok()).expect("a range that is open at its end")
        });
        if matches!(fault, Some(Fault::Damage)) {
            content[size / 2] ^= 1;
        }
        let content = content.split_off(from.unwrap_or(0));
        let answer = match from {
            Some(from) => Answer::new(206).with("Content-Range", &format!("bytes {from}-{}/{size}", size - 1)),
            None => Answer::new(200),
        };
        match fault {
            Some(Fault::Unavailable(_)) => Answer::new(503),
            Some(Fault::Cut(count) | Fault::NoRanges(Some(count))) => answer.content(content).cut(count, false),
            Some(Fault::Stall(count)) => answer.content(content).cut(count, true),
            _ => answer.content(content),
        }
    }
}

//! Which models the cluster has: asked of the runner there, found by name, never joined into a path.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use livewebcam_jobs::{HubName, ModelInfo};

use crate::dispatch::chain;
use crate::settings::{Models, Settings, seconds};
use crate::slurm::shell_quote;
use crate::transport::{Transport, TransportError};

/// A name that nobody knows makes the runner be asked again, this often at most.
const REFRESH: Duration = Duration::from_secs(5);

/// Why the runner did not list its models.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// It could not be asked.
    #[error("the runner could not be asked for its models")]
    Transport(#[from] TransportError),
    /// It is not there.
    #[error("there is no runner at {path} on the cluster; upload it with `livewebcam deploy`")]
    Missing {
        /// Where it should be.
        path: String,
    },
    /// It failed.
    #[error("the runner failed to list its models (exit code {code}): {stderr}")]
    Failed {
        /// Its exit code.
        code: i32,
        /// What it said.
        stderr: String,
    },
    /// It said something else.
    #[error("the runner's list of models cannot be read; upload this version's runner with `livewebcam deploy`")]
    Parse(#[source] serde_json::Error),
}

/// A name that no installed model has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownModel {
    /// Nothing like it is installed.
    #[error("unknown model `{name}`; installed: {installed}{hint}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The installed models' names.
        installed: String,
        /// How to get it, for a well-formed name.
        hint: String,
    },
    /// Several models end in this name.
    #[error("the model name `{name}` is ambiguous: {candidates}; write the full name")]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// The full names.
        candidates: String,
    },
    /// It is installed but cannot paint.
    #[error("the model `{name}` cannot paint: {problem}")]
    Broken {
        /// Its full name.
        name: String,
        /// Why.
        problem: String,
    },
}

/// The installed models.
pub struct Catalog {
    models: RwLock<(Instant, Vec<ModelInfo>)>,
    alias: BTreeMap<String, String>,
    settings: Models,
    deadline: Duration,
    asking: tokio::sync::Mutex<()>,
}

impl Catalog {
    /// Asks the runner on the cluster.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub async fn load(settings: &Settings, transport: &Transport) -> Result<Self, CatalogError> {
        let deadline = seconds(settings.deadlines.submit);
        let models = marked(ask(transport, deadline).await?, &settings.models);
        let alias = settings.models.alias.iter().map(|(name, model)| (name.to_lowercase(), model.clone())).collect();
        Ok(Self {
            models: RwLock::new((Instant::now(), models)),
            alias,
            settings: settings.models.clone(),
            deadline,
            asking: tokio::sync::Mutex::default(),
        })
    }

    /// All installed models.
    #[must_use]
    pub fn models(&self) -> Vec<ModelInfo> {
        self.models.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// The model that paints where none is named: the settings' choice, else the first that can paint.
    ///
    /// # Errors
    /// No model can paint.
    pub fn default_model(&self) -> Result<ModelInfo, UnknownModel> {
        let models = self.models();
        find(&models, &self.alias, &self.settings.default)
    }

    /// The model with this full name, alias, or last part of a name. A name that is not known makes the runner be asked again,
    /// so a model that was just installed is found.
    ///
    /// # Errors
    /// See [`UnknownModel`].
    pub async fn find(&self, name: &str, transport: &Arc<Transport>) -> Result<ModelInfo, UnknownModel> {
        let found = find(&self.models(), &self.alias, name);
        if found.is_ok() || !self.refresh(transport).await {
            return found;
        }
        find(&self.models(), &self.alias, name)
    }

    /// What the settings say of single models and the installed ones cannot meet, in sentences for the operator.
    #[must_use]
    pub fn unmet(&self) -> Vec<String> {
        let models = self.models();
        let unmet = self.settings.own.iter().filter_map(|(name, own)| {
            match models.iter().find(|model| model.name.eq_ignore_ascii_case(name)) {
                None => {
                    let installed = join(models.iter());
                    Some(format!(
                        "the settings' table [models.\"{name}\"] is of no installed model; installed: {installed}"
                    ))
                }
                Some(model) => {
                    let problem = own.loading().check(model.loading.as_ref()).err()?;
                    Some(format!("[models.\"{name}\"] in the settings cannot be met: {problem}"))
                }
            }
        });
        unmet.collect()
    }

    /// Asks again unless that was done a moment ago; whether there is a newer list.
    async fn refresh(&self, transport: &Transport) -> bool {
        let _one_at_a_time = self.asking.lock().await;
        let age = self.models.read().unwrap_or_else(PoisonError::into_inner).0.elapsed();
        if age < REFRESH {
            return false;
        }
        let asked = ask(transport, self.deadline).await;
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        models.0 = Instant::now();
        match asked {
            Ok(new) => models.1 = marked(new, &self.settings),
            Err(error) => tracing::warn!(error = chain(&error), "keeping the last list of models"),
        }
        true
    }
}

async fn ask(transport: &Transport, deadline: Duration) -> Result<Vec<ModelInfo>, CatalogError> {
    let root = transport.root();
    let path = root.runner().to_string_lossy().into_owned();
    let command =
        format!("{} models --json --root {}", shell_quote(&path), shell_quote(&root.path().to_string_lossy()));
    let output = transport.run(&command, deadline).await?;
    match output.code {
        0 => serde_json::from_str(&output.stdout).map_err(CatalogError::Parse),
        126 | 127 => Err(CatalogError::Missing { path }),
        code => Err(CatalogError::Failed { code, stderr: output.stderr.trim().to_owned() }),
    }
}

/// A model that cannot be loaded as the settings have it is as good as broken.
fn marked(mut models: Vec<ModelInfo>, settings: &Models) -> Vec<ModelInfo> {
    for model in models.iter_mut().filter(|model| model.broken.is_none()) {
        if let Err(problem) = settings.of(&model.name).loading().check(model.loading.as_ref()) {
            model.broken = Some(format!("its settings cannot be met: {problem}"));
        }
    }
    models
}

fn find(models: &[ModelInfo], alias: &BTreeMap<String, String>, name: &str) -> Result<ModelInfo, UnknownModel> {
    let named = |wanted: &str| -> Vec<&ModelInfo> {
        let exact: Vec<_> = models.iter().filter(|model| model.name.eq_ignore_ascii_case(wanted)).collect();
        if !exact.is_empty() {
            return exact;
        }
        let last =
            |model: &&ModelInfo| model.name.rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case(wanted));
        models.iter().filter(last).collect()
    };
    let mut found = named(name);
    if found.is_empty() {
        found = alias.get(&name.to_lowercase()).map(|model| named(model)).unwrap_or_default();
    }
    match found.as_slice() {
        [model] => match &model.broken {
            None => Ok((*model).clone()),
            Some(problem) => Err(UnknownModel::Broken { name: model.name.clone(), problem: problem.clone() }),
        },
        [] => Err(UnknownModel::Unknown {
            name: crate::text::printable(name).chars().take(120).collect(),
            installed: join(models.iter()),
            hint: fetch_hint(name),
        }),
        several => Err(UnknownModel::Ambiguous { name: name.to_owned(), candidates: join(several.iter().copied()) }),
    }
}

fn join<'a>(models: impl Iterator<Item = &'a ModelInfo>) -> String {
    models.map(|model| model.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Only for a name as the hub has them: it will be pasted into a shell.
fn fetch_hint(name: &str) -> String {
    let hint = |name: HubName| format!("; the operator gets it with `livewebcam-runner fetch {name} --root ROOT`");
    name.parse().map_or_else(|_| String::new(), hint)
}

#[cfg(test)]
mod tests {
    use livewebcam_jobs::{Controls, FrameSize};

    use super::*;

    fn model(name: &str) -> ModelInfo {
        ModelInfo {
            name: name.to_owned(),
            title: name.to_owned(),
            family: "test".to_owned(),
            size: FrameSize { width: 512, height: 512, multiple_of: 8, keep_aspect: false },
            controls: Controls::default(),
            loading: None,
            bytes: 0,
            commit: None,
            broken: None,
        }
    }

    #[test]
    fn a_model_is_found_by_its_name_its_last_part_or_an_alias() {
        let models = [model("starter"), model("stabilityai/sd-turbo"), model("me/turbo"), model("you/turbo")];
        let alias = BTreeMap::from([("lykon/dreamshaper-8".to_owned(), "starter".to_owned())]);
        let name = |wanted: &str| find(&models, &alias, wanted).map(|model| model.name);
        assert_eq!(name("stabilityai/sd-turbo").as_deref(), Ok("stabilityai/sd-turbo"));
        assert_eq!(name("SD-Turbo").as_deref(), Ok("stabilityai/sd-turbo"));
        assert_eq!(name("Lykon/DreamShaper-8").as_deref(), Ok("starter"));
        assert!(matches!(name("turbo"), Err(UnknownModel::Ambiguous { .. })));
        assert_eq!(name("me/turbo").as_deref(), Ok("me/turbo"));
    }

    #[test]
    fn an_unknown_name_is_answered_with_what_there_is() {
        let models = [model("starter")];
        let message = |wanted: &str| find(&models, &BTreeMap::new(), wanted).expect_err("unknown").to_string();
        assert_eq!(
            message("stabilityai/sd-turbo"),
            "unknown model `stabilityai/sd-turbo`; installed: starter; the operator gets it with `livewebcam-runner fetch \
             stabilityai/sd-turbo --root ROOT`"
        );
        for hostile in ["../../etc/passwd", "a/$(reboot)", "a/b c", "-rf/x", "\u{1b}[31mred"] {
            let message = message(hostile);
            assert!(message.ends_with("installed: starter") && !message.contains('\u{1b}'), "{message:?}");
        }
    }
}

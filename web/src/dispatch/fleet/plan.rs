//! Which runners to start and which to send away. Pure: the fleet does what comes out of it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use livewebcam_jobs::RunnerId;

use crate::dispatch::line::Demand;

/// How long a model's frames wait before a runner of another model has to leave for them although it has work.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known of one runner, and matters here.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) id: RunnerId,
    pub(super) model: String,
    /// It has no frame.
    pub(super) idle: bool,
    /// It has painted something: starting it was worth its while.
    pub(super) settled: bool,
    /// It was told to leave.
    pub(super) leaving: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Start a runner of this model.
    Start(String),
    /// Tell this runner to leave when it has finished its frame.
    Stop(RunnerId),
}

/// Each model gets as many runners as it has frames, `least` at least, and all together at most `most`; those that have
/// none come first. Where all places are taken, a runner with nothing to do makes room for a model without any, and after a
/// while one with something to do.
pub(super) fn plan(
    demand: &BTreeMap<String, Demand>,
    runners: &[Standing],
    least: &BTreeMap<String, usize>,
    most: usize,
) -> Vec<Step> {
    let mut wanted: BTreeMap<&str, usize> = least.iter().map(|(model, least)| (model.as_str(), *least)).collect();
    for (model, demand) in demand {
        let wanted = wanted.entry(model).or_default();
        *wanted = demand.frames.max(*wanted);
    }
    let mut have: BTreeMap<&str, usize> = BTreeMap::new();
    for runner in runners.iter().filter(|runner| !runner.leaving) {
        *have.entry(&runner.model).or_default() += 1;
    }
    let waited = |model: &str| demand.get(model).map_or(Duration::ZERO, |demand| demand.waited);

    let mut steps = Vec::new();
    let mut room = most.saturating_sub(runners.len());
    while room > 0 {
        let lacks = |model: &&str| have.get(model).copied().unwrap_or(0) < wanted[model];
        let Some(model) = wanted
            .keys()
            .copied()
            .filter(lacks)
            .min_by_key(|model| (have.get(model).copied().unwrap_or(0), Reverse(waited(model))))
        else {
            return steps;
        };
        *have.entry(model).or_default() += 1;
        steps.push(Step::Start(model.to_owned()));
        room -= 1;
    }

    // Every runner that is leaving makes room for one model.
    let mut making_room = runners.iter().filter(|runner| runner.leaving).count();
    let mut without: Vec<&str> = wanted
        .iter()
        .filter(|(model, wanted)| **wanted > 0 && !have.contains_key(*model))
        .map(|(model, _)| *model)
        .collect();
    without.sort_by_key(|model| Reverse(waited(model)));
    for model in without {
        if making_room > 0 {
            making_room -= 1;
            continue;
        }
        let stopped = |runner: &Standing| steps.contains(&Step::Stop(runner.id));
        let staying = || runners.iter().filter(|runner| !runner.leaving && !stopped(runner));
        let spare = staying().find(|runner| {
            runner.idle && have[runner.model.as_str()] > wanted.get(runner.model.as_str()).copied().unwrap_or(0)
        });
        let busy = || {
            staying().filter(|runner| runner.settled).max_by_key(|runner| (have[runner.model.as_str()], runner.idle))
        };
        if let Some(runner) = spare.or_else(|| (waited(model) >= PATIENCE).then(busy).flatten()) {
            let (id, model) = (runner.id, runner.model.as_str());
            if let Some(have) = have.get_mut(model) {
                *have -= 1;
            }
            steps.push(Step::Stop(id));
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(models: &[(&str, usize, u64)]) -> BTreeMap<String, Demand> {
        let of = |frames: &usize, seconds: &u64| Demand { frames: *frames, waited: Duration::from_secs(*seconds) };
        models.iter().map(|(model, frames, waited)| ((*model).to_owned(), of(frames, waited))).collect()
    }

    fn runner(model: &str, idle: bool) -> Standing {
        Standing { id: RunnerId::new(), model: model.to_owned(), idle, settled: true, leaving: false }
    }

    fn starts(steps: &[Step]) -> Vec<&str> {
        let mut models = Vec::new();
        for step in steps {
            match step {
                Step::Start(model) => models.push(model.as_str()),
                Step::Stop(id) => panic!("{id} is stopped"),
            }
        }
        models
    }

    #[test]
    fn as_many_runners_as_frames_wait_within_the_bounds() {
        let none = BTreeMap::new();
        assert_eq!(plan(&none_wanted(), &[], &none, 4), []);
        let steps = plan(&demand(&[("a", 3, 0)]), &[runner("a", false)], &none, 4);
        assert_eq!(starts(&steps), ["a", "a"]);
        let steps = plan(&demand(&[("a", 30, 0)]), &[runner("a", false)], &none, 2);
        assert_eq!(starts(&steps), ["a"]);
        let standby = BTreeMap::from([("a".to_owned(), 2)]);
        assert_eq!(starts(&plan(&none_wanted(), &[runner("a", true)], &standby, 4)), ["a"]);
    }

    fn none_wanted() -> BTreeMap<String, Demand> {
        BTreeMap::new()
    }

    #[test]
    fn models_without_a_runner_come_first() {
        let steps = plan(&demand(&[("a", 9, 9), ("b", 1, 0)]), &[runner("a", false)], &BTreeMap::new(), 3);
        assert_eq!(starts(&steps), ["b", "a"]);
    }

    #[test]
    fn an_idle_runner_makes_room_for_a_model_that_has_none() {
        let runners = [runner("a", false), runner("a", true)];
        let wanted = demand(&[("a", 1, 0), ("b", 1, 0)]);
        let steps = plan(&wanted, &runners, &BTreeMap::new(), 2);
        assert_eq!(steps, [Step::Stop(runners[1].id)]);
        let leaving = [runners[0].clone(), Standing { leaving: true, ..runners[1].clone() }];
        assert_eq!(plan(&wanted, &leaving, &BTreeMap::new(), 2), []);
    }

    #[test]
    fn a_busy_runner_makes_room_only_after_a_while() {
        let runners = [runner("a", false)];
        let steps = |waited| plan(&demand(&[("a", 5, 0), ("b", 1, waited)]), &runners, &BTreeMap::new(), 1);
        assert_eq!(steps(1), []);
        assert_eq!(steps(5), [Step::Stop(runners[0].id)]);
        let starting = [Standing { settled: false, ..runners[0].clone() }];
        assert_eq!(plan(&demand(&[("a", 5, 0), ("b", 1, 9)]), &starting, &BTreeMap::new(), 1), []);
    }
}

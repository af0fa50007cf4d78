//! From what was asked to what is painted.

use livewebcam_jobs::{Clamped, Controls, ModelInfo, Parameters};

use super::{Painting, PlanError};
use crate::log::Log;
use crate::sd::Choice;

/// What a model is to paint.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Every parameter that the model has a use for, inside its bounds and with its defaults filled in, and no other.
    pub parameters: Parameters,
    /// Numbers that were out of the model's bounds.
    pub clamped: Vec<Clamped>,
    /// What was asked and is not done, in sentences for whoever asked.
    pub warnings: Vec<String>,
    /// The noise scheduler that was asked for by name; the model's own where there is none. A scheduler that is chosen is set
    /// up anew from the model's configuration, as diffusers does, which is not always the same as the model's own.
    pub scheduler: Option<Choice>,
    /// Whether the latents after each step are kept.
    pub trace: bool,
}

impl Plan {
    /// The seed of those who choose none.
    pub const SEED: u64 = 33;

    /// Fits what was asked to a model.
    ///
    /// # Errors
    /// A style that the model does not have, or a noise scheduler that nobody has.
    pub fn new(model: &ModelInfo, asked: &Parameters) -> Result<Self, PlanError> {
        let controls = &model.controls;
        let mut asked = asked.clone();
        let clamped = controls.clamp(&mut asked);
        let mut warnings = Vec::new();
        let style = controls.resolve_style(asked.style.as_ref(), &asked.prompt)?;
        if let (Some(style), None, false) = (&style, &asked.style, asked.prompt.is_empty()) {
            let without_default = Controls { default_style: None, ..controls.clone() };
            if without_default.resolve_style(None, &asked.prompt)?.is_none() {
                warnings.push(format!("the prompt names none of this model's styles; `{style}` is taken"));
            }
        }
        let mut sieve = Sieve { model: &model.name, warnings };
        sieve.keep("styles", asked.style, style.is_some());
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        let scheduler = sieve.keep("a noise scheduler", asked.scheduler, !controls.schedulers.is_empty());
        let parameters = Parameters {
            prompt: sieve.keep("a prompt", text(asked.prompt), controls.prompt).unwrap_or_default(),
            negative_prompt: sieve
                .keep("a negative prompt", text(asked.negative_prompt), controls.negative_prompt)
                .unwrap_or_default(),
            style,
            steps: sieve
                .keep("a number of steps", asked.steps, controls.steps.is_some())
                .or(controls.steps.map(|bounds| bounds.default)),
            guidance_scale: sieve
                .keep("a guidance scale", asked.guidance_scale, controls.guidance_scale.is_some())
                .or(controls.guidance_scale.map(|bounds| bounds.default)),
            strength: sieve
                .keep("a strength", asked.strength, controls.strength.is_some())
                .or(controls.strength.map(|bounds| bounds.default)),
            seed: sieve.keep("a seed", asked.seed, controls.seed).or(controls.seed.then_some(Self::SEED)),
            scheduler: scheduler.clone().or(controls.schedulers.first().cloned()),
        };
        let scheduler = scheduler.map(|name| name.parse()).transpose()?;
        Ok(Self { parameters, clamped, warnings: sieve.warnings, scheduler, trace: false })
    }

    /// Writes what was changed and what else is to be known of a painting of this plan.
    pub fn tell(&self, painting: &Painting, log: Log) {
        for Clamped { field, from, to } in &self.clamped {
            log.line(format_args!("{field} {from} is out of bounds; {to} is taken"));
        }
        for Clamped { field, from, to } in &painting.clamped {
            log.line(format_args!("{field} {from} would paint nothing; {to} is taken"));
        }
        for warning in self.warnings.iter().chain(&painting.warnings) {
            log.line(format_args!("{warning}"));
        }
    }
}

struct Sieve<'a> {
    model: &'a str,
    warnings: Vec<String>,
}

impl Sieve<'_> {
    /// What was asked, unless the model has no use for it.
    fn keep<T>(&mut self, what: &str, asked: Option<T>, used: bool) -> Option<T> {
        if asked.is_some() && !used {
            self.warnings.push(format!("model `{}` has no use for {what}; it is ignored", self.model));
        }
        asked.filter(|_| used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Catalogue;

    fn plan(asked: &Parameters) -> Plan {
        let catalogue = Catalogue::built_in();
        Plan::new(&catalogue.find("starter").expect("built in").info, asked).expect("known styles")
    }

    #[test]
    fn defaults_are_filled_in_without_a_word() {
        let Plan { parameters, warnings, .. } = plan(&Parameters::default());
        assert_eq!(parameters.style.expect("a style").to_string(), "soft watercolour");
        assert_eq!((parameters.strength, parameters.steps), (Some(1.0), None));
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn what_the_model_cannot_do_is_ignored_and_said() {
        let asked = Parameters {
            negative_prompt: "blurry".to_owned(),
            steps: Some(3),
            seed: Some(7),
            strength: Some(2.0),
            ..Parameters::default()
        };
        let Plan { parameters, clamped, warnings, .. } = plan(&asked);
        assert_eq!((parameters.steps, parameters.seed, parameters.strength), (None, None, Some(1.0)));
        assert_eq!(clamped.iter().map(ToString::to_string).collect::<Vec<_>>(), ["strength=2->1"]);
        assert_eq!(
            warnings,
            [
                "model `starter` has no use for a negative prompt; it is ignored",
                "model `starter` has no use for a number of steps; it is ignored",
                "model `starter` has no use for a seed; it is ignored",
            ]
        );
    }

    #[test]
    fn a_prompt_chooses_a_style_or_is_said_not_to() {
        let prompt = |prompt: &str| plan(&Parameters { prompt: prompt.to_owned(), ..Parameters::default() });
        let named = prompt("me on a Starry Night");
        assert_eq!(named.parameters.style.expect("a style").to_string(), "starry night");
        assert_eq!(named.warnings, [""; 0]);
        let unnamed = prompt("a cat in space");
        assert_eq!(unnamed.warnings, ["the prompt names none of this model's styles; `soft watercolour` is taken"]);
        assert_eq!(prompt("Soft-watercolour").warnings, [""; 0]);
    }
}

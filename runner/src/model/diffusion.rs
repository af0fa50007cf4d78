//! Painting a plan with Stable Diffusion.

use std::ops::ControlFlow;

use image::RgbImage;
use livewebcam_jobs::Parameters;

use super::{FolderError, PaintError, Painting, Plan, Spent, Watch, three_places};
use crate::sd::{self, Img2Img, Pipeline};

/// Paints `frame` with the model of this name. The plan has every number that the model takes; a guidance scale that it does not take is none.
pub(super) fn paint(
    pipeline: &Pipeline,
    name: &str,
    frame: &RgbImage,
    plan: &Plan,
    watch: &mut dyn Watch,
) -> Result<Painting, PaintError> {
    let asked = &plan.parameters;
    let request = Img2Img {
        image: frame,
        prompt: &asked.prompt,
        negative_prompt: Some(asked.negative_prompt.as_str()).filter(|text| !text.is_empty()),
        steps: asked.steps.unwrap_or(1),
        guidance_scale: asked.guidance_scale.unwrap_or(0.0),
        strength: asked.strength.unwrap_or(1.0),
        seed: asked.seed.unwrap_or(Plan::SEED),
        scheduler: plan.scheduler,
        trace: plan.trace,
    };
    let painting = pipeline.img2img(&request, &mut |progress| match watch.progress(progress) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    });
    let painting = painting.map_err(|error| match error {
        sd::PaintError::TextEncoder(problem) => Box::new(FolderError { model: name.to_owned(), problem }).into(),
        error => PaintError::from(error),
    })?;
    Ok(Painting {
        picture: painting.image,
        spent: Spent {
            encode_ms: three_places(painting.timings.encode_ms),
            paint_ms: three_places(painting.timings.paint_ms),
            decode_ms: three_places(painting.timings.decode_ms),
        },
        parameters: Parameters { steps: Some(painting.steps), strength: Some(painting.strength), ..asked.clone() },
        clamped: painting.clamped,
        warnings: painting.warnings,
        trace: painting.trace,
    })
}

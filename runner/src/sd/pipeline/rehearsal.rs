//! The parts of a painting one by one, on inputs that are kept: for measuring them apart from each other.

use image::RgbImage;

use super::{Conditioning, Generator, Img2Img, PaintError, Pipeline};

/// A part of a painting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The text encoders, on the prompt.
    Text,
    /// The autoencoder's way to latents.
    Encode,
    /// The UNet, once, at the noisiest timestep and without guidance.
    Denoise,
    /// The autoencoder's way back to a picture.
    Decode,
}

/// A pipeline with what its parts are to be run on.
pub struct Rehearsal<'a> {
    pipeline: &'a Pipeline,
    image: &'a RgbImage,
    conditioning: Conditioning,
    latents: Vec<f32>,
    shape: [usize; 3],
    prompts: usize,
}

/// The noisiest timestep that the published models were trained with.
const TIMESTEP: f32 = 999.0;

impl Pipeline {
    /// Prepares to run parts of the painting that `request` asks for.
    ///
    /// # Errors
    /// See [`PaintError`].
    pub fn rehearse<'a>(&'a self, request: &Img2Img<'a>) -> Result<Rehearsal<'a>, PaintError> {
        let (width, height) = self.check_size(request.image)?;
        let conditioning = self.conditioning(request, false, width, height, &mut Vec::new())?;
        let shape = [self.unet_config.inputs, height / self.vae.factor, width / self.vae.factor];
        let latents = Generator::new(request.seed).randn(shape.iter().product());
        Ok(Rehearsal { pipeline: self, image: request.image, conditioning, latents, shape, prompts: 0 })
    }
}

impl Rehearsal<'_> {
    /// Runs one part. The text encoders get another prompt each time.
    ///
    /// # Errors
    /// See [`PaintError`].
    pub fn run(&mut self, part: Part) -> Result<(), PaintError> {
        let Self { pipeline, image, conditioning, latents, shape, prompts } = self;
        match part {
            Part::Text => {
                *prompts += 1;
                pipeline.prompt(&format!("a portrait in oil, number {prompts}"), &mut Vec::new()).map(drop)
            }
            Part::Encode => pipeline.encode(image, &mut Generator::new(0)).map(drop),
            Part::Denoise => pipeline.predict(latents, *shape, TIMESTEP, conditioning, None).map(drop),
            Part::Decode => pipeline.decode(latents, *shape).map(drop),
        }
    }
}

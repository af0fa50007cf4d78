//! Writing paintings: PNG, with the parameters in it where image tools look for them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use image::RgbImage;
use livewebcam_jobs::{LoadOptions, Parameters, local};
use png::{BitDepth, ColorType, Compression, EncodingError};

/// Encodes a painting. The same painting and parameters give the same bytes.
///
/// The text chunk `parameters` is laid out as Stable Diffusion's tools write and read it.
///
/// # Errors
/// An empty picture.
pub fn encode_png(
    picture: &RgbImage,
    model: &str,
    parameters: &Parameters,
    loading: &LoadOptions,
) -> Result<Vec<u8>, EncodingError> {
    let mut content = Vec::with_capacity(picture.as_raw().len() + 4096);
    let mut encoder = png::Encoder::new(&mut content, picture.width(), picture.height());
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Fast);
    encoder.add_itxt_chunk("parameters".to_owned(), describe(picture, model, parameters, loading))?;
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture.as_raw())?;
    writer.finish()?;
    Ok(content)
}

fn describe(picture: &RgbImage, model: &str, parameters: &Parameters, loading: &LoadOptions) -> String {
    let plain = |text: &str| text.replace(|c: char| c.is_control(), " ");
    let mut text = plain(&parameters.prompt);
    if !parameters.negative_prompt.is_empty() {
        text.push_str(&format!("\nNegative prompt: {}", plain(&parameters.negative_prompt)));
    }
    let mut fields = Vec::new();
    let mut field = |name: &str, value: Option<String>| fields.extend(value.map(|value| format!("{name}: {value}")));
    field("Steps", parameters.steps.map(|steps| steps.to_string()));
    field("Sampler", parameters.scheduler.clone());
    field("CFG scale", parameters.guidance_scale.map(|scale| scale.to_string()));
    field("Seed", parameters.seed.map(|seed| seed.to_string()));
    field("Size", Some(format!("{}x{}", picture.width(), picture.height())));
    field("Model", Some(model.to_owned()));
    field("Denoising strength", parameters.strength.map(|strength| strength.to_string()));
    for autoencoder in ["VAE Encoder", "VAE Decoder"] {
        field(autoencoder, loading.taesd.then(|| "TAESD".to_owned()));
    }
    // A blend has commas in it, and a comma separates fields; quotes are how the tools escape one.
    field("Style", parameters.style.as_ref().map(|style| format!("\"{style}\"")));
    text.push('\n');
    text.push_str(&fields.join(", "));
    text
}

/// Puts a picture where the operator asked for it: complete, or not at all.
///
/// # Errors
/// Any error of the filesystem; what was at `path` is then still there.
pub fn save(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = local::temporary_sibling(path);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&temporary)
        .and_then(|mut file| file.write_all(content))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

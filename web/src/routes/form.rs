//! The multipart form of `/generate`: the Python version's field names, read under limits.

use std::fmt::Display;

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::http::StatusCode;
use futures_util::TryStreamExt;
use livewebcam_jobs::{Blend, Clamped, Parameters};

use super::error::ApiError;
use crate::settings::Limits;

/// Longest text field besides the prompts, in bytes.
const SHORT_FIELD: usize = 1024;
/// Parts in one form.
const MOST_PARTS: usize = 64;
/// What an upload beyond its limit is read on to, so that the client gets to read the answer.
const DRAINED: usize = 4;

/// A request as the form has it. Numbers are not clamped yet.
#[derive(Debug, Default)]
pub(super) struct Form {
    pub(super) input: Vec<u8>,
    pub(super) model: Option<String>,
    /// The page's own name for this request.
    pub(super) request: Option<String>,
    pub(super) parameters: Parameters,
    /// Whole numbers beyond their type; the nearest one that it holds stands in the parameters.
    pub(super) saturated: Vec<Clamped>,
}

/// Reads the form. Unknown fields are ignored; of a repeated field the last counts; an empty text is an absent one.
pub(super) async fn read(mut multipart: Multipart, limits: &Limits) -> Result<Form, ApiError> {
    let mut form = Form::default();
    let mut input = None;
    let mut parts = 0;
    while let Some(mut field) = multipart.try_next().await.map_err(malformed)? {
        parts += 1;
        if parts > MOST_PARTS {
            return Err(ApiError::bad_request(format!("the form has more than {MOST_PARTS} fields")));
        }
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "input" => {
                let bytes = content(&mut field, limits.upload_bytes).await?;
                let megabytes = limits.upload_bytes as f64 / f64::from(1 << 20);
                input = Some(bytes.ok_or_else(|| {
                    ApiError::too_large(format!("the picture is larger than {megabytes:.0} MiB; send a smaller one"))
                })?);
            }
            "prompt" => form.parameters.prompt = prompt(&mut field, "prompt", limits).await?,
            "negative_prompt" => {
                form.parameters.negative_prompt = prompt(&mut field, "negative_prompt", limits).await?
            }
            "model" => form.model = text(&mut field, "model").await?,
            "request" => form.request = text(&mut field, "request").await?,
            "scheduler" => form.parameters.scheduler = text(&mut field, "scheduler").await?,
            "style" => {
                let style = text(&mut field, "style").await?.map(|style| style.parse::<Blend>()).transpose();
                form.parameters.style = style.map_err(|error| ApiError::bad_request(error.to_string()))?;
            }
            "steps" => form.parameters.steps = whole(&mut field, "steps", &mut form.saturated).await?,
            "seed" => form.parameters.seed = whole(&mut field, "seed", &mut form.saturated).await?,
            "scale" => form.parameters.guidance_scale = number(&mut field, "scale").await?,
            "strength" => form.parameters.strength = number(&mut field, "strength").await?,
            _ => {
                content(&mut field, limits.upload_bytes).await?;
            }
        }
    }
    form.input = input.ok_or_else(|| {
        ApiError::bad_request("there is no picture: send a PNG, JPEG or WebP in the form's file field `input`")
    })?;
    Ok(form)
}

fn malformed(error: MultipartError) -> ApiError {
    let message = "the request is no complete multipart form: send it as multipart/form-data with a file field `input`";
    tracing::debug!(%error, "malformed form");
    ApiError::new(StatusCode::BAD_REQUEST, message)
}

/// A field's bytes, or `None` if there are more than `limit`.
async fn content(field: &mut Field, limit: usize) -> Result<Option<Vec<u8>>, ApiError> {
    let mut bytes = Vec::new();
    let mut total = 0;
    while let Some(chunk) = field.try_next().await.map_err(malformed)? {
        total += chunk.len();
        if total <= limit {
            bytes.extend_from_slice(&chunk);
        } else if total > limit.saturating_mul(DRAINED) {
            break;
        }
    }
    Ok((total <= limit).then_some(bytes))
}

async fn text_of(field: &mut Field, name: &str, limit: usize) -> Result<String, ApiError> {
    let bytes = content(field, limit).await?;
    let bytes = bytes.ok_or_else(|| ApiError::bad_request(format!("the field `{name}` is too long")))?;
    String::from_utf8(bytes).map_err(|_| ApiError::bad_request(format!("the field `{name}` is not UTF-8 text")))
}

async fn text(field: &mut Field, name: &str) -> Result<Option<String>, ApiError> {
    let text = text_of(field, name, SHORT_FIELD).await?;
    let text = text.trim();
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

async fn prompt(field: &mut Field, name: &str, limits: &Limits) -> Result<String, ApiError> {
    // Four bytes are the longest character; twice that, so that the length can be told in the answer.
    let text = text_of(field, name, limits.prompt_chars.saturating_mul(8).max(64 << 10)).await?;
    let length = text.chars().count();
    if length > limits.prompt_chars {
        return Err(ApiError::bad_request(format!(
            "the field `{name}` has {length} characters; at most {} are allowed",
            limits.prompt_chars
        )));
    }
    Ok(text)
}

async fn number(field: &mut Field, name: &str) -> Result<Option<f64>, ApiError> {
    let Some(text) = text(field, name).await? else { return Ok(None) };
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Some(number)),
        _ => Err(ApiError::bad_request(format!("the field `{name}` is no number: {:?}", shortened(&text)))),
    }
}

/// What is out of the type's range is far out of every bound: the nearest value stands for it until it is clamped.
async fn whole<T: TryFrom<i128> + Extremes + Display>(
    field: &mut Field,
    name: &str,
    saturated: &mut Vec<Clamped>,
) -> Result<Option<T>, ApiError> {
    saturated.retain(|earlier| earlier.field != name);
    let Some(text) = text(field, name).await? else { return Ok(None) };
    // Sliders of other clients write 5 as 5.0.
    let plain = text.strip_suffix(".0").unwrap_or(&text);
    let asked: i128 = plain
        .parse()
        .map_err(|_| ApiError::bad_request(format!("the field `{name}` is no whole number: {:?}", shortened(&text))))?;
    let number = T::try_from(asked).unwrap_or_else(|_| {
        let nearest = if asked < 0 { T::LEAST } else { T::MOST };
        saturated.push(Clamped { field: name.to_owned(), from: asked.to_string(), to: nearest.to_string() });
        nearest
    });
    Ok(Some(number))
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

trait Extremes {
    const LEAST: Self;
    const MOST: Self;
}

impl Extremes for u32 {
    const LEAST: Self = Self::MIN;
    const MOST: Self = Self::MAX;
}

impl Extremes for u64 {
    const LEAST: Self = Self::MIN;
    const MOST: Self = Self::MAX;
}

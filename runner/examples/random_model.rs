//! Makes a checkpoint of a published model's full size in diffusers' layout, with random weights and a TAESD: for measuring
//! memory and speed where the real one cannot be had. `cargo run --release --example random_model -- sd-turbo FOLDER`

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use livewebcam_runner::nn::weights::Needed;
use livewebcam_runner::sd::needed_tensors;
use serde_json::{Map, Value, json};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, folder] = arguments.as_slice() else {
        bail!("usage: random_model sd15|sd-turbo|sdxl FOLDER");
    };
    let folder = PathBuf::from(folder);
    for (file, content) in configurations(model)? {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().context("a file in a folder")?)?;
        fs::write(&path, serde_json::to_vec_pretty(&content)?)?;
    }
    for (component, needed) in needed_tensors(&folder)? {
        let stem = if component.starts_with("text_encoder") { "model" } else { "diffusion_pytorch_model" };
        let path = folder.join(component).join(format!("{stem}.safetensors"));
        write_tensors(&path, &needed).with_context(|| format!("failed to write {}", path.display()))?;
        let tokenizer = component.replace("text_encoder", "tokenizer");
        if tokenizer != component {
            copy_tokenizer(&folder.join(tokenizer))?;
        }
    }
    Ok(())
}

fn copy_tokenizer(folder: &Path) -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/tokenizer");
    fs::create_dir_all(folder)?;
    for file in ["vocab.json", "merges.txt"] {
        fs::copy(source.join(file), folder.join(file))?;
    }
    fs::write(folder.join("tokenizer_config.json"), json!({ "model_max_length": 77 }).to_string())?;
    Ok(())
}

/// Kernels and matrices are random with a variance that keeps signals as large as they are; norms do nothing.
fn write_tensors(path: &Path, needed: &[Needed]) -> Result<()> {
    let mut header = Map::new();
    let mut offset = 0;
    for Needed { name, shape, .. } in needed {
        let end = offset + 2 * shape.iter().product::<usize>();
        header.insert(name.clone(), json!({ "dtype": "F16", "shape": shape, "data_offsets": [offset, end] }));
        offset = end;
    }
    let header = Value::Object(header).to_string();
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for Needed { name, shape, .. } in needed {
        let count: usize = shape.iter().product();
        match shape.as_slice() {
            [_] if name.ends_with("weight") => write_all(&mut file, count, || 1.0)?,
            [_] => write_all(&mut file, count, || 0.0)?,
            _ => {
                let inputs = (count / shape[0]) as f32;
                // Of a uniform distribution in −1 to 1 the deviation is 1/√3.
                let scale = if name.contains("embedding.weight") { 0.03 } else { (3.0 / inputs).sqrt() };
                write_all(&mut file, count, || {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    ((random >> 40) as f32 / (1 << 23) as f32 - 1.0) * scale
                })?;
            }
        }
    }
    file.flush()?;
    Ok(())
}

fn write_all(file: &mut impl Write, count: usize, mut next: impl FnMut() -> f32) -> io::Result<()> {
    (0..count).try_for_each(|_| file.write_all(&half(next()).to_le_bytes()))
}

/// The bits of the f16 next to a number of a size that f16 has.
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    match ((bits >> 23) & 0xff).checked_sub(112) {
        Some(exponent @ 1..=30) => sign | ((exponent << 10) | ((bits >> 13) & 0x3ff)) as u16,
        _ => sign,
    }
}

/// What the published models have in their configurations, as far as it is not the default.
fn configurations(model: &str) -> Result<Vec<(&'static str, Value)>> {
    let (pipeline, scheduler) = match model {
        "sd15" => ("StableDiffusionPipeline", "PNDMScheduler"),
        "sd-turbo" => ("StableDiffusionPipeline", "EulerDiscreteScheduler"),
        "sdxl" => ("StableDiffusionXLPipeline", "EulerDiscreteScheduler"),
        other => bail!("unknown model `{other}`; there are sd15, sd-turbo and sdxl"),
    };
    let clip = ["transformers", "CLIPTextModel"];
    let tokenizer = ["transformers", "CLIPTokenizer"];
    let mut index = json!({
        "_class_name": pipeline,
        "scheduler": ["diffusers", scheduler],
        "text_encoder": clip,
        "tokenizer": tokenizer,
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    });
    let noise = json!({
        "_class_name": scheduler, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "steps_offset": 1, "skip_prk_steps": true,
        "timestep_spacing": if model == "sd-turbo" { "trailing" } else { "leading" },
    });
    let vae = json!({
        "_class_name": "AutoencoderKL", "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2,
        "down_block_types": vec!["DownEncoderBlock2D"; 4], "up_block_types": vec!["UpDecoderBlock2D"; 4],
        "scaling_factor": if model == "sdxl" { 0.13025 } else { 0.18215 },
    });
    let (unet, text) = match model {
        "sd15" => (json!({ "cross_attention_dim": 768, "attention_head_dim": 8, "sample_size": 64 }), large_clip(12)),
        "sd-turbo" => (
            json!({
                "cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": true,
                "sample_size": 64,
            }),
            json!({
                "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16,
                "hidden_act": "gelu",
            }),
        ),
        _ => (
            json!({
                "cross_attention_dim": 2048, "attention_head_dim": [5, 10, 20], "use_linear_projection": true,
                "sample_size": 128, "block_out_channels": [320, 640, 1280],
                "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
                "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
                "transformer_layers_per_block": [1, 2, 10], "addition_embed_type": "text_time",
                "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
            }),
            large_clip(12),
        ),
    };
    let taesd = json!({ "_class_name": "AutoencoderTiny" });
    let mut files = vec![
        ("scheduler/scheduler_config.json", noise),
        ("vae/config.json", vae),
        (if model == "sdxl" { "taesdxl/config.json" } else { "taesd/config.json" }, taesd),
        ("unet/config.json", unet),
        ("text_encoder/config.json", text),
    ];
    if model == "sdxl" {
        index["text_encoder_2"] = json!(["transformers", "CLIPTextModelWithProjection"]);
        index["tokenizer_2"] = json!(tokenizer);
        let second = json!({
            "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20,
            "hidden_act": "gelu", "projection_dim": 1280,
        });
        files.push(("text_encoder_2/config.json", second));
    }
    files.push(("model_index.json", index));
    Ok(files)
}

/// OpenAI's CLIP ViT-L/14.
fn large_clip(layers: usize) -> Value {
    json!({
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": layers, "num_attention_heads": 12,
        "hidden_act": "quick_gelu",
    })
}

//! The many ways in which published models are laid out, and in which they are broken.

use std::fs;

use candle_core::safetensors::{load as load_tensors, save as save_tensors};
use candle_core::{DType, Device, Tensor};
use livewebcam_runner::sd::Precision;
use serde_json::{Value, json};

use super::copy::{Copy, Tensors};
use super::small::{case, compare, fixtures, load, paint, picture};

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
const VAE: &str = "vae/diffusion_pytorch_model.safetensors";

fn rename(tensors: Tensors, name: impl Fn(&str) -> String) -> Tensors {
    tensors.into_iter().map(|(old, tensor)| (name(&old), tensor)).collect()
}

#[test]
fn the_names_that_published_models_use() {
    let copy = Copy::of("sd15");
    copy.edit_tensors("text_encoder/model.safetensors", |tensors| {
        let mut tensors = rename(tensors, |name| format!("text_model.{name}"));
        let positions = Tensor::arange(0_i64, 77, &Device::Cpu).and_then(|t| t.unsqueeze(0)).expect("positions");
        tensors.insert("text_model.embeddings.position_ids".to_owned(), positions);
        tensors
    });
    copy.edit_tensors(VAE, |tensors| {
        let old = [("to_q.", "query."), ("to_k.", "key."), ("to_v.", "value."), ("to_out.0.", "proj_attn.")];
        rename(tensors, |name| old.iter().fold(name.to_owned(), |name, (new, old)| name.replace(new, old)))
    });
    copy.paints_the_same("sd15", "default");
}

#[test]
fn the_names_that_transformers_4_gives_sdxl() {
    let copy = Copy::of("sdxl");
    copy.edit_tensors("text_encoder/model.safetensors", |tensors| rename(tensors, |name| format!("text_model.{name}")));
    copy.paints_the_same("sdxl", "nonegative");
}

#[test]
fn weights_in_shards_and_in_other_types() {
    let copy = Copy::of("sdturbo");
    let path = copy.path().join(UNET);
    let tensors = load_tensors(&path, &Device::Cpu).expect("tensors");
    fs::remove_file(path).expect("removed");
    let (mut shards, mut map) = ([Tensors::new(), Tensors::new()], serde_json::Map::new());
    for (index, (name, tensor)) in tensors.into_iter().enumerate() {
        let shard = index % 2;
        map.insert(name.clone(), json!(format!("diffusion_pytorch_model-0000{}-of-00002.safetensors", shard + 1)));
        shards[shard].insert(name, tensor.to_dtype(DType::F32).expect("f32"));
    }
    for (index, shard) in shards.iter().enumerate() {
        let name = format!("unet/diffusion_pytorch_model-0000{}-of-00002.safetensors", index + 1);
        save_tensors(shard, copy.path().join(name)).expect("written");
    }
    let index = json!({ "metadata": {}, "weight_map": map }).to_string();
    fs::write(copy.path().join("unet/diffusion_pytorch_model.safetensors.index.json"), index).expect("written");
    let vae = copy.path().join(VAE);
    fs::rename(&vae, vae.with_file_name("diffusion_pytorch_model.fp16.safetensors")).expect("renamed");
    copy.paints_the_same("sdturbo", "one");

    fs::remove_file(copy.path().join("unet/diffusion_pytorch_model-00002-of-00002.safetensors")).expect("removed");
    let expected = "unet/diffusion_pytorch_model-00002-of-00002.safetensors is missing; download the model again";
    assert_eq!(copy.error(), expected);
}

#[test]
fn a_tokenizer_in_one_file() {
    for merges_are_lists in [false, true] {
        let copy = Copy::of("sd15");
        let folder = copy.path().join("tokenizer");
        let vocabulary: Value =
            serde_json::from_slice(&fs::read(folder.join("vocab.json")).expect("a vocabulary")).expect("JSON");
        let merges = fs::read_to_string(folder.join("merges.txt")).expect("merges");
        let merge = |line: &str| match line.split_once(' ') {
            Some((first, second)) if merges_are_lists => json!([first, second]),
            _ => json!(line),
        };
        let merges: Vec<Value> = merges.lines().skip(1).filter(|line| !line.is_empty()).map(merge).collect();
        let token = |id: u32, content: &str| {
            json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": true, "special": true })
        };
        let tokenizer = json!({
            "version": "1.0",
            "added_tokens": [token(49_406, "<|startoftext|>"), token(49_407, "<|endoftext|>")],
            "normalizer": { "type": "NFC" },
            "model": { "type": "BPE", "end_of_word_suffix": "</w>", "vocab": vocabulary, "merges": merges },
        });
        fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).expect("written");
        fs::remove_file(folder.join("vocab.json")).expect("removed");
        fs::remove_file(folder.join("merges.txt")).expect("removed");
        copy.paints_the_same("sd15", "noguidance");
    }
}

#[test]
fn half_precision_weights_come_close() {
    for (model, name) in [("sdturbo", "one"), ("sdxl", "default")] {
        let pipeline = load(&fixtures().join(model), false, Precision::Bf16).expect("a model");
        let painting = paint(&pipeline, &case(model, name));
        let expected = picture(&fixtures().join(model).join(format!("{name}.png")));
        // bf16 keeps 8 bits of each weight.
        let (psnr, _) = compare(&painting.image, &expected);
        assert!(psnr > 30.0, "{model}: {psnr:.1} dB");
    }
}

#[test]
fn a_file_that_is_missing_or_cut_short_is_named() {
    let copy = Copy::of("lcm");
    let path = copy.path().join(UNET);
    let whole = fs::read(&path).expect("weights");
    for (length, problem) in
        [(0, "it has 0 bytes"), (1000, "its header is cut short"), (whole.len() - 1, "ends behind")]
    {
        fs::write(&path, &whole[..length]).expect("written");
        let error = copy.error();
        assert!(error.starts_with(UNET) && error.contains(problem), "{error}");
    }
    fs::remove_file(&path).expect("removed");
    assert_eq!(copy.error(), format!("{UNET} is missing; download the model again"));
    fs::write(path.with_extension("bin"), b"pickle").expect("written");
    let error = copy.error();
    assert!(error.contains("unet/diffusion_pytorch_model.bin") && error.contains("save_pretrained"), "{error}");
    fs::remove_file(copy.path().join("tokenizer/merges.txt")).expect("removed");
    fs::write(&path, &whole).expect("written");
    assert_eq!(copy.error(), "tokenizer/merges.txt is missing; download the model again");
    fs::write(copy.path().join("unet/config.json"), "{").expect("written");
    assert_eq!(copy.error(), "unet/config.json is not valid JSON");
}

#[test]
fn a_tensor_that_does_not_fit_or_is_damaged_is_named() {
    let name = "conv_in.weight";
    let copy = Copy::of("lcm");
    copy.edit_tensors(UNET, |mut tensors| {
        tensors.insert(name.to_owned(), Tensor::zeros((16, 9, 3, 3), DType::F16, &Device::Cpu).expect("zeros"));
        tensors
    });
    let error = copy.error();
    assert_eq!(
        error,
        format!("{UNET}: the tensor `{name}` has the shape [16, 9, 3, 3], but its config.json makes it [16, 4, 3, 3]")
    );
    copy.edit_tensors(UNET, |mut tensors| {
        let damaged = Tensor::full(f32::NAN, (16, 4, 3, 3), &Device::Cpu).and_then(|t| t.to_dtype(DType::F16));
        tensors.insert(name.to_owned(), damaged.expect("a tensor"));
        tensors
    });
    assert!(
        copy.error().contains(&format!("the tensor `{name}` holds values that are not finite")),
        "{}",
        copy.error()
    );
    copy.edit_tensors(UNET, |mut tensors| {
        tensors.remove(name);
        tensors
    });
    assert_eq!(copy.error(), format!("{UNET} lacks the tensor `{name}`"));
}

#[test]
fn what_is_not_supported_is_named() {
    let edits = [
        ("model_index.json", "_class_name", json!("FluxPipeline")),
        ("model_index.json", "scheduler", json!(["diffusers", "HeunDiscreteScheduler"])),
        ("model_index.json", "text_encoder", json!(["transformers", "T5EncoderModel"])),
        ("model_index.json", "unet", json!([null, null])),
        ("unet/config.json", "resnet_time_scale_shift", json!("scale_shift")),
        ("unet/config.json", "down_block_types", json!(["KDownBlock2D", "DownBlock2D", "DownBlock2D", "DownBlock2D"])),
        ("unet/config.json", "attention_head_dim", json!([4, 4])),
        ("unet/config.json", "class_embed_type", json!("timestep")),
        ("unet/config.json", "in_channels", json!(9)),
        ("unet/config.json", "cross_attention_dim", json!(768)),
        ("unet/config.json", "block_out_channels", json!("many")),
        ("vae/config.json", "_class_name", json!("AutoencoderDC")),
        ("text_encoder/config.json", "hidden_act", json!("tanh")),
        ("scheduler/scheduler_config.json", "prediction_type", json!("flow_prediction")),
        ("scheduler/scheduler_config.json", "beta_schedule", json!("exp")),
        ("scheduler/scheduler_config.json", "timestep_spacing", json!("backwards")),
    ];
    for (file, key, value) in edits {
        let copy = Copy::of("sd15");
        copy.edit_json(file, |config| config[key] = value.clone());
        let error = copy.error();
        assert!(error.starts_with(&format!("{file}: `{key}`")), "{file} {key}: {error}");
    }
}

//! What a model's files may say besides the usual: layers left out, SDXL's refiner, a TAESD outside the model's folder.

use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};
use livewebcam_runner::sd::{LoadError, Painting, Precision, describe};
use serde_json::json;

use super::copy::{Copy, copy_folder};
use super::parity::{LATENTS, latent_error};
use super::small::{case, compare, fixtures, load, paint, picture};

/// Fails unless it is what diffusers made: `expected` is a case's picture and latents, without their endings.
fn assert_is(painting: &Painting, expected: &str) {
    let expected = fixtures().join(expected);
    let latents = candle_core::safetensors::load(expected.with_extension("safetensors"), &Device::Cpu);
    let error = latent_error(painting, &latents.expect("latents"));
    let (psnr, worst) = compare(&painting.image, &picture(&expected.with_extension("png")));
    assert!(error <= LATENTS && psnr >= 50.0 && worst <= 2, "{psnr:.1} dB, worst pixel {worst}, latents {error:.1e}");
}

#[test]
fn a_config_leaves_out_the_text_encoders_last_layers() {
    for model in ["sd15", "sdxl"] {
        let copy = Copy::of(model);
        copy.edit_json("model_index.json", |index| index["clip_skip"] = json!(1));
        let painting = paint(&copy.load().expect("a model"), &case(model, "default"));
        assert_is(&painting, &format!("{model}/clip_skip"));
    }
}

/// The refiner has the second text encoder alone, whose part of the UNet's layers stays; and a score in place of the target's
/// size.
#[test]
fn sdxls_refiner_paints_from_its_own_folder() {
    let copy = Copy::of("sdxl");
    for folder in ["text_encoder", "tokenizer"] {
        fs::remove_dir_all(copy.path().join(folder)).expect("a folder");
        copy.edit_json("model_index.json", |index| index[folder] = json!([null, null]));
    }
    copy.edit_json("model_index.json", |index| index["requires_aesthetics_score"] = json!(true));
    let (text, pooled_and_sizes) = (16, 16 + 5 * 8);
    copy.edit_json("unet/config.json", |config| {
        config["cross_attention_dim"] = json!(text);
        config["projection_class_embeddings_input_dim"] = json!(pooled_and_sizes);
    });
    let narrowed = |name: &str, tensor: &Tensor| {
        if name.contains("attn2.to_k") || name.contains("attn2.to_v") {
            tensor.narrow(1, tensor.dim(1)? - text, text)?.contiguous()
        } else if name == "add_embedding.linear_1.weight" {
            tensor.narrow(1, 0, pooled_and_sizes)?.contiguous()
        } else {
            Ok(tensor.clone())
        }
    };
    copy.edit_tensors("unet/diffusion_pytorch_model.safetensors", |tensors| {
        let tensors = tensors.into_iter().map(|(name, tensor)| {
            let narrowed = narrowed(&name, &tensor).expect("a tensor");
            (name, narrowed)
        });
        tensors.collect()
    });
    assert_eq!(describe("some/refiner", copy.path()).expect("a description").broken, None);
    assert_is(&paint(&copy.load().expect("a model"), &case("sdxl", "default")), "sdxl/refiner");
}

#[test]
fn a_taesd_lies_in_the_models_folder_or_beside_it_or_under_its_publishers_name() {
    let tree = tempfile::tempdir().expect("a folder");
    let model = tree.path().join("org/model");
    copy_folder(&fixtures().join("sd15"), &model);
    let taesd = |folder: &Path| {
        let known = describe("org/model", folder).expect("a description").loading.expect("a choice").taesd;
        let loaded = load(folder, true, Precision::F32);
        assert_eq!(known, loaded.is_ok());
        loaded
    };
    let mut place = model.join("taesd");
    for next in ["org/taesd", "madebyollin/taesd"] {
        assert_is(&paint(&taesd(&model).expect("a model"), &case("sd15", "taesd")), "sd15/taesd");
        let next = tree.path().join(next);
        fs::create_dir_all(next.parent().expect("a folder")).expect("a folder");
        fs::rename(&place, &next).expect("another place");
        place = next;
    }
    assert_is(&paint(&taesd(&model).expect("a model"), &case("sd15", "taesd")), "sd15/taesd");
    fs::remove_dir_all(place).expect("a folder");
    let Err(error) = taesd(&model) else { panic!("there is a TAESD") };
    assert!(
        matches!(error, LoadError::Unloadable(_)) && error.to_string().contains("put madebyollin/taesd"),
        "{error}"
    );
}

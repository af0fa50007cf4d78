"""Runs a part of a painting with PyTorch and diffusers whenever it is told to.

    pytorch.py PART DTYPE MODEL PICTURE     PART: text, encode, denoise, decode or frame, `-taesd` behind it for TAESD

Prints `ready` with a remark, then for each `run` on its standard input the milliseconds that it took, and for each
`save FILE` writes the last frame's latents and picture as safetensors.
"""

import sys
import time

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, StableDiffusionImg2ImgPipeline, UNet2DConditionModel
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

from protocol import PROMPT, SEED, convolve_bf16_in_f32, draw_in_f32, serve, threads

# A layout that is tried must not cost more than this.
PATIENCE = 20.0


def autoencoder(model, dtype, tiny):
    kind, folder = (AutoencoderTiny, "taesd") if tiny else (AutoencoderKL, "vae")
    return kind.from_pretrained(model, subfolder=folder, dtype=dtype)


def text(model, dtype):
    encoder = CLIPTextModel.from_pretrained(model, subfolder="text_encoder", dtype=dtype)
    tokenizer = CLIPTokenizer.from_pretrained(model, subfolder="tokenizer")
    number = 0

    def run():
        nonlocal number
        number += 1
        prompt = f"a portrait in oil, number {number}"
        tokens = tokenizer(prompt, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
        encoder(tokens.input_ids)

    return [], run


def encode(model, dtype, width, height, tiny):
    vae = autoencoder(model, dtype, tiny)
    picture = torch.rand(1, 3, height, width, dtype=dtype) * 2 - 1
    return [vae], lambda: vae.encode(picture)


def decode(model, dtype, width, height, tiny):
    vae = autoencoder(model, dtype, tiny)
    latents = torch.randn(1, 4, height // 8, width // 8, dtype=dtype)
    return [vae], lambda: vae.decode(latents).sample


def denoise(model, dtype, width, height):
    unet = UNet2DConditionModel.from_pretrained(model, subfolder="unet", dtype=dtype)
    latents = torch.randn(1, 4, height // 8, width // 8, dtype=dtype)
    prompt = torch.randn(1, 77, unet.config.cross_attention_dim, dtype=dtype)
    return [unet], lambda: unet(latents, 999, encoder_hidden_states=prompt).sample


def frame(model, dtype, image, tiny):
    draw_in_f32()
    convolve_bf16_in_f32()
    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(model, dtype=dtype)
    if tiny:
        pipeline.vae = autoencoder(model, dtype, True)
    pipeline.set_progress_bar_config(disable=True)
    kept = {}

    def keep(pipeline, step, timestep, values):
        kept["latents_0"] = values["latents"]
        return values

    def run():
        kept["picture"] = pipeline(
            PROMPT,
            image=image,
            num_inference_steps=2,
            strength=0.5,
            guidance_scale=0.0,
            generator=torch.Generator("cpu").manual_seed(SEED),
            callback_on_step_end=keep,
            output_type="pt",
        ).images[0]

    def save(file):
        save_file({name: tensor.float().contiguous() for name, tensor in kept.items()}, file)

    return [pipeline.unet, pipeline.vae], run, save


def timed(run):
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def choose_layout(modules, run):
    """Keeps channels last where that is faster, as a user would."""
    run_once = timed(run)
    plain = timed(run) if run_once < PATIENCE else run_once
    if not modules or plain > PATIENCE:
        return "channels first"
    for module in modules:
        module.to(memory_format=torch.channels_last)
    timed(run)
    if timed(run) < plain:
        return "channels last"
    for module in modules:
        module.to(memory_format=torch.contiguous_format)
    return "channels first"


def main():
    part, dtype, model, picture = sys.argv[1:]
    part, _, tiny = part.partition("-")
    dtype = {"bf16": torch.bfloat16, "f32": torch.float32}[dtype]
    torch.set_num_threads(threads())
    image = Image.open(picture).convert("RGB")
    with torch.inference_mode():
        save = None
        if part == "text":
            modules, run = text(model, dtype)
        elif part == "encode":
            modules, run = encode(model, dtype, *image.size, tiny)
        elif part == "decode":
            modules, run = decode(model, dtype, *image.size, tiny)
        elif part == "denoise":
            modules, run = denoise(model, dtype, *image.size)
        elif part == "frame":
            modules, run, save = frame(model, dtype, image, tiny)
        else:
            sys.exit(f"there is no part {part}")
        serve(choose_layout(modules, run), run, save)


if __name__ == "__main__":
    main()

"""Paints one picture with diffusers, from the start of the process, and prints `saved`.

    cold.py MODEL DTYPE AUTOENCODER INPUT OUTPUT    AUTOENCODER: vae or taesd
"""

import sys

import torch
from diffusers import AutoencoderTiny, StableDiffusionImg2ImgPipeline
from PIL import Image

from protocol import PROMPT, SEED, answer, threads


def main():
    model, dtype, autoencoder, picture, output = sys.argv[1:]
    dtype = {"bf16": torch.bfloat16, "f32": torch.float32}[dtype]
    torch.set_num_threads(threads())
    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(model, dtype=dtype)
    if autoencoder == "taesd":
        pipeline.vae = AutoencoderTiny.from_pretrained(model, subfolder="taesd", dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    painting = pipeline(
        PROMPT,
        image=Image.open(picture).convert("RGB"),
        num_inference_steps=2,
        strength=0.5,
        guidance_scale=0.0,
        generator=torch.Generator("cpu").manual_seed(SEED),
    ).images[0]
    painting.save(output, compress_level=1)
    answer("saved")


if __name__ == "__main__":
    main()

"""Has diffusers paint the cases of a folder like runner/tests/parity.

    cases.py FIXTURES DTYPE FOLDER      writes FOLDER/MODEL-CASE.safetensors with the latents after each step
"""

import json
import sys
from pathlib import Path

import diffusers
import torch
from PIL import Image
from safetensors.torch import save_file

from protocol import convolve_bf16_in_f32, draw_in_f32, threads

SCHEDULERS = {
    "ddim": diffusers.DDIMScheduler,
    "ddpm": diffusers.DDPMScheduler,
    "deis": diffusers.DEISMultistepScheduler,
    "dpmpp_2m": diffusers.DPMSolverMultistepScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "euler_a": diffusers.EulerAncestralDiscreteScheduler,
    "unipc": diffusers.UniPCMultistepScheduler,
}


def paint(folder, case, dtype, image):
    pipeline = diffusers.AutoPipelineForImage2Image.from_pretrained(folder, dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    if case["taesd"]:
        pipeline.vae = diffusers.AutoencoderTiny.from_pretrained(folder, subfolder="taesd", dtype=dtype)
    if case["scheduler"]:
        name = case["scheduler"].removesuffix("_trailing")
        changes = {} if name == case["scheduler"] else {"timestep_spacing": "trailing"}
        pipeline.scheduler = SCHEDULERS[name].from_config(pipeline.scheduler.config, **changes)
    latents = {}

    def keep(pipeline, step, timestep, values):
        latents[f"latents_{step}"] = values["latents"].float().contiguous()
        return values

    arguments = {name: case[name] for name in ["prompt", "num_inference_steps", "strength", "guidance_scale"]}
    if case.get("negative_prompt") is not None:
        arguments["negative_prompt"] = case["negative_prompt"]
    pipeline(
        image=image,
        generator=torch.Generator("cpu").manual_seed(case["seed"]),
        callback_on_step_end=keep,
        output_type="latent",
        **arguments,
    )
    return latents


def main():
    fixtures, dtype, output = sys.argv[1:]
    fixtures, output = Path(fixtures), Path(output)
    torch.set_num_threads(threads())
    draw_in_f32()
    convolve_bf16_in_f32()
    image = Image.open(fixtures / "input.png").convert("RGB")
    for file in sorted(fixtures.glob("*/cases.json")):
        for case in json.loads(file.read_text()):
            latents = paint(file.parent, case, {"bf16": torch.bfloat16, "f32": torch.float32}[dtype], image)
            save_file(latents, output / f"{file.parent.name}-{case['name']}.safetensors")


if __name__ == "__main__":
    main()

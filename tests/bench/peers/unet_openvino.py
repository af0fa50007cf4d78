"""Runs the UNet with OpenVINO whenever it is told to; what is said and answered is in `protocol.py`.

    unet_openvino.py export MODEL FILE              writes the UNet of a diffusers folder as OpenVINO's model
    unet_openvino.py DTYPE FILE WIDTH HEIGHT        DTYPE: bf16 or f32; pixels
"""

import sys

import numpy as np
import openvino as ov

from protocol import serve, threads

TOKENS = 77


def export(model, file):
    import torch
    from diffusers import UNet2DConditionModel

    class Plain(torch.nn.Module):
        def __init__(self, unet):
            super().__init__()
            self.unet = unet

        def forward(self, latents, timestep, prompt):
            return self.unet(latents, timestep, encoder_hidden_states=prompt, return_dict=False)[0]

    unet = UNet2DConditionModel.from_pretrained(model, subfolder="unet").eval()
    width = unet.config.cross_attention_dim
    example = (torch.zeros(1, 4, 64, 64), torch.tensor(999), torch.zeros(1, TOKENS, width))
    with torch.inference_mode():
        converted = ov.convert_model(Plain(unet), example_input=example)
    latents, timestep, prompt = converted.inputs
    converted.reshape({latents: [1, 4, -1, -1], timestep: [], prompt: [1, TOKENS, width]})
    # The checkpoint's own numbers are f16, so nothing is lost.
    ov.save_model(converted, file, compress_to_fp16=True)


def main():
    if sys.argv[1] == "export":
        export(*sys.argv[2:])
        return
    dtype, file, width, height = sys.argv[1:]
    core = ov.Core()
    model = core.read_model(file)
    latents, timestep, prompt = model.inputs
    shape = [1, 4, int(height) // 8, int(width) // 8]
    model.reshape({latents: shape, timestep: [], prompt: prompt.partial_shape})
    settings = {
        "INFERENCE_PRECISION_HINT": dtype,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads(),
    }
    if dtype == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    compiled = core.compile_model(model, "CPU", settings)
    random = np.random.default_rng(0)
    values = [
        random.standard_normal(shape, dtype=np.float32),
        np.array(999, dtype=timestep.element_type.to_dtype()),
        random.standard_normal(prompt.shape, dtype=np.float32),
    ]
    request = compiled.create_infer_request()
    request.infer(values)
    used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    serve("" if used == dtype else f"in {used}", lambda: request.infer(values))


if __name__ == "__main__":
    main()

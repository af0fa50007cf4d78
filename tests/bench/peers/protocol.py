"""What the bench says to a peer and hears from it: lines on standard input and output."""

import os
import sys
import time

PROMPT = "a portrait in the style of Van Gogh, thick oil paint"
SEED = 33


def threads():
    return int(os.environ["BENCH_THREADS"])


def draw_in_f32():
    """Rounds torch's random numbers, in place of drawing others: what is painted in bf16 is then the same picture."""
    import torch

    randn = torch.randn

    def rounded(*sizes, dtype=None, **options):
        return randn(*sizes, dtype=torch.float32, **options).to(dtype)

    torch.randn = rounded


def convolve_bf16_in_f32():
    """Where the processor has no products of bf16, PyTorch's own loops take hours for them. These sums are as exact as
    those of processors that have: operands and results in bf16, everything between them in f32."""
    import torch

    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return
    convolve = torch.nn.Conv2d._conv_forward

    def in_f32(self, x, weight, bias):
        if x.dtype != torch.bfloat16:
            return convolve(self, x, weight, bias)
        return convolve(self, x.float(), weight.float(), None if bias is None else bias.float()).to(x.dtype)

    torch.nn.Conv2d._conv_forward = in_f32


def answer(text):
    print(text, file=sys.__stdout__, flush=True)


def serve(remark, run, save=None):
    """Answers until standard input ends."""
    answer(f"ready {remark}".strip())
    for line in sys.stdin:
        word, _, argument = line.strip().partition(" ")
        started = time.perf_counter()
        if word == "run":
            run()
        elif word == "save" and save:
            save(argument)
        else:
            sys.exit(f"not understood: {line.strip()}")
        answer(f"{(time.perf_counter() - started) * 1e3:.3f}")

"""What becomes of results where subnormals are flushed or the rounding mode is not to nearest.

csrc/kernels/contract.h says it. Each case runs in a process of its own, since the state is a
thread's and must not reach other tests.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from mpmath import mp, mpf
from truth import (
    DTYPES,
    every_16_bit_input,
    float32_of_every_binade,
    rounded,
    true_sigmoid,
    ulp_error,
)

import torch_sigmoid_ext
from torch_sigmoid_ext import sigmoid

# contract.h's, for the other rounding modes.
ULP_BOUND = {torch.float64: 2.1}
OTHERS_ULP_BOUND = 1.1
FE_TONEAREST = 0
# fenv.h's numbers: downward, upward, toward zero.
FE_OTHERS = {
    "x86_64": {"downward": 0x400, "upward": 0x800, "toward zero": 0xC00},
    "aarch64": {"downward": 0x800000, "upward": 0x400000, "toward zero": 0xC00000},
}.get(platform.machine(), {})


def main(kernels: str) -> Iterator[str]:
    """What does not hold, in the process that the test started."""
    library = ctypes.CDLL(torch_sigmoid_ext.library_path())
    library.torch_sigmoid_ext_kernels.restype = ctypes.c_char_p
    if library.torch_sigmoid_ext_kernels().decode() != kernels:
        yield "skip"
        return
    torch.set_num_threads(1)  # the state is this thread's
    for dtype in DTYPES:
        yield from check(dtype)


def check(dtype: torch.dtype) -> Iterator[str]:
    inputs = questions(dtype)
    truth = [true_sigmoid(x) for x in inputs.tolist()]
    grads, outputs, true_gradient = gradient_questions(dtype)

    def answers() -> tuple[torch.Tensor, torch.Tensor]:
        gradient = torch.ops.torch_sigmoid_ext.sigmoid_backward(grads, outputs)
        return sigmoid(torch.cat([inputs, torch.tensor([torch.nan], dtype=dtype)])), gradient

    default, default_gradient = answers()
    for name, mode in FE_OTHERS.items():
        with rounding(mode):
            got, gradient = answers()
        where = f"{dtype}, rounding {name}"
        if not got[-1].isnan():
            yield f"{where}: σ(NaN) = {got[-1].item()}"
        got = got[:-1]
        if not ((got >= 0) & (got <= 1)).all():
            yield f"{where}: outside of [0, 1]"
        yield from worst(where, inputs, got, truth, dtype)
        yield from worst(f"{where}, gradient", outputs, gradient, true_gradient, dtype)

    if torch.set_flush_denormal(True):
        try:
            got, gradient = answers()
        finally:
            torch.set_flush_denormal(False)
        where = f"{dtype}, subnormals flushed"
        if not got[-1].isnan():
            yield f"{where}: σ(NaN) = {got[-1].item()}"
        smallest = torch.finfo(dtype).tiny
        for x, y, plain in zip(inputs.tolist(), got.tolist(), default.tolist(), strict=False):
            flushed = y == 0 and plain < smallest and dtype == torch.bfloat16
            if y != plain and not flushed:
                yield f"{where}: σ({x.hex()}) = {plain.hex()}, got {y.hex()}"
        if not torch.equal(gradient, default_gradient):
            yield f"{where}: another gradient"

    again, again_gradient = answers()
    if not torch.equal(again[:-1], default[:-1]) or not torch.equal(
        again_gradient, default_gradient
    ):
        yield f"{dtype}: results differ after the state was put back"
    # The default results, which the flushed ones were held against.
    if dtype != torch.float64:
        for x, y, value in zip(inputs.tolist(), default.tolist(), truth, strict=False):
            if y != rounded(value, dtype):
                yield f"{dtype}: σ({x.hex()}) is misrounded by default: {y.hex()}"


@contextmanager
def rounding(mode: int) -> Iterator[None]:
    library = ctypes.CDLL(None)
    try:
        assert library.fesetround(mode) == 0 and library.fegetround() == mode
        yield
    finally:
        library.fesetround(FE_TONEAREST)


def questions(dtype: torch.dtype) -> torch.Tensor:
    if dtype in (torch.float16, torch.bfloat16):
        inputs = every_16_bit_input(dtype)[::19]
        return inputs[inputs.isfinite()]
    if dtype == torch.float32:
        tail = torch.linspace(-104.5, -86, 500)
        return torch.cat([float32_of_every_binade(3), torch.linspace(-105, 20, 2000), tail])
    tail = torch.linspace(-746, -707, 500, dtype=dtype)
    return torch.cat([torch.linspace(-746, 40, 2000, dtype=dtype), tail])


def gradient_questions(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, list[mpf]]:
    """Gradients, outputs, and what they make, none of which comes near to underflow."""
    generator = torch.Generator().manual_seed(0)
    lowest = {torch.float16: -3.0, torch.bfloat16: -60.0, torch.float32: -60.0}.get(dtype, -600.0)
    x = torch.rand(1000, generator=generator, dtype=torch.float64) * (20 - lowest) + lowest
    outputs = torch.sigmoid(x).to(dtype)
    grads = (torch.rand(1000, generator=generator, dtype=torch.float64) + 0.5).to(dtype)
    grads[::2].neg_()
    keep = outputs < 1
    grads, outputs = grads[keep], outputs[keep]
    with mp.workprec(240):
        true_gradient = [
            mpf(g) * mpf(y) * (1 - mpf(y))
            for g, y in zip(grads.tolist(), outputs.tolist(), strict=True)
        ]
    return grads, outputs, true_gradient


def worst(
    where: str, inputs: torch.Tensor, got: torch.Tensor, truth: list[mpf], dtype: torch.dtype
) -> Iterator[str]:
    """The worst error in ULP, where it is above the bound."""
    error, x, y = max(
        (ulp_error(math.copysign(1, value) * y, abs(value), dtype), x, y)
        for x, y, value in zip(inputs.tolist(), got.tolist(), truth, strict=True)
    )
    if not error <= ULP_BOUND.get(dtype, OTHERS_ULP_BOUND):
        yield f"{where}: {error:.4f} ULP at {x.hex()}, got {y.hex()}"


@pytest.mark.parametrize("kernels", ["scalar", "avx2", "avx512", "neon"])
def test_results_in_another_floating_point_environment_are_as_the_contract_says(
    kernels: str,
) -> None:
    done = subprocess.run(
        [sys.executable, Path(__file__), kernels],
        env={**os.environ, "TORCH_SIGMOID_EXT_KERNELS": kernels},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    if done.stdout == "skip\n":
        pytest.skip(f"this CPU does not run the {kernels} kernels")
    assert done.stdout == ""


if __name__ == "__main__":
    for failure in main(sys.argv[1]):
        print(failure)

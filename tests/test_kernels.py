"""Every kernel set that this CPU runs returns the same bits, wherever an element lies."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_accuracy import almost_ties
from truth import (
    DTYPES,
    HARDEST_FLOAT32,
    every_16_bit_input,
    float32_beside_boundaries,
    float32_of_every_binade,
    float64_of_every_binade,
    rounded,
    true_sigmoid,
)

from torch_sigmoid_ext import sigmoid, sigmoid_

SETS = ["scalar", "avx2", "avx512", "neon"]
HASH = """
import ctypes, sys; sys.path.insert(0, {tests!r})
import torch_sigmoid_ext
from test_kernels import hash_of_results
library = ctypes.CDLL(torch_sigmoid_ext.library_path())
library.torch_sigmoid_ext_kernels.restype = ctypes.c_char_p
print(library.torch_sigmoid_ext_kernels().decode(), hash_of_results())
"""


def questions(dtype: torch.dtype) -> torch.Tensor:
    if dtype.is_complex:
        real = questions(dtype.to_real())[::3]
        order = torch.randperm(len(real), generator=torch.Generator().manual_seed(1))
        return torch.complex(real, real[order])
    if dtype in (torch.float16, torch.bfloat16):
        return every_16_bit_input(dtype)
    hard = [float.fromhex(x) for x in HARDEST_FLOAT32]
    special = [torch.inf, -torch.inf, 0.0, -0.0, torch.nan]
    reach = 110 if dtype == torch.float32 else 760
    dense = [torch.linspace(a, b, 40_000) for a, b in ((-reach, reach), (-21, 24), (-1, 1))]
    if dtype == torch.float32:
        binades = torch.cat([float32_of_every_binade(300), *float32_beside_boundaries()])
    else:
        binades = float64_of_every_binade(30)
    return torch.cat([part.to(dtype) for part in (binades, torch.tensor(hard + special), *dense)])


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num())


def subnormal(y: torch.Tensor) -> torch.Tensor:
    return (y.abs() > 0) & (y.abs() < torch.finfo(y.dtype).tiny)


def results(dtype: torch.dtype) -> list[torch.Tensor]:
    """σ, fast σ and the gradient; asked in order, shuffled, strided, in odd pieces, in place."""
    inputs = questions(dtype)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    for fast in (False, True):
        expected = sigmoid(inputs, fast=fast)
        shuffled = sigmoid(inputs[order], fast=fast)
        assert same(shuffled, expected[order]), "neighbours changed a result"
        for kind in (
            ~subnormal(expected),
            inputs.real < -20,
            (inputs.real < -12) & (inputs.real > -80),
        ):
            among = order[kind[order]]
            assert same(sigmoid(inputs[among], fast=fast), expected[among]), "its block's path did"
        assert same(sigmoid(inputs[::3], fast=fast), expected[::3]), "a stride changed a result"
        assert same(sigmoid(inputs.flip(0), fast=fast), expected.flip(0))
        for start, length in ((1, 1), (3, 15), (5, 31), (7, 63), (2, 65), (9, 127), (4, 1000)):
            guarded = torch.full((length + 2,), -7.0, dtype=dtype)
            sigmoid(inputs[start : start + length], fast=fast, out=guarded[1:-1])
            assert same(guarded[1:-1], expected[start : start + length])
            assert guarded[0] == guarded[-1] == -7, "wrote outside of the output"
        assert same(sigmoid_(inputs.clone(), fast=fast), expected), "in place changed a result"
    quick, expected = expected, sigmoid(inputs)

    scale = torch.linspace(-12, 12, len(inputs)).exp2()
    grads = torch.where(order % 2 == 0, scale, -scale)
    grads = (torch.complex(grads, 3 * grads[order]) if dtype.is_complex else grads).to(dtype)
    if dtype in (torch.float16, torch.bfloat16):
        grads = inputs[order]  # of every size
    gradient = torch.ops.torch_sigmoid_ext.sigmoid_backward(grads, expected)
    strided = torch.ops.torch_sigmoid_ext.sigmoid_backward(grads[::3], expected[::3])
    assert same(strided, gradient[::3]), "a stride changed a gradient"
    asked = (expected, quick, gradient)
    if dtype in (torch.float16, torch.bfloat16):
        return [*asked, torch.ops.torch_sigmoid_ext.sigmoid_backward(*almost_ties(dtype))]
    return [*asked]


@pytest.mark.parametrize("dtype", DTYPES)
def test_result_does_not_depend_on_the_number_of_threads(dtype: torch.dtype) -> None:
    inputs = (torch.randn(2, 150_001) * 30).to(dtype)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected, expected_strided = sigmoid(inputs), sigmoid(inputs.t())
        gradient = torch.ops.torch_sigmoid_ext.sigmoid_backward(inputs, expected)
        for threads in (2, 3):
            torch.set_num_threads(threads)
            assert torch.equal(sigmoid(inputs), expected)
            assert torch.equal(sigmoid(inputs.t()), expected_strided)
            assert torch.equal(sigmoid(inputs, out=torch.empty_like(inputs)), expected)
            again = torch.ops.torch_sigmoid_ext.sigmoid_backward(inputs, expected)
            assert torch.equal(again, gradient)
    finally:
        torch.set_num_threads(before)


def float32_sigmoid(x: float) -> float:
    if math.isfinite(x):
        return rounded(true_sigmoid(x), torch.float32)
    return {math.inf: 1.0, -math.inf: 0.0}.get(x, math.nan)


def test_runs_of_inputs_that_change_their_kind_give_the_true_results() -> None:
    """Blocks of a kind are taken by runs, which grow: up to 262,144 elements and more."""
    generator = torch.Generator().manual_seed(2)
    normal = torch.randn(300, generator=generator)
    ends = torch.tensor([150.0, -150.0, torch.inf, -torch.inf, torch.nan])
    pools = [normal, torch.cat([normal] + 9 * [ends]), 100 * normal, ends]
    pools += [5 * normal - 20, 5 * normal - 50, 2 * normal - 95]
    inputs, expected = [], []
    results = [torch.tensor([float32_sigmoid(x) for x in pool.tolist()]) for pool in pools]
    for length in (300_000, 700, 9_000, 64, 40_000, 1) * 6:
        kind = int(torch.randint(len(pools), (), generator=generator))
        indices = torch.randint(len(pools[kind]), (length,), generator=generator)
        inputs.append(pools[kind][indices])
        expected.append(results[kind][indices])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)  # a run ends where a thread's share does
        assert same(sigmoid(torch.cat(inputs)), torch.cat(expected))
    finally:
        torch.set_num_threads(before)


@functools.cache
def hash_of_results() -> str:
    digest = hashlib.sha256()
    for dtype in (*DTYPES, torch.complex64, torch.complex128):
        for result in results(dtype):
            digest.update(result.nan_to_num(nan=-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("kernels", SETS)
def test_kernel_set_gives_the_bits_of_the_one_chosen_here(kernels: str) -> None:
    code = HASH.format(tests=str(Path(__file__).parent))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TORCH_SIGMOID_EXT_KERNELS": kernels},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    chosen, hashed = done.stdout.split()
    if chosen != kernels:
        assert kernels != "scalar", f"asked for the kernels that every CPU runs, got {chosen}"
        pytest.skip(f"this CPU does not run the {kernels} kernels")
    assert hashed == hash_of_results()


def test_a_hard_lane_is_right_in_every_place_of_a_block() -> None:
    for text in HARDEST_FLOAT32:
        x = float.fromhex(text)
        expected = rounded(true_sigmoid(x), torch.float32)
        for filling in (0.3, -50.0, -100.0, 30.0, torch.nan, torch.inf, -torch.inf):
            block = torch.full((64, 64), filling).fill_diagonal_(x)
            assert (sigmoid(block).diagonal() == expected).all(), (text, filling)

"""The table of hard cases, the proof's reference that rests on it, and the operator on both."""

from __future__ import annotations

import math
import re
from pathlib import Path

import mpmath
import numpy as np
import pytest
import torch
from hard_cases import HARD_CASES, SMALL
from mpmath import mp, mpf
from truth import every_16_bit_input, float32_of_every_binade, rounded, spacing, true_sigmoid

from torch_sigmoid_ext import sigmoid

REPOSITORY = Path(__file__).parent.parent
REFERENCE = (REPOSITORY / "tests/kernels/reference.h").read_text()

CASES = [(dtype, x) for dtype, cases in HARD_CASES.items() for x in cases]


def boundary_distance(x: float, dtype: torch.dtype) -> mpf:
    """Of σ(x) to the nearest middle between two numbers of the dtype, relative to σ(x)."""
    with mp.workprec(200):
        value = true_sigmoid(x)
        units = value / spacing(value, dtype)
        return abs(units - mpmath.floor(units) - mpf(1) / 2) / units


def log2(value: mpf) -> float:
    return float(mpmath.log(value, 2))


@pytest.mark.parametrize("dtype, text", CASES)
def test_case_is_as_near_to_a_boundary_as_stated(dtype: torch.dtype, text: str) -> None:
    x = float.fromhex(text)
    assert torch.tensor(x, dtype=dtype).item() == x, "not a number of this type"
    assert abs(log2(boundary_distance(x, dtype)) - HARD_CASES[dtype][text]) < 0.006


@pytest.mark.parametrize("dtype", HARD_CASES)
def test_operator_rounds_the_hard_cases_to_the_right_side(dtype: torch.dtype) -> None:
    xs = [float.fromhex(text) for text in HARD_CASES[dtype]]
    # On both sides too, where a mended input must not mend its neighbours.
    cases = torch.tensor(xs, dtype=dtype)
    up, down = (cases.nextafter(torch.tensor(to, dtype=dtype)) for to in (math.inf, -math.inf))
    inputs = torch.cat([cases, up, down])
    expected = [rounded(true_sigmoid(x), dtype) for x in inputs.tolist()]
    assert sigmoid(inputs).tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_no_16_bit_input_is_harder_than_the_table(dtype: torch.dtype) -> None:
    found: dict[bool, list[tuple[mpf, float]]] = {True: [], False: []}
    for x in every_16_bit_input(dtype).double().tolist():
        if math.isfinite(x):
            found[abs(x) < SMALL[dtype]].append((boundary_distance(x, dtype), x))
    hardest = [x for _, x in sorted(found[True])[:3] + sorted(found[False])[:6]]
    assert hardest == [float.fromhex(text) for text in HARD_CASES[dtype]]


@pytest.mark.parametrize("dtype", HARD_CASES)
def test_proof_met_the_same_hard_cases(dtype: torch.dtype) -> None:
    printed = (REPOSITORY / "docs/prove.txt").read_text()
    name = str(dtype).removeprefix("torch.")
    part = printed[printed.index(f"\n{name}: all") :].split("misrounded")[0]
    met = re.findall(r"(-?0x[0-9a-f.]+p[+-]\d+) 2\^(-[\d.]+)", part)
    assert {x: float(exponent) for x, exponent in met} == HARD_CASES[dtype]


def stated(name: str) -> float:
    """A constant of reference.h."""
    match = re.search(rf"{name} = (\S+);", REFERENCE)
    assert match, f"reference.h has no constant {name}"
    return float.fromhex(match[1]) if "0x" in match[1] else int(match[1])


def test_reference_errs_less_than_the_hardest_case_is_off_its_boundary() -> None:
    hardest = min(min(cases.values()) for cases in HARD_CASES.values())
    assert math.log2(stated("kBinary128Error")) < hardest - 10
    assert stated("kDoubleError") < stated("kDoubt") / 1000


def test_reference_in_double_is_as_good_as_stated() -> None:
    # numpy's exp for doubles is not the C library's, so math.exp is asked, which is.
    bound = stated("kDoubleError")
    inputs = float32_of_every_binade(12, seed=2)
    inputs = inputs[inputs.abs() <= 110].tolist() + np.linspace(-110, 20, 3000).tolist()
    for x in inputs:
        e = math.exp(-abs(x))
        value = (e if x < 0 else 1.0) / (1.0 + e)
        with mp.workprec(200):
            truth = true_sigmoid(x)
            assert abs(value - truth) <= bound * truth, f"σ({x.hex()})"


def test_series_of_the_reference_is_as_good_as_stated() -> None:
    # reference.h's own steps, each rounded to binary128's 113 bits.
    bound = stated("kBinary128Error")
    terms, squarings = int(stated("kSeriesTerms")), int(stated("kSquarings"))
    for x in np.concatenate([np.linspace(-110, 20, 200), [2.0**-24, -(2.0**-24)]]).tolist():
        with mp.workprec(113):
            r = -mpf(abs(x)) / 2**squarings
            e = mpf(1)
            for n in range(terms, 0, -1):
                e = 1 + e * r / n
            for _ in range(squarings):
                e = e * e
            value = (e if x < 0 else mpf(1)) / (1 + e)
        with mp.workprec(240):
            truth = 1 / (1 + mpmath.exp(-mpf(x)))
            assert abs(value - truth) <= bound * truth, f"σ({x.hex()})"

"""The bound on the error, for every dtype, against mpmath."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from mpmath import mp, mpf
from truth import (
    DTYPES,
    FORMATS,
    HARDEST_FLOAT32,
    every_16_bit_input,
    float32_beside_boundaries,
    float32_of_every_binade,
    float32_truth,
    float64_of_every_binade,
    rounded,
    true_sigmoid,
    ulp_error,
)

import torch_sigmoid_ext


def worst_of(inputs: torch.Tensor, outputs: torch.Tensor) -> tuple[float, float, float]:
    """The largest error in ULP, and its input and output."""
    worst = (0.0, math.nan, math.nan)
    for x, y in zip(inputs.double().tolist(), outputs.double().tolist(), strict=True):
        error = ulp_error(y, true_sigmoid(x), inputs.dtype)
        if error > worst[0]:
            worst = (error, x, y)
    return worst


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("fast", [False, True])
def test_every_16_bit_input_is_correctly_rounded(dtype: torch.dtype, fast: bool) -> None:
    inputs = every_16_bit_input(dtype)
    inputs = inputs[torch.isfinite(inputs)]
    expected = [rounded(true_sigmoid(x), dtype) for x in inputs.double().tolist()]
    outputs = torch_sigmoid_ext.sigmoid(inputs, fast=fast).double()
    wrong = (outputs != torch.tensor(expected, dtype=torch.float64)).nonzero().flatten().tolist()
    assert not wrong, (
        f"{len(wrong)} of {len(inputs)} misrounded; first: σ({inputs[wrong[0]].item()}) = "
        f"{expected[wrong[0]]!r}, got {outputs[wrong[0]].item()!r}"
    )


def test_float32_is_correctly_rounded_in_every_binade() -> None:
    # No float32 but the table's first and the near-ties at tiny |x| comes so near to a boundary
    # that long double errs, and those are checked with mpmath below.
    inputs = float32_of_every_binade(400)
    inputs = inputs[(inputs.abs() > 2**-11) | (inputs.abs() < 2**-27)]
    expected = float32_truth(inputs).astype(np.float32)
    outputs = torch_sigmoid_ext.sigmoid(inputs).numpy()
    wrong = np.flatnonzero(outputs != expected)
    assert wrong.size == 0, (
        f"{wrong.size} of {len(inputs)} misrounded; first: σ({inputs[wrong[0]].item().hex()}) = "
        f"{expected[wrong[0]]!r}, got {outputs[wrong[0]]!r}"
    )


def test_float32_is_correctly_rounded_beside_the_boundaries() -> None:
    ranges = float32_beside_boundaries()
    inputs = torch.cat(ranges)
    assert len(inputs) > 1000
    expected = float32_truth(inputs).astype(np.float32)
    # Each range by itself, for the path that is the quickest there.
    outputs = torch.cat([torch_sigmoid_ext.sigmoid(each) for each in ranges]).numpy()
    wrong = np.flatnonzero(outputs != expected)
    assert wrong.size == 0, (
        f"{wrong.size} of {len(inputs)} misrounded; first: σ({inputs[wrong[0]].item().hex()}) = "
        f"{expected[wrong[0]]!r}, got {outputs[wrong[0]]!r}"
    )


def test_fast_float32_error_stays_within_the_stated_ulp() -> None:
    spread = torch.linspace(-106, 20, 400_000)
    worst_known = torch.tensor([float.fromhex("-0x1.f1535cp+3")])
    inputs = torch.cat([float32_of_every_binade(2000), spread, worst_known])
    truth = float32_truth(inputs)
    ulps = np.ldexp(np.longdouble(1), np.maximum(np.frexp(truth)[1], -125) - 24)
    binades = np.frexp(np.maximum(truth, np.longdouble(2) ** -126))[1]

    def worst_by_binade(outputs: torch.Tensor) -> dict[int, float]:
        error = np.abs(outputs.numpy().astype(np.longdouble) - truth) / ulps
        return {b: float(error[binades == b].max()) for b in np.unique(binades).tolist()}

    outputs = torch_sigmoid_ext.sigmoid(inputs, fast=True)
    ours, theirs = worst_by_binade(outputs), worst_by_binade(torch.sigmoid(inputs))
    assert 1.975 < max(ours.values()) <= 1.98
    # In two binades c · 2^k and T · e^r have a last bit apart: to add them is not exact.
    assert {b for b, e in ours.items() if e > theirs[b] + 0.05} <= {-23, -22}
    assert max(e for b, e in ours.items() if b < -26) < 1.4
    assert ((outputs >= 0) & (outputs <= 1)).all()
    assert (outputs[inputs >= -103.97] > 0).all(), "a result is 0 too soon"


@pytest.mark.parametrize("start", [-104.0, -87.4, -20.0, 16.0])
def test_fast_float32_rises_with_its_input_at_the_ends(start: float) -> None:
    first = torch.tensor(start).view(torch.int32).item()
    bits = torch.arange(first, first + 2_000_000, dtype=torch.int32)
    inputs = bits.view(torch.float32).sort().values
    outputs = torch_sigmoid_ext.sigmoid(inputs, fast=True)
    assert (outputs.diff() >= 0).all()


def test_float32_is_correctly_rounded_by_mpmath_too() -> None:
    inputs = torch.cat(
        [
            float32_of_every_binade(8, seed=1),
            torch.tensor([float.fromhex(x) for x in HARDEST_FLOAT32]),
            torch.linspace(-110, 20, 4001),
            torch.tensor([k * 2.0**-24 for k in range(-600, 600)]),
        ]
    )
    outputs = torch_sigmoid_ext.sigmoid(inputs)
    for x, y in zip(inputs.tolist(), outputs.tolist(), strict=True):
        expected = rounded(true_sigmoid(x), torch.float32)
        assert y == expected, f"σ({x.hex()}) = {expected.hex()}, got {y.hex()}"


@pytest.mark.parametrize("fast", [False, True])
def test_float64_error_stays_within_the_stated_ulp(fast: bool) -> None:
    inputs = float64_of_every_binade(4)
    error, x, y = worst_of(inputs, torch_sigmoid_ext.sigmoid(inputs, fast=fast))
    assert error <= 0.51, f"{error:.4f} ULP: σ({x.hex()}), got {y.hex()}"


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_limits(dtype: torch.dtype, fast: bool) -> None:
    inputs = torch.tensor([math.inf, -math.inf, 0.0, -0.0, math.nan], dtype=dtype)
    outputs = torch_sigmoid_ext.sigmoid(inputs, fast=fast)
    assert outputs[:4].tolist() == [1.0, 0.0, 0.5, 0.5]
    assert not outputs[:4].signbit().any()
    assert outputs[4].isnan()


@pytest.mark.parametrize(
    "dtype, last, beyond",
    [
        # σ(x) ≈ e^x; the smallest subnormal's half is the last that rounds to it, at its logarithm.
        (torch.float16, -17.3125, -17.34375),
        (torch.bfloat16, -92.5, -93.0),
        (torch.float32, -103.97, -103.98),
        (torch.float64, -745.13, -745.14),
    ],
)
def test_tail_ends_where_the_smallest_subnormal_does(
    dtype: torch.dtype, last: float, beyond: float
) -> None:
    outputs = torch_sigmoid_ext.sigmoid(torch.tensor([last, beyond], dtype=dtype))
    assert outputs[0].item() == rounded(true_sigmoid(last), dtype) > 0
    assert outputs[1].item() == 0


@pytest.mark.parametrize(
    "dtype, bound",
    [(torch.float32, 0.501), (torch.float64, 0.51)],
)
def test_gradient_error_stays_within_the_stated_ulp(dtype: torch.dtype, bound: float) -> None:
    generator = torch.Generator().manual_seed(0)
    grads = torch.randn(4000, generator=generator, dtype=torch.float64).to(dtype)
    x = torch.randn(4000, generator=generator, dtype=torch.float64) * 4
    outputs = torch.sigmoid(x).to(dtype)
    got = torch.ops.torch_sigmoid_ext.sigmoid_backward(grads, outputs)
    worst = 0.0
    with mp.workprec(240):
        for g, y, result in zip(
            grads.double().tolist(), outputs.double().tolist(), got.double().tolist(), strict=True
        ):
            truth = mpf(g) * mpf(y) * (1 - mpf(y))
            if truth == 0:
                assert result == 0
                continue
            worst = max(worst, ulp_error(abs(result), abs(truth), dtype))
            assert (result >= 0) == (truth > 0)
    assert worst <= bound, f"{worst:.4f} ULP"


def rounded_gradient(grad: float, y: float, dtype: torch.dtype) -> float:
    """grad · y · (1 - y) as a rational number, to the nearest of the dtype, ties to even."""
    exact = Fraction(grad) * Fraction(y) * (1 - Fraction(y))
    if exact == 0:
        return grad * y * (1 - y)  # the sign
    precision, min_exponent = FORMATS[dtype]
    size = abs(exact)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    unit = Fraction(2) ** (max(exponent, min_exponent) - precision + 1)
    return math.copysign(float(round(size / unit) * unit), grad)


def gradient_questions(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Every y in [0, 1] with a few gradients of any size, and products that are ties or nearly."""
    generator = torch.Generator().manual_seed(0)
    numbers = every_16_bit_input(dtype)
    finite = numbers[numbers.isfinite()]
    ys = numbers[(numbers >= 0) & (numbers <= 1)]  # with -0
    chosen = torch.randint(len(finite), (5 * len(ys),), generator=generator)
    near_one = torch.randn(len(ys), generator=generator).to(dtype)
    parts = [(finite[chosen], ys.repeat(5)), (near_one, ys)]

    # grad · y in the middle between two numbers: even a y that is too small to change it in float64
    # pulls it down. The sizes reach from subnormal results up.
    precision, min_exponent = FORMATS[dtype]
    fractions = range(2 ** (precision - 1), 2**precision)
    ties = []
    for a in fractions[:: precision - 7]:
        for b in fractions:
            low = (a * b).bit_length() - precision
            if a * b % 2**low == 2 ** (low - 1):
                ties.append((a, b))
    smallest = min_exponent - precision + 1
    for y_exponent in (-2 * precision, -24 - precision, -60, -90, smallest):
        for product_exponent in (smallest - precision, smallest - 2, smallest + 9, -100, -30, 0):
            grad_exponent = product_exponent - y_exponent
            grads = torch.tensor([a * 2.0**grad_exponent for a, _ in ties], dtype=torch.float64)
            outputs = torch.tensor([b * 2.0**y_exponent for _, b in ties], dtype=torch.float64)
            as_grads, as_outputs = grads.to(dtype), outputs.to(dtype)
            kept = (as_grads.double() == grads) & (as_outputs.double() == outputs)
            parts.append((as_grads[kept], as_outputs[kept]))

    parts.append(almost_ties(dtype))
    grads, outputs = (torch.cat(part) for part in zip(*parts, strict=True))
    return grads, outputs


def almost_ties(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients and outputs of whose products float32 makes ties, since they go on beyond it.

    Those whose grad · y is of one size fill blocks of their own.
    """
    precision, _ = FORMATS[dtype]
    found = torch.tensor(_almost_ties(precision), dtype=torch.float64).repeat(20, 1)
    a, b, y_exponent = found.t()
    parts = []
    for product_exponent in (-124, -120, -116, -112, -100, -30, -8):
        grads = a * torch.exp2(product_exponent - y_exponent - 2 * precision)
        kept = grads.to(dtype).double() == grads
        outputs = b * torch.exp2(y_exponent)
        parts.append((grads[kept].to(dtype), outputs[kept].to(dtype)))
    grads, outputs = (torch.cat(part) for part in zip(*parts, strict=True))
    return grads, outputs


def _almost_ties(precision: int) -> list[tuple[int, int, int]]:
    """(a, b, e) such that a · y · (1 - y), y = b · 2^e, is a tie in its first 24 bits alone."""
    b = np.arange(2 ** (precision - 1), 2**precision)
    a = b[:: precision - 7, None]
    found = []
    for e in range(-precision - 16, -precision):
        product = a * b * (2**-e - b)
        length = np.frexp(product.astype(np.float64))[1].astype(np.int64)
        half = np.left_shift(1, length - precision - 1)
        off = np.abs(product % (2 * half) - half)
        at = np.argwhere((off != 0) & (off < np.left_shift(1, length - 24)))[:20]
        found += [(int(a[i, 0]), int(b[j]), e) for i, j in at]
    return found


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradient_of_16_bit_types_is_correctly_rounded(dtype: torch.dtype) -> None:
    grads, outputs = gradient_questions(dtype)
    got = torch.ops.torch_sigmoid_ext.sigmoid_backward(grads, outputs).double()
    expected = torch.tensor(
        [
            rounded_gradient(g, y, dtype)
            for g, y in zip(grads.double().tolist(), outputs.double().tolist(), strict=True)
        ],
        dtype=torch.float64,
    )
    same = (got == expected) & (got.signbit() == expected.signbit())
    wrong = (~same).nonzero().flatten().tolist()
    assert not wrong, (
        f"{len(wrong)} of {len(grads)} misrounded; first: grad {grads[wrong[0]].item()!r}, "
        f"y {outputs[wrong[0]].item()!r}: {expected[wrong[0]].item()!r}, "
        f"got {got[wrong[0]].item()!r}"
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_keeps_zeros_infinities_and_nan(dtype: torch.dtype) -> None:
    special = torch.tensor([math.inf, -math.inf, math.nan, 0.0, -0.0, 1.0], dtype=dtype)
    outputs = torch.cat([torch.tensor([0.0, 1.0, 0.25, math.nan]), torch.rand(500)]).to(dtype)
    grads, ys = (part.flatten() for part in torch.meshgrid(special, outputs, indexing="ij"))
    got = torch.ops.torch_sigmoid_ext.sigmoid_backward(grads, ys).double()
    plain = grads.double() * ys.double() * (1 - ys.double())
    assert torch.equal(got.isnan(), plain.isnan())
    kept = ~plain.isnan()
    zeros_and_infinities = kept & ((plain == 0) | plain.isinf())
    assert torch.equal(got[zeros_and_infinities], plain[zeros_and_infinities])
    if dtype in (torch.float32, torch.float64):
        kept &= grads != 0  # of -0, +0 may come (csrc/kernels/cpu/backward.h)
    assert torch.equal(got[kept].signbit(), plain[kept].signbit())


def test_result_does_not_depend_on_position_stride_or_threads() -> None:
    inputs = float32_of_every_binade(40)
    expected = torch_sigmoid_ext.sigmoid(inputs)
    one_by_one = torch.stack([torch_sigmoid_ext.sigmoid(x) for x in inputs[::37]])
    assert torch.equal(one_by_one, expected[::37])
    for offset in range(1, 9):
        assert torch.equal(torch_sigmoid_ext.sigmoid(inputs[offset:]), expected[offset:])
    assert torch.equal(torch_sigmoid_ext.sigmoid(inputs[::3]), expected[::3])
    assert torch.equal(torch_sigmoid_ext.sigmoid(inputs.clone().expand(3, -1))[2], expected)
    many = inputs.repeat(8)  # enough for several threads
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = torch_sigmoid_ext.sigmoid(many)
        torch.set_num_threads(4)
        assert torch.equal(torch_sigmoid_ext.sigmoid(many), alone)
    finally:
        torch.set_num_threads(threads)

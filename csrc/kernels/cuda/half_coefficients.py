"""Finds kHalfExp of half.h, with which all 65,536 inputs of both 16-bit types round right.

The kernel is run here, step by step in float32, for every input whose sigmoid lies near the middle
between two results. Starting from the polynomial that interpolates e^-r, three or four of whose
neighbours' inputs round wrong, small smooth changes are tried until none does; then every input is
checked, with every estimate of the reciprocal that a chip may give. Run as a script, it prints the
line of half.h; tests/test_cuda_host.py holds it to that.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "cpu"))

from half_table import BFloat16, Float16, Float32, correctly_rounded, filled, fma

Coefficients = list[np.float32]
Inputs = dict[type, tuple[Float32, Float32]]  # of each type, the inputs and their results

LOG2E, LN2 = np.float32(float.fromhex("0x1.715476p+0")), np.float32(float.fromhex("0x1.62e43p-1"))
DEGREE = 5
BOUND = np.log(2) / 2 * 1.0005  # of |r|
ESTIMATE_ULPS = 2  # a chip's reciprocal may be so far off
# Of half.h: the exponent of u, the least x, and how far the step aims towards 1/2.
SETTINGS = {Float16: (0, -19.0, 2.0**-23), BFloat16: (-72, -94.0, 0.0)}
HIGHEST = 12.0


def moved(values: Float32, ulps: int) -> Float32:
    return (values.view(np.int32) + np.int32(ulps)).view(np.float32)


def kernel(x: Float32, c: Coefficients, kind: type, estimate_ulps: int = 0) -> Float32:
    """sigmoid_half() of half.h, its estimate so many units in the last place off."""
    exponent, lowest, aim = SETTINGS[kind]
    unit = np.float32(2.0**exponent)
    clamped = np.clip(x, np.float32(lowest), np.float32(HIGHEST))
    shift = filled(1.5 * 2**23 + 127 + exponent, x)
    shifted = fma(clamped, filled(-LOG2E, x), shift)
    r = fma(shifted - shift, filled(LN2, x), clamped)
    p = filled(c[-1], x)
    for coefficient in c[-2::-1]:
        p = fma(p, r, filled(coefficient, x))
    scale = (shifted.view(np.int32) << 23).view(np.float32)
    d = fma(p, scale, filled(unit, x))
    estimate = moved((1 / d.astype(np.float64)).astype(np.float32), estimate_ulps)
    one = np.where(np.signbit(x), 1 + aim, 1 - aim).astype(np.float32)
    y: Float32 = fma(estimate, fma(-d, estimate, one), estimate) * unit
    return y


def wrong(inputs: Inputs, c: Coefficients, estimate_ulps: int = 0) -> int:
    with np.errstate(all="ignore"):
        return sum(
            int((kind.rounded(kernel(x, c, kind, estimate_ulps)) != expected).sum())
            for kind, (x, expected) in inputs.items()
        )


def every_input() -> Inputs:
    found = {}
    for kind in (Float16, BFloat16):
        x = kind.inputs()
        x = x[np.isfinite(x)]
        with np.errstate(all="ignore"):
            found[kind] = (x, correctly_rounded(x, kind))
    return found


def near_a_middle(inputs: Inputs) -> Inputs:
    near = {}
    for kind, (x, expected) in inputs.items():
        with np.errstate(all="ignore"):
            y = 1 / (1 + np.exp(-x.astype(np.float64)))
            exponent = np.maximum(np.frexp(y)[1] - 1, kind.min_exponent)
            units = y / np.ldexp(1.0, exponent - kind.precision + 1)
            mask = np.abs(units % 1 - 0.5) < 2.0**-18 * units
        near[kind] = (x[mask], expected[mask])
    return near


def interpolated() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Chebyshev's points, the matrix of their powers, and (e^-r - 1 + r) / r² through them."""
    count = DEGREE - 1
    points = np.cos(np.pi * (np.arange(count) + 0.5) / count) * BOUND
    matrix = np.vander(points, count, increasing=True)
    values = (np.expm1(-points) + points) / points**2
    return points, matrix, np.linalg.solve(matrix, values)


def coefficients() -> Coefficients:
    """e^-r, lowest first; 1 and -1 stay, on which the inputs near 0 hang."""
    inputs = every_input()
    near = near_a_middle(inputs)
    points, matrix, start = interpolated()
    random = np.random.default_rng(1)
    while True:
        change = random.uniform(-1, 1, DEGREE - 1) * 2.0**-23
        moved_by = np.linalg.solve(matrix, change / points**2)
        c = [np.float32(1), np.float32(-1), *(start + moved_by).astype(np.float32)]
        if wrong(near, c) == 0 and all(
            wrong(inputs, c, ulps) == 0 for ulps in range(-ESTIMATE_ULPS, ESTIMATE_ULPS + 1)
        ):
            return c


def literal(value: np.float32) -> str:
    digits, exponent = float(value).hex().split("p")
    digits = digits.rstrip("0").rstrip(".")
    return f"{digits}p{exponent}f"


if __name__ == "__main__":
    print(", ".join(literal(c) for c in coefficients()))

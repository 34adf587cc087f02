"""The truth that the operator is tested against: mpmath, at 200 bits, and nothing of our own."""

from __future__ import annotations

import functools
import math

import mpmath
import numpy as np
import torch
from hard_cases import HARD_CASES
from mpmath import mp, mpf

# dtype -> (significant bits, exponent of the smallest normal number)
FORMATS = {
    torch.float16: (11, -14),
    torch.bfloat16: (8, -126),
    torch.float32: (24, -126),
    torch.float64: (53, -1022),
}
DTYPES = list(FORMATS)


HARDEST_FLOAT32 = HARD_CASES[torch.float32]


def true_sigmoid(x: float) -> mpf:
    """σ(x) at 200 bits, for finite x."""
    with mp.workprec(200):
        return 1 / (1 + mpmath.exp(-mpf(x)))


def spacing(value: mpf, dtype: torch.dtype) -> mpf:
    """The distance between neighbouring numbers of the dtype at value > 0."""
    precision, min_exponent = FORMATS[dtype]
    exponent = max(int(mpmath.frexp(value)[1]) - 1, min_exponent)
    return mpf(2) ** (exponent - precision + 1)


def rounded(value: mpf, dtype: torch.dtype) -> float:
    """value > 0, to the nearest number of the dtype, ties to even: exact as a Python float."""
    unit = spacing(value, dtype)
    with mp.workprec(200):
        return float(mpmath.nint(value / unit) * unit)


def ulp_error(got: float, value: mpf, dtype: torch.dtype) -> float:
    """|got - value| in units of the dtype's spacing at value."""
    if not math.isfinite(got):
        return math.inf
    with mp.workprec(200):
        return float(abs(mpf(got) - value) / spacing(value, dtype))


def every_16_bit_input(dtype: torch.dtype) -> torch.Tensor:
    """All 65,536 values of float16 or bfloat16, NaNs included."""
    return torch.arange(-32768, 32768, dtype=torch.int32).to(torch.int16).view(dtype)


def float32_of_every_binade(per_binade: int, seed: int = 0) -> torch.Tensor:
    """Finite float32s of both signs: each exponent's first, last and random members."""
    generator = torch.Generator().manual_seed(seed)
    exponents = torch.arange(255, dtype=torch.int64).repeat_interleave(per_binade)
    fractions = torch.randint(0, 1 << 23, exponents.shape, generator=generator)
    fractions[::per_binade] = 0
    fractions[1::per_binade] = (1 << 23) - 1
    positive = (exponents << 23) | fractions
    return torch.cat([positive, positive | (1 << 31)]).to(torch.int32).view(torch.float32)


def float64_of_every_binade(per_binade: int, seed: int = 0) -> torch.Tensor:
    """Finite float64s of both signs, as above, for exponents from -80 up; more in the tail."""
    generator = torch.Generator().manual_seed(seed)
    exponents = torch.arange(1023 - 80, 2047, dtype=torch.int64).repeat_interleave(per_binade)
    fractions = torch.randint(0, 1 << 52, exponents.shape, generator=generator)
    fractions[::per_binade] = 0
    fractions[1::per_binade] = (1 << 52) - 1
    values = ((exponents << 52) | fractions).view(torch.float64)
    spread = torch.rand(4000, generator=generator, dtype=torch.float64) * 790 - 750
    tail = torch.rand(2000, generator=generator, dtype=torch.float64) * -40 - 706
    return torch.cat([values, -values, spread, tail])


def float32_truth(inputs: torch.Tensor) -> np.ndarray:
    """σ in numpy's long double, good to 2^-63."""
    x = inputs.numpy().astype(np.longdouble)
    with np.errstate(over="ignore", under="ignore"):
        e = np.exp(-np.abs(x))
        return np.where(x >= 0, 1, e) / (1 + e)


# Of inputs, and how near, in spacings of the results, these lie to the middle between two: near 0
# they pass tie upon tie, at a distance of x³/48.
BESIDE = (
    *((low, high, 2.0**-14) for low, high in ((-104, -87), (-88, -16), (-17, 17), (-1, 1))),
    (-(2.0**-9), 2.0**-9, 2.0**-11),
)


@functools.cache
def float32_beside_boundaries() -> list[torch.Tensor]:
    """Float32s whose σ lies beside the middle between two of them, by ranges.

    A kernel that is less sure of its rounding than it believes gets half of these wrong. Of random
    ones one in 8192 is such a one, where σ has its 24 bits.
    """
    generator = torch.Generator().manual_seed(0)
    chosen = []
    for low, high, within in BESIDE:
        inputs = torch.rand(1 << 21, generator=generator, dtype=torch.float64) * (high - low) + low
        inputs = inputs[inputs.abs() > 2**-11].float()  # below, others ask
        value = torch.sigmoid(inputs.double())  # good enough to find them
        units = value * torch.exp2(24 - torch.frexp(value).exponent.clamp(min=-125).double())
        chosen.append(inputs[(units.frac() - 0.5).abs() < within])
    return chosen

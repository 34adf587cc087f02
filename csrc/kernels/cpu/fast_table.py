"""Finds the table of sigmoid_f32_fast.h, with which its results err the least.

    python csrc/kernels/cpu/fast_table.py      # ten δ, and what bounds the errors with each

The kernel's quotient is c · 2^k / (c · 2^k + T · e^r), with r = t · ln 2 + δ - x, t = k + j/16 and
T = c · 2^(-j/16) · e^-δ. Neither c nor δ changes its value, but for the roundings:

- A rounding errs by 2^-24 of a number just above a power of two, by half as much just below. With
  c = 1 the denominator is just above one where an ULP of the quotient is least. With c = 1.5 that
  happens apart: each rounding before the last costs 0.75 ULP at most, not 1.
- c · 2^k is added to T · e^r. With as few bits as 1.5 has that is exact from k = -22 up, as long as
  the sum is in T · e^r's binade: from there on, an error less. (√2 would bring 0.75 to 0.71.)
- The entries of T are rounded too. Some δ have all sixteen of them near to a float32.
"""

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

ENTRIES = 16
FACTOR = 1.5  # c
FARTHEST = np.log(2) / (2 * ENTRIES)  # |r - δ|


def ulp(a: Float64) -> Float64:
    return np.exp2(np.floor(np.log2(a)) - 23)


def entry(j: int, offset: Float64) -> tuple[Float64, Float64]:
    """T, and what of it float32 loses, as a part of it."""
    exact = FACTOR * 2.0 ** (-j / ENTRIES) * np.exp(-offset)
    return exact, np.abs(exact.astype(np.float32) / exact - 1)


def bound(offset: float) -> float:
    """What T, T · e^r, the denominator and the quotient lose together, in ULP of the result.

    Not in it: r, and e^r's polynomial, a tenth at most.
    """
    k, r = np.meshgrid(np.arange(-150.0, 25), np.linspace(-FARTHEST, FARTHEST, 1001))
    scale = FACTOR * 2.0**k
    worst = 0.0
    for j in range(ENTRIES):
        table, lost = entry(j, np.array(offset))
        power = table * np.exp(r + offset)
        total = scale + power
        exact = np.fmod(scale, np.maximum(ulp(power), ulp(total))) == 0
        error = (ulp(power) / 2 + lost * power) / total + np.where(exact, 0, ulp(total) / 2) / total
        quotient = scale / total
        worst = max(worst, float(np.max(0.5 + error * quotient / ulp(quotient))))
    return worst


def dominant(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Those of the rows (a, b) to which no other is greater in both."""
    kept: list[NDArray[np.float64]] = []
    for point in points[np.lexsort(-points.T)]:  # by b, the greatest first
        if not kept or point[0] > kept[-1][0]:
            kept.append(point)
    return np.array(kept)


def offsets() -> list[tuple[float, float]]:
    """(ULP, δ) of the ten δ with which results far below 0 err the least; the least first.

    There the denominator is T · e^r itself, rounded once. The multiples of 2^-29 below 2^-9 are
    tried: a greater one would be paid for by e^r's polynomial.
    """
    every = np.arange(-(2.0**20), 2.0**20) / 2.0**29
    worst = np.zeros_like(every)
    r = np.linspace(-FARTHEST, FARTHEST, 1001)
    for j in range(ENTRIES):
        power = FACTOR * 2.0 ** (-j / ENTRIES) * np.exp(r)
        weight = FACTOR / power / ulp(FACTOR / power)
        lost = entry(j, every)[1]
        for rounding, loss in dominant(np.stack([ulp(power) / 2 / power * weight, weight], axis=1)):
            np.maximum(worst, 0.5 + rounding + loss * lost, out=worst)
    return [(float(worst[i]), float(every[i])) for i in np.argsort(worst)[:10]]


def best_offset() -> float:
    """Of those, the one whose results err the least anywhere."""
    return min((offset for _, offset in offsets()), key=bound)


if __name__ == "__main__":
    for far_below, offset in offsets():
        bounds = f"{far_below:.4f} ULP far below 0, {bound(offset):.4f} ULP anywhere"
        print(f"{offset.hex()}  {bounds}{', taken' if offset == best_offset() else ''}")

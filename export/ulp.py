"""What the sigmoid truly is, how far a result lies from it, and where to look.

    σ(x) = 1 / (1 + e^-x)         x >= 0      no cancellation, no overflow
         = e^x / (1 + e^x)        x <  0      keeps the tail down to the smallest subnormal
         = 1/2 + x/4 - x³/48 ...  |x| < 2^-9  kept as an exact sum, see `_near_half`

An error in ULP is |got - truth| / (spacing of the output dtype at the truth). The truth is held in
numpy's long double: 64 bits of significand on x86-64, 113 on 64-bit ARM under Linux, 53 on Windows
and macOS, where one single float32 input (-0x1.250c02p-10) is then too close to call.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .findings import Band, Deviation, Ladder, OperatorFindings, SpecialValue, Symmetry

Array = NDArray[Any]

DTYPES = ("float16", "float32", "float64")

HALF = 0.5  # what correctly rounded σ(x) + σ(-x) is off at most, see `_symmetry`

# The float32 inputs whose σ lies closest to a rounding boundary, with the relative distance.
HARDEST = (
    float.fromhex("-0x1.250c02p-10"),  # 2^-54.98, the only one that plain float64 misrounds
    float.fromhex("0x1.437902p-5"),  # 2^-53.07
    float.fromhex("-0x1.2082ep-3"),  # 2^-52.81
    float.fromhex("0x1.250c08p-9"),  # 2^-50.87
    float.fromhex("-0x1.32c9ap-1"),  # 2^-50.79
    float.fromhex("-0x1.46c7e8p-4"),  # 2^-49.81
    -(2.0**-24),  # 2^-76.6, and with the next two a family of near-ties at tiny |x|
    2.0**-23,  # 2^-73.6
    -3 * 2.0**-24,  # 2^-71.8
)


def true_sigmoid(x: Array) -> Array:
    """σ(x) in long double, to be narrowed by `rounded`.

    >>> float(true_sigmoid(np.array([0.0]))[0])
    0.5
    """
    wide = x.astype(np.longdouble)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        e = np.exp(-np.abs(wide))
        tails = np.where(wide < 0, e, np.longdouble(1)) / (1 + e)
        truth: Array = np.where(np.abs(wide) < 2.0**-9, _near_half(wide), tails)
    return truth


def _near_half(x: Array) -> Array:
    """1/2 + x/4 - x³/48 + x⁵/480 for |x| < 2^-9, rounded to odd.

    For x = -3·2^-24 the value lies 2^-72 beside the middle between two floats, and long double's
    own rounding would lose the side. The sum is therefore kept as high + low, and where low is not
    zero the last bit of high is made odd, so that the rounding to come still sees the side.
    """
    half = np.longdouble(0.5)
    linear = x / 4
    beyond = x * x * x * (x * x / np.longdouble(480) - 1 / np.longdouble(48))
    first = half + linear
    low = (linear - (first - half)) + beyond  # exact difference: Fast2Sum, as 1/2 > |x/4|
    high = first + low
    low = low - (high - first)
    scaled = np.ldexp(high, np.finfo(np.longdouble).nmant + 1)  # an integer: 1/4 < high < 1
    even = np.fmod(scaled * np.where(high < half, 2, 1), 2) == 0
    toward = np.where(low > 0, np.longdouble(1), np.longdouble(0))
    odd: Array = np.where(even & (low != 0), np.nextafter(high, toward), high)
    return odd


def rounded(truth: Array, dtype: DTypeLike) -> Array:
    """The float of ``dtype`` nearest the truth, ties to even, subnormals kept.

    Rounded here, because numpy narrows long double to float16 by way of float32: twice.
    """
    spacing = spacing_at(truth, dtype)
    with np.errstate(over="ignore"):
        nearest: Array = (np.rint(truth / spacing) * spacing).astype(dtype)
    return nearest


def spacing_at(truth: Array, dtype: DTypeLike) -> Array:
    """The spacing of the floats of ``dtype`` in the truth's binade; 1 for integers."""
    dtype = np.dtype(dtype)
    if dtype.kind != "f":
        return np.ones(truth.shape, np.longdouble)
    info = np.finfo(dtype)
    finite = np.where(np.isfinite(truth), truth, 0).astype(np.longdouble)
    _, exponent = np.frexp(finite)  # |truth| = m · 2^exponent with 1/2 <= m < 1
    exponent = np.where(finite == 0, info.minexp + 1, np.maximum(exponent, info.minexp + 1))
    spacing: Array = np.ldexp(np.longdouble(1), exponent - 1 - info.nmant)
    return spacing


def ulp_error(got: Array, truth: Array, dtype: DTypeLike) -> Array:
    """|got - truth| in spacings of ``dtype`` at the truth.

    NaN against NaN is 0, against a number infinite; an infinity against the same one is 0.
    """
    wide = got.astype(np.longdouble)
    true = truth.astype(np.longdouble)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(wide - true) / spacing_at(true, dtype)
    error = np.where(np.isnan(wide) | np.isnan(true), np.inf, error)
    same = (wide == true) | (np.isnan(wide) & np.isnan(true))
    return np.where(same, 0, error).astype(np.float64)


@dataclass(frozen=True)
class Edges:
    """Where the sigmoid of one dtype changes its nature."""

    vanish: float  # below, the correctly rounded result is 0
    subnormal: float  # below, the result is subnormal
    saturate: float  # above, the result is 1; the tail below its negative is e^x itself
    reach: float  # beyond both of these, nothing happens any more


def edges(dtype: DTypeLike) -> Edges:
    """The dtype's edges: for float32 -103.97, -87.34, 18 and 110."""
    info = np.finfo(np.dtype(dtype))
    vanish = (info.minexp - info.nmant - 1) * math.log(2)  # half the smallest subnormal
    return Edges(
        vanish=vanish,
        subnormal=info.minexp * math.log(2),
        saturate=math.ceil((info.nmant + 2) * math.log(2)),
        reach=10 * math.ceil(-vanish / 10),
    )


def sweep(dtype: DTypeLike) -> Array:
    """Finite inputs in ascending order: every binade of both signs, and the hard places.

    float16 is swept whole. For the wider types: the edges of every binade, subnormals included,
    with random significands between; a dense range past both saturations; runs of adjacent floats,
    where results move one ULP at a time; near-ties at tiny |x|; the hardest inputs known. The seed
    is fixed, so that every machine asks the same questions.
    """
    dtype = np.dtype(dtype)
    bits = np.dtype(f"u{dtype.itemsize}")
    if dtype.itemsize == 2:
        swept = np.arange(1 << 16, dtype=bits).view(dtype)
    else:
        nmant, edge = np.finfo(dtype).nmant, edges(dtype)
        magnitudes = _every_binade(dtype, inside=192 if dtype.itemsize == 4 else 24).view(dtype)
        dense = np.linspace(-edge.reach, edge.reach, 180_001).astype(dtype)
        starts = [
            np.linspace(-15, -8, 24),  # where ONNX Runtime's Sigmoid loses the order of its inputs
            np.linspace(edge.vanish, -edge.saturate, 24),
            np.linspace(-8, edge.saturate, 24),
        ]
        firsts = np.concatenate(starts).astype(dtype).view(bits)
        runs = (firsts[:, None] + np.arange(1000, dtype=bits)).ravel().view(dtype)
        ties = np.arange(-2048, 2048).astype(dtype) * dtype.type(2.0 ** -(nmant + 1))
        hardest = np.array(HARDEST, dtype)
        swept = np.concatenate([-magnitudes, magnitudes, dense, runs, ties, hardest])
    return np.unique(swept[np.isfinite(swept)])


def _every_binade(dtype: np.dtype[Any], inside: int) -> Array:
    """Bit patterns of positive floats: first, last and ``inside`` random ones of every binade."""
    info, bits = np.finfo(dtype), np.dtype(f"u{dtype.itemsize}")
    subnormal = np.left_shift(1, np.arange(info.nmant, dtype=bits), dtype=bits)
    normal = np.left_shift(np.arange(1, 2 * info.maxexp, dtype=bits), info.nmant, dtype=bits)
    first = np.concatenate([subnormal, normal])
    length = np.concatenate([subnormal, np.full_like(normal, 1 << info.nmant)])
    fractions = np.random.default_rng(2026).random((len(first), inside))
    offsets = (fractions * length[:, None]).astype(bits)
    return np.concatenate([first, first + length - 1, (first[:, None] + offsets).ravel()])


@dataclass(frozen=True)
class Probe:
    """What an operator is asked in one go."""

    special: Array
    ladder: Array  # sorted logits of rare events, as a ranking has them
    sweep: Array
    truth: Array  # of the sweep

    @staticmethod
    @functools.cache
    def of(dtype: str) -> Probe:
        """The probe for one dtype."""
        tiny = float(np.finfo(np.dtype(dtype)).smallest_subnormal)
        special = [-math.inf, math.inf, math.nan, -0.0, 0.0, -tiny, tiny]
        swept = sweep(dtype)
        return Probe(
            special=np.array(special, dtype),
            ladder=np.linspace(-18, -12, 1000).astype(dtype),
            sweep=swept,
            truth=true_sigmoid(swept),
        )

    @property
    def inputs(self) -> Array:
        """All of it in one array, so that special values share vector lanes with ordinary ones."""
        return np.concatenate([self.special, self.ladder, self.sweep])


def measure_operator(probe: Probe, outputs: Array) -> OperatorFindings:
    """What the outputs for ``probe.inputs`` are worth, against the truth."""
    head = len(probe.special)
    special, ladder, y = np.split(outputs, [head, head + len(probe.ladder)])
    x, truth, dtype = probe.sweep, probe.truth, probe.sweep.dtype
    right = rounded(truth, dtype)
    ulp = ulp_error(y, truth, dtype)
    zero = (y == 0) & (right != 0)
    drop = np.maximum(y[:-1].astype(np.longdouble) - y[1:], 0)

    def worst(error: Array, among: Array | bool = True) -> Deviation | None:
        error = np.where(among, error, 0)
        i = int(error.argmax())
        if error[i] == 0:
            return None
        return Deviation(float(x[i]), float(right[i]), float(y[i]), float(ulp[i]))

    def band(low: float, high: float) -> Band:
        inside = (x >= low) & ((x < high) | (high == math.inf))
        return Band(
            name=f"{low:.5g} .. {high:.5g}",
            low=low,
            high=high,
            points=int(inside.sum()),
            differing=int((y != right)[inside].sum()),
            max_ulp=float(ulp[inside].max()),
            premature_zeros=int(zero[inside].sum()),
            worst=worst(ulp, inside),
            worst_kept=worst(ulp, inside & ~zero),
        )

    edge = edges(dtype)
    middle = (-edge.saturate, -1, 1, edge.saturate)
    limits = (-math.inf, edge.vanish, edge.subnormal, *middle, math.inf)
    return OperatorFindings(
        dtype=dtype.name,
        points=len(x),
        differing=int((y != right).sum()),
        max_ulp=float(ulp.max()),
        worst=worst(ulp),
        bands=[band(low, high) for low, high in itertools.pairwise(limits)],
        special_values=_special_values(probe.special, special),
        out_of_range=int(((y < 0) | (y > 1)).sum()),
        largest_result=float(np.fmax.reduce(y)),
        premature_zeros=int(zero.sum()),
        zero_band=(float(x[zero][0]), float(x[zero][-1])) if zero.any() else None,
        worst_zero=worst(right, zero),
        decreasing_pairs=int((drop > 0).sum()),
        largest_drop_ulp=float(np.max(drop / spacing_at(truth[:-1], dtype))),
        ladder=_ladder(probe.ladder, ladder),
        curve=_curve(x, ulp, edge.reach),
        worst_absolute=worst(np.nan_to_num(np.abs(y - truth), nan=np.inf)),
        symmetry=_symmetry(x, y, right),
    )


def _symmetry(x: Array, y: Array, right: Array) -> Symmetry | None:
    """How far σ(x) + σ(-x) is from 1, in spacings u of the floats in [1/2, 1).

    Correctly rounded it is never off by more than u/2. Let x >= 0 and v = 2^-k u the spacing at
    σ(-x), k >= 1: the two roundings come to at most u/2 + v/2, and the sum is a multiple of v, of
    which u/2 is one and the next is past that.
    """
    at = np.searchsorted(x, -x)  # x ascends
    paired = (x >= 0) & (x[np.minimum(at, len(x) - 1)] == -x)
    positive, negative = np.flatnonzero(paired), at[paired]
    if not len(positive):
        return None
    spacing = float(np.finfo(x.dtype).epsneg)

    def off(results: Array) -> Array:
        wide = results.astype(np.longdouble)
        defect: Array = np.abs((wide[positive] - 1) + wide[negative]) / spacing
        return np.where(np.isnan(defect), np.inf, defect).astype(np.float64)

    ulp, due = off(y), off(right)
    bound = max(HALF, float(due.max()))  # float64's truth has eleven bits to spare, not all of them
    i = int(ulp.argmax())
    worst = None
    if ulp[i] > bound:
        high, low = float(y[positive[i]]), float(y[negative[i]])
        where = f"σ(x) = {high:.9g}, σ(-x) = {low:.9g}"
        worst = Deviation(float(x[positive[i]]), 1.0, high + low, float(ulp[i]), where)
    return Symmetry(
        pairs=len(ulp),
        differing=int((ulp > bound).sum()),
        max_ulp=float(ulp[i]),
        correctly_rounded_ulp=float(due.max()),
        worst=worst,
    )


def _special_values(x: Array, y: Array) -> list[SpecialValue]:
    """What ±inf, NaN, ±0 and the smallest subnormals gave: 0, 1, NaN and four times 1/2."""
    expected = rounded(true_sigmoid(x), x.dtype)
    return [
        SpecialValue(float(i), float(e), float(g), bool(e == g or (e != e and g != g)))
        for i, e, g in zip(x, expected, y, strict=True)
    ]


def _ladder(x: Array, y: Array) -> Ladder:
    right = rounded(true_sigmoid(x), x.dtype)
    return Ladder(
        rungs=len(x),
        inversions=int((y[1:] < y[:-1]).sum()),
        ties=int(((y[1:] == y[:-1]) & (right[1:] != right[:-1])).sum()),
        infinite_log_losses=int((y == 0).sum()),
    )


def _curve(x: Array, ulp: Array, reach: float, bins: int = 440) -> list[tuple[float, float]]:
    """The largest error in each of ``bins`` equal parts of [-reach, reach], by middles."""
    limits = np.linspace(-reach, reach, bins + 1)
    at = np.searchsorted(x, limits)
    return [
        (float(middle), float(ulp[first:last].max()))
        for middle, first, last in zip((limits[:-1] + limits[1:]) / 2, at[:-1], at[1:], strict=True)
        if last > first
    ]

"""Derives the tables of sigmoid_half_vector.h, with which all 65,536 inputs of a type round right.

The kernel is run here, step by step in float32, for every input. Its result is known to about
2^-22 of the value, and a few inputs have their sigmoid nearer than that to the middle between two
numbers of the type; where one falls on the wrong side, the table's entry that it uses is moved by
a few units in the last place, as few as serve every input of both types that uses the entry.
Every operation is one of IEEE 754, so what holds here holds on every CPU; tests/test_kernels.py
and tests/test_accuracy.py check the kernels themselves against mpmath.
"""

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Integers = NDArray[np.int64]

# As in sigmoid_half_vector.h.
LOWEST, HIGHEST = np.float32(-92.88), np.float32(80)
UNIT_EXPONENT = -6
UNIT = np.float32(2.0**UNIT_EXPONENT)


def fma(a: Float32, b: Float32, c: Float32) -> Float32:
    """a · b + c in float32, rounded once.

    The product is exact in float64. The sum there is rounded to odd: whatever is lost shows in its
    last bit, so that rounding it again, to float32, cannot err.
    """
    product = a.astype(np.float64) * b.astype(np.float64)
    total = product + c
    of_c = total - product
    lost = (product - (total - of_c)) + (c - of_c)
    bits = total.view(np.int64)
    step = np.where((lost > 0) == (total > 0), 1, -1)
    bits = np.where((lost != 0) & (bits % 2 == 0) & np.isfinite(total), bits + step, bits)
    return bits.view(np.float64).astype(np.float32)


def filled(value: float, like: Float32) -> Float32:
    return np.full_like(like, value)


class Float16:
    precision, min_exponent = 11, -14

    @staticmethod
    def inputs() -> Float32:
        return np.arange(65536).astype(np.uint16).view(np.float16).astype(np.float32)

    @staticmethod
    def numerator(x: Float32) -> Float32:
        """One unit in the last place towards a result of 1/2."""
        down, up = np.nextafter(UNIT, np.float32(0)), np.nextafter(UNIT, np.float32(1))
        return np.where(np.signbit(x), up, down)

    @staticmethod
    def rounded(y: Float32) -> Float32:
        return y.astype(np.float16).astype(np.float32)


class BFloat16:
    precision, min_exponent = 8, -126

    @staticmethod
    def inputs() -> Float32:
        return (np.arange(65536, dtype=np.uint32) << 16).view(np.float32)

    @staticmethod
    def numerator(x: Float32) -> Float32:
        return filled(UNIT, x)

    @staticmethod
    def rounded(y: Float32) -> Float32:
        return ((y.view(np.uint32) + 0x8000) & 0xFFFF0000).view(np.float32)


def correctly_rounded(x: Float32, kind: type[Float16 | BFloat16]) -> Float32:
    """σ(x) from float64, whose error of 2^-52 is far below the nearest middle's 2^-34.6."""
    truth = 1 / (1 + np.exp(-x.astype(np.float64)))
    exponent = np.maximum(np.frexp(truth)[1] - 1, kind.min_exponent)
    unit = np.ldexp(1.0, exponent - kind.precision + 1)
    return (np.rint(truth / unit) * unit).astype(np.float32)


def nudges(table: Float32, coefficients: Float32, log2e: np.float32, ln2: np.float32) -> list[int]:
    """By how many units in the last place each entry 2^(j/n) is to be moved."""
    entries = len(table)
    offsets = sorted(range(-16, 17), key=abs)
    right = np.ones((len(offsets), entries), dtype=bool)
    for kind in (Float16, BFloat16):
        x = kind.inputs()
        x = x[np.isfinite(x)]
        with np.errstate(over="ignore", under="ignore"):
            expected = correctly_rounded(x, kind)
            clamped = np.clip(x, LOWEST, HIGHEST)
            shift = filled(1.5 * 2**23 / entries, x)
            t = fma(clamped, filled(-log2e, x), shift) - shift
            r = fma(t, filled(ln2, x), clamped)
            p = filled(coefficients[-1], x)
            for c in coefficients[-2::-1]:
                p = fma(p, r, filled(c, x))
            step = np.rint(t * entries).astype(np.int64)
            j, k = step % entries, step // entries
            for row, offset in enumerate(offsets):
                nudged = (table.view(np.int32) + np.int32(offset)).view(np.float32)
                power = np.ldexp(nudged[j], k + UNIT_EXPONENT)
                y = kind.rounded(kind.numerator(x) / fma(power, p, filled(UNIT, x)))
                right[row, j[y != expected]] = False
    if not right.any(axis=0).all():
        raise ValueError(f"no offset serves entries {np.flatnonzero(~right.any(axis=0)).tolist()}")
    return [offsets[int(row)] for row in right.argmax(axis=0)]

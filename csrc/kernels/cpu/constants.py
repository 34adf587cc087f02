"""Derives constants.h, the numbers of the CPU kernels, and prints it.

    python csrc/kernels/cpu/constants.py > csrc/kernels/cpu/constants.h

Everything is computed with mpmath at 200 bits and rounded once; a test re-derives the file.
"""

from collections.abc import Callable

import mpmath
import numpy as np
from fast_table import ENTRIES, FACTOR, best_offset
from half_table import nudges
from mpmath import mp, mpf


def to_bits(value: mpf, bits: int) -> mpf:
    """The value rounded to so many significant bits."""
    mantissa, exponent = mpmath.frexp(value)
    return mpmath.ldexp(mpmath.nint(mpmath.ldexp(mantissa, bits)), exponent - bits)


def literal(value: mpf) -> str:
    return float(value).hex()


def split(value: mpf, bits: int) -> tuple[mpf, mpf]:
    """A high part of so many bits, so that a small integer times it is exact, and the rest."""
    high = to_bits(value, bits)
    return high, value - high


def interpolate(function: Callable[[mpf], mpf], bound: mpf, degree: int) -> list[mpf]:
    """The polynomial through the function at the Chebyshev nodes of [-bound, bound], lowest first.

    Its largest error there is within a small factor of the best polynomial's of that degree.
    """
    count = degree + 1
    nodes = [bound * mpmath.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in range(count)]
    vandermonde = mpmath.matrix([[node**power for power in range(count)] for node in nodes])
    values = mpmath.matrix([function(node) for node in nodes])
    return list(mpmath.lu_solve(vandermonde, values))


def exp_remainder(r: mpf) -> mpf:
    """(e^r - 1 - r) / r², by its series: the closed form cancels near 0."""
    return mpmath.nsum(lambda n: r**n / mpmath.factorial(n + 2), [0, 40])


def sin_remainder(v: mpf) -> mpf:
    """(sin r - r) / r³ as a function of v = r²."""
    return mpmath.nsum(lambda n: -((-v) ** n) / mpmath.factorial(2 * n + 3), [0, 40])


def cos_remainder(v: mpf) -> mpf:
    """(cos r - 1 + r²/2) / r⁴ as a function of v = r²."""
    return mpmath.nsum(lambda n: (-v) ** n / mpmath.factorial(2 * n + 4), [0, 40])


def circle_constants() -> list[str]:
    high, rest = split(mp.pi / 2, 41)  # |n| <= 2608 < 2^12: n · high has at most 53 bits
    middle, low = split(rest, 41)
    bound = (mp.pi / 4) ** 2
    return [
        scalar("kTwoByPi", 2 / mp.pi, "2 / π"),
        scalar("kHalfPiHigh", high, "π / 2 in 41 bits"),
        scalar("kHalfPiMiddle", middle, "π / 2 - kHalfPiHigh in 41 bits"),
        scalar("kHalfPiLow", low, "π / 2 - kHalfPiHigh - kHalfPiMiddle"),
        "",
        *array(
            "kSinCoefficients",
            interpolate(sin_remainder, bound, 6),
            "sin r = r + r³ · p(r²) on |r| <= π / 4: p, lowest first.",
        ),
        *array(
            "kCosCoefficients",
            interpolate(cos_remainder, bound, 6),
            "cos r = 1 - r² / 2 + r⁴ · p(r²) on |r| <= π / 4: p, lowest first.",
        ),
    ]


def to_float32(value: mpf) -> mpf:
    return to_bits(value, 24)


def float_list(values: list[mpf]) -> str:
    return "{" + ", ".join(literal(value) + "f" for value in values) + "}"


def float_scalar(name: str, value: mpf, meaning: str) -> str:
    return f"inline constexpr float {name} = {literal(value)}f;  // {meaning}"


def exp2_float(entries: int, degree: int) -> list[str]:
    """2^(±j/entries) in float32 with what it lacks, and the polynomial for the rest of e^r."""

    def tabulate(step: mpf) -> tuple[list[mpf], list[mpf]]:
        exact = [mpf(2) ** (step * j) for j in range(entries)]
        table = [to_float32(value) for value in exact]
        return table, [to_float32(e / near - 1) for e, near in zip(exact, table, strict=True)]

    table, errors = tabulate(mpf(-1) / entries)
    powers, power_errors = tabulate(mpf(1) / entries)
    bound = mpmath.ln(2) / (2 * entries)
    up = 26 + entries.bit_length() - 1  # binades; sigmoid_f32_vector.h says why
    coefficients = [to_float32(c) for c in interpolate(exp_remainder, bound, degree)]
    return [
        f"// |r| <= ln 2 / {2 * entries}",
        f"alignas(64) KERNEL_ARRAY Exp2Float<{entries}, {degree + 1}> kExp2Float{entries} = {{",
        f"    {float_list([value * 2**up for value in table])},",
        f"    {float_list(errors)},",
        f"    {float_list(powers)},",
        f"    {float_list(power_errors)},",
        f"    {float_list(coefficients)}}};",
        "",
    ]


def float_constants() -> list[str]:
    """Those of the compensated float32 kernel, sigmoid_f32_vector.h."""
    ln2 = mpmath.ln(2)
    high = to_float32(ln2)
    hardest = mpf(float.fromhex("-0x1.250c02p-10"))
    return [
        "// What the double core cannot decide; the reasons stand in sigmoid_f32.h.",
        float_scalar(
            "kNearZero", mpf(2) ** -11, "|x| below it: 1/2 + x · a slope a hair under 1/4"
        ),
        float_scalar("kHardestInput", hardest, "2^-54.98 beside a boundary"),
        float_scalar("kHardestOutput", to_float32(1 / (1 + mpmath.exp(-hardest))), "its sigmoid"),
        "",
        float_scalar("kLog2EFloat", to_float32(1 / ln2), "log2 e"),
        float_scalar("kLn2HighFloat", high, "ln 2"),
        float_scalar("kLn2LowFloat", to_float32(ln2 - high), "ln 2 - kLn2HighFloat"),
        "",
        "// e^r · 2^(-j/entries) in float32, for the vector kernels.",
        "template <int kEntries, int kTerms>",
        "struct Exp2Float {",
        "  float table[kEntries];       // 2^(26 + log2(entries) - j/entries)",
        "  float errors[kEntries];      // 2^(-j/entries) / its float32 - 1",
        "  float powers[kEntries];      // 2^(j/entries)",
        "  float power_errors[kEntries];",
        "  float coefficients[kTerms];  // e^r = 1 + r + r² · q(r): q, lowest first",
        "};",
        "",
        *exp2_float(32, 2),
        *exp2_float(16, 3),
        *fast_exp2(),
    ]


def fast_exp2() -> list[str]:
    """T, δ and the polynomial for the rest of e^r, of sigmoid_f32_fast.h."""
    n = ENTRIES
    offset = mpf(best_offset())
    up = 26 + n.bit_length() - 1
    table = [FACTOR * mpf(2) ** (up - mpf(j) / n) * mpmath.exp(-offset) for j in range(n)]
    bound = mpmath.ln(2) / (2 * n) + abs(offset)
    return [
        "// The same for fast=True; fast_table.py says why a factor and an offset, and finds them.",
        float_scalar("kFastFactor", mpf(FACTOR), "c"),
        float_scalar("kFastOffset", offset, "δ"),
        f"alignas(64) KERNEL_ARRAY float kFastExp2[{n}] =  // c · 2^({up} - j/{n}) · e^-δ",
        f"    {float_list([to_float32(value) for value in table])};",
        f"KERNEL_ARRAY float kFastCoefficients[2] =  // on |r| <= ln 2 / {2 * n} + |δ|",
        f"    {float_list([to_float32(c) for c in interpolate(exp_remainder, bound, 1)])};",
        "",
    ]


def half_exp2(entries: int, degree: int) -> list[str]:
    """2^(j/entries) in float32, moved as half_table.py finds, and the series of e^-r."""
    table = [to_float32(mpf(2) ** (mpf(j) / entries)) for j in range(entries)]
    signed = [to_float32((-1) ** n / mpmath.factorial(n)) for n in range(degree + 1)]
    moved = nudges(
        np.array([float(value) for value in table], dtype=np.float32),
        np.array([float(c) for c in signed], dtype=np.float32),
        np.float32(to_float32(1 / mpmath.ln(2))),
        np.float32(to_float32(mpmath.ln(2))),
    )
    bits = 23 - (entries.bit_length() - 1)
    patterns = [
        int(np.float32(value).view(np.int32)) + offset - (j << bits)
        for j, (value, offset) in enumerate(zip(table, moved, strict=True))
    ]
    comment = ", ".join(f"{j} by {offset:+d}" for j, offset in enumerate(moved) if offset)
    return [
        f"// |r| <= ln 2 / {2 * entries}; moved, in units in the last place: {comment}",
        f"alignas(64) KERNEL_ARRAY HalfExp2<{entries}, {degree + 1}> kHalfExp2By{entries} = {{",
        "    {" + ", ".join(f"0x{pattern:08x}" for pattern in patterns) + "},",
        f"    {float_list(signed)}}};",
        "",
    ]


def half_constants() -> list[str]:
    """Those of the 16-bit types' kernel, sigmoid_half_vector.h."""
    return [
        "// e^-x for the 16-bit types' vector kernels; half_table.py says how it is found.",
        "template <int kEntries, int kTerms>",
        "struct HalfExp2 {",
        "  std::int32_t table[kEntries];  // bits of 2^(j/entries), moved, less j · 2^23 / entries",
        "  float coefficients[kTerms];    // e^-r, lowest first",
        "};",
        "",
        *half_exp2(8, 3),
        *half_exp2(16, 2),
    ]


def array(name: str, values: list[mpf], meaning: str) -> list[str]:
    lines = [f"// {meaning}", f"alignas(64) KERNEL_ARRAY double {name}[{len(values)}] = {{"]
    lines += [f"    {literal(v)},  // {mpmath.nstr(v, 17)}" for v in values]
    return [*lines, "};", ""]


def scalar(name: str, value: mpf, meaning: str) -> str:
    return f"inline constexpr double {name} = {literal(value)};  // {meaning}"


def constants() -> str:
    mp.prec = 200
    ln2 = mpmath.ln(2)
    ln2_high, ln2_low = split(ln2, 41)  # |t| <= 159 < 2^8: t · high has at most 49 bits
    by16_high, by16_low = split(ln2 / 16, 37)  # |t| <= 17219 < 2^15: at most 52 bits
    table = []
    for j in range(16):
        value = mpf(2) ** (mpf(-j) / 16)
        near = to_bits(value, 53)
        table.append((near, value / near - 1))
    lines = [
        "// Written by constants.py; do not edit.",
        "// clang-format off",
        "#pragma once",
        "",
        "#include <cstdint>",
        "",
        '#include "../portable.h"',
        "",
        "namespace torch_sigmoid_ext::kernels::cpu {",
        "",
        "// Adding it rounds a double of magnitude below 2^51 to an integer, to nearest even,",
        "// and leaves that integer in the low bits of the sum.",
        scalar("kRoundToInteger", mpf(3) * 2**51, "1.5 · 2^52"),
        "",
        scalar("kLog2E", 1 / ln2, "log2 e"),
        scalar("kLn2High", ln2_high, "ln 2 in 41 bits"),
        scalar("kLn2Low", ln2_low, "ln 2 - kLn2High"),
        "",
        scalar("kLog2ETimes16", 16 / ln2, "16 log2 e"),
        scalar("kLn2By16High", by16_high, "ln 2 / 16 in 37 bits"),
        scalar("kLn2By16Low", by16_low, "ln 2 / 16 - kLn2By16High"),
        "",
        *array(
            "kExpCoefficients",
            interpolate(exp_remainder, ln2 / 2, 9),
            "e^r = 1 + r + r² · q(r) on |r| <= ln 2 / 2: q, lowest first.",
        ),
        *array(
            "kExpm1Coefficients",
            interpolate(exp_remainder, ln2 / 32, 5),
            "e^r = 1 + r + r² · q(r) on |r| <= ln 2 / 32: q, lowest first.",
        ),
        *array("kExp2Double", [near for near, _ in table], "2^(-j/16)."),
        *array("kExp2DoubleErrors", [lack for _, lack in table], "2^(-j/16) / kExp2Double[j] - 1."),
        *circle_constants(),
        *float_constants(),
        *half_constants(),
        "}  // namespace torch_sigmoid_ext::kernels::cpu",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(constants())

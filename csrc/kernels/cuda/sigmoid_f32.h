// σ(x) = 1 / (1 + e^-x), float32, correctly rounded, by two methods that give the same bits.
//
// In double, where the chip does float64 at half the rate of float32:
//
//   n = round(x · 16 log2 e)                 n = 16 k + j
//   r = n · ln 2 / 16 - x                    |r| <= ln 2 / 32; exact in its high part
//   d = 1 + W · e^r,  W = 2^(-n/16)          a table's entry, moved by k in its exponent
//   y = 1 / d                                an estimate and one step of third order
//
//   e^r's polynomial of degree 7, and r      2^-57         W's rounding      2^-54
//   e^r, d and y rounded                     2^-53 each    the step, e³      2^-54, were e at 2^-18
//
// in all about 2^-51, four units in the last place of y at most; kDoubt is four times that. A y so near to the
// middle of two float32 is in doubt: 500 of all 2^32. 15 operations of float64, as against 40 for the CPU's
// core and its division.
//
// In pairs of float32, where float64 runs at 1/32 or 1/64: the steps of ../cpu/sigmoid_f32_vector.h for its
// whole range, which tells how they are derived, with 32 entries. One usual input in a thousand is in doubt.
//
// What is in doubt goes to the CPU's portable core, which is right for every float32. Subnormal results are
// rounded on their own grid; none of them lies near enough to a middle there to be in doubt.
// x is clamped to where σ is 0 or 1 already. Limits: σ(-inf) = 0, σ(inf) = 1, σ(NaN) = NaN.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "../cpu/exp2_index.h"
#include "../cpu/sigmoid_f32.h"
#include "lane.h"

namespace torch_sigmoid_ext::kernels::cuda {

struct Exp2ByIndex {
  std::uint64_t bits[16];  // of 2^(-j/16), with j where n << 48 puts it
};

constexpr Exp2ByIndex exp2_by_index() {
  Exp2ByIndex table{};
  for (std::uint64_t j = 0; j < 16; ++j) {
    table.bits[j] = std::bit_cast<std::uint64_t>(cpu::kExp2Double[j]) + (j << 48);
  }
  return table;
}

alignas(128) KERNEL_ARRAY Exp2ByIndex kExp2ByIndex = exp2_by_index();

// A result, and whether its rounding is uncertain.
struct Rounded {
  float value;
  bool doubt;
};

struct InDouble {
  static constexpr std::uint32_t kDoubt = 16;  // units in the last place of a double

  KERNEL_INLINE static Rounded sigmoid(float input) {
    const double x = FloatLane::clamp(input, cpu::kFloat32Zero, cpu::kFloat32One);
    const double shifted = ::fma(x, cpu::kLog2ETimes16, cpu::kRoundToInteger);
    const double n = shifted - cpu::kRoundToInteger;
    const std::uint64_t index = std::bit_cast<std::uint64_t>(shifted);
    const double power = std::bit_cast<double>(kExp2ByIndex.bits[index & 15] - (index << 48));
    const double r = ::fma(n, cpu::kLn2By16Low, ::fma(n, cpu::kLn2By16High, -x));

    const auto& c = cpu::kExpm1Coefficients;
    double q = c[5];
    for (int i = 4; i >= 0; --i) q = ::fma(q, r, c[i]);
    const double exp_r = ::fma(::fma(q, r, 1.0), r, 1.0);

    const double d = ::fma(power, exp_r, 1.0);
    const double estimate = reciprocal_estimate(d);
    const double e = ::fma(-d, estimate, 1.0);
    const double y = ::fma(estimate, ::fma(e, e, e), estimate);

    // float32 drops 29 bits of a double's fraction; their middle is 2^28.
    const auto dropped = static_cast<std::uint32_t>(std::bit_cast<std::uint64_t>(y));
    const std::uint32_t above = (dropped - ((1u << 28) - kDoubt)) & ((1u << 29) - 1);
    return {static_cast<float>(y), above <= 2 * kDoubt};
  }
};

struct InPairs {
  static constexpr float kEpsilon = 0x1.8p-35f;  // 2^-34.42

  KERNEL_INLINE static Rounded sigmoid(float input) {
    using V = FloatLane;
    using Index = cpu::Exp2Index<V, 32>;
    const float x = V::clamp(input, cpu::kFloat32Zero, cpu::kFloat32One);
    const float shifted = Index::shift(x);
    const std::uint32_t index = V::bits(shifted);
    const float t = shifted - Index::kShift;
    const float r = ::fmaf(t, cpu::kLn2HighFloat, -x);
    const float table = V::lookup(cpu::kExp2Float32.table, index);
    const float shift = ::fmaf(t, cpu::kLn2LowFloat, V::lookup(cpu::kExp2Float32.errors, index));
    const float scale = Index::scale(index);

    const auto& c = cpu::kExp2Float32.coefficients;
    const float q = ::fmaf(::fmaf(c[2], r, c[1]), r, c[0]);
    const float z = ::fmaf(r, ::fmaf(r, ::fmaf(q, shift, q), shift), shift);

    const float sum = scale + table;
    const float high = ::fmaf(table, r, sum);
    const float lost = V::min(scale, table) - (sum - V::max(scale, table));  // exact
    const float low = ::fmaf(table, z, ::fmaf(table, r, sum - high) + lost);

    const float y = reciprocal_estimate(high);
    const float error = ::fmaf(-y, low, ::fmaf(-y, high, 1.0f));
    const float e = ::fmaf(error, error, error);

    const bool tiny = x < cpu::kFloat32Tiny;
    const std::uint32_t grid = tiny ? (128u << 23) - V::bits(scale) : 0;
    const float slack = V::as_float(tiny ? grid - (47u << 23) : 0);
    const float coarse = V::as_float(grid) + y;
    const float rest = y - (coarse - V::as_float(grid));  // exact
    const float above = coarse + (::fmaf(y, e + kEpsilon, rest) + slack);
    const float below = coarse + (::fmaf(y, e - kEpsilon, rest) - slack);
    const std::uint32_t move = tiny ? grid : (127u << 23) - V::bits(scale);
    return {V::where_nan(input, V::as_float(V::bits(above) - move)),
            V::bits(above) != V::bits(below) && input == input};
  }
};

}  // namespace torch_sigmoid_ext::kernels::cuda

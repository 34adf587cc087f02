// σ(x) = 1 / (1 + e^-x), float16 and bfloat16, correctly rounded, over vectors of float32.
//
//   t = round(-x · log2 e · n) / n           t = k + j/n; n = 8 or 16, as the adapter looks up best
//   r = x + t · ln 2                         |r| <= ln 2 / 2n
//   σ = u / (u + 2^(k-6) · T · e^-r),  T = 2^(j/n),  u = 2^-6          no branch on the sign of x
//
// u keeps the denominator below 2^128 down to where both types' results are 0. x is clamped to where σ
// rounds to 0 and 1 in both types; NaN passes. bfloat16's lower limit is -134 ln 2, where 2^(k-6) is
// infinite and the quotient 0: one that is subnormal in float32 takes the divider twice as long.
//
// float32 knows σ here to about 2^-22 of itself, and a few of the 65,536 inputs of each type have their σ
// nearer to the middle between two results. They fall on the right side because
//   u       in float16 is one unit in the last place off, towards 1/2: there σ = 1/2 + x/4 - x³/48 ... lies
//           beside a middle whenever 1/2 + x/4 is one, as near as 2^-34.6 of itself
//   T       has entries that are a few units in the last place off: float16's hardest other input is
//           -0x1.4fcp-3 (2^-26.7), bfloat16's 0x1.d2p-3 (2^-24.4)
// half_table.py finds the entries by taking every input of both types through these steps. The steps are
// operations of IEEE 754 alone, no estimates: what it finds holds on every CPU.
#pragma once

#include <bit>
#include <cstdint>

#include "constants.h"

namespace torch_sigmoid_ext::kernels::cpu {

struct Float16Sigmoid {
  static constexpr float kLowest = -19.0f;            // below it results are 0
  static constexpr float kPositive = 0x1.fffffep-7f;  // u for x >= 0
  static constexpr float kNegative = 0x1.000002p-6f;  // u for x < 0
};

struct BFloat16Sigmoid {
  static constexpr float kLowest = -92.88f;
  static constexpr float kPositive = 0x1p-6f;
  static constexpr float kNegative = 0x1p-6f;
};

// Io widens 2 · V::kLanes numbers of a 16-bit type to two vectors of float32, and narrows them again; it
// need not care for ties, of which there are none.
template <class V, class Io, class Type>
struct SigmoidHalf {
  static constexpr int kBlock = 4 * V::kLanes;
  static constexpr bool kInterleaved = true;

  // `output` may be `input`.
  VECTOR_INLINE static void block(const std::uint16_t* input, std::uint16_t* output) {
    for (int half = 0; half < kBlock; half += kBlock / 2) {
      Float x[2];
      Io::load(input + half, x);
      for (int v = 0; v < 2; ++v) x[v] = sigmoid(x[v]);
      Io::store_untied(output + half, x);
    }
  }

 private:
  using Float = typename V::Float;
  using Int = typename V::Int;

  static constexpr float kUnit = 0x1p-6f;
  static constexpr int kEntries = sizeof(V::kHalfExp2.table) / sizeof(std::int32_t);
  // The bits of kShift + t end in n · (t - 6); shifted left by kIndexShift, its exponent field is k - 6.
  static constexpr float kShift = 1.5f * (1 << 23) / kEntries - 6.0f;
  static constexpr int kIndexShift = 23 - std::countr_zero(static_cast<unsigned>(kEntries));

  VECTOR_INLINE static Float sigmoid(Float input) {
    const Float x = V::clamp(input, Type::kLowest, 80.0f);
    const Float shifted = V::fnmadd(x, V::set(kLog2EFloat), V::set(kShift));
    const Float t = V::sub(shifted, V::set(kShift));
    const Float r = V::fmadd(t, V::set(kLn2HighFloat), x);
    const Int index = V::bits(shifted);
    // Shifted, the index adds k - 6 to the exponent, and j to the fraction, from which the table has it
    // subtracted.
    const Float power = V::as_float(
        V::add(V::lookup(V::kHalfExp2.table, index), V::template shift_left<kIndexShift>(index)));

    constexpr int kTerms = sizeof(V::kHalfExp2.coefficients) / sizeof(float);
    Float p = V::set(V::kHalfExp2.coefficients[kTerms - 1]);
    for (int i = kTerms - 2; i >= 0; --i) p = V::fmadd(p, r, V::set(V::kHalfExp2.coefficients[i]));
    return V::div(numerator(x), V::fmadd(power, p, V::set(kUnit)));
  }

  VECTOR_INLINE static Float numerator(Float x) {
    if constexpr (Type::kPositive == Type::kNegative) {
      return V::set(Type::kPositive);
    } else {
      return V::where_negative(x, V::set(Type::kNegative), V::set(Type::kPositive));
    }
  }
};

}  // namespace torch_sigmoid_ext::kernels::cpu

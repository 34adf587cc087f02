// σ(x) = 1 / (1 + e^-x), float64, error at most 0.51 ULP, over a vector of double or one alone.
//
//   t = round(x · 32 · log2 e),  t = 32 k + j
//   r = t · ln 2 / 32 - x                       |r| <= ln 2 / 64; exact in its high part
//   e^-x = 2^-k · T · e^r,  T = 2^(-j/32)       from a table, high and low part
//   σ = 2^k · q,  q = 1 / (2^k + T · e^r)       no branch on the sign of x
//
// The denominator is kept as a sum of two doubles, and the quotient corrected by its residual, so q's
// one rounding is the only one of weight; the rest adds less than 2^-7 ULP.
// Not every result is correctly rounded, so that its bits hang on each operation: every instruction set
// runs these, in this order, and fuses where fma stands and nowhere else.
// Limits: σ(-inf) = 0, σ(inf) = 1, σ(NaN) = NaN. Results are 1 from x = 37.4299 up. Subnormal results
// (x < -708.3964) are rounded once, on their own grid; the last is at x = -745.1332, below is 0.
#pragma once

#include <cmath>

#include "constants.h"

namespace torch_sigmoid_ext::kernels::cpu {

inline constexpr double kFloat64Normal = -708.0;  // from here up results are normal

template <class V>
class SigmoidFloat64 {
  using Double = typename V::Double;

 public:
  // For -708 <= x and NaN; clamps at 40.
  VECTOR_INLINE static Double normal(Double x) {
    const Index index = look_up(V::min(V::set_double(40.0), x));  // NaN, the second, passes
    const Double power = V::exponent_field_above_index(index.shifted);
    const Quotient q = divide(index, power);
    return V::mul(V::add(q.value, q.correction), power);
  }

  struct Index {
    Double x, shifted, t;  // the low bits of `shifted` are t + 32 · 1023
  };

  VECTOR_INLINE static Index look_up(Double x) {
    // 1.5 · 2^52 rounds to an integer; 1023 · 32 puts k's exponent field above the five bits of j.
    const Double shift = V::set_double(0x1.8p52 + 1023.0 * 32.0);
    const Double shifted = V::add(V::mul(x, V::set_double(kLog2ETimes32)), shift);
    return {x, shifted, V::sub(shifted, shift)};
  }

  struct Quotient {
    Double value, correction;  // q, as a sum
  };

  // `power` is 2^k, or 0 where that is beyond the last bit of the denominator.
  VECTOR_INLINE static Quotient divide(const Index& index, Double power) {
    const auto& [x, shifted, t] = index;
    const Double table = V::lookup(kExp2High, shifted);
    const Double table_low = V::lookup(kExp2Low, shifted);
    const Double r_high = V::sub(V::mul(t, V::set_double(kLn2By32High)), x);  // exact
    const Double r_low = V::mul(t, V::set_double(kLn2By32Low));

    // e^r - 1 = r + r² · q(r), the second term too small for its rounding to count.
    const auto& c = kExpm1Coefficients;
    const Double r = V::add(r_high, r_low);
    Double q = V::set_double(c[5]);
    for (int i = 4; i >= 0; --i) q = V::add(V::mul(q, r), V::set_double(c[i]));
    const Double expm1_low = V::add(V::mul(V::mul(r, r), q), r_low);

    // Denominator 2^k + T + T · r + ..., each sum with what it lost.
    const Double product = V::mul(table, r_high);
    const Double product_low = V::fmsub(table, r_high, product);
    const Sum first = two_sum(power, table);
    const Sum second = two_sum(first.high, product);
    const Double small = V::add(V::mul(table, expm1_low), table_low);
    const Double rest = V::add(V::add(first.low, second.low), V::add(product_low, small));
    const Double high = V::add(second.high, rest);
    const Double low = V::sub(rest, V::sub(high, second.high));

    const Double value = V::div(V::set_double(1.0), high);
    const Double remainder = V::fnmadd(value, high, V::set_double(1.0));
    const Double residual = V::sub(remainder, V::mul(value, low));
    return {value, V::mul(value, residual)};
  }

 private:
  struct Sum {
    Double high, low;
  };

  // a + b exactly (Knuth's TwoSum).
  VECTOR_INLINE static Sum two_sum(Double a, Double b) {
    const Double sum = V::add(a, b);
    const Double b_part = V::sub(sum, a);
    return {sum, V::add(V::sub(a, V::sub(sum, b_part)), V::sub(b, b_part))};
  }
};

}  // namespace torch_sigmoid_ext::kernels::cpu

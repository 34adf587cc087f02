// σ(x) = 1 / (1 + e^-x), float64, error at most 0.51 ULP, over a vector of double or one alone.
//
//   t = round(x · log2 e · 16) / 16          t = k + j/16
//   r = t · ln 2 - x                         |r| <= ln 2 / 32; exact in its high part
//   σ = 2^k / (2^k + T · e^r),  T = 2^(-j/16)          no branch on the sign of x
//
// The denominator is kept as a sum of two doubles: what its roundings lost, the table's own error and e^r's
// second order are in the second. The quotient is corrected by its residual, so that its one rounding
// is the only one of weight; the rest adds less than 2^-7 ULP:
//
//   e^r's polynomial of degree 7                            2^-64.4 of T · e^r
//   z, T · z and their sum with what was lost                2^-62.5
//   1 / d and its residual, twice                            2^-105
//
// Not every result is correctly rounded, so that its bits hang on each operation: every instruction set
// runs these, in this order, and fuses where fma stands and nowhere else.
// Limits: σ(-inf) = 0, σ(inf) = 1, σ(NaN) = NaN. Results are 1 from x = 37.4299 up. Subnormal results
// (x < -708.3964) are rounded once, on their own grid; the last is at x = -745.1332, below is 0.
#pragma once

#include <cstdint>

#include "constants.h"

namespace torch_sigmoid_ext::kernels::cpu {

inline constexpr double kFloat64Tiny =
    -0x1.6232bdd7abcd3p+9;                            // -708.3964: results below are subnormal
inline constexpr double kFloat64Zero = -745.14;       // and 0 below
inline constexpr double kFloat64Underflow = -708.74;  // 2^-1022.5: the exponent field of 2^k is 0
inline constexpr double kFloat64One = 40.0;

template <class V>
class SigmoidFloat64 {
  using Double = typename V::Double;
  using Int = typename V::Int;

 public:
  // For |x| <= -kFloat64Tiny.
  VECTOR_INLINE static Double narrow(Double x) {
    const Index index = look_up(x);
    const Double power = V::as_double(exponent_field(index));
    const Quotient q = divide(index, power);
    return V::mul(V::fmadd(q.value, q.residual, q.value), power);
  }

  // For every x but from kFloat64Zero to kFloat64Tiny.
  VECTOR_INLINE static Double normal(Double x) {
    return narrow(V::clamp(x, kFloat64Underflow, kFloat64One));
  }

  // For every x. A subnormal result is rounded to a multiple of g = 2^(-1074 - k) as the low bits of
  // 2^52 · g + q; those bits are the result's own.
  VECTOR_INLINE static Double wide(Double x) {
    const Index index = look_up(V::clamp(x, kFloat64Zero, kFloat64One));
    const auto tiny = V::less(x, kFloat64Tiny);
    const Int power = exponent_field(index);
    const Quotient q = divide(index, V::choose(tiny, V::set_double(0.0), V::as_double(power)));
    const Int grid = V::keep(tiny, V::sub64(V::exponent_bits(1024), power));
    const Double coarse = V::add(V::as_double(grid), q.value);
    const Double rest = V::sub(q.value, V::sub(coarse, V::as_double(grid)));
    const Double fine = V::fmadd(q.value, q.residual, V::choose(tiny, rest, q.value));
    const Double sum = V::add(V::choose(tiny, coarse, V::set_double(0.0)), fine);
    const Int shift = V::choose(tiny, grid, V::sub64(V::exponent_bits(1023), power));
    return V::where_nan(x, V::as_double(V::sub64(V::bits(sum), shift)));
  }

 private:
  struct Index {
    Double x, shifted, t;  // the low bits of `shifted` are 16 · (t + 1023)
  };

  VECTOR_INLINE static Index look_up(Double x) {
    // 1.5 · 2^52 rounds to an integer; 1023 · 16 puts k's exponent field above the four bits of j.
    const Double shift = V::set_double(0x1.8p52 + 1023.0 * 16.0);
    const Double shifted = V::fmadd(x, V::set_double(kLog2ETimes16), shift);
    return {x, shifted, V::sub(shifted, shift)};
  }

  // Where k + 1023 is negative or beyond the exponent's range, as an integer modulo 2^12.
  VECTOR_INLINE static Int exponent_field(const Index& index) {
    return V::exponent_field_above_index(V::bits(index.shifted));
  }

  struct Quotient {
    Double value, residual;  // q = value · (1 + residual)
  };

  // 1 / (power + T · e^r)
  VECTOR_INLINE static Quotient divide(const Index& index, Double power) {
    const auto& [x, shifted, t] = index;
    const auto [table, error] = V::lookup_exp2(V::bits(shifted));
    const Double r = V::fmsub(t, V::set_double(kLn2By16High), x);  // exact
    const Double tail = V::fmadd(t, V::set_double(kLn2By16Low), error);

    // z = e^(r + tail) - 1 - r
    const auto& c = kExpm1Coefficients;
    const Double whole = V::add(r, tail);
    const Double square = V::mul(whole, whole);
    const Double q01 = V::fmadd(whole, V::set_double(c[1]), V::set_double(c[0]));
    const Double q23 = V::fmadd(whole, V::set_double(c[3]), V::set_double(c[2]));
    const Double q45 = V::fmadd(whole, V::set_double(c[5]), V::set_double(c[4]));
    const Double q = V::fmadd(square, V::fmadd(square, q45, q23), q01);
    const Double z = V::fmadd(square, q, tail);

    const Double sum = V::add(power, table);
    const Double lost = V::sub(V::min(power, table), V::sub(sum, V::max(power, table)));  // exact
    const Double first = V::fmadd(table, r, sum);
    const Double rest = V::add(V::fmadd(table, r, V::sub(sum, first)), lost);
    const Double second = V::fmadd(table, z, rest);
    const Double high = V::add(first, second);
    const Double low = V::add(V::sub(first, high), second);

    const Double value = V::div(V::set_double(1.0), high);
    const Double residual = V::fnmadd(value, high, V::set_double(1.0));
    return {value, V::fnmadd(value, low, residual)};
  }
};

}  // namespace torch_sigmoid_ext::kernels::cpu

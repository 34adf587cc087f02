// σ(x) = 1 / (1 + e^-x), float64, error at most 0.51 ULP.
//
//   t = round(x · 32 · log2 e),  t = 32 k + j
//   r = t · ln 2 / 32 - x                       |r| <= ln 2 / 64; exact in its high part
//   e^-x = 2^-k · T · e^r,  T = 2^(-j/32)       from a table, high and low part
//   σ = 2^k · q,  q = 1 / (2^k + T · e^r)       no branch on the sign of x
//
// The denominator is kept as a sum of two doubles, and the quotient corrected by its residual, so
// q's one rounding is the only one of weight; the rest adds less than 2^-7 ULP. Limits: σ(-inf) =
// 0, σ(inf) = 1, σ(NaN) = NaN. Results are 1 from x = 37.4299 up. Subnormal results (x < -708.3964)
// are rounded once, on their own grid; the last is at x = -745.1332, below is 0.
#pragma once

#include <cmath>

#include "core.h"

namespace torch_sigmoid_ext::kernels::cpu {

struct DoubleSum {
  double high, low;  // an unevaluated sum, |low| <= ulp(high) / 2
};

// a + b exactly, |a| >= |b| (Dekker's FastTwoSum).
inline DoubleSum fast_two_sum(double a, double b) {
  const double sum = a + b;
  return {sum, b - (sum - a)};
}

// a + b exactly (Knuth's TwoSum).
inline DoubleSum two_sum(double a, double b) {
  const double sum = a + b;
  const double b_part = sum - a;
  return {sum, (a - (sum - b_part)) + (b - b_part)};
}

inline double sigmoid(double x) {
  if (std::isnan(x)) return x;
  x = x > 40.0 ? 40.0 : x;
  x = x < -746.0 ? -746.0 : x;

  const double shifted = x * kLog2ETimes32 + kRoundToInteger;
  const double t = shifted - kRoundToInteger;
  const auto index = static_cast<int>(t);
  const int k = index >> 5;  // floor: an arithmetic shift, by C++20
  const double r_high = t * kLn2By32High - x;
  const double r_low = t * kLn2By32Low;

  // e^r - 1 = r + r² · q(r), the second term too small for its rounding to count.
  const auto& c = kExpm1Coefficients;
  const double r = r_high + r_low;
  const double q = c[0] + r * (c[1] + r * (c[2] + r * (c[3] + r * (c[4] + r * c[5]))));
  const double expm1_low = r_low + r * r * q;

  // Denominator 2^k + T + T · r + ...; below 2^-100, 2^k is beyond the last bit of T and its own
  // size does not matter.
  const auto [table, table_low] = kExp2Table[index & 31];
  const double scale = power_of_two(k < -100 ? -100 : k);
  const double product = table * r_high;
  const double product_low = std::fma(table, r_high, -product);
  const DoubleSum sum = two_sum(scale, table);
  const DoubleSum total = two_sum(sum.high, product);
  const double rest = sum.low + total.low + (product_low + (table * expm1_low + table_low));
  const DoubleSum denominator = fast_two_sum(total.high, rest);

  const double quotient = 1.0 / denominator.high;
  const double residual = std::fma(-quotient, denominator.high, 1.0) - quotient * denominator.low;
  const double correction = quotient * residual;
  if (k > -1022) return (quotient + correction) * power_of_two(k);
  if (std::ldexp(quotient, k) >= 0x1p-1022) return std::ldexp(quotient + correction, k);

  // A subnormal result: round the quotient to a multiple of 2^(-1074 - k), once, and scale exactly.
  const double grid = 0x1p52 * power_of_two(-1074 - k);
  const double coarse = grid + quotient;
  const double remainder = (quotient - (coarse - grid)) + correction;
  return std::ldexp((coarse + remainder) - grid, k);
}

}  // namespace torch_sigmoid_ext::kernels::cpu

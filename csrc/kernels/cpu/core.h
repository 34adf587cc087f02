// The portable double core: σ(x) for inputs of at most 24 significant bits (float32 and below).
//
//   t = round(x · log2 e)
//   r = t · ln 2 - x                     |r| <= ln 2 / 2; ln 2 split so that t · high is exact
//   σ = 2^t / (2^t + e^r)                since e^-x = 2^-t · e^r; no branch on the sign of x
//
// Domain: every double that is a float32, float16 or bfloat16; x is clamped to [-110, 20], outside of
// which σ rounds to 0 or 1 in all three. NaN stays NaN.
// Error: small enough to leave every float32 input but one on its own side of the rounding boundary
// (sigmoid_f32.h says which); `make prove` runs all 2^32.
// Plain double operations in one fixed order, no fma: the same bits wherever contraction is off
// (setup.py sets -ffp-contract=off).
#pragma once

#include <bit>
#include <cstdint>

#include "constants.h"

namespace torch_sigmoid_ext::kernels::cpu {

// 2^exponent, for -1022 <= exponent <= 1023.
KERNEL_INLINE double power_of_two(std::int64_t exponent) {
  return std::bit_cast<double>(static_cast<std::uint64_t>(exponent + 1023) << 52);
}

KERNEL_INLINE double sigmoid_core(double x) {
  x = x > 20.0 ? 20.0 : x;  // written so that NaN passes
  x = x < -110.0 ? -110.0 : x;
  const double shifted = x * kLog2E + kRoundToInteger;
  const double t = shifted - kRoundToInteger;
  const double r = (t * kLn2High - x) + t * kLn2Low;

  // e^r = 1 + r + r² · q(r), q of degree 9, in a tree so that its terms overlap in time.
  const auto& c = kExpCoefficients;
  const double r2 = r * r;
  const double r4 = r2 * r2;
  const double q01 = c[0] + c[1] * r;
  const double q23 = c[2] + c[3] * r;
  const double q45 = c[4] + c[5] * r;
  const double q67 = c[6] + c[7] * r;
  const double q89 = c[8] + c[9] * r;
  const double q = (q01 + r2 * q23) + r4 * ((q45 + r2 * q67) + r4 * q89);
  const double exp_r = 1.0 + (r + r2 * q);

  // t is in the low bits of `shifted`; a NaN's bits make some finite scale, and NaN comes from
  // exp_r.
  const double scale =
      std::bit_cast<double>((std::bit_cast<std::uint64_t>(shifted) << 52) + 0x3ff0000000000000u);
  return scale / (scale + exp_r);
}

}  // namespace torch_sigmoid_ext::kernels::cpu

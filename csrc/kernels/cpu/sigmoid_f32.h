// σ(x) = 1 / (1 + e^-x), float32, correctly rounded.
//
// The double core decides the rounding of every float32, as does the float64 kernel, but for two groups:
//   |x| < 2^-11         σ = 1/2 + x/4 - x³/48 ... lies as near as 2^-76 to a tie whenever 1/2 + x/4 is
//                       one. A slope a hair under 1/4 falls on the right side of all of them: the cubic
//                       term always pulls towards 1/2. (With 2^-10 as the limit, 1,125 come out wrong.)
//   -0x1.250c02p-10     relative distance 2^-54.98 to the boundary, nearer than the core's error; every
//                       other input keeps 2^-53.1 or more.
// Limits: σ(-inf) = 0, σ(inf) = 1, σ(NaN) = NaN, σ(±0) = 1/2; subnormal results (x < -87.3365) are kept,
// the last of them at x = -103.97208; below, σ rounds to 0.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "core.h"

namespace torch_sigmoid_ext::kernels::cpu {

// A subnormal result is rounded as an integer, of 2^-149 each, which is its bits: a CPU that is set to
// flush subnormals would lose it in a conversion.
KERNEL_INLINE float round_to_float(double y) {
  if (!(y < 0x1p-126)) return static_cast<float>(y);
  return std::bit_cast<float>(
      static_cast<std::uint32_t>((y * 0x1p149 + kRoundToInteger) - kRoundToInteger));
}

// σ(input), of which `sigmoid` is what the double core, or sigmoid_f64.h, makes.
KERNEL_INLINE float rounded(float input, double sigmoid) {
  const double x = input;
  const double near_zero = 0.5 + x * 0x1.ffffff8p-3;  // exact product; the slope is (1 - 2^-26) / 4
  const double y = std::fabs(x) < kNearZero ? near_zero : sigmoid;
  return input == kHardestInput ? kHardestOutput : round_to_float(y);
}

KERNEL_INLINE float sigmoid(float input) {
  const double x = input;
  return rounded(input, std::fabs(x) < kNearZero ? 0.5 : sigmoid_core(x));
}

}  // namespace torch_sigmoid_ext::kernels::cpu

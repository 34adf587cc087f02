// The two 16-bit types, as bits: exact widening to double and correctly rounded narrowing.
//
// Both are sign, exponent, fraction, so one template serves: kPrecision counts the significant bits
// with the hidden one, kMinExponent is the exponent of the smallest normal number.
//   float16    11 bits, 2^-14       bfloat16    8 bits, 2^-126
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "core.h"

namespace torch_sigmoid_ext::kernels::cpu {

template <int kPrecision, int kMinExponent>
struct Half {
  std::uint16_t bits;

  static constexpr int kFractionBits = kPrecision - 1;
  static constexpr std::uint16_t kSign = 0x8000;
  static constexpr std::uint16_t kInfinity = 0x7fff & ~((1 << kFractionBits) - 1);

  // Exact: every value of both types is a double.
  KERNEL_INLINE double to_double() const {
    const int magnitude = bits & 0x7fff;
    const int fraction = magnitude & ((1 << kFractionBits) - 1);
    const int exponent = magnitude >> kFractionBits;
    double value;
    if (magnitude >= kInfinity) {
      value = fraction != 0 ? std::nan("") : HUGE_VAL;
    } else if (exponent == 0) {
      value = fraction * power_of_two(kMinExponent - kFractionBits);
    } else {
      value = (fraction | (1 << kFractionBits)) *
              power_of_two(kMinExponent - kFractionBits + exponent - 1);
    }
    return (bits & kSign) != 0 ? -value : value;
  }

  // To nearest, ties to even, in one rounding; subnormal results are kept, overflow goes to
  // infinity.
  //
  // A positive number in [2^e, 2^(e+1)) is n · 2^(e - kFractionBits) with n of kPrecision bits, and
  // its encoding is (e - kMinExponent) · 2^kFractionBits + n: the hidden bit carries into the
  // exponent, as does a fraction that rounds up to the next power of two. Below 2^kMinExponent, e
  // stays there.
  KERNEL_INLINE static Half from_double(double value) {
    const auto pattern = std::bit_cast<std::uint64_t>(value);
    const auto sign = static_cast<std::uint16_t>((pattern >> 48) & kSign);
    const double magnitude = std::fabs(value);
    if (std::isnan(value)) {
      return {static_cast<std::uint16_t>(sign | kInfinity | (1 << (kFractionBits - 1)))};
    }
    int exponent = static_cast<int>((pattern >> 52) & 0x7ff) - 1023;
    if (exponent < kMinExponent) exponent = kMinExponent;
    constexpr int kMaxExponent = 1 - kMinExponent;
    if (exponent > kMaxExponent) return {static_cast<std::uint16_t>(sign | kInfinity)};
    const double units = magnitude * power_of_two(kFractionBits - exponent);
    const auto rounded = static_cast<int>((units + kRoundToInteger) - kRoundToInteger);
    const int encoding = ((exponent - kMinExponent) << kFractionBits) + rounded;
    return {static_cast<std::uint16_t>(sign | encoding)};
  }
};

using Float16 = Half<11, -14>;
using BFloat16 = Half<8, -126>;

}  // namespace torch_sigmoid_ext::kernels::cpu

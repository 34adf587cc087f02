// σ(x) rounded to float32, float16 or bfloat16, with nothing of the kernels in it.
//
//   1. In double, with the C library's exp: e = e^-|x|, then 1 / (1 + e) or, for x < 0, e / (1 + e).
//      exp within 1 ULP (glibc's manual, "Known Maximum Errors") and two roundings: below 2^-51.
//   2. Where that lies within 2^-40 of itself of a rounding boundary, again in binary128: e^-|x| by its
//      series at |x| / 2^12, then 12 squarings, each of which doubles the error and adds 2^-113: below
//      2^-99. It takes no library.
//
// Step 1 decides only what it could not get wrong, were its error two thousand times as large. Step 2
// needs every σ to lie farther than 2^-99 from a boundary; among these types the nearest is σ(-2^-24),
// 2^-76.58 beside a tie (tests/hard_cases.py). The prover prints the nearest it met, so that the margin
// is seen and not assumed; tests/test_hard_cases.py checks the bounds and the table with mpmath.
#pragma once

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <type_traits>

namespace proof {

#if LDBL_MANT_DIG == 113
using Binary128 = long double;
#else
using Binary128 = __float128;
#endif

inline constexpr double kDoubleError = 0x1p-51;  // of step 1, relative
inline constexpr double kDoubt = 0x1p-40;  // of a value: so near to a boundary, step 2 decides
inline constexpr double kBinary128Error = 0x1p-99;  // of step 2, relative
inline constexpr int kSeriesTerms = 20;
inline constexpr int kSquarings = 12;
static_assert(kDoubt >= 2000 * kDoubleError);

// A type of kPrecision significant bits, the hidden one counted, its normal numbers from
// 2^kMinExponent up. Its values are held as doubles.
template <int kPrecision, int kMinExponent>
struct Format {
  static constexpr bool kIsFloat = kPrecision == 24;
  using Bits = std::conditional_t<kIsFloat, std::uint32_t, std::uint16_t>;
  static constexpr std::uint64_t kCount = 1ull << (8 * sizeof(Bits));
  static constexpr int kFractionBits = kPrecision - 1;
  static constexpr Bits kSign = static_cast<Bits>(kCount >> 1);
  static constexpr Bits kInfinity = static_cast<Bits>(kSign - (1u << kFractionBits));

  static constexpr Bits kNaN = static_cast<Bits>(kInfinity | 1u << (kFractionBits - 1));  // quiet

  static bool is_nan(Bits bits) { return static_cast<Bits>(bits & ~kSign) > kInfinity; }

  static double value(Bits bits) {
    if constexpr (kIsFloat) return static_cast<double>(std::bit_cast<float>(bits));
    const int magnitude = static_cast<int>(bits & ~kSign);
    const int exponent = std::max(magnitude >> kFractionBits, 1);
    const int fraction = magnitude - ((exponent - 1) << kFractionBits);
    double value = std::ldexp(fraction, exponent - 1 + kMinExponent - kFractionBits);
    if (static_cast<Bits>(bits & ~kSign) >= kInfinity) value = is_nan(bits) ? NAN : HUGE_VAL;
    return (bits & kSign) != 0 ? -value : value;
  }

  // The distance between neighbouring numbers of the type at a value >= 0: a power of two.
  static double spacing(double value) {
    constexpr auto kField = [](int exponent) {
      return static_cast<std::uint64_t>(exponent + 1023) << 52;
    };
    const std::uint64_t exponent = std::bit_cast<std::uint64_t>(value) & kField(1024);
    return std::bit_cast<double>(std::max(exponent, kField(kMinExponent)) -
                                 (kField(kFractionBits) - kField(0)));
  }
};

using Float32 = Format<24, -126>;
using Float16 = Format<11, -14>;
using BFloat16 = Format<8, -126>;

struct Truth {
  double value;     // σ(x), of step 1
  double rounded;   // to the type's nearest
  double spacing;   // of the type, at the value
  double ulp;       // |rounded - σ(x)| / spacing
  double distance;  // of σ(x) to a rounding boundary, relative
  bool wide;        // decided in binary128
};

inline Binary128 sigmoid_in_binary128(double x) {
  const Binary128 r = -Binary128(std::fabs(x)) / (1 << kSquarings);
  Binary128 e = 1;
  for (int n = kSeriesTerms; n > 0; --n) e = 1 + e * r / n;
  for (int n = 0; n < kSquarings; ++n) e *= e;
  return (x < 0 ? e : Binary128(1)) / (1 + e);
}

// For x a number of the type, or an infinity.
template <class F>
Truth true_sigmoid(double x) {
  // Beyond these 1 - σ < 2^-28 and σ < 2^-158, far less than half a spacing of any of the types.
  if (x > 20.0) return {1.0, 1.0, F::spacing(0.75), 0.0, 1.0, false};
  if (x < -110.0) return {0.0, 0.0, F::spacing(0.0), 0.0, 1.0, false};
  const double e = std::exp(-std::fabs(x));
  const double value = (x < 0 ? e : 1.0) / (1.0 + e);
  const double spacing = F::spacing(value);
  const double units = value / spacing;
  const auto below = static_cast<double>(static_cast<std::int64_t>(units));  // floor
  const double over_tie = (units - below) - 0.5;
  const double distance = std::fabs(over_tie) / units;
  if (distance > kDoubt) {
    const double rounded = below + (over_tie > 0 ? 1 : 0);
    return {value, rounded * spacing, spacing, std::fabs(rounded - units), distance, false};
  }
  // So near to a tie, `below` is that of σ(x) itself.
  const Binary128 wide_units = sigmoid_in_binary128(x) / spacing;
  const auto wide_over_tie = static_cast<double>(wide_units - below - Binary128(0.5));
  const double rounded = below + (wide_over_tie > 0 ? 1 : 0);
  const double off_tie = std::fabs(wide_over_tie);
  return {value, rounded * spacing, spacing, 0.5 - off_tie, off_tie / units, true};
}

}  // namespace proof

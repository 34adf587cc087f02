// Replaces the estimate of 1/a, rcp14ps, by worse ones. Included ahead of a kernel's source
// by the compiler's -include, so that nothing of this is in the product.
//
// The instructions' bits differ between makes of CPU; only a bound on the relative error is promised:
//   VRCP14PS             2^-14          (Intel SDM, volume 2)
// kHighest and kLowest lie on that bound, less at most one unit in the last place of a float, for every
// a; kScattered lies anywhere within it, by a hash of a's bits. All have 24 significant bits, where an
// instruction's estimate has about 14 and with them products that need no rounding.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace worst_estimate {

enum class Kind { kOwn, kHighest, kLowest, kScattered };

// What the estimates of this thread are, and how far they were off at most.
inline constinit thread_local Kind kind = Kind::kOwn;
inline constinit thread_local double largest_error = 0;

#define WORST_ESTIMATE_INLINE __attribute__((always_inline)) inline

// The double's first 24 bits.
WORST_ESTIMATE_INLINE double cut(std::uint64_t bits) {
  return std::bit_cast<double>(bits & ~((std::uint64_t{1} << 29) - 1));
}

WORST_ESTIMATE_INLINE double highest(float a, double bound) {
  return cut(std::bit_cast<std::uint64_t>((1.0 + bound) / a));
}

WORST_ESTIMATE_INLINE double lowest(float a, double bound) {
  return cut(std::bit_cast<std::uint64_t>((1.0 - bound) / a) + ((std::uint64_t{1} << 29) - 1));
}

WORST_ESTIMATE_INLINE double scattered(float a, double bound) {
  const std::uint32_t hash = std::bit_cast<std::uint32_t>(a) * 0x9e3779b1u;
  const double part = static_cast<std::int32_t>(hash ^ (hash >> 15)) * 0x1.ffp-32;  // in (-1, 1)
  return (1.0 + bound * part) / a;
}

template <int kLanes>
WORST_ESTIMATE_INLINE void estimate(const float (&a)[kLanes], float (&y)[kLanes], double bound) {
  switch (kind) {
    case Kind::kOwn:
      return;
    case Kind::kHighest:
      for (int i = 0; i < kLanes; ++i) y[i] = static_cast<float>(highest(a[i], bound));
      break;
    case Kind::kLowest:
      for (int i = 0; i < kLanes; ++i) y[i] = static_cast<float>(lowest(a[i], bound));
      break;
    case Kind::kScattered:
      for (int i = 0; i < kLanes; ++i) y[i] = static_cast<float>(scattered(a[i], bound));
      break;
  }
  double largest = largest_error;
  for (int i = 0; i < kLanes; ++i) {
    const double error = std::fabs(1.0 - static_cast<double>(y[i]) * a[i]);
    largest = largest < error ? error : largest;  // a NaN is passed over
  }
  largest_error = largest;
}

__attribute__((target("avx512f"), always_inline)) inline __m512 rcp14(__m512 a) {
  __m512 y = _mm512_rcp14_ps(a);
  float from[16], to[16];
  std::memcpy(from, &a, sizeof from);
  std::memcpy(to, &y, sizeof to);
  estimate(from, to, 0x1p-14);
  std::memcpy(&y, to, sizeof to);
  return y;
}

}  // namespace worst_estimate

#undef _mm512_rcp14_ps
#define _mm512_rcp14_ps(a) ::worst_estimate::rcp14(a)
#endif

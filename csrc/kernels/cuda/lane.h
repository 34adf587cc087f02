// One number alone as a "vector", for a GPU's thread: what the mathematics in ../cpu is written over.
//
// Every operation is one of IEEE 754, in one fixed order and fused where fma stands, so that host and device
// give the same bits; the host's side of these functions is what the proof runs. The one exception are the
// estimates of 1/a, whose bits are each chip's own: what starts from one must not hang on them, which the
// proof shows by making them worse than any chip's (estimate_error).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "../cpu/constants.h"
#include "../portable.h"

namespace torch_sigmoid_ext::kernels::cuda {

// How far off an estimate may be, relatively. PTX promises 1 ULP of float32, 2^-23, of rcp.approx.ftz.f32,
// and of rcp.approx.ftz.f64 no number; the sweep over all float32 in tests/test_cuda.py would show a worse chip.
inline constexpr double kFloatEstimateError = 0x1p-22;
inline constexpr double kDoubleEstimateError = 0x1p-18;

#if !defined(__CUDA_ARCH__) && !defined(__HIP_DEVICE_COMPILE__)
// The host's estimates are off by this part of their bound, from -1 to 1.
inline thread_local double estimate_error = 0;
// The one NaN that a chip's float32 arithmetic returns, whatever NaN went in. The host's keeps the bits that
// it is given, so that these go in: what is done to the bits of a NaN is then done to the chip's.
inline constexpr std::uint32_t kDeviceNaN = 0x7fffffff;
#endif

// 1 / a for a and 1 / a normal; 0 for an infinite a.
KERNEL_INLINE float reciprocal_estimate(float a) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(a));
  return y;
#elif defined(__HIP_DEVICE_COMPILE__)
  return 1.0f / a;
#else
  return static_cast<float>((1.0 + kFloatEstimateError * estimate_error) / static_cast<double>(a));
#endif
}

KERNEL_INLINE double reciprocal_estimate(double a) {
#if defined(__CUDA_ARCH__)
  double y;
  asm("rcp.approx.ftz.f64 %0, %1;" : "=d"(y) : "d"(a));
  return y;
#elif defined(__HIP_DEVICE_COMPILE__)
  return 1.0 / a;
#else
  return (1.0 + kDoubleEstimateError * estimate_error) / a;
#endif
}

// `Bits` holds the bits of a float or of a double.
template <class Bits>
struct Lane {
  using Float = float;
  using Double = double;
  using Int = Bits;

  struct Exp2Double {
    double value, error;
  };

  KERNEL_INLINE static float set(float a) { return a; }
  KERNEL_INLINE static double set_double(double a) { return a; }
  KERNEL_INLINE static Int set_int(std::int32_t a) { return static_cast<std::uint32_t>(a); }
  KERNEL_INLINE static Int zero() { return 0; }
  template <class T>
  KERNEL_INLINE static T add(T a, T b) {
    return a + b;
  }
  template <class T>
  KERNEL_INLINE static T sub(T a, T b) {
    return a - b;
  }
  template <class T>
  KERNEL_INLINE static T mul(T a, T b) {
    return a * b;
  }
  template <class T>
  KERNEL_INLINE static T div(T a, T b) {
    return a / b;
  }
  KERNEL_INLINE static float fmadd(float a, float b, float c) { return ::fmaf(a, b, c); }
  KERNEL_INLINE static double fmadd(double a, double b, double c) { return ::fma(a, b, c); }
  template <class T>
  KERNEL_INLINE static T fmsub(T a, T b, T c) {
    return fmadd(a, b, -c);
  }
  template <class T>
  KERNEL_INLINE static T fnmadd(T a, T b, T c) {
    return fmadd(-a, b, c);
  }
  template <class T>
  KERNEL_INLINE static T min(T a, T b) {
    return a < b ? a : b;
  }
  template <class T>
  KERNEL_INLINE static T max(T a, T b) {
    return a > b ? a : b;
  }
  KERNEL_INLINE static double clamp(double a, double low, double high) {  // NaN passes
    return a > high ? high : a < low ? low : a;
  }
  KERNEL_INLINE static float clamp(float a, float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("min.NaN.f32 %0, %0, %1;" : "+f"(a) : "f"(high));
    asm("max.NaN.f32 %0, %0, %1;" : "+f"(a) : "f"(low));
    return a;
#else
#if !defined(__CUDA_ARCH__) && !defined(__HIP_DEVICE_COMPILE__)
    if (a != a) return as_float(kDeviceNaN);
#endif
    return a > high ? high : a < low ? low : a;
#endif
  }
  template <class T>
  KERNEL_INLINE static bool less(T a, T b) {
    return a < b;
  }
  template <class T>
  KERNEL_INLINE static T choose(bool mask, T then, T otherwise) {
    return mask ? then : otherwise;
  }
  KERNEL_INLINE static Int keep(bool mask, Int a) { return mask ? a : 0; }
  template <class T>
  KERNEL_INLINE static T where_nan(T a, T otherwise) {
    return a != a ? a : otherwise;
  }

  KERNEL_INLINE static Int bits(float a) { return std::bit_cast<std::uint32_t>(a); }
  KERNEL_INLINE static Int bits(double a) { return std::bit_cast<std::uint64_t>(a); }
  KERNEL_INLINE static float as_float(Int a) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(a));
  }
  KERNEL_INLINE static double as_double(Int a) { return std::bit_cast<double>(a); }
  KERNEL_INLINE static Int sub64(Int a, Int b) { return a - b; }
  KERNEL_INLINE static Int exponent_bits(Int a) { return a << 52; }
  template <int kShift>
  KERNEL_INLINE static float exponent_field(Int index) {
    return as_float((index << kShift) & 0x7f800000u);
  }
  KERNEL_INLINE static Int exponent_field_above_index(Int index) {
    return (index << 48) & 0xfff0000000000000u;
  }
  // Tables lie in global memory, each in one cache line: threads that read different entries of it are
  // served together, which constant memory would serve one by one.
  KERNEL_INLINE static float lookup(const float (&table)[16], Int index) {
    return table[index & 15];
  }
  KERNEL_INLINE static float lookup(const float (&table)[32], Int index) {
    return table[index & 31];
  }
  KERNEL_INLINE static Exp2Double lookup_exp2(Int index) {
    return {cpu::kExp2Double[index & 15], cpu::kExp2DoubleErrors[index & 15]};
  }
};

using FloatLane = Lane<std::uint32_t>;
using DoubleLane = Lane<std::uint64_t>;

}  // namespace torch_sigmoid_ext::kernels::cuda

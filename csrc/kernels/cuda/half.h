// σ(x) = 1 / (1 + e^-x) and its gradient in float16 and bfloat16, correctly rounded, two at a time.
//
//   t = round(-x · log2 e)
//   r = x + t · ln 2                         |r| <= ln 2 / 2
//   σ = u / (u + 2^t · u · e^-r)             a polynomial of degree 5, no table: all in registers
//
// u is a power of two that keeps the denominator and its reciprocal normal: 1, and 2^-72 in bfloat16. x is
// clamped to where results are 0 and 1; NaN passes. The quotient is an estimate and one Newton step.
//
// float32 knows σ here to about 2^-22 of itself, and some of the 65,536 inputs of each type have theirs
// nearer to the middle between two results. They fall on the right side because
//   the step aims at 1 - 2^-23 or, for x < 0, 1 + 2^-23, in float16: near 0, σ = 1/2 + x/4 - x³/48 ... lies
//   beside a middle whenever 1/2 + x/4 is one, always on the side of 1/2
//   the polynomial is bent by less than 2^-23: half_coefficients.py finds how
// `make prove-cuda-host` takes all inputs through these steps, with every estimate up to two units in the
// last place off.
#pragma once

#include <bit>
#include <cstdint>

#include "../cpu/half.h"
#include "lane.h"

namespace torch_sigmoid_ext::kernels::cuda {

// Two numbers of a 16-bit type side by side: the first in the low bits.
struct Float16Pair {
  using Type = cpu::Float16;
  static constexpr float kLowest = -19.0f;  // below it results are 0
  static constexpr int kUnit = 0;           // exponent of u
  static constexpr bool kTowardsHalf = true;

  KERNEL_INLINE static float widen(std::uint16_t bits) {
#if defined(__CUDA_ARCH__)
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
#else
    return static_cast<float>(Type{bits}.to_double());
#endif
  }

  KERNEL_INLINE static std::uint16_t narrow(float value) {
#if defined(__CUDA_ARCH__)
    std::uint16_t bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
#else
    return Type::from_double(value).bits;
#endif
  }

  KERNEL_INLINE static void widen(std::uint32_t pair, float& first, float& second) {
#if defined(__CUDA_ARCH__)
    asm("{.reg .b16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b;}"
        : "=f"(first), "=f"(second)
        : "r"(pair));
#else
    first = widen(static_cast<std::uint16_t>(pair));
    second = widen(static_cast<std::uint16_t>(pair >> 16));
#endif
  }

  KERNEL_INLINE static std::uint32_t narrow(float first, float second) {
#if defined(__CUDA_ARCH__)
    std::uint32_t pair;
    asm("{.reg .b16 a, b; cvt.rn.f16.f32 a, %1; cvt.rn.f16.f32 b, %2; mov.b32 %0, {a, b};}"
        : "=r"(pair)
        : "f"(first), "f"(second));
    return pair;
#else
    return narrow(first) | static_cast<std::uint32_t>(narrow(second)) << 16;
#endif
  }
};

struct BFloat16Pair {
  using Type = cpu::BFloat16;
  static constexpr float kLowest = -94.0f;
  static constexpr int kUnit = -72;
  static constexpr bool kTowardsHalf = false;

  KERNEL_INLINE static float widen(std::uint16_t bits) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }

  KERNEL_INLINE static std::uint16_t narrow(float value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    std::uint16_t bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
#else
    return static_cast<std::uint16_t>(upper_half(value) >> 16);
#endif
  }

  KERNEL_INLINE static void widen(std::uint32_t pair, float& first, float& second) {
    first = std::bit_cast<float>(pair << 16);
    second = std::bit_cast<float>(pair & 0xffff0000u);
  }

  KERNEL_INLINE static std::uint32_t narrow(float first, float second) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    std::uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %2, %1;" : "=r"(pair) : "f"(first), "f"(second));
    return pair;
#else
    return upper_half(first) >> 16 | (upper_half(second) & 0xffff0000u);
#endif
  }

 private:
  // To nearest, ties to even; the upper half of the bits is the bfloat16.
  KERNEL_INLINE static std::uint32_t upper_half(float a) {
    const auto bits = std::bit_cast<std::uint32_t>(a);
    return a != a ? 0x7fc00000u : bits + 0x7fffu + (bits >> 16 & 1u);
  }
};

// e^-r, lowest first. Written by half_coefficients.py.
KERNEL_ARRAY float kHalfExp[6] = {0x1p+0f,         -0x1p+0f,       0x1.fffff6p-2f,
                                  -0x1.55633cp-3f, 0x1.568a88p-5f, -0x1.093e4ep-7f};

template <class Pair>
KERNEL_INLINE float sigmoid_half(float input) {
  constexpr float kShift = 0x1.8p23f + (127 + Pair::kUnit);  // its last bits: exponent field of u
  constexpr float kU = std::bit_cast<float>((127 + Pair::kUnit) << 23);
  const float x = FloatLane::clamp(input, Pair::kLowest, 12.0f);
  const float shifted = ::fmaf(x, -cpu::kLog2EFloat, kShift);
  const float t = shifted - kShift;
  const float r = ::fmaf(t, cpu::kLn2HighFloat, x);
  float p = kHalfExp[5];
  for (int i = 4; i >= 0; --i) p = ::fmaf(p, r, kHalfExp[i]);
  // 2^t · u; of a NaN's bits anything, and NaN comes from p. Its product with p is exact.
  const float scale = std::bit_cast<float>(std::bit_cast<std::uint32_t>(shifted) << 23);
  const float d = ::fmaf(p, scale, kU);
  const float estimate = reciprocal_estimate(d);
  float one = 1.0f;
  if constexpr (Pair::kTowardsHalf) one -= ::copysignf(0x1p-23f, x);
  const float y = ::fmaf(estimate, ::fmaf(-d, estimate, one), estimate);
  return Pair::kUnit == 0 ? y : y * kU;
}

// Of one number alone: a pair would be computed whole.
template <class Pair>
KERNEL_INLINE std::uint16_t sigmoid_alone(std::uint16_t input) {
  return Pair::narrow(sigmoid_half<Pair>(Pair::widen(input)));
}

template <class Pair>
KERNEL_INLINE std::uint32_t sigmoid_pair(std::uint32_t inputs) {
  float first, second;
  Pair::widen(inputs, first, second);
  return Pair::narrow(sigmoid_half<Pair>(first), sigmoid_half<Pair>(second));
}

// The gradient g · y · (1 - y), by the steps of ../cpu/backward_half.h: the product of p = g · y and
// u = 1 - y, rounded to odd in float32, where an inexact one is never a middle of the 16-bit type.

// a · b towards zero, and the last bit set where that lost something.
KERNEL_INLINE float multiply_to_odd(float a, float b) {
#if defined(__CUDA_ARCH__)
  const float cut = __fmul_rz(a, b);
  const bool inexact = ::fabsf(::fmaf(a, b, -cut)) > 0.0f;  // false where cut is not finite
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(cut) | (inexact ? 1u : 0u));
#else
  const float nearest = a * b;
  const float lost = ::fmaf(a, b, -nearest);
  if (!(::fabsf(lost) > 0.0f)) return nearest;
  const bool grew = (lost < 0.0f) != (nearest < 0.0f);
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(nearest) - (grew ? 1u : 0u)) | 1u);
#endif
}

KERNEL_INLINE float gradient_half(Float16Pair, float g, float y) {
  return multiply_to_odd(g * y, 1.0f - y);  // p and 1 - y are exact
}

KERNEL_INLINE float gradient_half(BFloat16Pair, float g, float y) {
  // From here up float32 loses nothing of p · u to underflow. A p of 0 is as small as makes no matter.
  constexpr std::uint32_t kTiny = (127 - 87) << 23;  // bits of 2^-87
  constexpr float kBelowOne = 0x1.fffffep-1f;
  const float p = g * y;
  const float rest = 1.0f - y;
  const float u = rest == 1.0f ? kBelowOne : rest;  // never 1: p may be a middle, and p · u is less
  const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(p) & 0x7fffffffu;
  if (__builtin_expect(magnitude - 1u < kTiny, 0)) {
    // In double all of it is normal, and from_double rounds to the subnormals' own grid.
    const double product = (static_cast<double>(g) * y) * u;
    const std::uint32_t bits = cpu::BFloat16::from_double(product).bits;
    return std::bit_cast<float>(bits << 16);
  }
  return multiply_to_odd(p, u);
}

template <class Pair>
KERNEL_INLINE std::uint16_t gradient_alone(std::uint16_t grad_output, std::uint16_t output) {
  return Pair::narrow(gradient_half(Pair{}, Pair::widen(grad_output), Pair::widen(output)));
}

template <class Pair>
KERNEL_INLINE std::uint32_t gradient_pair(std::uint32_t grad_outputs, std::uint32_t outputs) {
  float g[2], y[2];
  Pair::widen(grad_outputs, g[0], g[1]);
  Pair::widen(outputs, y[0], y[1]);
  return Pair::narrow(gradient_half(Pair{}, g[0], y[0]), gradient_half(Pair{}, g[1], y[1]));
}

}  // namespace torch_sigmoid_ext::kernels::cuda

// e^-x in float32 by a table: one float that holds where to look, and 2^k.
//
// With t a multiple of 1/n, n = kEntries, the bits of the float kShift + t end in n · (t + 127 + kUp):
// log2(n) bits of table index, then the exponent field of 2^(k + kUp), k = floor(t). Powers and table
// are kUp binades up, so that 2^k is normal for every x that a kernel takes.
#pragma once

#include <bit>

#include "constants.h"

namespace torch_sigmoid_ext::kernels::cpu {

// Beyond these σ is 0, subnormal, or 1 in float32.
inline constexpr float kFloat32Zero = -104.0f;
inline constexpr float kFloat32Tiny =
    -0x1.5d589ep+6f;  // -87.33654; σ(kFloat32Tiny) is the least normal
inline constexpr float kFloat32One = 17.5f;

constexpr int exp2_bits(int entries) { return std::countr_zero(static_cast<unsigned>(entries)); }

template <class V, int kEntries, int kBinadesUp = 26 + exp2_bits(kEntries)>
struct Exp2Index {
  static constexpr int kBits = exp2_bits(kEntries);
  static constexpr int kUp = kBinadesUp;
  static constexpr float kShift =
      1.5f * static_cast<float>(1 << (23 - kBits)) + static_cast<float>(127 + kUp);

  // The bits of kShift + t, which grow with t.
  static constexpr int of(float t) { return std::bit_cast<int>(kShift + t); }

  // Only for t in [1 - kUp, 65 - kUp) do the index's bits from kOutside up agree with kInside.
  static constexpr int kOutside = ~((1 << (kBits + 6)) - 1);
  static constexpr int kInside = of(static_cast<float>(1 - kUp));

  VECTOR_INLINE static typename V::Float shift(typename V::Float x) {
    return V::fmadd(x, V::set(kLog2EFloat), V::set(kShift));
  }

  // The bits of kShift + t from where results are subnormal, and from where they are normal again; each half a
  // binade from the next, as kUnderflow: the rounding mode may be another.
  static constexpr int kLeastSubnormal = of(-150.5f);
  static constexpr int kLeastNormal = of(-125.5f);

  // x, clamped to where 2^(k + kUp) is 0, and so is the result, and to where that is 1.
  VECTOR_INLINE static typename V::Float clamp(typename V::Float x) {
    constexpr float kUnderflow = (0.5f - static_cast<float>(127 + kUp)) * kLn2HighFloat;
    return V::clamp(x, kUnderflow, kFloat32One);
  }

  // The least of `least` and of how far kShift + t of clamped inputs lies above kLeastSubnormal. Of
  // results that are 0 that is a great number.
  VECTOR_INLINE static typename V::Int lower(typename V::Int least, typename V::Float shifted) {
    return V::min_unsigned(least, V::sub(V::bits(shifted), V::set_int(kLeastSubnormal)));
  }
  VECTOR_INLINE static bool any_below(typename V::Int least, int limit) {
    return V::any_below(least, limit - kLeastSubnormal);
  }

  VECTOR_INLINE static typename V::Float scale(typename V::Int index) {
    return V::template exponent_field<23 - kBits>(index);
  }
  // factor · 2^(k + kUp), with a factor from 1 to 2.
  VECTOR_INLINE static typename V::Float scale_times(float factor, typename V::Int index) {
    return V::template exponent_field<23 - kBits>(index, std::bit_cast<int>(factor) & 0x7fffff);
  }
};

}  // namespace torch_sigmoid_ext::kernels::cpu

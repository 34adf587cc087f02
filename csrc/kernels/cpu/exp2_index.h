// e^-x in float32 by a table: one float that holds where to look, and 2^k.
//
// With t a multiple of 1/n, n = V::kEntries, the bits of the float kShift + t end in n · (t + 127 + kUp):
// log2(n) bits of table index, then the exponent field of 2^(k + kUp), k = floor(t). Powers and table
// are kUp binades up, so that 2^k is normal wherever a kernel needs it.
#pragma once

#include <bit>

namespace torch_sigmoid_ext::kernels::cpu {

template <class V>
struct Exp2Index {
  static constexpr int kBits = std::countr_zero(static_cast<unsigned>(V::kEntries));
  static constexpr int kUp = 26 + kBits;
  static constexpr float kShift =
      1.5f * static_cast<float>(1 << (23 - kBits)) + static_cast<float>(127 + kUp);

  VECTOR_INLINE static typename V::Float scale(typename V::Int index) {
    return V::template exponent_field<23 - kBits>(index);
  }
};

}  // namespace torch_sigmoid_ext::kernels::cpu

// The gradient: grad_input = g · y · (1 - y), with g = grad_output and y = σ(x), over a vector or one
// number alone.
//
//   m = min(y, 1 - y)    exact: where it is 1 - y, y is above 1/2
//   p = m - m²           = y (1 - y), by fma; its tail too, since m - p is exact for p >= m / 2
//   g · p + g · tail     rounded once, but for the tail's own 2^-24 or 2^-53 of itself
//
// float32: at most 0.501 ULP; float64: at most 0.51, given y, where the result is 2^-100 or 2^-960 or more
// (below, g · tail underflows, and it may be 1 ULP).
// The 16-bit types have their own, backward_half.h.
// Zeros, infinities and NaN come out as in the plain formula for every y in [0, 1], but that g = -0 may
// give +0.
#pragma once

#include "../portable.h"

namespace torch_sigmoid_ext::kernels::cpu {

// `largest` is the largest finite number.
template <class V, class Number, class Lanes>
VECTOR_INLINE Lanes sigmoid_backward(Number largest, Lanes one, Lanes g, Lanes y) {
  const Lanes m = V::min(y, V::sub(one, y));
  const Lanes p = V::fnmadd(m, m, m);
  const Lanes p_low = V::fnmadd(m, m, V::sub(m, p));
  const Lanes finite = V::clamp(g, -largest, largest);  // infinity times a tail of 0 is NaN
  return V::fmadd(g, p, V::mul(finite, p_low));
}

}  // namespace torch_sigmoid_ext::kernels::cpu

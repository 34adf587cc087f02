// The gradient: grad_input = g · y · (1 - y), with g = grad_output and y = σ(x), over a vector or one
// number alone.
//
//   u = 1 - y            with its tail, which is exact (FastTwoSum)
//   p = y · u            with its tail, by fma
//   g · p + g · tail     rounded once, but for the tail's own 2^-24 or 2^-53 of itself
//
// float32: at most 0.501 ULP; float64: at most 0.51, given y, where the result is 2^-100 or 2^-960 or more
// (below, g · tail underflows, and it may be 1 ULP).
// The 16-bit types have their own, backward_half.h.
// Zeros, infinities and NaN come out as in the plain formula for every y in [0, 1].
#pragma once

namespace torch_sigmoid_ext::kernels::cpu {

// `largest` is the largest finite number.
template <class V, class Number, class Lanes>
VECTOR_INLINE Lanes sigmoid_backward(Number largest, Lanes one, Lanes g, Lanes y) {
  const Lanes u = V::sub(one, y);
  const Lanes u_low = V::sub(V::sub(one, u), y);
  const Lanes p = V::mul(y, u);
  const Lanes p_low = V::fmadd(y, u_low, V::fmsub(y, u, p));
  const Lanes finite = V::clamp(g, -largest, largest);  // infinity times a tail of 0 is NaN
  const Lanes sum = V::fmadd(g, p, V::mul(finite, p_low));
  return V::or_sign_of_product(sum, g, p);  // it has it already, but where g · p is -0
}

}  // namespace torch_sigmoid_ext::kernels::cpu

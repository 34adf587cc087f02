// The gradient: grad_input = g · y · (1 - y), with g = grad_output and y = σ(x), over a vector or one
// number alone.
//
//   u = 1 - y                with its tail, which is exact (FastTwoSum)
//   p = y · u, h = g · p     each with its tail, by fma; their sum is rounded once
//
// float32: at most 0.501 ULP; float64: at most 0.51, given y, where the result is 2^-960 or more (below,
// the tails of the products underflow, and it may be 1 ULP).
// The 16-bit types have their own, backward_half.h.
// Zeros, infinities and NaN come out as in the plain formula.
#pragma once

namespace torch_sigmoid_ext::kernels::cpu {

template <class V, class Lanes>
VECTOR_INLINE Lanes sigmoid_backward(Lanes one, Lanes g, Lanes y) {
  const Lanes u = V::sub(one, y);
  const Lanes u_low = V::sub(V::sub(one, u), y);
  const Lanes p = V::mul(y, u);
  const Lanes p_low = V::fmadd(y, u_low, V::fmsub(y, u, p));
  const Lanes h = V::mul(g, p);
  const Lanes h_low = V::fmadd(g, p_low, V::fmsub(g, p, h));
  return V::where_finite(h, V::add(h, h_low), h);  // an infinity has no tail
}

}  // namespace torch_sigmoid_ext::kernels::cpu

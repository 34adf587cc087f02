// The double core (core.h) over vectors of double, with fma: the same steps, rounded less often.
//
// V, the vector adapter, brings `Double` with set_double, add, sub, mul, div, fmadd, fmsub, clamp
// and exponent_field; vec_avx2.cpp shows one. As in core.h every float32 but one lies farther from
// a rounding boundary than the result errs, so both give the same float32; `make prove` shows it.
#pragma once

#include "constants.h"

namespace torch_sigmoid_ext::kernels::cpu {

// For doubles that are float32 values; NaN stays NaN.
template <class V>
VECTOR_INLINE typename V::Double sigmoid_core_vector(typename V::Double x) {
  using Double = typename V::Double;
  x = V::clamp(x, -110.0, 20.0);
  // 1.5 · 2^52 rounds to an integer; 1023 makes that integer the exponent field of 2^t.
  const Double shift = V::set_double(0x1.8p52 + 1023.0);
  const Double shifted = V::fmadd(x, V::set_double(kLog2E), shift);
  const Double t = V::sub(shifted, shift);
  const Double r = V::fmadd(t, V::set_double(kLn2Low), V::fmsub(t, V::set_double(kLn2High), x));
  const Double scale = V::exponent_field(shifted);

  const auto& c = kExpCoefficients;
  const Double r2 = V::mul(r, r);
  const Double r4 = V::mul(r2, r2);
  const Double q01 = V::fmadd(r, V::set_double(c[1]), V::set_double(c[0]));
  const Double q23 = V::fmadd(r, V::set_double(c[3]), V::set_double(c[2]));
  const Double q45 = V::fmadd(r, V::set_double(c[5]), V::set_double(c[4]));
  const Double q67 = V::fmadd(r, V::set_double(c[7]), V::set_double(c[6]));
  const Double q89 = V::fmadd(r, V::set_double(c[9]), V::set_double(c[8]));
  const Double low = V::fmadd(r2, q23, q01);
  const Double high = V::fmadd(r4, q89, V::fmadd(r2, q67, q45));
  const Double q = V::fmadd(r4, high, low);
  const Double exp_r = V::add(V::set_double(1.0), V::fmadd(r2, q, r));
  return V::div(scale, V::add(scale, exp_r));
}

}  // namespace torch_sigmoid_ext::kernels::cpu

// σ(x) = 1 / (1 + e^-x), float32, error at most 1.98 ULP, over vectors of float32 or one number alone.
//
//   t = round(x · log2 e · 16) / 16          t = k + j/16
//   r = t · ln 2 + δ - x                     |r| <= ln 2 / 32 + |δ|
//   σ = c · 2^k / (c · 2^k + T · e^r),  T = c · 2^(-j/16) · e^-δ           no branch on the sign of x
//
// T · e^r, the denominator and the quotient are rounded to half an ULP each. c = 1.5 keeps the first two from
// being just above a power of two, where half an ULP is the most, when the third is just below one; and c · 2^k has so
// few bits that adding it mostly is exact. δ is such that all T lie near to a float. (fast_table.py.) e^r's
// polynomial of degree 3 errs by 2^-27.2. The worst of all float32 is -0x1.f1535cp+3, 1.976 ULP.
// Results lie in [0, 1] and never fall from one float32 to the next. Subnormal ones (x < -87.3365) are kept,
// as multiples of 2^-149.
// The result hangs on each operation: every instruction set runs these, in this order.
#pragma once

#include "constants.h"
#include "exp2_index.h"

namespace torch_sigmoid_ext::kernels::cpu {

template <class V>
class SigmoidFloat32Fast {
  using Float = typename V::Float;
  using Int = typename V::Int;

 public:
  using Index = Exp2Index<V, 16>;

  // For x from about -20 to 24, where the bits of `outside` from Index::kOutside up stay 0.
  VECTOR_INLINE static Float narrow(Float x, Int& outside) {
    const Float shifted = Index::shift(x);
    outside = V::or_xor(outside, V::bits(shifted), Index::kInside);
    const Float scale = Index::scale_times(kFastFactor, V::bits(shifted));
    return V::div(scale, V::add(scale, power(x, shifted)));
  }

  // For every x but those of subnormal results, which `least` tells. With the same bits as narrow() where
  // that takes it.
  VECTOR_INLINE static Float normal(Float input, Int& least) {
    const Float x = Index::clamp(input);
    const Float shifted = Index::shift(x);
    least = Index::lower(least, shifted);
    // A product, since 2^k may be 0 here.
    const Float scale = V::mul(Index::scale(V::bits(shifted)), V::set(kFastFactor));
    return V::div(scale, V::add(scale, power(x, shifted)));
  }

  // For every x; where narrow() takes it, with the same bits. How subnormal results come about is
  // told in sigmoid_f32_vector.h.
  VECTOR_INLINE static Float wide(Float input) {
    const Float x = V::clamp(input, kFloat32Zero, kFloat32One);
    const Float shifted = Index::shift(x);
    const Float two_to_k = Index::scale(V::bits(shifted));
    const Float c = V::set(kFastFactor);
    const Float y = V::div(c, V::fmadd(two_to_k, c, power(x, shifted)));
    const Int scale = V::bits(two_to_k);
    const auto tiny = V::less(x, kFloat32Tiny);
    const Int grid = V::sub(V::set_int(128 << 23), scale);
    const Int subnormal = V::sub(V::bits(V::add(V::as_float(grid), y)), grid);
    const Float normal = V::mul(y, V::as_float(V::choose(tiny, V::zero(), scale)));
    return V::as_float(V::choose(tiny, subnormal, V::bits(normal)));
  }

 private:
  // T · e^r
  VECTOR_INLINE static Float power(Float x, Float shifted) {
    const Float t = V::sub(shifted, V::set(Index::kShift));
    const Float low = V::fmadd(t, V::set(kLn2LowFloat), V::set(kFastOffset));
    const Float r = V::add(V::fmsub(t, V::set(kLn2HighFloat), x), low);
    const auto& c = kFastCoefficients;
    const Float q = V::fmadd(V::set(c[1]), r, V::set(c[0]));
    const Float table = V::lookup(kFastExp2, V::bits(shifted));
    return V::fmadd(table, V::fmadd(V::mul(r, r), q, r), table);
  }
};

}  // namespace torch_sigmoid_ext::kernels::cpu

// σ(x) = 1 / (1 + e^-x), float32, error at most 2.49 ULP, over vectors of float32 or one number alone.
//
//   t = round(x · log2 e · 8) / 8            t = k + j/8
//   r = t · ln 2 - x                         |r| <= ln 2 / 16
//   σ = 2^k / (2^k + T · e^r),  T = 2^(-j/8)           no branch on the sign of x
//
// T · e^r, the denominator and the quotient are rounded to half an ULP each; the table's own error is in
// r, and e^r's polynomial of degree 4 errs by 2^-31.5. The worst of all float32 is -0x1.0a2bd8p+4, 2.481 ULP.
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

  struct Denominator {
    Float scale;  // 2^(k + kUp)
    Float value;  // 2^(k + kUp) + 2^kUp · T · e^r
  };

 public:
  using Index = Exp2Index<V, 8>;

  // For x from about -20 to 24, where the bits of `outside` from Index::kOutside up stay 0.
  VECTOR_INLINE static Float narrow(Float x, Int& outside) {
    const Float shifted = Index::shift(x);
    outside = V::or_xor(outside, V::bits(shifted), Index::kInside);
    const Denominator d = denominate(x, shifted);
    return V::div(d.scale, d.value);
  }

  // For every x but those of subnormal results, which `least` tells. With the same bits as narrow() where
  // that takes it.
  VECTOR_INLINE static Float normal(Float input, Int& least) {
    const Float x = Index::clamp(input);
    const Float shifted = Index::shift(x);
    least = Index::lower(least, shifted);
    const Denominator d = denominate(x, shifted);
    return V::div(d.scale, d.value);
  }

  // For every x; where narrow() takes it, with the same bits. How subnormal results come about is
  // told in sigmoid_f32_vector.h.
  VECTOR_INLINE static Float wide(Float input) {
    const Float x = V::clamp(input, kFloat32Zero, kFloat32One);
    const Denominator d = denominate(x, Index::shift(x));
    const Float y = V::div(V::set(1.0f), d.value);
    const Int scale = V::bits(d.scale);
    const auto tiny = V::less(x, kFloat32Tiny);
    const Int grid = V::sub(V::set_int(128 << 23), scale);
    const Int subnormal = V::sub(V::bits(V::add(V::as_float(grid), y)), grid);
    const Float normal = V::mul(y, V::as_float(V::choose(tiny, V::zero(), scale)));
    return V::as_float(V::choose(tiny, subnormal, V::bits(normal)));
  }

 private:
  VECTOR_INLINE static Denominator denominate(Float x, Float shifted) {
    const Float t = V::sub(shifted, V::set(Index::kShift));
    const Int index = V::bits(shifted);
    const Float table = V::lookup(kExp2Float8.table, index);
    const Float tail = V::fmadd(t, V::set(kLn2LowFloat), V::lookup(kExp2Float8.errors, index));
    const Float r = V::add(V::fmsub(t, V::set(kLn2HighFloat), x), tail);
    const auto& c = kExp2Float8.coefficients;
    const Float q = V::fmadd(V::fmadd(V::set(c[2]), r, V::set(c[1])), r, V::set(c[0]));
    const Float expm1 = V::fmadd(V::mul(r, r), q, r);
    const Float scale = Index::scale(index);
    return {scale, V::add(scale, V::fmadd(table, expm1, table))};
  }
};

}  // namespace torch_sigmoid_ext::kernels::cpu

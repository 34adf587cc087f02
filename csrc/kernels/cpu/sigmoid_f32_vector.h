// σ(x) = 1 / (1 + e^-x), float32, correctly rounded, over vectors of float32.
//
//   t = round(x · log2 e · n) / n            t = k + j/n; n = 32 or 16, as many as a lookup takes
//   r = t · ln 2 - x                         exact in its high part
//   σ = 2^k / (2^k + T · e^r),  T = 2^(-j/n)           no branch on the sign of x
//
// The denominator is kept as a sum d + l: what its roundings lost, the table's own error and e^r's
// second order are in l. From an estimate y of 1/d follows e = 1 - y · d - y · l, and
// σ = 2^k · y · (1 + e + e² ...), known to a relative error of (n = 32 and n = 16)
//
//   the series in e, cut after e² (rcp14, |e| <= 2^-14) or e³ (rcpps, |e| <= 1.5 · 2^-12)
//                                                              2^-42       2^-45.6
//   e^r's polynomial, its coefficients rounded                 2^-38.8     2^-37.6
//   z and T · z rounded, each below 2^-13 and 2^-11            2^-36.4     2^-34.5
//   e rounded, twice in e, in the series and with ε            2^-37       2^-34
//   in all, if every one were at its worst at once             2^-35.5     2^-33.16
//
// Rounding test (Ziv): y · (1 + e + ε) and y · (1 + e - ε) are the same float unless σ lies within ε of
// a rounding boundary; those lanes, up to 0.3 % of random inputs, go to the double core. ε is the
// adapter's, since the estimate is; the bits of a result do not depend on it, nor on the estimate.
//
// A block with an input outside of about (-20, 23) goes to the double core in vectors.
#pragma once

#include <cstdint>

#include "constants.h"
#include "core_vector.h"
#include "exp2_index.h"
#include "scalar.h"

namespace torch_sigmoid_ext::kernels::cpu {

template <class V>
class SigmoidFloat32 {
  using Float = typename V::Float;
  using Int = typename V::Int;

 public:
  static constexpr int kBlock = 4 * V::kLanes;  // four vectors in flight hide each other's latency

  // `output` may be `input`.
  VECTOR_INLINE static void block(const float* input, float* output) {
    Denominator denominators[4];
    Int outside = V::zero();
    for (int v = 0; v < 4; ++v) {
      denominators[v] = denominate(V::load(input + v * V::kLanes), outside);
    }
    if (__builtin_expect(V::any_bit(outside, kOutside), 0)) return double_block(input, output);
    Float results[4];
    Int doubts[4];
    for (int v = 0; v < 4; ++v) results[v] = divide(denominators[v], doubts[v]);
    if (__builtin_expect(V::any_bit(doubts), 0)) return mend(input, output, results, doubts);
    for (int v = 0; v < 4; ++v) V::store(output + v * V::kLanes, results[v]);
  }

 private:
  using Index = Exp2Index<V>;

  struct Denominator {
    Float scale;      // 2^(k + kUp)
    Float high, low;  // 2^(k + kUp) + 2^kUp · T · e^r
  };

  // Only for t in [1 - kUp, 65 - kUp) do the index's bits from kOutside up agree with kInside.
  // There 2^k and T · r, of at most 2^-(kBits + 1.5) · T, span less than 24 bits, which `rest` in
  // denominate() needs to be exact.
  static constexpr int kOutside = ~((1 << (Index::kBits + 6)) - 1);
  static constexpr int kInside =
      std::bit_cast<int>(Index::kShift - static_cast<float>(Index::kUp - 1));

  VECTOR_INLINE static Denominator denominate(Float x, Int& outside) {
    const Float shifted = V::fmadd(x, V::set(kLog2EFloat), V::set(Index::kShift));
    const Float t = V::sub(shifted, V::set(Index::kShift));
    const Float r = V::fmsub(t, V::set(kLn2HighFloat), x);
    const Int index = V::bits(shifted);
    outside = V::or_xor(outside, index, kInside);
    const Float table = V::lookup(V::kExp2.table, index);
    const Float shift = V::fmadd(t, V::set(kLn2LowFloat), V::lookup(V::kExp2.errors, index));
    const Float scale = Index::scale(index);

    constexpr int kTerms = sizeof(V::kExp2.coefficients) / sizeof(float);
    Float q = V::set(V::kExp2.coefficients[kTerms - 1]);
    for (int i = kTerms - 2; i >= 0; --i) q = V::fmadd(q, r, V::set(V::kExp2.coefficients[i]));
    const Float z = V::fmadd(r, V::fmadd(r, q, shift), shift);  // e^(r + shift) - 1 - r

    const Float high = V::fmadd(table, r, V::add(scale, table));
    const Float rest = V::add(V::sub(V::max(scale, table), high), V::min(scale, table));  // exact
    return {scale, high, V::fmadd(table, z, V::fmadd(table, r, rest))};
  }

  // The quotient; in `doubt`, not 0 where its rounding is not certain.
  VECTOR_INLINE static Float divide(const Denominator& d, Int& doubt) {
    const Float y = V::reciprocal_estimate(d.high);
    Float e = V::fnmadd(y, d.high, V::set(1.0f));
    e = V::series(V::fnmadd(y, d.low, e));
    const Float above = V::fmadd(y, V::add(e, V::set(V::kEpsilon)), y);
    const Float below = V::fmadd(y, V::sub(e, V::set(V::kEpsilon)), y);
    doubt = V::exclusive_or(above, below);
    return V::mul(above, d.scale);
  }

  // The lanes in doubt one by one.
  __attribute__((noinline, cold)) static void mend(const float* input, float* output,
                                                   const Float (&results)[4],
                                                   const Int (&doubts)[4]) {
    float hard[kBlock];
    std::uint64_t lanes = 0;
    for (int v = 0; v < 4; ++v) lanes |= V::nonzero_lanes(doubts[v]) << (v * V::kLanes);
    int count = 0;
    for (std::uint64_t rest = lanes; rest != 0; rest &= rest - 1) {
      hard[count++] = input[__builtin_ctzll(rest)];
    }
    for (int v = 0; v < 4; ++v) V::store(output + v * V::kLanes, results[v]);
    count = 0;
    for (std::uint64_t rest = lanes; rest != 0; rest &= rest - 1) {
      output[__builtin_ctzll(rest)] = sigmoid_scalar(hard[count++]);
    }
  }

  __attribute__((noinline)) static void double_block(const float* input, float* output) {
    for (int v = 0; v < 4; ++v) {
      const Float x = V::load(input + v * V::kLanes);
      Float y;
      if (V::all_above(x, 17.5f)) {
        y = V::set(1.0f);
      } else if (V::all_below(x, -104.0f)) {
        y = V::set(0.0f);
      } else {
        y = V::template through_double<sigmoid_core_vector<V>>(x);
        const Float near_zero = V::fmadd(x, V::set(kNearZeroSlope), V::set(0.5f));
        y = V::where_near(x, kNearZero, near_zero, y);
        y = V::where_equal(x, kHardestInput, V::set(kHardestOutput), y);
      }
      V::store(output + v * V::kLanes, y);
    }
  }
};

}  // namespace torch_sigmoid_ext::kernels::cpu

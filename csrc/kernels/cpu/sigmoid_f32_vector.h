// σ(x) = 1 / (1 + e^-x), float32, correctly rounded, over vectors of float32.
//
//   t = round(x · log2 e · n) / n            t = k + j/n; n = 32 or 16, as many as a lookup takes
//   r = t · ln 2 - x                         exact in its high part
//   σ = 2^k / (2^k + T · e^r),  T = 2^(-j/n)           no branch on the sign of x
//
// The denominator is kept as a sum d + l: what its roundings lost, the table's own error and e^r's
// second order are in l. From an estimate y of 1/d follows e = 1 - y · d - y · l, and
// σ = 2^k · y · (1 + e + e² ...), known to a relative error of
//
//                                                              n = 32      n = 16
//                                                              rcp14       division
//   the series, cut after e²; |e| <= 2^-13.02 or 2^-12.03,
//   which is y's own error (rcp14: 2^-14) and y · l            2^-39.06    2^-36.09
//   e rounded: in its products, in the series, with ε          2^-36.19    2^-35.41
//   e^r's polynomial, its coefficients rounded                 2^-41.5     2^-44.0
//   z and T · z: q, r · q, z and their sum with l rounded      2^-36.59    2^-34.59
//   z's term shift · r² / 2, which is left away                2^-37.06    2^-35.06
//   in all, if every one were at its worst at once             2^-34.88    2^-33.18
//
// Rounding test (Ziv): y · (1 + e + ε) and y · (1 + e - ε) are the same float unless σ lies within ε of
// a rounding boundary; those lanes, up to 0.3 % of random inputs, go to the float64 kernel. ε is the
// adapter's, since the estimate is; the bits of a result do not depend on it, nor on the estimate.
//
// block() takes x from about -20 to 23, and capped_block() also those whose σ is 0 or 1, infinities, and
// NaN. The others take more, with the second ε:
//   low_block()     x from -87 to -17: σ = e^x (1 - e^x), no quotient
//   negative_block()  x from -87 to -0.4: 2^k is less than T, and its loss in 2^k + T known at once
//   normal_block()  every x but those of subnormal results. 2^k may be below the last bit of T: its
//                   exact loss is added to l after the cancellation
//   wide_block()    every x. Subnormal results (x < -87.3365) are multiples of g = 2^(-149 - k): with
//                   G = 2^23 · g, the float nearest G + y has σ's own bits as its low ones, rounded once
// x is clamped to where σ is 0 or 1 already; blocks of nothing else are a store (saturated_block).
// There shift is greater, and wide_block() rounds y · e before it is added:
//
//   z's term shift · r² / 2, which is left away                2^-35.55    2^-33.55
//   y · e rounded, twice                                       2^-36.02    2^-35.03
//   in all, with the first four lines above                    2^-33.98    2^-32.35
//
// negative_block() is within that as well. And low_block(), with the third, fourth and sixth line:
//
//   the low part rounded with ε                                2^-38.0     2^-36.0
//   (e^x)² and e^x · r² / 2, which are left away               2^-38.5     2^-36.5
//   in all                                                     2^-34.69    2^-32.70
#pragma once

#include <cstdint>

#include "constants.h"
#include "exp2_index.h"
#include "saturate.h"
#include "scalar.h"
#include "sigmoid_f64.h"

namespace torch_sigmoid_ext::kernels::cpu {

template <class V>
class SigmoidFloat32 {
  using Float = typename V::Float;
  using Int = typename V::Int;
  using Index = Exp2Index<V, V::kEntries>;
  using LowIndex = Exp2Index<V, V::kEntries, 0>;

 public:
  static constexpr int kVectors = 4;  // in flight, to hide each other's latency
  static constexpr int kBlock = kVectors * V::kLanes;
  static constexpr bool kInterleaved = V::kManyRegisters;

  // The lanes in doubt of many blocks: decided one by one as they come, each would be waited for.
  class Later {
   public:
    bool full() const { return count_ >= kFull; }

    // A function apart, and a small one: the loop around the blocks keeps its registers.
    __attribute__((noinline, cold)) void put(const float* input, float* output,
                                             std::uint64_t lanes) {
      int count = count_;
      for (; lanes != 0; lanes &= lanes - 1, ++count) {
        const int lane = __builtin_ctzll(lanes);
        inputs_[count] = input[lane];
        outputs_[count] = output + lane;
      }
      count_ = count;
    }

    VECTOR_INLINE void settle() {
      if (count_ != 0) settle_all();
    }

   private:
    static constexpr int kFull = 128;
    static constexpr int kMost = kFull - 1 + kBlock;

    __attribute__((noinline)) void settle_all() {
      for (int i = count_; i % V::kDoubles != 0; ++i) inputs_[i] = 0.0;
      alignas(64) double results[kMost + V::kDoubles];
      for (int i = 0; i < count_; i += V::kDoubles) {
        V::store(results + i, SigmoidFloat64<V>::wide(V::load(inputs_ + i)));
      }
      for (int i = 0; i < count_; ++i) {
        *outputs_[i] = rounded_scalar(static_cast<float>(inputs_[i]), results[i]);
      }
      count_ = 0;
    }

    int count_ = 0;
    alignas(64) double inputs_[kMost + V::kDoubles];
    float* outputs_[kMost];
  };

  // The blocks return false, and have written nothing, where an input is out of their range. `output`
  // may be `input`.
  VECTOR_INLINE static bool block(const float* input, float* output, Later& later) {
    Denominator denominators[kVectors];
    Int outside = V::zero();
    for (int v = 0; v < kVectors; ++v) {
      const Float x = V::load(input + v * V::kLanes);
      const Float shifted = Index::shift(x);
      outside = V::or_xor(outside, V::bits(shifted), Index::kInside);
      denominators[v] = denominate<kNarrow>(x, shifted);
    }
    if (__builtin_expect(V::any_bit(outside, Index::kOutside), 0)) return false;
    Float results[kVectors];
    Int doubts[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      const Float y = quotient(denominators[v], V::kEpsilon, doubts[v]);
      results[v] = scaled(y, denominators[v].scale);
    }
    finish(input, output, results, doubts, later);
    return true;
  }

  VECTOR_INLINE static bool capped_block(const float* input, float* output, Later& later) {
    return clamped_block<kNarrow>(input, output, later);
  }

  VECTOR_INLINE static bool saturated_block(const float* input, float* output) {
    return saturate<V, kVectors>(input, output);
  }

  VECTOR_INLINE static bool low_block(const float* input, float* output, Later& later) {
    Float results[kVectors];
    Int doubts[kVectors];
    Int most = V::zero();
    for (int v = 0; v < kVectors; ++v) {
      const Float x = V::load(input + v * V::kLanes);
      const Float shifted = LowIndex::shift(x);
      most = V::max_unsigned(most, V::sub(V::bits(shifted), V::set_int(kLeastLow)));
      results[v] = power(x, shifted, doubts[v]);
    }
    if (__builtin_expect(V::any_above(most, kGreatestLow - kLeastLow), 0)) return false;
    finish(input, output, results, doubts, later);
    return true;
  }

  VECTOR_INLINE static bool negative_block(const float* input, float* output, Later& later) {
    Denominator denominators[kVectors];
    Int most = V::zero();
    for (int v = 0; v < kVectors; ++v) {
      const Float x = V::load(input + v * V::kLanes);
      const Float shifted = Index::shift(x);
      most = V::max_unsigned(most, V::sub(V::bits(shifted), V::set_int(Index::kLeastNormal)));
      denominators[v] = denominate<kNegative>(x, shifted);
    }
    if (__builtin_expect(V::any_above(most, kGreatestNegative - Index::kLeastNormal), 0)) {
      return false;
    }
    Float results[kVectors];
    Int doubts[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      const Float y = quotient(denominators[v], V::kWideEpsilon, doubts[v]);
      results[v] = scaled(y, denominators[v].scale);
    }
    finish(input, output, results, doubts, later);
    return true;
  }

  VECTOR_INLINE static bool normal_block(const float* input, float* output, Later& later) {
    return clamped_block<kWide>(input, output, later);
  }

  VECTOR_INLINE static void wide_block(const float* input, float* output, Later& later) {
    Float results[kVectors];
    Int doubts[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      const Float x = V::load(input + v * V::kLanes);
      const Float clamped = V::clamp(x, kFloat32Zero, kFloat32One);
      const Denominator d = denominate<kWide>(clamped, Index::shift(clamped));
      results[v] = V::where_nan(x, divide_wide(clamped, d, doubts[v]));
    }
    finish(input, output, results, doubts, later);
  }

 private:
  enum Range { kNarrow, kNegative, kWide };

  template <Range kRange>
  VECTOR_INLINE static bool clamped_block(const float* input, float* output, Later& later) {
    Denominator denominators[kVectors];
    Int least = V::set_int(-1);
    for (int v = 0; v < kVectors; ++v) {
      const Float x = Index::clamp(V::load(input + v * V::kLanes));
      const Float shifted = Index::shift(x);
      least = Index::lower(least, shifted);
      denominators[v] = denominate<kRange>(x, shifted);
    }
    constexpr int kLeast = kRange == kNarrow ? Index::kInside : Index::kLeastNormal;
    if (__builtin_expect(Index::any_below(least, kLeast), 0)) return false;
    constexpr float kEpsilon = kRange == kNarrow ? V::kEpsilon : V::kWideEpsilon;
    Float results[kVectors];
    Int doubts[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      const Float y = quotient(denominators[v], kEpsilon, doubts[v]);
      results[v] = V::mul(y, denominators[v].scale);
    }
    finish(input, output, results, doubts, later);
    return true;
  }

  // Of t; -126 itself can come with a subnormal result.
  static constexpr int kLeastLow = LowIndex::of(-125.5f);
  static constexpr int kGreatestLow = LowIndex::of(-24.5f);
  static constexpr int kGreatestNegative = Index::of(-0.5f);

  struct Denominator {
    Float scale;      // 2^(k + kUp)
    Float high, low;  // 2^(k + kUp) + 2^kUp · T · e^r
  };

  template <Range kRange>
  VECTOR_INLINE static Denominator denominate(Float x, Float shifted) {
    const Float t = V::sub(shifted, V::set(Index::kShift));
    const Float r = V::fmsub(t, V::set(kLn2HighFloat), x);
    const Int index = V::bits(shifted);
    const Float table = V::lookup(V::kExp2.table, index);
    const Float shift = V::fmadd(t, V::set(kLn2LowFloat), V::lookup(V::kExp2.errors, index));
    const Float scale = Index::scale(index);
    const Float z = expm1_less_r(r, shift);

    const Float sum = V::add(scale, table);
    const Float high = V::fmadd(table, r, sum);
    const Float greater = kRange == kNegative ? table : V::max(scale, table);
    const Float lesser = kRange == kNegative ? scale : V::min(scale, table);
    Float low;
    if constexpr (kRange == kNarrow) {
      // Exact but for the fma: 2^k and T · r, of at most 2^-(kBits + 1.5) · T, span less than 24 bits.
      low = V::fmadd(table, r, V::add(V::sub(greater, high), lesser));
    } else {
      const Float lost = V::sub(lesser, V::sub(sum, greater));  // exact
      low = V::add(V::fmadd(table, r, V::sub(sum, high)), lost);
    }
    return {scale, high, V::fmadd(table, z, low)};
  }

  // z = e^(r + shift) - 1 - r
  VECTOR_INLINE static Float expm1_less_r(Float r, Float shift) {
    constexpr int kTerms = sizeof(V::kExp2.coefficients) / sizeof(float);
    Float q = V::set(V::kExp2.coefficients[kTerms - 1]);
    for (int i = kTerms - 2; i >= 0; --i) q = V::fmadd(q, r, V::set(V::kExp2.coefficients[i]));
    return V::fmadd(r, V::fmadd(r, q, shift), shift);
  }

  // e + e² of y · (1 + e + e² ...) = 1 / (d.high + d.low)
  VECTOR_INLINE static Float correction(Float y, const Denominator& d) {
    const Float e = V::fnmadd(y, d.low, V::fnmadd(y, d.high, V::set(1.0f)));
    return V::fmadd(e, e, e);
  }

  // 1 / d, 2^k away from the result; in `doubt`, not 0 where its rounding is not certain.
  VECTOR_INLINE static Float quotient(const Denominator& d, float epsilon, Int& doubt) {
    const Float y = V::reciprocal_estimate(d.high);
    const Float e = correction(y, d);
    const Float above = V::fmadd(y, V::add(e, V::set(epsilon)), y);
    const Float below = V::fmadd(y, V::sub(e, V::set(epsilon)), y);
    doubt = V::exclusive_or(above, below);
    return above;
  }

  // y · scale where y is finite and the product normal: integers do not wait for a multiplier.
  VECTOR_INLINE static Float scaled(Float y, Float scale) {
    const Int exponent = V::sub(V::bits(scale), V::set_int(127 << 23));
    return V::as_float(V::add(V::bits(y), exponent));
  }

  // G is 0 for normal results. Rounding beside `rest` loses up to 2^-24 · g more: `slack`.
  VECTOR_INLINE static Float divide_wide(Float x, const Denominator& d, Int& doubt) {
    const Float y = V::reciprocal_estimate(d.high);
    const Float e = correction(y, d);
    const Int scale = V::bits(d.scale);
    const auto tiny = V::less(x, kFloat32Tiny);
    const Int grid = V::keep(tiny, V::sub(V::set_int(128 << 23), scale));  // G
    const Int slack = V::keep(tiny, V::sub(grid, V::set_int(47 << 23)));
    const Float coarse = V::add(V::as_float(grid), y);
    const Float rest = V::sub(y, V::sub(coarse, V::as_float(grid)));  // exact
    const Float more = V::fmadd(y, V::add(e, V::set(V::kWideEpsilon)), rest);
    const Float less = V::fmadd(y, V::sub(e, V::set(V::kWideEpsilon)), rest);
    const Float above = V::add(coarse, V::add(more, V::as_float(slack)));
    const Float below = V::add(coarse, V::sub(less, V::as_float(slack)));
    doubt = V::exclusive_or(above, below);
    const Int shift = V::choose(tiny, grid, V::sub(V::set_int(127 << 23), scale));
    return V::as_float(V::sub(V::bits(above), shift));
  }

  // e^x (1 - e^x), by e^(x - e^x): r = x - t · ln 2, T = 2^(j/n).
  VECTOR_INLINE static Float power(Float x, Float shifted, Int& doubt) {
    const Float t = V::sub(shifted, V::set(LowIndex::kShift));
    const Float r = V::fnmadd(t, V::set(kLn2HighFloat), x);
    const Int index = V::bits(shifted);
    const Float table = V::lookup(V::kExp2.powers, index);
    const Float scale = LowIndex::scale(index);
    const Float high = V::fmadd(table, r, table);
    const Float error = V::lookup(V::kExp2.power_errors, index);
    const Float shift = V::fnmadd(high, scale, V::fnmadd(t, V::set(kLn2LowFloat), error));
    const Float rest = V::fmadd(table, r, V::sub(table, high));
    const Float low = V::fmadd(table, expm1_less_r(r, shift), rest);
    const Float epsilon = V::set(2.0f * V::kWideEpsilon);  // high is in [1, 2)
    const Float above = V::add(high, V::add(low, epsilon));
    const Float below = V::add(high, V::sub(low, epsilon));
    doubt = V::exclusive_or(above, below);
    return V::mul(above, scale);
  }

  VECTOR_INLINE static void finish(const float* input, float* output,
                                   const Float (&results)[kVectors], const Int (&doubts)[kVectors],
                                   Later& later) {
    if (__builtin_expect(V::any_bit(doubts), 0)) {
      std::uint64_t lanes = 0;
      for (int v = 0; v < kVectors; ++v) lanes |= V::nonzero_lanes(doubts[v]) << (v * V::kLanes);
      later.put(input, output, lanes);  // before the stores: output may be input
    }
    for (int v = 0; v < kVectors; ++v) V::store(output + v * V::kLanes, results[v]);
  }
};

}  // namespace torch_sigmoid_ext::kernels::cpu

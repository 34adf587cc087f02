// The kernel set for AVX2 with FMA and F16C: instructions, and nothing of the mathematics.
#if defined(__x86_64__)

// The standard library comes before the target is raised: an inline function of it that was
// compiled for AVX2 could be the copy that the linker keeps for every CPU. For the same reason the
// headers below hold templates only, over a type that no other file can name.
#include <immintrin.h>

#include <array>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "select.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
#define VECTOR_INLINE __attribute__((always_inline)) inline

#include "blocks.h"

namespace torch_sigmoid_ext::kernels::cpu {
namespace {

struct Avx2 {
  using Float = __m256;
  using Int = __m256i;
  using Double = __m256d;
  static constexpr int kLanes = 8;
  static constexpr bool kManyRegisters = false;
  static constexpr int kDoubles = 4;
  static constexpr int kEntries = 16;  // a lookup takes two permutations and a blend
  static constexpr const auto& kExp2 = kExp2Float16;
  static constexpr float kEpsilon = 0x1.dp-34f;       // 2^-33.14
  static constexpr float kWideEpsilon = 0x1.94p-33f;  // 2^-32.34

  VECTOR_INLINE static Float load(const float* from) { return _mm256_loadu_ps(from); }
  VECTOR_INLINE static void store(float* to, Float a) { _mm256_storeu_ps(to, a); }
  VECTOR_INLINE static Float set(float a) { return _mm256_set1_ps(a); }
  VECTOR_INLINE static Float add(Float a, Float b) { return _mm256_add_ps(a, b); }
  VECTOR_INLINE static Float sub(Float a, Float b) { return _mm256_sub_ps(a, b); }
  VECTOR_INLINE static Float mul(Float a, Float b) { return _mm256_mul_ps(a, b); }
  VECTOR_INLINE static Float div(Float a, Float b) { return _mm256_div_ps(a, b); }
  VECTOR_INLINE static Float max(Float a, Float b) { return _mm256_max_ps(a, b); }
  VECTOR_INLINE static Float min(Float a, Float b) { return _mm256_min_ps(a, b); }
  VECTOR_INLINE static Float fmadd(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
  VECTOR_INLINE static Float fmsub(Float a, Float b, Float c) { return _mm256_fmsub_ps(a, b, c); }
  VECTOR_INLINE static Float fnmadd(Float a, Float b, Float c) { return _mm256_fnmadd_ps(a, b, c); }

  VECTOR_INLINE static Float clamp(Float a, float low, float high) {
    // Where one operand is NaN, max and min give the second.
    return _mm256_max_ps(set(low), _mm256_min_ps(set(high), a));
  }

  // rcpps, good to 1.5 · 2^-12, would be no quicker: the divider works beside the multipliers.
  VECTOR_INLINE static Float reciprocal_estimate(Float a) { return div(set(1.0f), a); }

  VECTOR_INLINE static Int zero() { return _mm256_setzero_si256(); }
  VECTOR_INLINE static Int bits(Float a) { return _mm256_castps_si256(a); }
  VECTOR_INLINE static Float as_float(Int a) { return _mm256_castsi256_ps(a); }
  // A constant from memory: one from a general register takes two operations of the vector units.
  VECTOR_INLINE static Int set_int(int a) { return bits(set(std::bit_cast<float>(a))); }
  VECTOR_INLINE static Int add(Int a, Int b) { return _mm256_add_epi32(a, b); }
  VECTOR_INLINE static Int sub(Int a, Int b) { return _mm256_sub_epi32(a, b); }
  VECTOR_INLINE static Int or_xor(Int a, Int b, int c) {  // a | (b ^ c)
    return _mm256_or_si256(a, _mm256_xor_si256(b, _mm256_set1_epi32(c)));
  }
  VECTOR_INLINE static Int exclusive_or(Float a, Float b) {
    return _mm256_xor_si256(bits(a), bits(b));
  }
  VECTOR_INLINE static bool any_bit(Int a, int mask) {
    return _mm256_testz_si256(a, _mm256_set1_epi32(mask)) == 0;
  }
  VECTOR_INLINE static bool any_bit(const Int (&a)[4]) {
    const Int all = _mm256_or_si256(_mm256_or_si256(a[0], a[1]), _mm256_or_si256(a[2], a[3]));
    return any_bit(all, -1);
  }
  VECTOR_INLINE static std::uint64_t nonzero_lanes(Int a) {
    const Float zeros = _mm256_castsi256_ps(_mm256_cmpeq_epi32(a, zero()));
    return 0xffu & ~static_cast<unsigned>(_mm256_movemask_ps(zeros));
  }

  VECTOR_INLINE static Float lookup(const float (&table)[16], Int index) {
    const Float upper_half = _mm256_castsi256_ps(_mm256_slli_epi32(index, 28));  // bit 3 as sign
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(_mm256_load_ps(table), index),
                            _mm256_permutevar8x32_ps(_mm256_load_ps(table + 8), index), upper_half);
  }
  // The index shifted left, its bits 23 to 30: a power of two.
  template <int kShift>
  VECTOR_INLINE static Float exponent_field(Int index) {
    return _mm256_castsi256_ps(
        _mm256_and_si256(_mm256_slli_epi32(index, kShift), _mm256_set1_epi32(0x7f800000)));
  }
  template <int kShift>
  VECTOR_INLINE static Float exponent_field(Int index, int mantissa) {
    return _mm256_or_ps(exponent_field<kShift>(index),
                        _mm256_castsi256_ps(_mm256_set1_epi32(mantissa)));
  }

  // Masks: what less() gives, keep() and choose() take.
  VECTOR_INLINE static Float less(Float a, float b) { return _mm256_cmp_ps(a, set(b), _CMP_LT_OQ); }
  VECTOR_INLINE static bool all_beyond(Float a, float low, float high) {
    const Float above = _mm256_cmp_ps(a, set(high), _CMP_GT_OQ);
    return _mm256_movemask_ps(_mm256_or_ps(less(a, low), above)) == 0xff;
  }
  VECTOR_INLINE static Int min_unsigned(Int a, Int b) { return _mm256_min_epu32(a, b); }
  VECTOR_INLINE static Int max_unsigned(Int a, Int b) { return _mm256_max_epu32(a, b); }
  VECTOR_INLINE static bool any_below(Int a, int limit) {
    const Int same = _mm256_cmpeq_epi32(a, min_unsigned(a, _mm256_set1_epi32(limit - 1)));
    return _mm256_movemask_epi8(same) != 0;
  }
  VECTOR_INLINE static bool any_above(Int a, int limit) {
    const Int same = _mm256_cmpeq_epi32(a, max_unsigned(a, _mm256_set1_epi32(limit + 1)));
    return _mm256_movemask_epi8(same) != 0;
  }
  VECTOR_INLINE static Int keep(Float mask, Int a) {  // 0 elsewhere
    return _mm256_and_si256(bits(mask), a);
  }
  VECTOR_INLINE static Int choose(Float mask, Int then, Int otherwise) {
    return bits(_mm256_blendv_ps(as_float(otherwise), as_float(then), mask));
  }
  VECTOR_INLINE static Float where_nan(Float a, Float otherwise) {  // a where a is NaN
    return _mm256_blendv_ps(otherwise, a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
  }
  VECTOR_INLINE static Float where_near(Float a, float limit, Float then, Float otherwise) {
    const Float magnitude = _mm256_andnot_ps(set(-0.0f), a);
    return _mm256_blendv_ps(otherwise, then, _mm256_cmp_ps(magnitude, set(limit), _CMP_LT_OQ));
  }
  VECTOR_INLINE static Double set_double(double a) { return _mm256_set1_pd(a); }
  VECTOR_INLINE static Double add(Double a, Double b) { return _mm256_add_pd(a, b); }
  VECTOR_INLINE static Double sub(Double a, Double b) { return _mm256_sub_pd(a, b); }
  VECTOR_INLINE static Double mul(Double a, Double b) { return _mm256_mul_pd(a, b); }
  VECTOR_INLINE static Double div(Double a, Double b) { return _mm256_div_pd(a, b); }
  VECTOR_INLINE static Double fmadd(Double a, Double b, Double c) {
    return _mm256_fmadd_pd(a, b, c);
  }
  VECTOR_INLINE static Double fmsub(Double a, Double b, Double c) {
    return _mm256_fmsub_pd(a, b, c);
  }
  VECTOR_INLINE static Double clamp(Double a, double low, double high) {
    // Where one operand is NaN, max and min give the second.
    return _mm256_max_pd(set_double(low), _mm256_min_pd(set_double(high), a));
  }
  VECTOR_INLINE static Double load(const double* from) { return _mm256_loadu_pd(from); }
  VECTOR_INLINE static void store(double* to, Double a) { _mm256_storeu_pd(to, a); }
  VECTOR_INLINE static Double min(Double a, Double b) { return _mm256_min_pd(a, b); }
  VECTOR_INLINE static Double fnmadd(Double a, Double b, Double c) {
    return _mm256_fnmadd_pd(a, b, c);
  }
  VECTOR_INLINE static Double max(Double a, Double b) { return _mm256_max_pd(a, b); }
  VECTOR_INLINE static Int bits(Double a) { return _mm256_castpd_si256(a); }
  VECTOR_INLINE static Double as_double(Int a) { return _mm256_castsi256_pd(a); }
  VECTOR_INLINE static Int sub64(Int a, Int b) { return _mm256_sub_epi64(a, b); }
  VECTOR_INLINE static Double less(Double a, double b) {
    return _mm256_cmp_pd(a, set_double(b), _CMP_LT_OQ);
  }
  VECTOR_INLINE static Int keep(Double mask, Int a) { return _mm256_and_si256(bits(mask), a); }
  VECTOR_INLINE static Int choose(Double mask, Int then, Int otherwise) {
    return bits(choose(mask, as_double(then), as_double(otherwise)));
  }
  VECTOR_INLINE static Double choose(Double mask, Double then, Double otherwise) {
    return _mm256_blendv_pd(otherwise, then, mask);
  }
  VECTOR_INLINE static Double where_nan(Double a, Double otherwise) {
    return _mm256_blendv_pd(otherwise, a, _mm256_cmp_pd(a, a, _CMP_UNORD_Q));
  }
  VECTOR_INLINE static bool all_beyond(Double a, double low, double high) {
    const Double above = _mm256_cmp_pd(a, set_double(high), _CMP_GT_OQ);
    return _mm256_movemask_pd(_mm256_or_pd(less(a, low), above)) == 0xf;
  }
  VECTOR_INLINE static Double min_number(Double a, Double b) {  // b where a is NaN
    return _mm256_min_pd(a, b);
  }
  VECTOR_INLINE static Double abs(Double a) { return _mm256_andnot_pd(set_double(-0.0), a); }
  VECTOR_INLINE static bool any_within(Double a, double limit) {
    return _mm256_movemask_pd(_mm256_cmp_pd(a, set_double(limit), _CMP_LE_OQ)) != 0;
  }
  VECTOR_INLINE static bool all_within(Double a, double limit) {
    return _mm256_movemask_pd(_mm256_cmp_pd(abs(a), set_double(limit), _CMP_LE_OQ)) == 0xf;
  }

  struct Exp2Double {
    Double value, error;  // kExp2Double and kExp2DoubleErrors
  };
  // Side by side, so that one load brings both: gathers take twice as long on AMD's CPUs.
  struct alignas(16) Pair {
    double value, error;
  };
  static constexpr std::array<Pair, 16> kPairs = [] {
    std::array<Pair, 16> pairs{};
    for (std::size_t j = 0; j < 16; ++j) pairs[j] = {kExp2Double[j], kExp2DoubleErrors[j]};
    return pairs;
  }();
  VECTOR_INLINE static Exp2Double lookup_exp2(Int index) {
    const Int j = _mm256_and_si256(index, _mm256_set1_epi64x(15));
    const __m128i low = _mm256_castsi256_si128(j);
    const __m128i high = _mm256_extracti128_si256(j, 1);
    const Double even = two_pairs(_mm_cvtsi128_si64(low), _mm_cvtsi128_si64(high));
    const Double odd = two_pairs(_mm_extract_epi64(low, 1), _mm_extract_epi64(high, 1));
    return {_mm256_unpacklo_pd(even, odd), _mm256_unpackhi_pd(even, odd)};
  }
  VECTOR_INLINE static Double two_pairs(std::int64_t i, std::int64_t j) {
    const Double first =
        _mm256_castpd128_pd256(_mm_load_pd(&kPairs[static_cast<std::size_t>(i)].value));
    return _mm256_insertf128_pd(first, _mm_load_pd(&kPairs[static_cast<std::size_t>(j)].value), 1);
  }
  // The bits from 4 up as sign and exponent.
  VECTOR_INLINE static Int exponent_field_above_index(Int index) {
    return _mm256_and_si256(_mm256_slli_epi64(index, 48), exponent_bits(0xfff));
  }
  VECTOR_INLINE static Int exponent_bits(std::uint64_t a) {
    return bits(set_double(std::bit_cast<double>(a << 52)));
  }

  // For the 16-bit types.
  static constexpr const auto& kHalfExp2 = kHalfExp2By8;

  template <int kBits>
  VECTOR_INLINE static Int shift_left(Int a) {
    return _mm256_slli_epi32(a, kBits);
  }
  VECTOR_INLINE static Int lookup(const std::int32_t (&table)[8], Int index) {
    return _mm256_permutevar8x32_epi32(_mm256_load_si256(reinterpret_cast<const Int*>(table)),
                                       index);
  }
  VECTOR_INLINE static Float where_negative(Float a, Float then, Float otherwise) {
    return _mm256_blendv_ps(otherwise, then, a);
  }
  // a · b rounded to odd: towards zero, and the last bit set where that lost something.
  VECTOR_INLINE static Float mul_to_odd(Float a, Float b) {
    const Float nearest = mul(a, b);
    const Float lost = fmsub(a, b, nearest);
    const Int away = _mm256_srai_epi32(exclusive_or(nearest, lost), 31);  // -1 where it grew
    const Int odd = _mm256_or_si256(add(bits(nearest), away), _mm256_set1_epi32(1));
    const Float inexact = _mm256_cmp_ps(lost, set(0.0f), _CMP_NEQ_OQ);
    return _mm256_blendv_ps(nearest, as_float(odd), inexact);
  }
  // Whether 0 < |a| <= limit anywhere.
  VECTOR_INLINE static bool any_tiny(const Float (&a)[2][2], float limit) {
    Int least = bits(set(limit));
    for (const auto& pair : a) {
      for (const Float& value : pair) {
        const Int magnitude = _mm256_and_si256(bits(value), _mm256_set1_epi32(0x7fffffff));
        // Less one, 0 is the greatest of unsigned integers.
        least = _mm256_min_epu32(least, add(magnitude, _mm256_set1_epi32(-1)));
      }
    }
    return _mm256_movemask_epi8(_mm256_cmpeq_epi32(least, bits(set(limit)))) != -1;
  }
  // 1 - y, and less than 1 wherever y > 0.
  VECTOR_INLINE static Float one_minus(Float y) {
    const Float u = sub(set(1.0f), y);
    return as_float(add(bits(u), bits(_mm256_cmp_ps(u, set(1.0f), _CMP_EQ_OQ))));  // -1 there
  }
  VECTOR_INLINE static Float power_of_two_below(Float a) {
    return _mm256_and_ps(a, set(HUGE_VALF));
  }
  VECTOR_INLINE static Float copy_sign(Float a, Float sign) {
    return _mm256_or_ps(_mm256_andnot_ps(set(-0.0f), a), _mm256_and_ps(set(-0.0f), sign));
  }
};

// The first and the second half of 16 numbers.
struct Float16Io {
  VECTOR_INLINE static void load(const std::uint16_t* from, __m256 (&a)[2]) {
    for (int v = 0; v < 2; ++v) {
      a[v] = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 8 * v)));
    }
  }
  VECTOR_INLINE static void store(std::uint16_t* to, const __m256 (&a)[2]) {
    for (int v = 0; v < 2; ++v) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 8 * v),
                       _mm256_cvtps_ph(a[v], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    }
  }
  VECTOR_INLINE static void store_untied(std::uint16_t* to, const __m256 (&a)[2]) { store(to, a); }
  // a · b, rounded once.
  VECTOR_INLINE static void store_product(std::uint16_t* to, const __m256 (&a)[2],
                                          const __m256 (&b)[2]) {
    store(to, {Avx2::mul_to_odd(a[0], b[0]), Avx2::mul_to_odd(a[1], b[1])});
  }
};

// The even and the odd of 16 numbers: each is the upper half of a float32.
struct BFloat16Io {
  VECTOR_INLINE static void load(const std::uint16_t* from, __m256 (&a)[2]) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    a[0] = _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
    a[1] = _mm256_castsi256_ps(_mm256_and_si256(bits, _mm256_set1_epi32(kUpper)));
  }
  // Half a unit up, less one bit where the unit is even. A NaN that comes from a bfloat16 has no bits
  // below the unit, so it stays one.
  VECTOR_INLINE static void store(std::uint16_t* to, const __m256 (&a)[2]) {
    __m256i sums[2];
    for (int v = 0; v < 2; ++v) {
      const __m256i bits = _mm256_castps_si256(a[v]);
      const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
      sums[v] = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    }
    store_upper_halves(to, sums);
  }
  VECTOR_INLINE static void store_untied(std::uint16_t* to, const __m256 (&a)[2]) {
    __m256i sums[2];
    for (int v = 0; v < 2; ++v) {
      sums[v] = _mm256_add_epi32(_mm256_castps_si256(a[v]), _mm256_set1_epi32(0x8000));
    }
    store_upper_halves(to, sums);
  }
  // a · b, rounded once: where the nearest float32 lies in the middle between two bfloat16, up where the
  // product is greater or where it is exact and the lower one is odd.
  VECTOR_INLINE static void store_product(std::uint16_t* to, const __m256 (&a)[2],
                                          const __m256 (&b)[2]) {
    __m256i sums[2];
    for (int v = 0; v < 2; ++v) {
      const __m256 nearest = _mm256_mul_ps(a[v], b[v]);
      const __m256 excess = _mm256_fnmadd_ps(a[v], b[v], nearest);
      const __m256i bits = _mm256_castps_si256(nearest);
      const __m256 odd = _mm256_castsi256_ps(_mm256_slli_epi32(bits, 15));  // as the sign
      const __m256 exact = _mm256_cmp_ps(excess, _mm256_setzero_ps(), _CMP_EQ_OQ);
      const __m256 up = _mm256_blendv_ps(_mm256_xor_ps(nearest, excess), odd, exact);
      const __m256i one = _mm256_srai_epi32(_mm256_castps_si256(up), 31);  // -1 where up
      sums[v] = _mm256_sub_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), one);
    }
    store_upper_halves(to, sums);
  }

 private:
  static constexpr int kUpper = static_cast<int>(0xffff0000);

  VECTOR_INLINE static void store_upper_halves(std::uint16_t* to, const __m256i (&a)[2]) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                        _mm256_blend_epi16(_mm256_srli_epi32(a[0], 16), a[1], 0xaa));
  }
};

}  // namespace

const KernelSet& avx2() {
  static const KernelSet set = vector_kernels<Avx2, Float16Io, BFloat16Io>("avx2");
  return set;
}

}  // namespace torch_sigmoid_ext::kernels::cpu

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

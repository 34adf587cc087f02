// The kernel set for AVX2 with FMA and F16C: instructions, and nothing of the mathematics.
#if defined(__x86_64__)

// The standard library comes before the target is raised: an inline function of it that was
// compiled for AVX2 could be the copy that the linker keeps for every CPU. For the same reason the
// headers below hold templates only, over a type that no other file can name.
#include <immintrin.h>

#include <array>
#include <bit>
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
  static constexpr int kDoubles = 4;
  static constexpr int kEntries = 16;  // a lookup takes two permutations and a blend
  static constexpr const auto& kExp2 = kExp2Float16;
  static constexpr float kEpsilon = 0x1.dp-34f;  // 2^-33.14

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

  // Relative error at most 1.5 · 2^-12 (Intel SDM, RCPPS).
  VECTOR_INLINE static Float reciprocal_estimate(Float a) { return _mm256_rcp_ps(a); }
  VECTOR_INLINE static Float series(Float e) { return fmadd(fmadd(e, e, e), e, e); }  // e + e² + e³

  VECTOR_INLINE static Int zero() { return _mm256_setzero_si256(); }
  VECTOR_INLINE static Int bits(Float a) { return _mm256_castps_si256(a); }
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

  VECTOR_INLINE static bool all_above(Float a, float b) {
    return _mm256_movemask_ps(_mm256_cmp_ps(a, set(b), _CMP_GT_OQ)) == 0xff;
  }
  VECTOR_INLINE static bool all_below(Float a, float b) {
    return _mm256_movemask_ps(_mm256_cmp_ps(a, set(b), _CMP_LT_OQ)) == 0xff;
  }
  VECTOR_INLINE static Float where_near(Float a, float limit, Float then, Float otherwise) {
    const Float magnitude = _mm256_andnot_ps(set(-0.0f), a);
    return _mm256_blendv_ps(otherwise, then, _mm256_cmp_ps(magnitude, set(limit), _CMP_LT_OQ));
  }
  VECTOR_INLINE static Float where_equal(Float a, float b, Float then, Float otherwise) {
    return _mm256_blendv_ps(otherwise, then, _mm256_cmp_ps(a, set(b), _CMP_EQ_OQ));
  }

  VECTOR_INLINE static Float where_finite(Float a, Float then, Float otherwise) {
    return _mm256_blendv_ps(otherwise, then, _mm256_cmp_ps(sub(a, a), set(0.0f), _CMP_EQ_OQ));
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
  VECTOR_INLINE static Double exponent_field(Double a) {
    return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(a), 52));
  }
  VECTOR_INLINE static Double load(const double* from) { return _mm256_loadu_pd(from); }
  VECTOR_INLINE static void store(double* to, Double a) { _mm256_storeu_pd(to, a); }
  VECTOR_INLINE static Double min(Double a, Double b) { return _mm256_min_pd(a, b); }
  VECTOR_INLINE static Double fnmadd(Double a, Double b, Double c) {
    return _mm256_fnmadd_pd(a, b, c);
  }
  VECTOR_INLINE static Double where_finite(Double a, Double then, Double otherwise) {
    return _mm256_blendv_pd(otherwise, then, _mm256_cmp_pd(sub(a, a), set_double(0.0), _CMP_EQ_OQ));
  }
  VECTOR_INLINE static bool none_below(Double a, double b) {
    return _mm256_movemask_pd(_mm256_cmp_pd(a, set_double(b), _CMP_LT_OQ)) == 0;
  }
  VECTOR_INLINE static Double lookup(const double (&table)[32], Double index) {
    const __m256i low_bits = _mm256_and_si256(_mm256_castpd_si256(index), _mm256_set1_epi64x(31));
    return _mm256_i64gather_pd(table, low_bits, sizeof(double));
  }
  // 2 to the power in bits 5 to 15, less the bias.
  VECTOR_INLINE static Double exponent_field_above_index(Double index) {
    return _mm256_castsi256_pd(_mm256_and_si256(_mm256_slli_epi64(_mm256_castpd_si256(index), 47),
                                                _mm256_set1_epi64x(0x7ff0000000000000)));
  }
  template <Double (*function)(Double)>
  VECTOR_INLINE static Float through_double(Float a) {
    const __m128 low = _mm256_cvtpd_ps(function(_mm256_cvtps_pd(_mm256_castps256_ps128(a))));
    const __m128 high = _mm256_cvtpd_ps(function(_mm256_cvtps_pd(_mm256_extractf128_ps(a, 1))));
    return _mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1);
  }
};

struct Float16Io {
  VECTOR_INLINE static __m256 load(const std::uint16_t* from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  VECTOR_INLINE static void store(std::uint16_t* to, __m256 a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                     _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
};

struct BFloat16Io {
  VECTOR_INLINE static __m256 load(const std::uint16_t* from) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  // Half a unit up, less one bit where the unit is even. NaN, which that could carry into the sign,
  // is replaced.
  VECTOR_INLINE static void store(std::uint16_t* to, __m256 a) {
    const __m256i bits = _mm256_castps_si256(a);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
    const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, half), 16);
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    const __m256i result = _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7fc0), nan);
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(to),
        _mm_packus_epi32(_mm256_castsi256_si128(result), _mm256_extracti128_si256(result, 1)));
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

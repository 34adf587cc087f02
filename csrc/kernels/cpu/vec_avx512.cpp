// The kernel set for AVX-512 (F, DQ, BW, VL): instructions, and nothing of the mathematics.
#if defined(__x86_64__)

// The standard library comes before the target is raised: an inline function of it that was
// compiled for AVX-512 could be the copy that the linker keeps for every CPU. For the same reason
// the headers below hold templates only, over a type that no other file can name.
#include <immintrin.h>

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "select.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#define VECTOR_INLINE __attribute__((always_inline)) inline

#include "sigmoid_f32_vector.h"

namespace torch_sigmoid_ext::kernels::cpu {
namespace {

struct Avx512 {
  using Float = __m512;
  using Int = __m512i;
  using Double = __m512d;
  static constexpr int kLanes = 16;
  static constexpr int kEntries = 32;
  static constexpr const auto& kExp2 = kExp2Float32;
  static constexpr float kEpsilon = 0x1.9p-36f;  // 2^-35.36

  VECTOR_INLINE static Float load(const float* from) { return _mm512_loadu_ps(from); }
  VECTOR_INLINE static void store(float* to, Float a) { _mm512_storeu_ps(to, a); }
  VECTOR_INLINE static Float set(float a) { return _mm512_set1_ps(a); }
  VECTOR_INLINE static Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
  VECTOR_INLINE static Float sub(Float a, Float b) { return _mm512_sub_ps(a, b); }
  VECTOR_INLINE static Float mul(Float a, Float b) { return _mm512_mul_ps(a, b); }
  VECTOR_INLINE static Float max(Float a, Float b) { return _mm512_max_ps(a, b); }
  VECTOR_INLINE static Float min(Float a, Float b) { return _mm512_min_ps(a, b); }
  VECTOR_INLINE static Float fmadd(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  VECTOR_INLINE static Float fmsub(Float a, Float b, Float c) { return _mm512_fmsub_ps(a, b, c); }
  VECTOR_INLINE static Float fnmadd(Float a, Float b, Float c) { return _mm512_fnmadd_ps(a, b, c); }

  // Relative error at most 2^-14 (Intel SDM, VRCP14PS).
  VECTOR_INLINE static Float reciprocal_estimate(Float a) { return _mm512_rcp14_ps(a); }
  VECTOR_INLINE static Float series(Float e) { return fmadd(e, e, e); }  // e + e²

  VECTOR_INLINE static Int zero() { return _mm512_setzero_si512(); }
  VECTOR_INLINE static Int bits(Float a) { return _mm512_castps_si512(a); }
  VECTOR_INLINE static Int or_xor(Int a, Int b, int c) {  // a | (b ^ c)
    return _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi32(c), 0xf6);
  }
  VECTOR_INLINE static Int exclusive_or(Float a, Float b) {
    return _mm512_xor_si512(bits(a), bits(b));
  }
  VECTOR_INLINE static bool any_bit(Int a, int mask) {
    return _mm512_test_epi32_mask(a, _mm512_set1_epi32(mask)) != 0;
  }
  VECTOR_INLINE static bool any_bit(const Int (&a)[4]) {
    const Int all = _mm512_or_si512(_mm512_or_si512(a[0], a[1]), _mm512_or_si512(a[2], a[3]));
    return any_bit(all, -1);
  }
  VECTOR_INLINE static std::uint64_t nonzero_lanes(Int a) { return _mm512_test_epi32_mask(a, a); }

  VECTOR_INLINE static Float lookup(const float (&table)[32], Int index) {
    return _mm512_permutex2var_ps(_mm512_load_ps(table), index, _mm512_load_ps(table + 16));
  }
  // The index shifted left, its bits 23 to 30: a power of two.
  template <int kShift>
  VECTOR_INLINE static Float exponent_field(Int index) {
    return _mm512_castsi512_ps(
        _mm512_and_si512(_mm512_slli_epi32(index, kShift), _mm512_set1_epi32(0x7f800000)));
  }

  VECTOR_INLINE static bool all_above(Float a, float b) {
    return _mm512_cmp_ps_mask(a, set(b), _CMP_GT_OQ) == 0xffff;
  }
  VECTOR_INLINE static bool all_below(Float a, float b) {
    return _mm512_cmp_ps_mask(a, set(b), _CMP_LT_OQ) == 0xffff;
  }
  VECTOR_INLINE static Float where_near(Float a, float limit, Float then, Float otherwise) {
    const __mmask16 near = _mm512_cmp_ps_mask(_mm512_abs_ps(a), set(limit), _CMP_LT_OQ);
    return _mm512_mask_mov_ps(otherwise, near, then);
  }
  VECTOR_INLINE static Float where_equal(Float a, float b, Float then, Float otherwise) {
    return _mm512_mask_mov_ps(otherwise, _mm512_cmp_ps_mask(a, set(b), _CMP_EQ_OQ), then);
  }

  VECTOR_INLINE static Double set_double(double a) { return _mm512_set1_pd(a); }
  VECTOR_INLINE static Double add(Double a, Double b) { return _mm512_add_pd(a, b); }
  VECTOR_INLINE static Double sub(Double a, Double b) { return _mm512_sub_pd(a, b); }
  VECTOR_INLINE static Double mul(Double a, Double b) { return _mm512_mul_pd(a, b); }
  VECTOR_INLINE static Double div(Double a, Double b) { return _mm512_div_pd(a, b); }
  VECTOR_INLINE static Double fmadd(Double a, Double b, Double c) {
    return _mm512_fmadd_pd(a, b, c);
  }
  VECTOR_INLINE static Double fmsub(Double a, Double b, Double c) {
    return _mm512_fmsub_pd(a, b, c);
  }
  VECTOR_INLINE static Double clamp(Double a, double low, double high) {
    // Where one operand is NaN, max and min give the second.
    return _mm512_max_pd(set_double(low), _mm512_min_pd(set_double(high), a));
  }
  VECTOR_INLINE static Double exponent_field(Double a) {
    return _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(a), 52));
  }
  template <Double (*function)(Double)>
  VECTOR_INLINE static Float through_double(Float a) {
    const __m256 low = _mm512_cvtpd_ps(function(_mm512_cvtps_pd(_mm512_castps512_ps256(a))));
    const __m256 high = _mm512_cvtpd_ps(function(_mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1))));
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
  }
};

}  // namespace

const KernelSet& avx512() {
  static const KernelSet set = [] {
    KernelSet made = scalar();
    made.name = "avx512";
    constexpr auto kFloat32 = static_cast<std::size_t>(ElementType::kFloat32);
    made.exact[kFloat32] = made.fast[kFloat32] = SigmoidFloat32<Avx512>::run;
    return made;
  }();
  return set;
}

}  // namespace torch_sigmoid_ext::kernels::cpu

#pragma GCC pop_options
#endif

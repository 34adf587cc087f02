// The kernel set for AVX-512 (F, DQ, BW, VL): instructions, and nothing of the mathematics.
#if defined(__x86_64__)

// The standard library comes before the target is raised: an inline function of it that was
// compiled for AVX-512 could be the copy that the linker keeps for every CPU. For the same reason
// the headers below hold templates only, over a type that no other file can name.
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
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#endif
#define VECTOR_INLINE __attribute__((always_inline)) inline

#include "blocks.h"

namespace torch_sigmoid_ext::kernels::cpu {
namespace {

struct Avx512 {
  using Float = __m512;
  using Int = __m512i;
  using Double = __m512d;
  static constexpr int kLanes = 16;
  static constexpr bool kManyRegisters = true;
  static constexpr int kDoubles = 8;
  static constexpr int kEntries = 32;
  static constexpr const auto& kExp2 = kExp2Float32;
  static constexpr float kEpsilon = 0x1.2p-35f;       // 2^-34.83
  static constexpr float kWideEpsilon = 0x1.04p-34f;  // 2^-33.98

  VECTOR_INLINE static Float load(const float* from) { return _mm512_loadu_ps(from); }
  VECTOR_INLINE static void store(float* to, Float a) { _mm512_storeu_ps(to, a); }
  VECTOR_INLINE static Float set(float a) { return _mm512_set1_ps(a); }
  VECTOR_INLINE static Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
  VECTOR_INLINE static Float sub(Float a, Float b) { return _mm512_sub_ps(a, b); }
  VECTOR_INLINE static Float mul(Float a, Float b) { return _mm512_mul_ps(a, b); }
  VECTOR_INLINE static Float div(Float a, Float b) { return _mm512_div_ps(a, b); }
  VECTOR_INLINE static Float max(Float a, Float b) { return _mm512_max_ps(a, b); }
  VECTOR_INLINE static Float min(Float a, Float b) { return _mm512_min_ps(a, b); }
  VECTOR_INLINE static Float fmadd(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  VECTOR_INLINE static Float fmsub(Float a, Float b, Float c) { return _mm512_fmsub_ps(a, b, c); }
  VECTOR_INLINE static Float fnmadd(Float a, Float b, Float c) { return _mm512_fnmadd_ps(a, b, c); }

  VECTOR_INLINE static Float clamp(Float a, float low, float high) {
    // Where one operand is NaN, max and min give the second.
    return _mm512_max_ps(set(low), _mm512_min_ps(set(high), a));
  }

  // Relative error at most 2^-14 (Intel SDM, VRCP14PS).
  VECTOR_INLINE static Float reciprocal_estimate(Float a) { return _mm512_rcp14_ps(a); }

  VECTOR_INLINE static Int zero() { return _mm512_setzero_si512(); }
  VECTOR_INLINE static Int bits(Float a) { return _mm512_castps_si512(a); }
  VECTOR_INLINE static Float as_float(Int a) { return _mm512_castsi512_ps(a); }
  // A constant from memory: one from a general register takes two operations of the vector units.
  VECTOR_INLINE static Int set_int(int a) { return bits(set(std::bit_cast<float>(a))); }
  VECTOR_INLINE static Int add(Int a, Int b) { return _mm512_add_epi32(a, b); }
  VECTOR_INLINE static Int sub(Int a, Int b) { return _mm512_sub_epi32(a, b); }
  VECTOR_INLINE static Int or_xor(Int a, Int b, int c) {  // a | (b ^ c)
    return _mm512_ternarylogic_epi32(a, b, set_int(c), 0xf6);
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

  VECTOR_INLINE static Float lookup(const float (&table)[16], Int index) {
    return _mm512_permutexvar_ps(index, _mm512_load_ps(table));
  }
  VECTOR_INLINE static Float lookup(const float (&table)[32], Int index) {
    return _mm512_permutex2var_ps(_mm512_load_ps(table), index, _mm512_load_ps(table + 16));
  }
  // The index shifted left, its bits 23 to 30: a power of two.
  template <int kShift>
  VECTOR_INLINE static Float exponent_field(Int index) {
    return _mm512_castsi512_ps(
        _mm512_and_si512(_mm512_slli_epi32(index, kShift), _mm512_set1_epi32(0x7f800000)));
  }
  template <int kShift>
  VECTOR_INLINE static Float exponent_field(Int index, int mantissa) {
    const Int shifted = _mm512_slli_epi32(index, kShift);  // shifted & field | mantissa
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(shifted, _mm512_set1_epi32(0x7f800000),
                                                         _mm512_set1_epi32(mantissa), 0xea));
  }

  // Masks: what less() gives, keep() and choose() take.
  VECTOR_INLINE static __mmask16 less(Float a, float b) {
    return _mm512_cmp_ps_mask(a, set(b), _CMP_LT_OQ);
  }
  VECTOR_INLINE static bool all_beyond(Float a, float low, float high) {
    const __mmask16 above = _mm512_cmp_ps_mask(a, set(high), _CMP_GT_OQ);
    return (less(a, low) | above) == 0xffff;
  }
  VECTOR_INLINE static Int min_unsigned(Int a, Int b) { return _mm512_min_epu32(a, b); }
  VECTOR_INLINE static Int max_unsigned(Int a, Int b) { return _mm512_max_epu32(a, b); }
  VECTOR_INLINE static bool any_below(Int a, int limit) {
    return _mm512_cmplt_epu32_mask(a, _mm512_set1_epi32(limit)) != 0;
  }
  VECTOR_INLINE static bool any_above(Int a, int limit) {
    return _mm512_cmpgt_epu32_mask(a, _mm512_set1_epi32(limit)) != 0;
  }
  VECTOR_INLINE static Int keep(__mmask16 mask, Int a) {  // 0 elsewhere
    return _mm512_maskz_mov_epi32(mask, a);
  }
  VECTOR_INLINE static Int choose(__mmask16 mask, Int then, Int otherwise) {
    return _mm512_mask_mov_epi32(otherwise, mask, then);
  }
  VECTOR_INLINE static Float where_nan(Float a, Float otherwise) {  // a where a is NaN
    return _mm512_mask_mov_ps(otherwise, _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), a);
  }
  VECTOR_INLINE static Float where_near(Float a, float limit, Float then, Float otherwise) {
    const __mmask16 near = _mm512_cmp_ps_mask(_mm512_abs_ps(a), set(limit), _CMP_LT_OQ);
    return _mm512_mask_mov_ps(otherwise, near, then);
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
  VECTOR_INLINE static Double load(const double* from) { return _mm512_loadu_pd(from); }
  VECTOR_INLINE static void store(double* to, Double a) { _mm512_storeu_pd(to, a); }
  VECTOR_INLINE static Double min(Double a, Double b) { return _mm512_min_pd(a, b); }
  VECTOR_INLINE static Double fnmadd(Double a, Double b, Double c) {
    return _mm512_fnmadd_pd(a, b, c);
  }
  VECTOR_INLINE static Double max(Double a, Double b) { return _mm512_max_pd(a, b); }
  VECTOR_INLINE static Int bits(Double a) { return _mm512_castpd_si512(a); }
  VECTOR_INLINE static Double as_double(Int a) { return _mm512_castsi512_pd(a); }
  VECTOR_INLINE static Int sub64(Int a, Int b) { return _mm512_sub_epi64(a, b); }
  VECTOR_INLINE static __mmask8 less(Double a, double b) {
    return _mm512_cmp_pd_mask(a, set_double(b), _CMP_LT_OQ);
  }
  VECTOR_INLINE static Int keep(__mmask8 mask, Int a) { return _mm512_maskz_mov_epi64(mask, a); }
  VECTOR_INLINE static Int choose(__mmask8 mask, Int then, Int otherwise) {
    return _mm512_mask_mov_epi64(otherwise, mask, then);
  }
  VECTOR_INLINE static Double choose(__mmask8 mask, Double then, Double otherwise) {
    return _mm512_mask_mov_pd(otherwise, mask, then);
  }
  VECTOR_INLINE static Double where_nan(Double a, Double otherwise) {
    return _mm512_mask_mov_pd(otherwise, _mm512_cmp_pd_mask(a, a, _CMP_UNORD_Q), a);
  }
  VECTOR_INLINE static bool all_beyond(Double a, double low, double high) {
    return (less(a, low) | _mm512_cmp_pd_mask(a, set_double(high), _CMP_GT_OQ)) == 0xff;
  }
  VECTOR_INLINE static Double min_number(Double a, Double b) {  // b where a is NaN
    return _mm512_min_pd(a, b);
  }
  VECTOR_INLINE static Double abs(Double a) { return _mm512_abs_pd(a); }
  VECTOR_INLINE static bool any_within(Double a, double limit) {
    return _mm512_cmp_pd_mask(a, set_double(limit), _CMP_LE_OQ) != 0;
  }
  VECTOR_INLINE static bool all_within(Double a, double limit) {
    return _mm512_cmp_pd_mask(_mm512_abs_pd(a), set_double(limit), _CMP_LE_OQ) == 0xff;
  }

  struct Exp2Double {
    Double value, error;  // kExp2Double and kExp2DoubleErrors
  };
  VECTOR_INLINE static Exp2Double lookup_exp2(Int index) {
    return {lookup(kExp2Double, index), lookup(kExp2DoubleErrors, index)};
  }
  VECTOR_INLINE static Double lookup(const double (&table)[16], Int index) {
    return _mm512_permutex2var_pd(_mm512_load_pd(table), index, _mm512_load_pd(table + 8));
  }
  // The bits from 4 up as sign and exponent.
  VECTOR_INLINE static Int exponent_field_above_index(Int index) {
    return _mm512_and_si512(_mm512_slli_epi64(index, 48), exponent_bits(0xfff));
  }
  VECTOR_INLINE static Int exponent_bits(std::uint64_t a) {
    return bits(set_double(std::bit_cast<double>(a << 52)));
  }

  // For the 16-bit types.
  static constexpr const auto& kHalfExp2 = kHalfExp2By16;

  template <int kBits>
  VECTOR_INLINE static Int shift_left(Int a) {
    return _mm512_slli_epi32(a, kBits);
  }
  VECTOR_INLINE static Int lookup(const std::int32_t (&table)[16], Int index) {
    return _mm512_permutexvar_epi32(index, _mm512_load_si512(table));
  }
  VECTOR_INLINE static Float where_negative(Float a, Float then, Float otherwise) {
    return _mm512_mask_mov_ps(otherwise, _mm512_movepi32_mask(bits(a)), then);
  }
  // a · b rounded to odd: towards zero, and the last bit set where that lost something.
  VECTOR_INLINE static Float mul_to_odd(Float a, Float b) {
    const Float cut = _mm512_mul_round_ps(a, b, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
    const __mmask16 inexact = _mm512_cmp_ps_mask(fmsub(a, b, cut), set(0.0f), _CMP_NEQ_OQ);
    return as_float(_mm512_mask_or_epi32(bits(cut), inexact, bits(cut), _mm512_set1_epi32(1)));
  }
  // Whether 0 < |a| <= limit anywhere.
  VECTOR_INLINE static bool any_tiny(const Float (&a)[2][2], float limit) {
    Int least = bits(set(limit));
    for (const auto& pair : a) {
      for (const Float& value : pair) {
        // Less one, 0 is the greatest of unsigned integers.
        least = _mm512_min_epu32(least, add(bits(_mm512_abs_ps(value)), _mm512_set1_epi32(-1)));
      }
    }
    return _mm512_cmpneq_epi32_mask(least, bits(set(limit))) != 0;
  }
  // 1 - y, and less than 1 wherever y > 0.
  VECTOR_INLINE static Float one_minus(Float y) {
    return _mm512_sub_round_ps(set(1.0f), y, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
  }
  VECTOR_INLINE static Float power_of_two_below(Float a) {
    return _mm512_and_ps(a, set(HUGE_VALF));
  }
  VECTOR_INLINE static Float copy_sign(Float a, Float sign) {
    return as_float(_mm512_ternarylogic_epi32(bits(set(-0.0f)), bits(sign), bits(a), 0xca));
  }
};

// The first and the second half of 32 numbers.
struct Float16Io {
  VECTOR_INLINE static void load(const std::uint16_t* from, __m512 (&a)[2]) {
    for (int v = 0; v < 2; ++v) {
      a[v] = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 16 * v)));
    }
  }
  VECTOR_INLINE static void store(std::uint16_t* to, const __m512 (&a)[2]) {
    for (int v = 0; v < 2; ++v) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 16 * v),
                          _mm512_cvtps_ph(a[v], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    }
  }
  VECTOR_INLINE static void store_untied(std::uint16_t* to, const __m512 (&a)[2]) { store(to, a); }
  // a · b, rounded once.
  VECTOR_INLINE static void store_product(std::uint16_t* to, const __m512 (&a)[2],
                                          const __m512 (&b)[2]) {
    store(to, {Avx512::mul_to_odd(a[0], b[0]), Avx512::mul_to_odd(a[1], b[1])});
  }
};

// The even and the odd of 32 numbers: each is the upper half of a float32. By integers:
// vcvtne2ps2bf16, where a CPU has it, flushes subnormals.
struct BFloat16Io {
  VECTOR_INLINE static void load(const std::uint16_t* from, __m512 (&a)[2]) {
    const __m512i bits = _mm512_loadu_si512(from);
    a[0] = _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
    a[1] = _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(kUpper)));
  }
  // Half a unit up, less one bit where the unit is even. A NaN that comes from a bfloat16 has no bits
  // below the unit, so it stays one.
  VECTOR_INLINE static void store(std::uint16_t* to, const __m512 (&a)[2]) {
    __m512i sums[2];
    for (int v = 0; v < 2; ++v) {
      const __m512i bits = _mm512_castps_si512(a[v]);
      const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
      sums[v] = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    }
    store_upper_halves(to, sums);
  }
  VECTOR_INLINE static void store_untied(std::uint16_t* to, const __m512 (&a)[2]) {
    __m512i sums[2];
    for (int v = 0; v < 2; ++v) {
      sums[v] = _mm512_add_epi32(_mm512_castps_si512(a[v]), _mm512_set1_epi32(0x8000));
    }
    store_upper_halves(to, sums);
  }
  // a · b, rounded once: cut to float32, half a unit up, less one bit where that is exact and the unit
  // is even.
  VECTOR_INLINE static void store_product(std::uint16_t* to, const __m512 (&a)[2],
                                          const __m512 (&b)[2]) {
    __m512i sums[2];
    for (int v = 0; v < 2; ++v) {
      const __m512 cut = _mm512_mul_round_ps(a[v], b[v], _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
      const __m512 lost = _mm512_fmsub_ps(a[v], b[v], cut);
      const __m512i bits = _mm512_castps_si512(cut);
      const __mmask16 exact = _mm512_cmp_ps_mask(lost, _mm512_setzero_ps(), _CMP_EQ_OQ);
      const __mmask16 less = _mm512_mask_testn_epi32_mask(exact, bits, _mm512_set1_epi32(0x10000));
      const __m512i half = _mm512_add_epi32(bits, _mm512_set1_epi32(0x8000));
      sums[v] = _mm512_mask_add_epi32(half, less, bits, _mm512_set1_epi32(0x7fff));
    }
    store_upper_halves(to, sums);
  }

 private:
  static constexpr int kUpper = static_cast<int>(0xffff0000);

  VECTOR_INLINE static void store_upper_halves(std::uint16_t* to, const __m512i (&a)[2]) {
    const __m512i even = _mm512_srli_epi32(a[0], 16);
    // even | (a[1] & kUpper)
    _mm512_storeu_si512(to, _mm512_ternarylogic_epi32(even, a[1], _mm512_set1_epi32(kUpper), 0xf8));
  }
};

}  // namespace

const KernelSet& avx512() {
  static const KernelSet set = vector_kernels<Avx512, Float16Io, BFloat16Io>("avx512");
  return set;
}

}  // namespace torch_sigmoid_ext::kernels::cpu

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

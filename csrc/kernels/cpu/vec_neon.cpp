// The kernel set for aarch64, whose every CPU has NEON: instructions, and nothing of the mathematics.
#if defined(__aarch64__)

#include <arm_neon.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "select.h"

#define VECTOR_INLINE __attribute__((always_inline)) inline

#include "blocks.h"

namespace torch_sigmoid_ext::kernels::cpu {
namespace {

struct Neon {
  using Float = float32x4_t;
  using Int = uint32x4_t;  // the bits of either
  using Double = float64x2_t;
  static constexpr int kLanes = 4;
  static constexpr bool kManyRegisters = true;
  static constexpr int kDoubles = 2;
  static constexpr int kEntries = 16;  // four registers: all that a lookup takes
  static constexpr const auto& kExp2 = kExp2Float16;

  static constexpr float kEpsilon = 0x1.dp-34f;       // 2^-33.14
  static constexpr float kWideEpsilon = 0x1.94p-33f;  // 2^-32.34

  VECTOR_INLINE static Float load(const float* from) { return vld1q_f32(from); }
  VECTOR_INLINE static void store(float* to, Float a) { vst1q_f32(to, a); }
  VECTOR_INLINE static Float set(float a) { return vdupq_n_f32(a); }
  VECTOR_INLINE static Float add(Float a, Float b) { return vaddq_f32(a, b); }
  VECTOR_INLINE static Float sub(Float a, Float b) { return vsubq_f32(a, b); }
  VECTOR_INLINE static Float mul(Float a, Float b) { return vmulq_f32(a, b); }
  VECTOR_INLINE static Float div(Float a, Float b) { return vdivq_f32(a, b); }
  VECTOR_INLINE static Float max(Float a, Float b) { return vmaxq_f32(a, b); }
  VECTOR_INLINE static Float min(Float a, Float b) { return vminq_f32(a, b); }
  VECTOR_INLINE static Float fmadd(Float a, Float b, Float c) { return vfmaq_f32(c, a, b); }
  VECTOR_INLINE static Float fmsub(Float a, Float b, Float c) {
    return vfmaq_f32(vnegq_f32(c), a, b);
  }
  VECTOR_INLINE static Float fnmadd(Float a, Float b, Float c) { return vfmsq_f32(c, a, b); }

  VECTOR_INLINE static Float clamp(Float a, float low, float high) {
    // Where one operand is NaN, max and min give NaN.
    return max(set(low), min(set(high), a));
  }

  VECTOR_INLINE static Float reciprocal_estimate(Float a) { return div(set(1.0f), a); }

  VECTOR_INLINE static Int zero() { return vdupq_n_u32(0); }
  VECTOR_INLINE static Int bits(Float a) { return vreinterpretq_u32_f32(a); }
  VECTOR_INLINE static Float as_float(Int a) { return vreinterpretq_f32_u32(a); }
  VECTOR_INLINE static Int set_int(int a) { return vdupq_n_u32(static_cast<std::uint32_t>(a)); }
  VECTOR_INLINE static Int add(Int a, Int b) { return vaddq_u32(a, b); }
  VECTOR_INLINE static Int sub(Int a, Int b) { return vsubq_u32(a, b); }
  VECTOR_INLINE static Int or_xor(Int a, Int b, int c) {  // a | (b ^ c)
    return vorrq_u32(a, veorq_u32(b, set_int(c)));
  }
  VECTOR_INLINE static Int exclusive_or(Float a, Float b) { return veorq_u32(bits(a), bits(b)); }
  VECTOR_INLINE static bool any_bit(Int a, int mask) {
    return vmaxvq_u32(vandq_u32(a, set_int(mask))) != 0;
  }
  VECTOR_INLINE static bool any_bit(const Int (&a)[4]) {
    return vmaxvq_u32(vorrq_u32(vorrq_u32(a[0], a[1]), vorrq_u32(a[2], a[3]))) != 0;
  }
  VECTOR_INLINE static std::uint64_t nonzero_lanes(Int a) {
    constexpr std::uint32_t kLane[kLanes] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(vtstq_u32(a, a), vld1q_u32(kLane)));
  }

  VECTOR_INLINE static Float lookup(const float (&table)[16], Int index) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(table);
    const uint8x16x4_t registers = {
        {vld1q_u8(bytes), vld1q_u8(bytes + 16), vld1q_u8(bytes + 32), vld1q_u8(bytes + 48)}};
    return vreinterpretq_f32_u8(vqtbl4q_u8(registers, bytes_of<15>(index)));
  }
  // The index shifted left, its bits 23 to 30: a power of two.
  template <int kShift>
  VECTOR_INLINE static Float exponent_field(Int index) {
    return as_float(vandq_u32(vshlq_n_u32(index, kShift), set_int(0x7f800000)));
  }
  template <int kShift>
  VECTOR_INLINE static Float exponent_field(Int index, int mantissa) {
    return as_float(vorrq_u32(bits(exponent_field<kShift>(index)), set_int(mantissa)));
  }

  // Masks: what less() gives, keep() and choose() take.
  VECTOR_INLINE static uint32x4_t less(Float a, float b) { return vcltq_f32(a, set(b)); }
  VECTOR_INLINE static bool all_beyond(Float a, float low, float high) {
    return vminvq_u32(vorrq_u32(vcltq_f32(a, set(low)), vcgtq_f32(a, set(high)))) != 0;
  }
  VECTOR_INLINE static Int min_unsigned(Int a, Int b) { return vminq_u32(a, b); }
  VECTOR_INLINE static Int max_unsigned(Int a, Int b) { return vmaxq_u32(a, b); }
  VECTOR_INLINE static bool any_below(Int a, int limit) {
    return vminvq_u32(a) < static_cast<std::uint32_t>(limit);
  }
  VECTOR_INLINE static bool any_above(Int a, int limit) {
    return vmaxvq_u32(a) > static_cast<std::uint32_t>(limit);
  }
  VECTOR_INLINE static Int keep(uint32x4_t mask, Int a) { return vandq_u32(mask, a); }  // or 0
  VECTOR_INLINE static Int choose(uint32x4_t mask, Int then, Int otherwise) {
    return vbslq_u32(mask, then, otherwise);
  }
  VECTOR_INLINE static Float where_nan(Float a, Float otherwise) {  // a where a is NaN
    return vbslq_f32(vceqq_f32(a, a), otherwise, a);
  }
  VECTOR_INLINE static Float where_near(Float a, float limit, Float then, Float otherwise) {
    return vbslq_f32(vcaltq_f32(a, set(limit)), then, otherwise);
  }
  VECTOR_INLINE static Double set_double(double a) { return vdupq_n_f64(a); }
  VECTOR_INLINE static Double add(Double a, Double b) { return vaddq_f64(a, b); }
  VECTOR_INLINE static Double sub(Double a, Double b) { return vsubq_f64(a, b); }
  VECTOR_INLINE static Double mul(Double a, Double b) { return vmulq_f64(a, b); }
  VECTOR_INLINE static Double div(Double a, Double b) { return vdivq_f64(a, b); }
  VECTOR_INLINE static Double max(Double a, Double b) { return vmaxq_f64(a, b); }
  VECTOR_INLINE static Double min(Double a, Double b) { return vminq_f64(a, b); }
  VECTOR_INLINE static Double fmadd(Double a, Double b, Double c) { return vfmaq_f64(c, a, b); }
  VECTOR_INLINE static Double fmsub(Double a, Double b, Double c) {
    return vfmaq_f64(vnegq_f64(c), a, b);
  }
  VECTOR_INLINE static Double fnmadd(Double a, Double b, Double c) { return vfmsq_f64(c, a, b); }
  VECTOR_INLINE static Double clamp(Double a, double low, double high) {
    // Where one operand is NaN, max and min give NaN.
    return max(set_double(low), min(set_double(high), a));
  }
  VECTOR_INLINE static Double load(const double* from) { return vld1q_f64(from); }
  VECTOR_INLINE static void store(double* to, Double a) { vst1q_f64(to, a); }
  VECTOR_INLINE static Int bits(Double a) { return vreinterpretq_u32_f64(a); }
  VECTOR_INLINE static Double as_double(Int a) { return vreinterpretq_f64_u32(a); }
  VECTOR_INLINE static Int sub64(Int a, Int b) {
    return vreinterpretq_u32_u64(vsubq_u64(vreinterpretq_u64_u32(a), vreinterpretq_u64_u32(b)));
  }
  VECTOR_INLINE static uint64x2_t less(Double a, double b) { return vcltq_f64(a, set_double(b)); }
  VECTOR_INLINE static Int keep(uint64x2_t mask, Int a) {
    return vandq_u32(vreinterpretq_u32_u64(mask), a);
  }
  VECTOR_INLINE static Int choose(uint64x2_t mask, Int then, Int otherwise) {
    return choose(vreinterpretq_u32_u64(mask), then, otherwise);
  }
  VECTOR_INLINE static Double choose(uint64x2_t mask, Double then, Double otherwise) {
    return vbslq_f64(mask, then, otherwise);
  }
  VECTOR_INLINE static Double where_nan(Double a, Double otherwise) {
    return vbslq_f64(vceqq_f64(a, a), otherwise, a);
  }
  VECTOR_INLINE static bool all_beyond(Double a, double low, double high) {
    const uint64x2_t above = vcgtq_f64(a, set_double(high));
    return vminvq_u32(vreinterpretq_u32_u64(vorrq_u64(less(a, low), above))) != 0;
  }
  VECTOR_INLINE static Double min_number(Double a, Double b) {  // b where a is NaN
    return vminnmq_f64(a, b);
  }
  VECTOR_INLINE static Double abs(Double a) { return vabsq_f64(a); }
  VECTOR_INLINE static bool any_within(Double a, double limit) {
    return vmaxvq_u32(vreinterpretq_u32_u64(vcleq_f64(a, set_double(limit)))) != 0;
  }
  VECTOR_INLINE static bool all_within(Double a, double limit) {
    return vminvq_u32(vreinterpretq_u32_u64(vcaleq_f64(a, set_double(limit)))) != 0;
  }

  struct Exp2Double {
    Double value, error;  // kExp2Double and kExp2DoubleErrors
  };
  // Side by side, so that one load brings both.
  struct alignas(16) Pair {
    double value, error;
  };
  static constexpr std::array<Pair, 16> kPairs = [] {
    std::array<Pair, 16> pairs{};
    for (std::size_t j = 0; j < 16; ++j) pairs[j] = {kExp2Double[j], kExp2DoubleErrors[j]};
    return pairs;
  }();
  VECTOR_INLINE static Exp2Double lookup_exp2(Int index) {
    const Double first = vld1q_f64(&kPairs[vgetq_lane_u32(index, 0) & 15].value);
    const Double second = vld1q_f64(&kPairs[vgetq_lane_u32(index, 2) & 15].value);
    return {vzip1q_f64(first, second), vzip2q_f64(first, second)};
  }
  // The bits from 4 up as sign and exponent.
  VECTOR_INLINE static Int exponent_field_above_index(Int index) {
    const Int shifted = vreinterpretq_u32_u64(vshlq_n_u64(vreinterpretq_u64_u32(index), 48));
    return vandq_u32(shifted, exponent_bits(0xfff));
  }
  VECTOR_INLINE static Int exponent_bits(std::uint64_t a) {
    return vreinterpretq_u32_u64(vdupq_n_u64(a << 52));
  }

  // For the 16-bit types.
  static constexpr const auto& kHalfExp2 = kHalfExp2By8;

  template <int kBits>
  VECTOR_INLINE static Int shift_left(Int a) {
    return vshlq_n_u32(a, kBits);
  }
  VECTOR_INLINE static Int lookup(const std::int32_t (&table)[8], Int index) {
    return look_up_32_bytes(table, index);
  }
  VECTOR_INLINE static Float where_negative(Float a, Float then, Float otherwise) {
    return vbslq_f32(sign_mask(bits(a)), then, otherwise);
  }
  // a · b rounded to odd: towards zero, and the last bit set where that lost something.
  VECTOR_INLINE static Float mul_to_odd(Float a, Float b) {
    const Float nearest = mul(a, b);
    const Float lost = fmsub(a, b, nearest);
    const Int away = sign_mask(exclusive_or(nearest, lost));  // -1 where it grew
    const Int odd = vorrq_u32(add(bits(nearest), away), set_int(1));
    const uint32x4_t inexact = vcagtq_f32(lost, set(0.0f));  // not where it is NaN
    return vbslq_f32(inexact, as_float(odd), nearest);
  }
  // Whether 0 < |a| <= limit anywhere.
  VECTOR_INLINE static bool any_tiny(const Float (&a)[2][2], float limit) {
    Int least = bits(set(limit));
    for (const auto& pair : a) {
      for (const Float& value : pair) {
        // Less one, 0 is the greatest of unsigned integers.
        least = vminq_u32(least, add(bits(vabsq_f32(value)), set_int(-1)));
      }
    }
    return vminvq_u32(least) != vgetq_lane_u32(bits(set(limit)), 0);
  }
  // 1 - y, and less than 1 wherever y > 0.
  VECTOR_INLINE static Float one_minus(Float y) {
    const Float u = sub(set(1.0f), y);
    return as_float(add(bits(u), vceqq_f32(u, set(1.0f))));  // -1 there
  }
  VECTOR_INLINE static Float power_of_two_below(Float a) {
    return as_float(vandq_u32(bits(a), bits(set(HUGE_VALF))));
  }
  VECTOR_INLINE static Float copy_sign(Float a, Float sign) {
    return vbslq_f32(bits(set(-0.0f)), sign, a);
  }

  // -1 where the sign is set.
  VECTOR_INLINE static uint32x4_t sign_mask(Int a) { return vcltzq_s32(vreinterpretq_s32_u32(a)); }

 private:
  // Where the four bytes of each lane's entry stand.
  template <int kMask>
  VECTOR_INLINE static uint8x16_t bytes_of(Int index) {
    const Int entry = vandq_u32(index, set_int(kMask));
    return vreinterpretq_u8_u32(vmlaq_u32(set_int(0x03020100), entry, set_int(0x04040404)));
  }
  VECTOR_INLINE static Int look_up_32_bytes(const void* table, Int index) {
    const auto* bytes = static_cast<const std::uint8_t*>(table);
    const uint8x16x2_t registers = {{vld1q_u8(bytes), vld1q_u8(bytes + 16)}};
    return vreinterpretq_u32_u8(vqtbl2q_u8(registers, bytes_of<7>(index)));
  }
};

// The first and the second half of 8 numbers.
struct Float16Io {
  VECTOR_INLINE static void load(const std::uint16_t* from, float32x4_t (&a)[2]) {
    const float16x8_t numbers = vreinterpretq_f16_u16(vld1q_u16(from));
    a[0] = vcvt_f32_f16(vget_low_f16(numbers));
    a[1] = vcvt_high_f32_f16(numbers);
  }
  VECTOR_INLINE static void store(std::uint16_t* to, const float32x4_t (&a)[2]) {
    vst1q_u16(to, vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(a[0]), a[1])));
  }
  VECTOR_INLINE static void store_untied(std::uint16_t* to, const float32x4_t (&a)[2]) {
    store(to, a);
  }
  // a · b, rounded once.
  VECTOR_INLINE static void store_product(std::uint16_t* to, const float32x4_t (&a)[2],
                                          const float32x4_t (&b)[2]) {
    store(to, {Neon::mul_to_odd(a[0], b[0]), Neon::mul_to_odd(a[1], b[1])});
  }
};

// The first and the second half of 8 numbers: each is the upper half of a float32.
struct BFloat16Io {
  VECTOR_INLINE static void load(const std::uint16_t* from, float32x4_t (&a)[2]) {
    const uint16x8_t bits = vld1q_u16(from);
    a[0] = Neon::as_float(vshll_n_u16(vget_low_u16(bits), 16));
    a[1] = Neon::as_float(vshll_high_n_u16(bits, 16));
  }
  // Half a unit up, less one bit where the unit is even. A NaN that comes from a bfloat16 has no bits
  // below the unit, so it stays one.
  VECTOR_INLINE static void store(std::uint16_t* to, const float32x4_t (&a)[2]) {
    uint32x4_t sums[2];
    for (int v = 0; v < 2; ++v) {
      const uint32x4_t bits = Neon::bits(a[v]);
      const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), Neon::set_int(1));
      sums[v] = vaddq_u32(bits, vaddq_u32(odd, Neon::set_int(0x7fff)));
    }
    store_upper_halves(to, sums);
  }
  VECTOR_INLINE static void store_untied(std::uint16_t* to, const float32x4_t (&a)[2]) {
    const uint16x4_t first = vrshrn_n_u32(Neon::bits(a[0]), 16);
    vst1q_u16(to, vrshrn_high_n_u32(first, Neon::bits(a[1]), 16));
  }
  // a · b, rounded once: where the nearest float32 lies in the middle between two bfloat16, up where the
  // product is greater or where it is exact and the lower one is odd.
  VECTOR_INLINE static void store_product(std::uint16_t* to, const float32x4_t (&a)[2],
                                          const float32x4_t (&b)[2]) {
    uint32x4_t sums[2];
    for (int v = 0; v < 2; ++v) {
      const float32x4_t nearest = vmulq_f32(a[v], b[v]);
      const float32x4_t excess = vfmsq_f32(nearest, a[v], b[v]);
      const uint32x4_t bits = Neon::bits(nearest);
      const uint32x4_t odd = vshlq_n_u32(bits, 15);  // as the sign
      const uint32x4_t exact = vceqzq_f32(excess);
      const uint32x4_t up = vbslq_u32(exact, odd, Neon::exclusive_or(nearest, excess));
      const uint32x4_t one = Neon::sign_mask(up);  // -1 where up
      sums[v] = vsubq_u32(vaddq_u32(bits, Neon::set_int(0x7fff)), one);
    }
    store_upper_halves(to, sums);
  }

 private:
  VECTOR_INLINE static void store_upper_halves(std::uint16_t* to, const uint32x4_t (&a)[2]) {
    vst1q_u16(to, vuzp2q_u16(vreinterpretq_u16_u32(a[0]), vreinterpretq_u16_u32(a[1])));
  }
};

}  // namespace

const KernelSet& neon() {
  static const KernelSet set = vector_kernels<Neon, Float16Io, BFloat16Io>("neon");
  return set;
}

}  // namespace torch_sigmoid_ext::kernels::cpu

#endif

// σ(z) = 1 / (1 + e^-z) for z = x + iy, complex64 and complex128, and its gradient.
//
//   w = e^-z where x >= 0, e^z below     |w| = a = e^-|x|: nothing overflows
//   m = 1 - a                            from the e^r - 1 that a is made of: good to its last bits
//   c = cos(y/2),  s = sin(y/2)          y/2 is exact: c is as good near the poles as elsewhere
//   q = 2 a c²
//   |1 + w|² = m² + 2 q                  two terms >= 0: nothing cancels, however near the pole
//   Re σ = (q + m) / |1 + w|²            x >= 0, where σ = conj(1 + w) / |1 + w|²
//   Re σ = a (a + cos y) / |1 + w|²      x < 0, where σ = w conj(1 + w) / |1 + w|²;
//                                        a + cos y = 2 c² - m = 1 + a - 2 s²: what is squared is small
//   Im σ = 2 a c s / |1 + w|²            both
//
//   e^-u = 2^-t (1 + (e^r - 1)),  t = round(u log2 e),  r = t ln 2 - u             (core.h)
//   y/2 = n π/2 + r,  |r| <= π/4: c², s² and c s take the cosine and the sine of r, for odd n the
//   other way round and with c s negative; r = r + r_low, π/2 in three parts, n · the first two exact
//
// Domain here: |x| <= 700, |y| <= 8192, y != 0; complex_scalar.cpp has the rest, by other means. The
// real axis goes there for the bits of the real kernel.
// complex64 is computed in double and each part rounded once.
//
// Error, with ε = 2^-52 (and 3/4 · 2^-1074 more where a result of complex128 is subnormal):
//   complex128  |got - σ| <= 4 ε |σ|; Im σ, and Re σ where x >= 0, each within 4 ε of its own
//               measured 2.54 ε |σ| at -0x1.b510860ebc8fcp+1 + 0x1.9a8b9e65ded7dp+0 i,
//               Im 2.65 ε at 0x1.875ee84db17d2p+0 + 0x1.0f7409e61423bp+13 i,
//               Re 2.61 ε at 0x1.2b7eb69ad95acp-49 - 0x1.2d334005e10c7p+11 i
//   complex64   each part within 0.5 ULP of its own and 4 ε |σ|
// For x < 0 the zeros of Re σ lie along e^x = -cos y. Near them it is a difference of almost equal
// numbers, and has no bound in its own ULP: complex64 can be off by one where it is below 2^-26 |σ|.
//
// Limits: complex_scalar.cpp. The poles iπ(2k + 1) are not numbers of either type; next to them σ is
// finite. σ(conj z) is conj σ(z), and Re σ(iy) is 1/2.
//
// Plain double operations in one fixed order, no fma: the same bits from every instruction set. The
// loops are the compiler's to vectorize; V is there to keep the sets' copies apart.
#pragma once

#include <cstdint>

#include "constants.h"
#include "scalar.h"

namespace torch_sigmoid_ext::kernels::cpu {

template <class V>
class ComplexSigmoid {
 public:
  VECTOR_INLINE static bool takes(double x, double y) {
    const bool origin = (bits(x) | bits(y)) == 0;  // what unused places of a block hold
    return (__builtin_fabs(x) <= 700.0) & (__builtin_fabs(y) <= 8192.0) & ((y != 0.0) | origin);
  }

  VECTOR_INLINE static void compute(double x, double y, double& real, double& imaginary) {
    // a and m
    const double u = __builtin_fabs(x);
    const double t_shifted = u * kLog2E + kRoundToInteger;
    const double t = t_shifted - kRoundToInteger;
    const double r = (t * kLn2High - u) + t * kLn2Low;
    const double expm1 = r + (r * r) * polynomial(kExpCoefficients, r);
    const double scale = __builtin_bit_cast(double, bits(1.0) - (bits(t_shifted) << 52));
    const double a = scale + scale * expm1;
    const double m = (1.0 - scale) - scale * expm1;

    // The angle
    const double half = 0.5 * y;
    const double n_shifted = half * kTwoByPi + kRoundToInteger;
    const double n = n_shifted - kRoundToInteger;
    const double first = half - n * kHalfPiHigh;  // exact
    const double middle = n * kHalfPiMiddle;
    const double second = first - middle;
    const double part = second - first;
    const double lost = (first - (second - part)) - (middle + part);  // exact (TwoSum)
    const double rest = lost - n * kHalfPiLow;
    const double angle = second + rest;
    const double angle_low = rest - (angle - second);

    const double square = angle * angle;
    const double half_square = 0.5 * square;
    const double sine =
        angle + ((angle * square) * polynomial(kSinCoefficients, square) + angle_low);
    const double near_cosine = 1.0 - half_square;
    const double cosine =
        near_cosine +
        (((1.0 - near_cosine) - half_square) +
         ((square * square) * polynomial(kCosCoefficients, square) - angle * angle_low));
    const bool odd = (bits(n_shifted) & 1) != 0;
    const double sine2 = sine * sine;
    const double cosine2 = cosine * cosine;
    const double c2 = choose(odd, sine2, cosine2);
    const double s2 = choose(odd, cosine2, sine2);
    const double cs = sine * choose(odd, -cosine, cosine);

    const double q = 2.0 * a * c2;
    const double denominator = m * m + 2.0 * q;
    const double a_plus_cos = choose(c2 < s2, 2.0 * c2 - m, (1.0 + a) - 2.0 * s2);
    const double numerator = choose(x < 0.0, a * a_plus_cos, q + m);
    real = numerator / denominator;
    imaginary = 2.0 * a * cs / denominator;
  }

 private:
  VECTOR_INLINE static std::uint64_t bits(double value) {
    return __builtin_bit_cast(std::uint64_t, value);
  }

  // Without a branch, which arithmetic in `?:` would be: a loop with one is not vectorized.
  VECTOR_INLINE static double choose(bool condition, double then, double otherwise) {
    const std::uint64_t mask = condition ? ~std::uint64_t{0} : 0;
    return __builtin_bit_cast(double, (bits(then) & mask) | (bits(otherwise) & ~mask));
  }

  template <int kCount>
  VECTOR_INLINE static double polynomial(const double (&coefficients)[kCount], double at) {
    double sum = coefficients[kCount - 1];
    for (int i = kCount - 2; i >= 0; --i) sum = sum * at + coefficients[i];
    return sum;
  }
};

template <class V, class T>
struct ComplexBlock {
  static constexpr int kBlock = 16;
  static constexpr bool kInterleaved = false;

  VECTOR_INLINE static void block(const Complex<T>* input, Complex<T>* output) {
    double x[kBlock], y[kBlock], real[kBlock], imaginary[kBlock];
    bool all = true;
    for (int i = 0; i < kBlock; ++i) {
      x[i] = input[i].real;
      y[i] = input[i].imaginary;
    }
    for (int i = 0; i < kBlock; ++i) all &= ComplexSigmoid<V>::takes(x[i], y[i]);
    for (int i = 0; i < kBlock; ++i) {
      ComplexSigmoid<V>::compute(x[i], y[i], real[i], imaginary[i]);
    }
    for (int i = 0; i < kBlock; ++i) {
      output[i] = {static_cast<T>(real[i]), static_cast<T>(imaginary[i])};
    }
    if (__builtin_expect(!all, 0)) hard_lanes(x, y, output);
  }

  __attribute__((noinline, cold)) static void hard_lanes(const double* x, const double* y,
                                                         Complex<T>* output) {
    for (int i = 0; i < kBlock; ++i) {
      if (ComplexSigmoid<V>::takes(x[i], y[i])) continue;
      output[i] = sigmoid_scalar(Complex<T>{static_cast<T>(x[i]), static_cast<T>(y[i])});
    }
  }
};

// g conj(y (1 - y)), in double:
//   Re y (1 - y) = Re y (1 - Re y) + (Im y)²
//   Im y (1 - y) = Im y (1 - 2 Re y)
// Error: complex128 at most 3 ε |result|; complex64 each part at most 0.5 ULP and 3 ε |result|.
template <class V, class T>
struct ComplexBackwardBlock {
  static constexpr int kBlock = 16;

  VECTOR_INLINE static void block(const Complex<T>* grad_output, const Complex<T>* output,
                                  Complex<T>* grad_input) {
    // Parts apart until the end: where a sum and a difference of products lie side by side, g++ 12
    // fuses them (vfmsubadd), with -ffp-contract=off too.
    double real[kBlock], imaginary[kBlock];
    for (int i = 0; i < kBlock; ++i) {
      const double g = grad_output[i].real, g_imaginary = grad_output[i].imaginary;
      const double y = output[i].real, y_imaginary = output[i].imaginary;
      const double slope = y * (1.0 - y) + y_imaginary * y_imaginary;
      const double slope_imaginary = y_imaginary * (1.0 - 2.0 * y);
      real[i] = g * slope + g_imaginary * slope_imaginary;
      imaginary[i] = g_imaginary * slope - g * slope_imaginary;
    }
    for (int i = 0; i < kBlock; ++i) {
      grad_input[i] = {static_cast<T>(real[i]), static_cast<T>(imaginary[i])};
    }
  }
};

}  // namespace torch_sigmoid_ext::kernels::cpu

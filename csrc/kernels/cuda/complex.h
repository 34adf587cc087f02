// σ(z) = 1 / (1 + e^-z) for z = x + iy, complex64 and complex128, and its gradient.
//
// The steps of ../cpu/complex.h, plain double operations in one fixed order: the CPU's bits where |x| <= 700
// and |y| <= 8192, and on the real axis. Beyond, the CPU asks the C library, whose last bits are its own; here
// it is the same formulas over the same polynomials, so that nothing but IEEE 754 is asked of a chip:
//
//   |y| > 8192    y · 2/π modulo 4 from 192 bits of 2/π, those that matter at y's exponent (Payne and Hanek)
//   |x| > 700     |1 + w|² is 1 in double; a = e^-|x| in two factors, so that a result is rounded once
//
// Error: as there, 4 · 2^-52 · |σ| and half an ULP of each part of complex64; 3/4 · 2^-1074 more where a
// result of complex128 is subnormal. Limits: those of ../cpu/complex_scalar.cpp.
#pragma once

#include <cstdint>

#include "../cpu/complex.h"
#include "lane.h"
#include "sigmoid_f32.h"
#include "sigmoid_f64.h"

namespace torch_sigmoid_ext::kernels::cuda {

using cpu::Complex;

// 2/π, its first 1216 bits behind the point; tests/test_cuda_host.py derives them again.
KERNEL_ARRAY std::uint64_t kTwoByPiBits[19] = {
    0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041, 0xfe5163abdebbc561,
    0xb7246e3a424dd2e0, 0x06492eea09d1921c, 0xfe1deb1cb129a73e, 0xe88235f52ebb4484,
    0xe99c7026b45f7e41, 0x3991d639835339f4, 0x9c845f8bbdf9283b, 0x1ff897ffde05980f,
    0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7, 0x4f463f669e5fea2d, 0x7527bac7ebe5f17b,
    0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab};

// An angle as n · π/2 + (high + low), |high| <= π/4; n modulo 4.
struct Angle {
  int quadrant;
  double high, low;
};

// v finite, |v| >= 2^12.
KERNEL_INLINE Angle reduce_large(double v) {
  using Wide = unsigned __int128;
  const auto bits = std::bit_cast<std::uint64_t>(v);
  const int exponent = static_cast<int>(bits >> 52 & 0x7ff) - 1075;  // |v| = mantissa · 2^exponent
  const std::uint64_t mantissa = (bits & ((std::uint64_t{1} << 52) - 1)) | std::uint64_t{1} << 52;

  // mantissa · 2^exponent · 2/π modulo 4, as 2 bits before the point and 190 behind. Bits of 2/π of
  // 2^(2 - exponent) and more make multiples of 4.
  const int skip = exponent - 2;  // of the bits behind 2/π's point; below 0: that many zeros
  std::uint64_t window[3];
  for (int i = 0; i < 3; ++i) {
    const int at = skip + 64 * i;
    const int word = at >> 6, shift = at & 63;
    const std::uint64_t high = word < 0 ? 0 : kTwoByPiBits[word];
    const std::uint64_t next = word + 1 < 0 ? 0 : kTwoByPiBits[word + 1];
    window[i] = shift == 0 ? high : high << shift | next >> (64 - shift);
  }
  const Wide product2 = Wide{mantissa} * window[2];
  const Wide product1 = Wide{mantissa} * window[1] + static_cast<std::uint64_t>(product2 >> 64);
  const std::uint64_t top = mantissa * window[0] + static_cast<std::uint64_t>(product1 >> 64);
  Wide fraction = Wide{top} << 64 | static_cast<std::uint64_t>(product1);
  const auto last = static_cast<std::uint64_t>(product2);

  int quadrant = static_cast<int>(top >> 62);
  fraction = fraction << 2 | last >> 62;
  const bool up = (fraction >> 127) != 0;  // nearer to the next quadrant
  if (up) {
    ++quadrant;
    fraction = -fraction;
  }
  // The fraction, in two doubles, its first with 53 bits from the leading one on.
  const auto upper = static_cast<std::uint64_t>(fraction >> 64);
  const auto lower = static_cast<std::uint64_t>(fraction);
  const double head = static_cast<double>(upper >> 32) * 0x1p-32;
  const double middle = static_cast<double>(upper & 0xffffffffu) * 0x1p-64;
  const double tail = static_cast<double>(lower) * 0x1p-128;
  const double near = middle + tail;
  const double turn = head + near;
  const double turn_low = (head - turn) + near + ((middle - near) + tail);

  const double kHalfPi = 0x1.921fb54442d18p+0;
  const double kHalfPiRest = 0x1.1a62633145c07p-54;
  const double high = turn * kHalfPi;
  const double low = ::fma(turn, kHalfPi, -high) + (turn * kHalfPiRest + turn_low * kHalfPi);
  const bool negative = (v < 0.0) != up;
  return {(v < 0.0 ? -quadrant : quadrant) & 3, negative ? -high : high, negative ? -low : low};
}

// v finite, |v| < 2^12: as in ../cpu/complex.h.
KERNEL_INLINE Angle reduce_small(double v) {
  const double shifted = v * cpu::kTwoByPi + cpu::kRoundToInteger;
  const double n = shifted - cpu::kRoundToInteger;
  const double first = v - n * cpu::kHalfPiHigh;  // exact
  const double middle = n * cpu::kHalfPiMiddle;
  const double second = first - middle;
  const double part = second - first;
  const double lost = (first - (second - part)) - (middle + part);  // exact (TwoSum)
  const double rest = lost - n * cpu::kHalfPiLow;
  const double high = second + rest;
  return {static_cast<int>(std::bit_cast<std::uint64_t>(shifted) & 3), high,
          rest - (high - second)};
}

template <int kCount>
KERNEL_INLINE double polynomial(const double (&coefficients)[kCount], double at) {
  double sum = coefficients[kCount - 1];
  for (int i = kCount - 2; i >= 0; --i) sum = sum * at + coefficients[i];
  return sum;
}

// Of high + low, without the quadrant.
KERNEL_INLINE void sine_cosine(const Angle& angle, double& sine, double& cosine) {
  const double r = angle.high;
  const double square = r * r;
  const double half_square = 0.5 * square;
  sine = r + ((r * square) * polynomial(cpu::kSinCoefficients, square) + angle.low);
  const double near = 1.0 - half_square;
  cosine = near + (((1.0 - near) - half_square) +
                   ((square * square) * polynomial(cpu::kCosCoefficients, square) - r * angle.low));
}

// a = e^-u and m = 1 - a, for 0 <= u <= 708.
KERNEL_INLINE void exponential(double u, double& a, double& m) {
  const double shifted = u * cpu::kLog2E + cpu::kRoundToInteger;
  const double t = shifted - cpu::kRoundToInteger;
  const double r = (t * cpu::kLn2High - u) + t * cpu::kLn2Low;
  const double expm1 = r + (r * r) * polynomial(cpu::kExpCoefficients, r);
  const double scale = std::bit_cast<double>(std::bit_cast<std::uint64_t>(1.0) -
                                             (std::bit_cast<std::uint64_t>(shifted) << 52));
  a = scale + scale * expm1;
  m = (1.0 - scale) - scale * expm1;
}

// Where ComplexSigmoid does not go, less the real axis.
KERNEL_INLINE Complex<double> sigmoid_far(double x, double y) {
  constexpr double kInfinity = __builtin_huge_val();
  const double u = ::fabs(x);
  if (!(::fabs(y) < kInfinity)) {
    if (u == kInfinity) return {x > 0.0 ? 1.0 : 0.0, ::copysign(0.0, y)};
    return {y - y, y - y};
  }
  if (x != x) return {x, x};

  double a, m, sine, cosine;
  if (u > 700.0) {
    // From 1416 up both products below are 0, and half would underflow.
    exponential(0.5 * (u < 1416.0 ? u : 1416.0), a, m);
    const Angle angle = ::fabs(y) < 4096.0 ? reduce_small(y) : reduce_large(y);
    sine_cosine(angle, sine, cosine);
    const bool odd = (angle.quadrant & 1) != 0;
    const double c = odd ? -sine : cosine;
    const double s = odd ? cosine : sine;
    const double sign = (angle.quadrant & 2) != 0 ? -1.0 : 1.0;
    const double real = (a * (sign * c)) * a;
    return {x > 0.0 ? 1.0 + real : real, (a * (sign * s)) * a};
  }
  exponential(u, a, m);
  const Angle angle = reduce_large(0.5 * y);
  sine_cosine(angle, sine, cosine);
  const bool odd = (angle.quadrant & 1) != 0;
  const double sine2 = sine * sine, cosine2 = cosine * cosine;
  const double c2 = odd ? sine2 : cosine2;
  const double s2 = odd ? cosine2 : sine2;
  const double cs = sine * (odd ? -cosine : cosine);
  const double q = 2.0 * a * c2;
  const double denominator = m * m + 2.0 * q;
  const double a_plus_cos = c2 < s2 ? 2.0 * c2 - m : (1.0 + a) - 2.0 * s2;
  const double numerator = x < 0.0 ? a * a_plus_cos : q + m;
  return {numerator / denominator, 2.0 * a * cs / denominator};
}

KERNEL_INLINE double sigmoid_real(double x) { return sigmoid(x); }
KERNEL_INLINE float sigmoid_real(float x) { return cpu::sigmoid(x); }

template <class T>
KERNEL_INLINE Complex<T> sigmoid(Complex<T> z) {
  if (z.imaginary == T{0}) return {sigmoid_real(z.real), z.imaginary};
  const double x = z.real, y = z.imaginary;
  Complex<double> output;
  if (cpu::ComplexSigmoid<DoubleLane>::takes(x, y)) {
    cpu::ComplexSigmoid<DoubleLane>::compute(x, y, output.real, output.imaginary);
  } else {
    output = sigmoid_far(x, y);
  }
  return {static_cast<T>(output.real), static_cast<T>(output.imaginary)};
}

// g conj(y (1 - y)), by the steps of ComplexBackwardBlock.
template <class T>
KERNEL_INLINE Complex<T> gradient(Complex<T> grad_output, Complex<T> output) {
  const double g = grad_output.real, g_imaginary = grad_output.imaginary;
  const double y = output.real, y_imaginary = output.imaginary;
  const double slope = y * (1.0 - y) + y_imaginary * y_imaginary;
  const double slope_imaginary = y_imaginary * (1.0 - 2.0 * y);
  return {static_cast<T>(g * slope + g_imaginary * slope_imaginary),
          static_cast<T>(g_imaginary * slope - g * slope_imaginary)};
}

}  // namespace torch_sigmoid_ext::kernels::cuda

// σ(z) where the vector kernel of complex.h does not go: the real axis, |x| > 700, |y| > 8192, and
// what is not finite. By the formulas there, with the C library's functions.
//
// From |x| = 700 up |1 + w|² is 1 in double, and a is taken as e^(-|x|/2) twice, so that a subnormal
// result is rounded once.
//
// Limits: with Re z = inf, 1; with Re z = -inf, 0; the zero parts with the signs of the limit, or
// that of Im z where Im z is not finite. With Re z finite and Im z not, NaN + NaN i. NaN in either part
// gives NaN in both, but σ(NaN ± 0i) = NaN ± 0i, and an infinite Re z decides alone. These are C's for
// ctanh, by σ(z) = (1 + tanh(z/2)) / 2.
//
// The last bits of exp, expm1, sin and cos may depend on the CPU; every kernel set takes this one code,
// so that on one machine all give the same bits.
#include <cmath>

#include "scalar.h"

namespace torch_sigmoid_ext::kernels::cpu {
namespace {

Complex<double> off_axis(double x, double y) {
  const double u = std::fabs(x);
  if (std::isinf(x) && !std::isfinite(y)) return {x > 0.0 ? 1.0 : 0.0, std::copysign(0.0, y)};

  if (u > 700.0) {
    const double half = std::exp(-0.5 * u);
    const double real = (half * std::cos(y)) * half;
    return {x > 0.0 ? 1.0 + real : real, (half * std::sin(y)) * half};
  }
  const double a = std::exp(-u);
  const double m = -std::expm1(-u);
  const double c = std::cos(0.5 * y);
  const double s = std::sin(0.5 * y);
  const double c2 = c * c;
  const double s2 = s * s;
  const double q = 2.0 * a * c2;
  const double denominator = m * m + 2.0 * q;
  const double a_plus_cos = c2 < s2 ? 2.0 * c2 - m : (1.0 + a) - 2.0 * s2;
  const double numerator = x < 0.0 ? a * a_plus_cos : q + m;
  return {numerator / denominator, 2.0 * a * (c * s) / denominator};
}

}  // namespace

Complex<float> sigmoid_scalar(Complex<float> input) {
  if (input.imaginary == 0.0f) return {sigmoid_scalar(input.real), input.imaginary};
  const Complex<double> output = off_axis(input.real, input.imaginary);
  return {static_cast<float>(output.real), static_cast<float>(output.imaginary)};
}

Complex<double> sigmoid_scalar(Complex<double> input) {
  if (input.imaginary == 0.0) return {sigmoid_scalar(input.real), input.imaginary};
  return off_axis(input.real, input.imaginary);
}

}  // namespace torch_sigmoid_ext::kernels::cpu

// The kernel set of no instruction set: portable C++, one element at a time.
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

#define VECTOR_INLINE inline

#include "backward.h"
#include "complex.h"
#include "half.h"
#include "scalar.h"
#include "select.h"
#include "sigmoid_f32.h"
#include "sigmoid_f64.h"
#include "sigmoid_half.h"
#include "vector_runs.h"

namespace torch_sigmoid_ext::kernels::cpu {
namespace {

// A vector of one, for the mathematics that is written over vectors.
struct Scalar {
  using Double = double;

  static double set_double(double a) { return a; }
  template <class T>
  static T add(T a, T b) {
    return a + b;
  }
  template <class T>
  static T sub(T a, T b) {
    return a - b;
  }
  template <class T>
  static T mul(T a, T b) {
    return a * b;
  }
  template <class T>
  static T fmadd(T a, T b, T c) {
    return std::fma(a, b, c);
  }
  template <class T>
  static T fmsub(T a, T b, T c) {
    return std::fma(a, b, -c);
  }
  template <class T>
  static T fnmadd(T a, T b, T c) {
    return std::fma(-a, b, c);
  }
  template <class T>
  static T where_finite(T a, T then, T otherwise) {
    return std::isfinite(a) ? then : otherwise;
  }

  static double div(double a, double b) { return a / b; }
  static double min(double a, double b) { return a < b ? a : b; }
  static double lookup(const double (&table)[32], double index) {
    return table[std::bit_cast<std::uint64_t>(index) & 31];
  }
  static double exponent_field_above_index(double index) {
    return std::bit_cast<double>((std::bit_cast<std::uint64_t>(index) << 47) & 0x7ff0000000000000u);
  }
};

using Float64 = SigmoidFloat64<Scalar>;

}  // namespace

// In the namespace of its namesakes for the other types, lest it hide them from the functions
// below.
static double sigmoid(double x) {
  if (!(x < kFloat64Normal)) return Float64::normal(x);
  if (x < -746.0) return 0.0;
  const Float64::Index index = Float64::look_up(x);
  const Float64::Quotient q = Float64::divide(index, /*power=*/0.0);
  const int k = static_cast<int>(index.t) >> 5;  // floor(t / 32)
  if (std::ldexp(q.value, k) >= 0x1p-1022) return std::ldexp(q.value + q.correction, k);

  // A subnormal result: round the quotient to a multiple of 2^(-1074 - k), once, and scale exactly.
  const double grid = 0x1p52 * power_of_two(-1074 - k);
  const double coarse = grid + q.value;
  const double remainder = (q.value - (coarse - grid)) + q.correction;
  return std::ldexp((coarse + remainder) - grid, k);
}

namespace {

template <class T>
T gradient(T grad_output, T y) {
  return sigmoid_backward<Scalar>(T{1}, grad_output, y);
}

// backward_half.h, in double: the product is exact where y >= 2^-29; below, it is rounded, but not to
// grad_output · y, which may be the middle between two numbers.
template <int kPrecision, int kMinExponent>
Half<kPrecision, kMinExponent> gradient(Half<kPrecision, kMinExponent> grad_output,
                                        Half<kPrecision, kMinExponent> y) {
  const double value = y.to_double();
  const double rest = 1.0 - value;
  const double below_one = rest == 1.0 ? 0x1.fffffffffffffp-1 : rest;
  return Half<kPrecision, kMinExponent>::from_double((grad_output.to_double() * value) * below_one);
}

template <class T>
const T& at(const void* base, std::int64_t offset) {
  return *reinterpret_cast<const T*>(static_cast<const std::byte*>(base) + offset);
}

template <class T>
T& at(void* base, std::int64_t offset) {
  return *reinterpret_cast<T*>(static_cast<std::byte*>(base) + offset);
}

template <class T>
void sigmoid_run(const void* input, std::int64_t input_stride, void* output,
                 std::int64_t output_stride, std::int64_t numel) {
  for (std::int64_t i = 0; i < numel; ++i) {
    at<T>(output, i * output_stride) = sigmoid(at<T>(input, i * input_stride));
  }
}

template <class T>
void sigmoid_backward_run(const void* grad_output, std::int64_t grad_output_stride,
                          const void* output, std::int64_t output_stride, void* grad_input,
                          std::int64_t grad_input_stride, std::int64_t numel) {
  for (std::int64_t i = 0; i < numel; ++i) {
    at<T>(grad_input, i * grad_input_stride) =
        gradient(at<T>(grad_output, i * grad_output_stride), at<T>(output, i * output_stride));
  }
}

}  // namespace

float sigmoid_scalar(float input) { return sigmoid(input); }
double sigmoid_scalar(double input) { return sigmoid(input); }

const KernelSet& scalar() {
  static constexpr std::array<Sigmoid, kElementTypes> kExact = {
      sigmoid_run<Float16>,
      sigmoid_run<BFloat16>,
      sigmoid_run<float>,
      sigmoid_run<double>,
      run_blocks<ComplexBlock<Scalar, float>, Complex<float>>,
      run_blocks<ComplexBlock<Scalar, double>, Complex<double>>};
  static constexpr KernelSet kSet = {
      .name = "scalar",
      .exact = kExact,
      .fast = kExact,  // nothing portable is both less exact and quicker
      .backward = {sigmoid_backward_run<Float16>, sigmoid_backward_run<BFloat16>,
                   sigmoid_backward_run<float>, sigmoid_backward_run<double>,
                   run_backward_blocks<ComplexBackwardBlock<Scalar, float>, Complex<float>>,
                   run_backward_blocks<ComplexBackwardBlock<Scalar, double>, Complex<double>>}};
  return kSet;
}

}  // namespace torch_sigmoid_ext::kernels::cpu

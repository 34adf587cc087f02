// The kernel set of no instruction set: portable C++, one element at a time.
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#define VECTOR_INLINE inline

#include "backward.h"
#include "complex.h"
#include "half.h"
#include "scalar.h"
#include "select.h"
#include "sigmoid_f32.h"
#include "sigmoid_f32_fast.h"
#include "sigmoid_f64.h"
#include "sigmoid_half.h"
#include "vector_runs.h"

namespace torch_sigmoid_ext::kernels::cpu {
namespace {

// A vector of one, for the mathematics that is written over vectors.
struct Scalar {
  using Float = float;
  using Double = double;
  using Int = std::uint64_t;  // the bits of either

  struct Exp2Double {
    double value, error;
  };

  static float set(float a) { return a; }
  static double set_double(double a) { return a; }
  static Int set_int(std::int32_t a) { return static_cast<std::uint32_t>(a); }
  static Int zero() { return 0; }
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
  static T div(T a, T b) {
    return a / b;
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
  static T min(T a, T b) {
    return a < b ? a : b;
  }
  template <class T>
  static T max(T a, T b) {
    return a > b ? a : b;
  }
  template <class T>
  static T clamp(T a, T low, T high) {  // NaN passes
    return a > high ? high : a < low ? low : a;
  }
  template <class T>
  static bool less(T a, T b) {
    return a < b;
  }
  template <class T>
  static T choose(bool mask, T then, T otherwise) {
    return mask ? then : otherwise;
  }
  static Int keep(bool mask, Int a) { return mask ? a : 0; }
  template <class T>
  static T where_nan(T a, T otherwise) {
    return std::isnan(a) ? a : otherwise;
  }

  static Int bits(float a) { return std::bit_cast<std::uint32_t>(a); }
  static Int bits(double a) { return std::bit_cast<std::uint64_t>(a); }
  static float as_float(Int a) { return std::bit_cast<float>(static_cast<std::uint32_t>(a)); }
  static double as_double(Int a) { return std::bit_cast<double>(a); }
  static Int sub64(Int a, Int b) { return a - b; }
  static Int exponent_bits(Int a) { return a << 52; }
  template <int kShift>
  static float exponent_field(Int index) {
    return as_float((index << kShift) & 0x7f800000u);
  }
  static Int exponent_field_above_index(Int index) { return (index << 48) & 0xfff0000000000000u; }
  static float lookup(const float (&table)[16], Int index) { return table[index & 15]; }
  static Exp2Double lookup_exp2(Int index) {
    return {kExp2Double[index & 15], kExp2DoubleErrors[index & 15]};
  }
};

using Float64 = SigmoidFloat64<Scalar>;

}  // namespace

// In the namespace of its namesakes for the other types, lest it hide them from the functions
// below.
static double sigmoid(double x) {
  return std::fabs(x) <= -kFloat64Tiny ? Float64::narrow(x) : Float64::wide(x);
}

namespace {

template <class T>
T gradient(T grad_output, T y) {
  return sigmoid_backward<Scalar>(std::numeric_limits<T>::max(), T{1}, grad_output, y);
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

// float32 only: for the other types nothing is quicker than their exact kernel.
void fast_run(const void* input, std::int64_t input_stride, void* output,
              std::int64_t output_stride, std::int64_t numel) {
  for (std::int64_t i = 0; i < numel; ++i) {
    at<float>(output, i * output_stride) =
        SigmoidFloat32Fast<Scalar>::wide(at<float>(input, i * input_stride));
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
float rounded_scalar(float input, double sigmoid) { return rounded(input, sigmoid); }

const KernelSet& scalar() {
  static constexpr std::array<Sigmoid, kElementTypes> kExact = {
      sigmoid_run<Float16>,
      sigmoid_run<BFloat16>,
      sigmoid_run<float>,
      sigmoid_run<double>,
      Runs<ComplexBlock<Scalar, float>, Complex<float>>::run,
      Runs<ComplexBlock<Scalar, double>, Complex<double>>::run};
  static constexpr KernelSet kSet = {
      .name = "scalar",
      .exact = kExact,
      .fast = {kExact[0], kExact[1], fast_run, kExact[3], kExact[4], kExact[5]},
      .backward = {sigmoid_backward_run<Float16>, sigmoid_backward_run<BFloat16>,
                   sigmoid_backward_run<float>, sigmoid_backward_run<double>,
                   BackwardRuns<ComplexBackwardBlock<Scalar, float>, Complex<float>>::run,
                   BackwardRuns<ComplexBackwardBlock<Scalar, double>, Complex<double>>::run}};
  return kSet;
}

}  // namespace torch_sigmoid_ext::kernels::cpu

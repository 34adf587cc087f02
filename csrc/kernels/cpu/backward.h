// The gradient: grad_input = grad_output · y · (1 - y), with y = σ(x).
//
// 16-bit types and float32 in double: y · (1 - y) and the products carry at least 28 bits more than
// the result, so the error is at most 0.5001 ULP. float64 keeps the tails of 1 - y and of both
// products (fma), for at most 0.51 ULP. Zeros, infinities and NaN come out as in the plain formula.
#pragma once

#include <cmath>

#include "half.h"
#include "sigmoid_f64.h"

namespace torch_sigmoid_ext::kernels::cpu {

inline double sigmoid_backward_core(double grad_output, double y) {
  return (grad_output * y) * (1.0 - y);
}

inline float sigmoid_backward(float grad_output, float y) {
  return static_cast<float>(sigmoid_backward_core(grad_output, y));
}

template <int kPrecision, int kMinExponent>
Half<kPrecision, kMinExponent> sigmoid_backward(Half<kPrecision, kMinExponent> grad_output,
                                                Half<kPrecision, kMinExponent> y) {
  return Half<kPrecision, kMinExponent>::from_double(
      sigmoid_backward_core(grad_output.to_double(), y.to_double()));
}

inline double sigmoid_backward(double grad_output, double y) {
  const DoubleSum complement = two_sum(1.0, -y);
  const double product = grad_output * y;
  const double product_low = std::fma(grad_output, y, -product);
  const double result = product * complement.high;
  const double result_low = std::fma(product, complement.high, -result) +
                            (product * complement.low + product_low * complement.high);
  return std::isfinite(result_low) ? result + result_low : result;  // an infinity has no tail
}

}  // namespace torch_sigmoid_ext::kernels::cpu

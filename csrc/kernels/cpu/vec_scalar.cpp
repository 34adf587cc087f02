// The kernel set of no instruction set: portable C++, one element at a time.
#include <cstddef>

#include "backward.h"
#include "half.h"
#include "scalar.h"
#include "select.h"
#include "sigmoid_f32.h"
#include "sigmoid_f64.h"
#include "sigmoid_half.h"

namespace torch_sigmoid_ext::kernels::cpu {
namespace {

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
    at<T>(grad_input, i * grad_input_stride) = sigmoid_backward(
        at<T>(grad_output, i * grad_output_stride), at<T>(output, i * output_stride));
  }
}

}  // namespace

float sigmoid_scalar(float input) { return sigmoid(input); }

const KernelSet& scalar() {
  static constexpr std::array<Sigmoid, kElementTypes> kExact = {
      sigmoid_run<Float16>, sigmoid_run<BFloat16>, sigmoid_run<float>, sigmoid_run<double>};
  static constexpr KernelSet kSet = {
      .name = "scalar",
      .exact = kExact,
      .fast = kExact,  // nothing portable is both less exact and quicker
      .backward = {sigmoid_backward_run<Float16>, sigmoid_backward_run<BFloat16>,
                   sigmoid_backward_run<float>, sigmoid_backward_run<double>}};
  return kSet;
}

}  // namespace torch_sigmoid_ext::kernels::cpu

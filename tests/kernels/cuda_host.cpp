// The CUDA backend's operations, compiled for this CPU and callable from Python: tests/test_cuda_host.py.
#include <cstdint>

#include "../../csrc/kernels/cuda/device.h"

namespace cuda = torch_sigmoid_ext::kernels::cuda;

namespace {

template <class Op>
void run(const void* input, const void* other, void* output, std::int64_t numel) {
  using T = typename Op::Element;
  const auto* x = static_cast<const T*>(input);
  [[maybe_unused]] const auto* y = static_cast<const T*>(other);
  auto* results = static_cast<T*>(output);
  std::int64_t i = 0;
  if constexpr (requires { &Op::pair; }) {  // as the dense kernel does, all but the last
    for (; i + 2 < numel; i += 2) {
      const std::uint32_t first = x[i] | static_cast<std::uint32_t>(x[i + 1]) << 16;
      std::uint32_t pair;
      if constexpr (Op::kInputs == 1) {
        pair = Op::pair(first);
      } else {
        pair = Op::pair(first, y[i] | static_cast<std::uint32_t>(y[i + 1]) << 16);
      }
      results[i] = static_cast<T>(pair);
      results[i + 1] = static_cast<T>(pair >> 16);
    }
  }
  for (; i < numel; ++i) {
    if constexpr (Op::kInputs == 1) {
      results[i] = Op::apply(x[i]);
    } else {
      results[i] = Op::apply(x[i], y[i]);
    }
  }
}

}  // namespace

// Of the estimates of 1/a, in parts of their bound.
extern "C" void set_estimate_error(double error) { cuda::estimate_error = error; }

#define EXPORT(name, ...)                                                                        \
  extern "C" void name(const void* input, const void* other, void* output, std::int64_t numel) { \
    run<__VA_ARGS__>(input, other, output, numel);                                               \
  }

EXPORT(float16, cuda::SigmoidHalf<cuda::Float16Pair>)
EXPORT(bfloat16, cuda::SigmoidHalf<cuda::BFloat16Pair>)
EXPORT(float32, cuda::SigmoidFloat32<cuda::InDouble>)
EXPORT(float32_pairs, cuda::SigmoidFloat32<cuda::InPairs>)
EXPORT(float32_fast, cuda::SigmoidFloat32Fast)
EXPORT(float64, cuda::SigmoidOf<double>)
EXPORT(complex64, cuda::SigmoidOf<cuda::Complex<float>>)
EXPORT(complex128, cuda::SigmoidOf<cuda::Complex<double>>)
EXPORT(float16_gradient, cuda::GradientHalf<cuda::Float16Pair>)
EXPORT(bfloat16_gradient, cuda::GradientHalf<cuda::BFloat16Pair>)
EXPORT(float32_gradient, cuda::GradientFloat32)
EXPORT(float64_gradient, cuda::GradientFloat64)
EXPORT(complex64_gradient, cuda::GradientComplex<float>)
EXPORT(complex128_gradient, cuda::GradientComplex<double>)

// What the vector kernel sets are made of: each kernel as blocks of a few vectors.
#pragma once

#include "backward.h"
#include "backward_half.h"
#include "complex.h"
#include "scalar.h"
#include "sigmoid_f32_vector.h"
#include "sigmoid_f64.h"
#include "sigmoid_half_vector.h"
#include "vector_runs.h"

namespace torch_sigmoid_ext::kernels::cpu {

template <class V>
struct Float64Block {
  static constexpr int kVectors = 2;
  static constexpr int kBlock = kVectors * V::kDoubles;

  VECTOR_INLINE static void block(const double* input, double* output) {
    typename V::Double x[kVectors];
    bool normal = true;
    for (int v = 0; v < kVectors; ++v) {
      x[v] = V::load(input + v * V::kDoubles);
      normal = normal && V::none_below(x[v], kFloat64Normal);
    }
    if (__builtin_expect(!normal, 0)) return tail_block(input, output);
    for (int v = 0; v < kVectors; ++v) {
      V::store(output + v * V::kDoubles, SigmoidFloat64<V>::normal(x[v]));
    }
  }

  // Subnormal results, one by one.
  __attribute__((noinline, cold)) static void tail_block(const double* input, double* output) {
    for (int i = 0; i < kBlock; ++i) output[i] = sigmoid_scalar(input[i]);
  }
};

template <class V>
struct BackwardFloat32Block {
  static constexpr int kBlock = V::kLanes;

  VECTOR_INLINE static void block(const float* grad_output, const float* output,
                                  float* grad_input) {
    V::store(grad_input, sigmoid_backward<V>(V::set(1.0f), V::load(grad_output), V::load(output)));
  }
};

template <class V>
struct BackwardFloat64Block {
  static constexpr int kBlock = V::kDoubles;

  VECTOR_INLINE static void block(const double* grad_output, const double* output,
                                  double* grad_input) {
    V::store(grad_input,
             sigmoid_backward<V>(V::set_double(1.0), V::load(grad_output), V::load(output)));
  }
};

// The kernel set of one instruction set; what has no vector kernel yet is the portable one's.
template <class V, class Float16Io, class BFloat16Io>
KernelSet vector_kernels(const char* name) {
  KernelSet set = scalar();
  set.name = name;
  set.exact = {run_blocks<SigmoidHalf<V, Float16Io, Float16Sigmoid>, std::uint16_t>,
               run_blocks<SigmoidHalf<V, BFloat16Io, BFloat16Sigmoid>, std::uint16_t>,
               run_blocks<SigmoidFloat32<V>, float>,
               run_blocks<Float64Block<V>, double>,
               run_blocks<ComplexBlock<V, float>, Complex<float>>,
               run_blocks<ComplexBlock<V, double>, Complex<double>>};
  set.fast = set.exact;
  set.backward[0] = run_backward_blocks<BackwardFloat16<V, Float16Io>, std::uint16_t>;
  set.backward[1] = run_backward_blocks<BackwardBFloat16<V, BFloat16Io>, std::uint16_t>;
  set.backward[2] = run_backward_blocks<BackwardFloat32Block<V>, float>;
  set.backward[3] = run_backward_blocks<BackwardFloat64Block<V>, double>;
  set.backward[4] = run_backward_blocks<ComplexBackwardBlock<V, float>, Complex<float>>;
  set.backward[5] = run_backward_blocks<ComplexBackwardBlock<V, double>, Complex<double>>;
  return set;
}

}  // namespace torch_sigmoid_ext::kernels::cpu

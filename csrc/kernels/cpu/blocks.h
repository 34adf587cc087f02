// What the vector kernel sets are made of: each kernel as blocks of a few vectors.
#pragma once

#include <cfloat>

#include "backward.h"
#include "backward_half.h"
#include "complex.h"
#include "saturate.h"
#include "scalar.h"
#include "sigmoid_f32_fast.h"
#include "sigmoid_f32_vector.h"
#include "sigmoid_f64.h"
#include "sigmoid_half_vector.h"
#include "vector_runs.h"

namespace torch_sigmoid_ext::kernels::cpu {

template <class V>
struct FastFloat32Block {
  using Fast = SigmoidFloat32Fast<V>;
  static constexpr int kVectors = 4;
  static constexpr int kBlock = kVectors * V::kLanes;
  static constexpr bool kInterleaved = true;

  VECTOR_INLINE static bool block(const float* input, float* output) {
    typename V::Float y[kVectors];
    typename V::Int outside = V::zero();
    for (int v = 0; v < kVectors; ++v) {
      y[v] = Fast::narrow(V::load(input + v * V::kLanes), outside);
    }
    if (__builtin_expect(V::any_bit(outside, Fast::Index::kOutside), 0)) return false;
    for (int v = 0; v < kVectors; ++v) V::store(output + v * V::kLanes, y[v]);
    return true;
  }

  VECTOR_INLINE static bool saturated_block(const float* input, float* output) {
    return saturate<V, kVectors>(input, output);
  }

  VECTOR_INLINE static bool normal_block(const float* input, float* output) {
    typename V::Float y[kVectors];
    typename V::Int least = V::set_int(-1);
    for (int v = 0; v < kVectors; ++v) {
      y[v] = Fast::normal(V::load(input + v * V::kLanes), least);
    }
    if (__builtin_expect(Fast::Index::any_below(least, Fast::Index::kLeastNormal), 0)) return false;
    for (int v = 0; v < kVectors; ++v) V::store(output + v * V::kLanes, y[v]);
    return true;
  }

  VECTOR_INLINE static void wide_block(const float* input, float* output) {
    for (int v = 0; v < kVectors; ++v) {
      V::store(output + v * V::kLanes, Fast::wide(V::load(input + v * V::kLanes)));
    }
  }
};

template <class V>
struct Float64Block {
  static constexpr int kVectors = 4;
  static constexpr int kBlock = kVectors * V::kDoubles;
  static constexpr bool kInterleaved = true;

  VECTOR_INLINE static bool block(const double* input, double* output) {
    typename V::Double x[kVectors];
    bool narrow = true;
    for (int v = 0; v < kVectors; ++v) {
      x[v] = V::load(input + v * V::kDoubles);
      narrow = narrow && V::all_within(x[v], -kFloat64Tiny);
    }
    if (__builtin_expect(!narrow, 0)) return false;
    for (int v = 0; v < kVectors; ++v) {
      V::store(output + v * V::kDoubles, SigmoidFloat64<V>::narrow(x[v]));
    }
    return true;
  }

  VECTOR_INLINE static bool saturated_block(const double* input, double* output) {
    for (int v = 0; v < kVectors; ++v) {
      if (!V::all_beyond(V::load(input + v * V::kDoubles), kFloat64Zero, kFloat64One)) return false;
    }
    for (int v = 0; v < kVectors; ++v) {
      const auto negative = V::less(V::load(input + v * V::kDoubles), 0.0);
      V::store(output + v * V::kDoubles,
               V::choose(negative, V::set_double(0.0), V::set_double(1.0)));
    }
    return true;
  }

  VECTOR_INLINE static bool normal_block(const double* input, double* output) {
    constexpr double kMiddle = 0.5 * (kFloat64Zero + kFloat64Tiny);
    typename V::Double x[kVectors];
    // The least distance from the middle of the subnormal results.
    typename V::Double least = V::set_double(DBL_MAX);
    for (int v = 0; v < kVectors; ++v) {
      x[v] = V::load(input + v * V::kDoubles);
      least = V::min_number(V::abs(V::sub(x[v], V::set_double(kMiddle))), least);
    }
    if (__builtin_expect(V::any_within(least, kFloat64Tiny - kMiddle), 0)) return false;
    for (int v = 0; v < kVectors; ++v) {
      V::store(output + v * V::kDoubles, SigmoidFloat64<V>::normal(x[v]));
    }
    return true;
  }

  VECTOR_INLINE static void wide_block(const double* input, double* output) {
    typename V::Double y[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      y[v] = SigmoidFloat64<V>::wide(V::load(input + v * V::kDoubles));
    }
    for (int v = 0; v < kVectors; ++v) V::store(output + v * V::kDoubles, y[v]);
  }
};

template <class V>
struct BackwardFloat32Block {
  static constexpr int kVectors = 4;
  static constexpr int kBlock = kVectors * V::kLanes;

  VECTOR_INLINE static void block(const float* grad_output, const float* output,
                                  float* grad_input) {
    for (int i = 0; i < kBlock; i += V::kLanes) {
      V::store(grad_input + i, sigmoid_backward<V>(FLT_MAX, V::set(1.0f), V::load(grad_output + i),
                                                   V::load(output + i)));
    }
  }
};

template <class V>
struct BackwardFloat64Block {
  static constexpr int kVectors = 4;
  static constexpr int kBlock = kVectors * V::kDoubles;

  VECTOR_INLINE static void block(const double* grad_output, const double* output,
                                  double* grad_input) {
    for (int i = 0; i < kBlock; i += V::kDoubles) {
      V::store(grad_input + i, sigmoid_backward<V>(DBL_MAX, V::set_double(1.0),
                                                   V::load(grad_output + i), V::load(output + i)));
    }
  }
};

// The kernel set of one instruction set.
template <class V, class Float16Io, class BFloat16Io>
KernelSet vector_kernels(const char* name) {
  KernelSet set;
  set.name = name;
  set.exact = {Runs<SigmoidHalf<V, Float16Io, Float16Sigmoid>, std::uint16_t>::run,
               Runs<SigmoidHalf<V, BFloat16Io, BFloat16Sigmoid>, std::uint16_t>::run,
               Runs<SigmoidFloat32<V>, float>::run,
               Runs<Float64Block<V>, double>::run,
               Runs<ComplexBlock<V, float>, Complex<float>>::run,
               Runs<ComplexBlock<V, double>, Complex<double>>::run};
  set.fast = set.exact;
  set.fast[2] = Runs<FastFloat32Block<V>, float>::run;
  set.backward[0] = BackwardRuns<BackwardFloat16<V, Float16Io>, std::uint16_t>::run;
  set.backward[1] = BackwardRuns<BackwardBFloat16<V, BFloat16Io>, std::uint16_t>::run;
  set.backward[2] = BackwardRuns<BackwardFloat32Block<V>, float>::run;
  set.backward[3] = BackwardRuns<BackwardFloat64Block<V>, double>::run;
  set.backward[4] = BackwardRuns<ComplexBackwardBlock<V, float>, Complex<float>>::run;
  set.backward[5] = BackwardRuns<ComplexBackwardBlock<V, double>, Complex<double>>::run;
  return set;
}

}  // namespace torch_sigmoid_ext::kernels::cpu

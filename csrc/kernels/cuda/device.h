// What is done to the elements of each type: the arithmetic of the CUDA backend, for host and device alike.
//
// An operation has an Element, a number of inputs, and apply() for one element of each. Besides, those of the
// 16-bit types have pair(), for two in a word: a chip converts two at once; and that of float32 has attempt(),
// whose result may be in doubt, and decide(), which is slow and always right: a thread with many elements
// decides after all attempts.
#pragma once

#include <cfloat>
#include <cstdint>

#include "../cpu/backward.h"
#include "../cpu/sigmoid_f32_fast.h"
#include "complex.h"
#include "half.h"
#include "lane.h"
#include "sigmoid_f32.h"
#include "sigmoid_f64.h"

namespace torch_sigmoid_ext::kernels::cuda {

template <class Pair>
struct SigmoidHalf {
  using Element = std::uint16_t;
  static constexpr int kInputs = 1;
  KERNEL_INLINE static std::uint32_t pair(std::uint32_t x) { return sigmoid_pair<Pair>(x); }
  KERNEL_INLINE static Element apply(Element x) { return sigmoid_alone<Pair>(x); }
};

template <class Method>
struct SigmoidFloat32 {
  using Element = float;
  static constexpr int kInputs = 1;
  KERNEL_INLINE static Rounded attempt(float x) { return Method::sigmoid(x); }
  KERNEL_INLINE static float decide(float x) { return cpu::sigmoid(x); }
  KERNEL_INLINE static float apply(float x) {
    const Rounded rounded = attempt(x);
    return rounded.doubt ? decide(x) : rounded.value;
  }
};

struct SigmoidFloat32Fast {
  using Element = float;
  static constexpr int kInputs = 1;
  KERNEL_INLINE static float apply(float x) { return cpu::SigmoidFloat32Fast<FloatLane>::wide(x); }
};

// float64 and the complex types.
template <class T>
struct SigmoidOf {
  using Element = T;
  static constexpr int kInputs = 1;
  KERNEL_INLINE static T apply(T x) { return sigmoid(x); }
};

template <class Pair>
struct GradientHalf {
  using Element = std::uint16_t;
  static constexpr int kInputs = 2;
  KERNEL_INLINE static std::uint32_t pair(std::uint32_t g, std::uint32_t y) {
    return gradient_pair<Pair>(g, y);
  }
  KERNEL_INLINE static Element apply(Element g, Element y) { return gradient_alone<Pair>(g, y); }
};

struct GradientFloat32 {
  using Element = float;
  static constexpr int kInputs = 2;
  KERNEL_INLINE static float apply(float g, float y) {
    return cpu::sigmoid_backward<FloatLane>(FLT_MAX, 1.0f, g, y);
  }
};

struct GradientFloat64 {
  using Element = double;
  static constexpr int kInputs = 2;
  KERNEL_INLINE static double apply(double g, double y) {
    return cpu::sigmoid_backward<DoubleLane>(DBL_MAX, 1.0, g, y);
  }
};

template <class T>
struct GradientComplex {
  using Element = Complex<T>;
  static constexpr int kInputs = 2;
  KERNEL_INLINE static Element apply(Element g, Element y) { return gradient(g, y); }
};

}  // namespace torch_sigmoid_ext::kernels::cuda

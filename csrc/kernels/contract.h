// The contract that every kernel keeps: pointers, byte strides and a count in, numbers out.
//
// Nothing in csrc/kernels knows torch: it can be compiled, tested and carried elsewhere alone.
//
//   * A run is `numel` elements, each `stride` bytes after the one before; a stride may be zero (for
//     inputs) or negative. numel may be zero. No alignment beyond the element's own is assumed.
//   * The output may be the very same run as an input (in place); it may not overlap it otherwise.
//   * A result depends on its own element alone: not on its position, the strides, the number of
//     elements, or the instruction set. Two kernel sets return the same bits.
//   * Kernels allocate nothing, throw nothing and keep no state: any number of threads may run them.
//   * The floating-point environment is the calling thread's: kernels neither set nor ask for it, and
//     what is said of their results holds in the default one. In others:
//       subnormals flushed (torch.set_flush_denormal)   a subnormal result of bfloat16 may be 0, and a
//         subnormal operand of sigmoid_backward counts as 0; all other results keep their bits
//       rounding downward, upward or toward zero        results are less than 1.1 ULP off (float64: 2.1),
//         in [0, 1], NaN for NaN alone; kernel sets may differ. Gradients likewise, if none of their
//         products comes near to underflow
//     tests/test_floating_point_environment.py holds them to it.
#pragma once

#include <array>
#include <cstdint>

namespace torch_sigmoid_ext::kernels {

// A complex number is its real part, then its imaginary part.
enum class ElementType : std::uint8_t {
  kFloat16,
  kBFloat16,
  kFloat32,
  kFloat64,
  kComplex64,
  kComplex128
};
inline constexpr int kElementTypes = 6;

// output = sigmoid(input)
using Sigmoid = void (*)(const void* input, std::int64_t input_stride, void* output,
                         std::int64_t output_stride, std::int64_t numel);

// grad_input = grad_output * conj(output * (1 - output)), where output = sigmoid(input)
using SigmoidBackward = void (*)(const void* grad_output, std::int64_t grad_output_stride,
                                 const void* output, std::int64_t output_stride, void* grad_input,
                                 std::int64_t grad_input_stride, std::int64_t numel);

// One implementation of everything, for one instruction set; indexed by ElementType.
struct KernelSet {
  const char* name;  // "scalar", "avx2", ...
  std::array<Sigmoid, kElementTypes> exact;
  std::array<Sigmoid, kElementTypes> fast;
  std::array<SigmoidBackward, kElementTypes> backward;
};

}  // namespace torch_sigmoid_ext::kernels

// The contract of contract.h for a GPU: pointers, byte strides and a stream in, launches out; nothing of torch.
//
//   * Arithmetic is that of device.h: a result depends on its own element alone, and has the CPU's bits.
//   * Pointers are the current device's, and so is the stream (a cudaStream_t or hipStream_t). A launch is
//     asynchronous, allocates nothing and can be captured in a graph. numel may be zero.
//   * The output may be the very memory of an input, with the same strides; it may not overlap it otherwise.
//   * No alignment beyond the element's own is assumed; 16 bytes are faster.
//   * What is returned is nullptr, or why a launch failed.
#pragma once

#include <cstdint>

#include "../contract.h"

namespace torch_sigmoid_ext::kernels::cuda {

// As many as torch's own iterator hands to its kernels.
inline constexpr int kMaxDimensions = 25;

// Which operation: σ exact or fast, or its gradient (contract.h).
enum class Operation : std::uint8_t { kExact, kFast, kBackward };
inline constexpr int inputs_of(Operation operation) {
  return operation == Operation::kBackward ? 2 : 1;
}

// Elements side by side: a dense tensor, in whatever order its dimensions lie.
struct Dense {
  const void* inputs[2];  // of sigmoid one; of backward grad_output and output
  void* output;
  std::int64_t numel;
};

// Elements anywhere. The first dimension is the one along which the output's elements lie closest.
struct Strided {
  const void* inputs[2];
  void* output;
  int dimensions;
  std::int64_t sizes[kMaxDimensions];
  std::int64_t input_strides[2][kMaxDimensions];  // in bytes
  std::int64_t output_strides[kMaxDimensions];
};

const char* launch(Operation operation, ElementType type, const Dense& tensors, void* stream);
const char* launch(Operation operation, ElementType type, const Strided& tensors, void* stream);

}  // namespace torch_sigmoid_ext::kernels::cuda

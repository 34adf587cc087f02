// Runs of any stride and length, cut into the blocks that a vector kernel takes.
#pragma once

#include <cstdint>
#include <cstring>

namespace torch_sigmoid_ext::kernels::cpu {

// Kernel::block(input, output) takes Kernel::kBlock elements of T side by side; output may be
// input.
template <class Kernel, class T>
void run_blocks(const void* input, std::int64_t input_stride, void* output,
                std::int64_t output_stride, std::int64_t numel) {
  constexpr std::int64_t kDense = sizeof(T);
  const auto* from = static_cast<const char*>(input);
  auto* to = static_cast<char*>(output);
  std::int64_t i = 0;
  if (input_stride == kDense && output_stride == kDense) {
    for (; i + Kernel::kBlock <= numel; i += Kernel::kBlock) {
      Kernel::block(reinterpret_cast<const T*>(from) + i, reinterpret_cast<T*>(to) + i);
    }
  }
  // The rest, and elements apart: through a buffer, whose unused places hold 0.
  T buffer[Kernel::kBlock] = {};
  while (i < numel) {
    const int count = static_cast<int>(numel - i < Kernel::kBlock ? numel - i : Kernel::kBlock);
    for (int j = 0; j < count; ++j) {
      std::memcpy(buffer + j, from + (i + j) * input_stride, sizeof(T));
    }
    Kernel::block(buffer, buffer);
    for (int j = 0; j < count; ++j) {
      std::memcpy(to + (i + j) * output_stride, buffer + j, sizeof(T));
    }
    i += count;
  }
}

// The same for Kernel::block(grad_output, output, grad_input).
template <class Kernel, class T>
void run_backward_blocks(const void* grad_output, std::int64_t grad_output_stride,
                         const void* output, std::int64_t output_stride, void* grad_input,
                         std::int64_t grad_input_stride, std::int64_t numel) {
  constexpr std::int64_t kDense = sizeof(T);
  const auto* g = static_cast<const char*>(grad_output);
  const auto* y = static_cast<const char*>(output);
  auto* to = static_cast<char*>(grad_input);
  std::int64_t i = 0;
  if (grad_output_stride == kDense && output_stride == kDense && grad_input_stride == kDense) {
    for (; i + Kernel::kBlock <= numel; i += Kernel::kBlock) {
      Kernel::block(reinterpret_cast<const T*>(g) + i, reinterpret_cast<const T*>(y) + i,
                    reinterpret_cast<T*>(to) + i);
    }
  }
  T g_buffer[Kernel::kBlock] = {};
  T y_buffer[Kernel::kBlock] = {};
  while (i < numel) {
    const int count = static_cast<int>(numel - i < Kernel::kBlock ? numel - i : Kernel::kBlock);
    for (int j = 0; j < count; ++j) {
      std::memcpy(g_buffer + j, g + (i + j) * grad_output_stride, sizeof(T));
      std::memcpy(y_buffer + j, y + (i + j) * output_stride, sizeof(T));
    }
    Kernel::block(g_buffer, y_buffer, g_buffer);
    for (int j = 0; j < count; ++j) {
      std::memcpy(to + (i + j) * grad_input_stride, g_buffer + j, sizeof(T));
    }
    i += count;
  }
}

}  // namespace torch_sigmoid_ext::kernels::cpu

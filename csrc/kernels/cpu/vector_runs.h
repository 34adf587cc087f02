// Runs of any stride and length, cut into the blocks that a vector kernel takes.
#pragma once

#include <cstdint>
#include <cstring>

namespace torch_sigmoid_ext::kernels::cpu {

// Not std::min: a copy compiled for a wide instruction set could become everyone's.
VECTOR_INLINE constexpr std::int64_t least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// Kernel::block(input, output) takes Kernel::kBlock elements of T side by side; output may be input.
// Where it returns false it has written nothing, and Kernel::wide_block must do the block.
template <class Kernel, class T>
class Runs {
 public:
  static void run(const void* input, std::int64_t input_stride, void* output,
                  std::int64_t output_stride, std::int64_t numel) {
    constexpr std::int64_t kDense = sizeof(T);
    const auto* from = static_cast<const char*>(input);
    auto* to = static_cast<char*>(output);
    if (input_stride == kDense && output_stride == kDense) {
      const std::int64_t whole = numel - numel % Kernel::kBlock;
      blocks(reinterpret_cast<const T*>(from), reinterpret_cast<T*>(to), whole);
      from += whole * kDense;
      to += whole * kDense;
      numel -= whole;
    }
    while (numel > 0) {
      const std::int64_t count = least(numel, kBuffer);
      gathered(from, input_stride, to, output_stride, count);
      from += count * input_stride;
      to += count * output_stride;
      numel -= count;
    }
  }

 private:
  static constexpr std::int64_t kWide = 8 * Kernel::kBlock;
  static constexpr std::int64_t kBuffer = 8 * Kernel::kBlock;

  // The tail, and elements apart: side by side in a buffer, whose last block is filled up with 0.
  static void gathered(const char* from, std::int64_t input_stride, char* to,
                       std::int64_t output_stride, std::int64_t count) {
    T buffer[kBuffer];
    for (std::int64_t i = 0; i < count; ++i) {
      std::memcpy(buffer + i, from + i * input_stride, sizeof(T));
    }
    std::int64_t whole = count;
    while (whole % Kernel::kBlock != 0) buffer[whole++] = T{};
    blocks(buffer, buffer, whole);
    for (std::int64_t i = 0; i < count; ++i) {
      std::memcpy(to + i * output_stride, buffer + i, sizeof(T));
    }
  }

  VECTOR_INLINE static void blocks(const T* input, T* output, std::int64_t numel) {
    std::int64_t i = 0;
    while (i < numel) {
      if constexpr (requires { Kernel::wide_block(input, output); }) {
        if (__builtin_expect(!Kernel::block(input + i, output + i), 0)) {
          // What is out of the usual range seldom comes alone: the next blocks are taken as well.
          const std::int64_t count = least(kWide, numel - i);
          wide_blocks(input + i, output + i, count);
          i += count;
          continue;
        }
      } else {
        Kernel::block(input + i, output + i);
      }
      i += Kernel::kBlock;
    }
  }

  __attribute__((noinline)) static void wide_blocks(const T* input, T* output, std::int64_t numel) {
    std::int64_t i = 0;
    if constexpr (requires { Kernel::saturated_block(input, output); }) {
      while (i < numel && Kernel::saturated_block(input + i, output + i)) i += Kernel::kBlock;
    }
    for (; i < numel; i += Kernel::kBlock) Kernel::wide_block(input + i, output + i);
  }
};

// The same for Kernel::block(grad_output, output, grad_input).
template <class Kernel, class T>
class BackwardRuns {
 public:
  static void run(const void* grad_output, std::int64_t grad_output_stride, const void* output,
                  std::int64_t output_stride, void* grad_input, std::int64_t grad_input_stride,
                  std::int64_t numel) {
    constexpr std::int64_t kDense = sizeof(T);
    const auto* g = static_cast<const char*>(grad_output);
    const auto* y = static_cast<const char*>(output);
    auto* to = static_cast<char*>(grad_input);
    if (grad_output_stride == kDense && output_stride == kDense && grad_input_stride == kDense) {
      const std::int64_t whole = numel - numel % Kernel::kBlock;
      blocks(reinterpret_cast<const T*>(g), reinterpret_cast<const T*>(y), reinterpret_cast<T*>(to),
             whole);
      g += whole * kDense;
      y += whole * kDense;
      to += whole * kDense;
      numel -= whole;
    }
    T g_buffer[kBuffer];
    T y_buffer[kBuffer];
    while (numel > 0) {
      const std::int64_t count = least(numel, kBuffer);
      for (std::int64_t i = 0; i < count; ++i) {
        std::memcpy(g_buffer + i, g + i * grad_output_stride, sizeof(T));
        std::memcpy(y_buffer + i, y + i * output_stride, sizeof(T));
      }
      std::int64_t whole = count;
      for (; whole % Kernel::kBlock != 0; ++whole) g_buffer[whole] = y_buffer[whole] = T{};
      blocks(g_buffer, y_buffer, g_buffer, whole);
      for (std::int64_t i = 0; i < count; ++i) {
        std::memcpy(to + i * grad_input_stride, g_buffer + i, sizeof(T));
      }
      g += count * grad_output_stride;
      y += count * output_stride;
      to += count * grad_input_stride;
      numel -= count;
    }
  }

 private:
  static constexpr std::int64_t kBuffer = 8 * Kernel::kBlock;

  VECTOR_INLINE static void blocks(const T* grad_output, const T* output, T* grad_input,
                                   std::int64_t numel) {
    for (std::int64_t i = 0; i < numel; i += Kernel::kBlock) {
      Kernel::block(grad_output + i, output + i, grad_input + i);
    }
  }
};

}  // namespace torch_sigmoid_ext::kernels::cpu

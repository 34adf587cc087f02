#include "plane.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace torch_sigmoid_ext::kernels::cpu {
namespace {

// Lines of 128 elements or fewer, as many of them as come with two cache lines of the input.
constexpr std::int64_t kLine = 128;
constexpr std::int64_t kAhead = 8;
constexpr std::int64_t kTileBytes = 128 * kLine;

template <std::size_t kSize>
void transpose(const Plane& plane, const char* input, char* tile, std::int64_t width,
               std::int64_t height) {
  for (std::int64_t i = 0; i < width; ++i) {
    const char* from = input + i * plane.input_stride[0];
    char* to = tile + i * static_cast<std::int64_t>(kSize);
    if (i + kAhead < width) {  // each line is on a page of its own, which no hardware foresees
      __builtin_prefetch(from + kAhead * plane.input_stride[0]);
      __builtin_prefetch(from + kAhead * plane.input_stride[0] +
                         (height - 1) * plane.input_stride[1]);
    }
    for (std::int64_t j = 0; j < height; ++j) {
      std::memcpy(to, from, kSize);
      from += plane.input_stride[1];
      to += kLine * static_cast<std::int64_t>(kSize);
    }
  }
}

using Transpose = void (*)(const Plane&, const char*, char*, std::int64_t, std::int64_t);

Transpose transpose_of(std::int64_t element_size) {
  switch (element_size) {
    case 2:
      return transpose<2>;
    case 4:
      return transpose<4>;
    case 8:
      return transpose<8>;
    default:
      return transpose<16>;
  }
}

void run_tiles(Sigmoid kernel, const Plane& plane, const char* input, char* output) {
  alignas(64) char tile[kTileBytes];
  const std::int64_t size = plane.element_size;
  const std::int64_t most = kTileBytes / (kLine * size);
  const Transpose transpose_tile = transpose_of(size);
  for (std::int64_t j = 0; j < plane.size[1]; j += most) {
    const std::int64_t height = std::min(most, plane.size[1] - j);
    for (std::int64_t i = 0; i < plane.size[0]; i += kLine) {
      const std::int64_t width = std::min(kLine, plane.size[0] - i);
      transpose_tile(plane, input + i * plane.input_stride[0] + j * plane.input_stride[1], tile,
                     width, height);
      for (std::int64_t line = 0; line < height; ++line) {
        kernel(tile + line * kLine * size, size,
               output + i * plane.output_stride[0] + (j + line) * plane.output_stride[1],
               plane.output_stride[0], width);
      }
    }
  }
}

}  // namespace

void run_plane(Sigmoid kernel, const Plane& plane, const void* input, void* output) {
  const auto* from = static_cast<const char*>(input);
  auto* to = static_cast<char*>(output);
  const bool input_crosses = std::abs(plane.input_stride[1]) < std::abs(plane.input_stride[0]) &&
                             plane.input_stride[1] != 0;
  const bool output_crosses = std::abs(plane.output_stride[1]) < std::abs(plane.output_stride[0]);
  if (input_crosses && !output_crosses && plane.size[0] > 1 && plane.size[1] > 1) {
    return run_tiles(kernel, plane, from, to);
  }
  for (std::int64_t j = 0; j < plane.size[1]; ++j) {
    kernel(from + j * plane.input_stride[1], plane.input_stride[0], to + j * plane.output_stride[1],
           plane.output_stride[0], plane.size[0]);
  }
}

}  // namespace torch_sigmoid_ext::kernels::cpu

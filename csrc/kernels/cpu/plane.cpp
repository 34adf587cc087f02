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
struct Word;
template <>
struct Word<2> {
  using Type = std::uint16_t;
};
template <>
struct Word<4> {
  using Type = std::uint32_t;
};
template <>
struct Word<8> {
  using Type = std::uint64_t;
};

// A square of elements, 16 bytes a side, by the vectors that every compiler knows.
template <std::size_t kSize>
struct Square {
  static constexpr int kSide = 16 / kSize;
  using Element = typename Word<kSize>::Type;
  using Row __attribute__((vector_size(16))) = Element;

  // Elements of a and b by turns, from kFirst on.
  template <int kFirst>
  static Row interleave(Row a, Row b) {
    Row result;
#if defined(__clang__)
    for (int i = 0; i < kSide; ++i) result[i] = i % 2 == 0 ? a[kFirst + i / 2] : b[kFirst + i / 2];
#else
    for (int i = 0; i < kSide; ++i) {
      result[i] = static_cast<Element>(kFirst + i / 2 + i % 2 * kSide);
    }
    result = __builtin_shuffle(a, b, result);
#endif
    return result;
  }

  static void transpose(const char* from, std::int64_t stride, char* to, std::int64_t to_stride) {
    Row rows[kSide];
    for (int i = 0; i < kSide; ++i) std::memcpy(&rows[i], from + i * stride, sizeof(Row));
    for (int step = 1; step < kSide; step *= 2) {  // as often as a column's number has bits
      Row next[kSide];
      for (int i = 0; i < kSide / 2; ++i) {
        next[2 * i] = interleave<0>(rows[i], rows[i + kSide / 2]);
        next[2 * i + 1] = interleave<kSide / 2>(rows[i], rows[i + kSide / 2]);
      }
      for (int i = 0; i < kSide; ++i) rows[i] = next[i];
    }
    for (int j = 0; j < kSide; ++j) std::memcpy(to + j * to_stride, &rows[j], sizeof(Row));
  }
};

// Elements of `input` from column i and line j on become lines of the tile.
struct Part {
  std::int64_t i, j, width, height;
};

// The part's column i, which is on a page of its own, as no hardware foresees.
void prefetch(const Plane& plane, const char* input, const Part& part, std::int64_t i) {
  if (i >= part.i + part.width) return;
  const char* from = input + i * plane.input_stride[0] + part.j * plane.input_stride[1];
  __builtin_prefetch(from);
  __builtin_prefetch(from + (part.height - 1) * plane.input_stride[1]);
}

template <std::size_t kSize>
void transpose_elements(const Plane& plane, const char* input, char* tile, const Part& part) {
  for (std::int64_t i = part.i; i < part.i + part.width; ++i) {
    prefetch(plane, input, part, i + kAhead);
    const char* from = input + i * plane.input_stride[0] + part.j * plane.input_stride[1];
    char* to = tile + (part.j * kLine + i) * static_cast<std::int64_t>(kSize);
    for (std::int64_t j = 0; j < part.height; ++j) {
      std::memcpy(to, from, kSize);
      from += plane.input_stride[1];
      to += kLine * static_cast<std::int64_t>(kSize);
    }
  }
}

// Of whole squares whose lines' elements lie side by side.
template <std::size_t kSize>
void transpose_squares(const Plane& plane, const char* input, char* tile, const Part& part) {
  constexpr std::int64_t kBytes = kSize;
  constexpr std::int64_t kSide = Square<kSize>::kSide;
  for (std::int64_t i = 0; i < part.width; i += kSide) {
    for (std::int64_t ahead = 0; ahead < kSide; ++ahead) {
      prefetch(plane, input, part, i + ahead + kAhead);
    }
    for (std::int64_t j = 0; j < part.height; j += kSide) {
      Square<kSize>::transpose(input + i * plane.input_stride[0] + j * kBytes,
                               plane.input_stride[0], tile + (j * kLine + i) * kBytes,
                               kLine * kBytes);
    }
  }
}

template <std::size_t kSize>
void transpose(const Plane& plane, const char* input, char* tile, std::int64_t width,
               std::int64_t height) {
  Part squares{0, 0, 0, 0};
  if constexpr (kSize <= 8) {
    if (plane.input_stride[1] == static_cast<std::int64_t>(kSize)) {
      constexpr std::int64_t kSide = Square<kSize>::kSide;
      squares = {0, 0, width - width % kSide, height - height % kSide};
      transpose_squares<kSize>(plane, input, tile, squares);
    }
  }
  transpose_elements<kSize>(plane, input, tile, {squares.width, 0, width - squares.width, height});
  transpose_elements<kSize>(plane, input, tile,
                            {0, squares.height, squares.width, height - squares.height});
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

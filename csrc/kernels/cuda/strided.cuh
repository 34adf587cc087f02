// The kernels over elements anywhere: element by element along the output, and by tiles where the input's
// elements lie closest along another dimension than the output's, as in a transposed matrix.
#pragma once

#include <cstdint>
#include <type_traits>

#include "dense.cuh"

#ifndef __grid_constant__  // HIP's parameters lie in constant memory anyway
#define __grid_constant__
#endif

namespace torch_sigmoid_ext::kernels::cuda {

// A divisor known at the launch; for 32-bit numbers below 2^31 division is a multiplication and a shift.
template <class Index>
struct Divisor {
  Index value;
  std::uint32_t magic, shift;

  void set(std::int64_t divisor) {
    value = static_cast<Index>(divisor);
    if constexpr (sizeof(Index) == 4) {
      shift = 0;
      while ((std::uint64_t{1} << shift) < value) ++shift;
      const std::uint64_t excess = (std::uint64_t{1} << shift) - value;
      magic = static_cast<std::uint32_t>((excess << 32) / value + 1);
    }
  }
  __device__ __forceinline__ Index quotient(Index n) const {
    if constexpr (sizeof(Index) == 4) {
      return (__umulhi(n, magic) + n) >> shift;
    } else {
      return n / value;
    }
  }
};

// Strided, as a kernel takes it. Offsets are of the index's size: 32 bits where every one fits.
template <class Index>
struct Layout {
  using Offset = std::make_signed_t<Index>;

  const char* inputs[2];
  char* output;
  int dimensions;
  Index numel;
  Divisor<Index> sizes[kMaxDimensions];
  Offset input_strides[2][kMaxDimensions];
  Offset output_strides[kMaxDimensions];
};

template <int kInputs, class Offset>
struct Place {
  Offset inputs[kInputs];
  Offset output;
};

// Where the element of this index along the dimensions from `first` on lies; skips dimension `skip`.
template <int kInputs, class Index>
__device__ __forceinline__ auto place_of(const Layout<Index>& layout, Index index, int first,
                                         int skip) {
  using Offset = typename Layout<Index>::Offset;
  Place<kInputs, Offset> place{};
  for (int d = first; d < layout.dimensions; ++d) {
    if (d == skip) continue;
    const Index rest = layout.sizes[d].quotient(index);
    const auto along = static_cast<Offset>(index - rest * layout.sizes[d].value);
    index = rest;
#pragma unroll
    for (int o = 0; o < kInputs; ++o) place.inputs[o] += along * layout.input_strides[o][d];
    place.output += along * layout.output_strides[d];
  }
  return place;
}

template <class T>
__device__ __forceinline__ T read(const char* base, std::int64_t offset) {
  return *reinterpret_cast<const T*>(base + offset);
}

// Several elements a thread, their loads before the first result is needed.
template <class Op>
inline constexpr int kBatch = sizeof(typename Op::Element) <= 4 ? 4 : 2;

template <class Op, class Index>
__global__ void __launch_bounds__(kThreads)
    strided_kernel(const __grid_constant__ Layout<Index> layout) {
  using T = typename Op::Element;
  using Offset = typename Layout<Index>::Offset;
  const Index step = static_cast<Index>(gridDim.x) * (kThreads * kBatch<Op>);
  Index first = static_cast<Index>(blockIdx.x) * (kThreads * kBatch<Op>)+threadIdx.x;
  for (; first < layout.numel; first += step) {
    T x[Op::kInputs][kBatch<Op>];
    Offset to[kBatch<Op>];
#pragma unroll
    for (int b = 0; b < kBatch<Op>; ++b) {
      const Index i = first + b * kThreads;
      if (i >= layout.numel) continue;
      const auto place = place_of<Op::kInputs>(layout, i, 0, -1);
      to[b] = place.output;
#pragma unroll
      for (int o = 0; o < Op::kInputs; ++o) x[o][b] = read<T>(layout.inputs[o], place.inputs[o]);
    }
#pragma unroll
    for (int b = 0; b < kBatch<Op>; ++b) {
      if (first + b * kThreads >= layout.numel) continue;
      T* output = reinterpret_cast<T*>(layout.output + to[b]);
      if constexpr (Op::kInputs == 1) {
        *output = Op::apply(x[0][b]);
      } else {
        *output = Op::apply(x[0][b], x[1][b]);
      }
    }
  }
}

// Tiles of 32 by 32 elements, or 64 by 64 of the 16-bit types: the output's lines along dimension 0, the
// input's along `crossing`. One element more in each line keeps a column's elements in different banks.
template <class T>
inline constexpr int kTile = sizeof(T) == 2 ? 64 : 32;
inline constexpr int kTileRows = 8;

template <class Op, class Index>
__global__ void __launch_bounds__(32 * kTileRows)
    tiled_kernel(const __grid_constant__ Layout<Index> layout, int crossing, Index tiles) {
  using T = typename Op::Element;
  using Offset = typename Layout<Index>::Offset;
  constexpr int kSide = kTile<T>;
  constexpr int kLines = kSide / kTileRows, kParts = kSide / 32;  // of a tile, for one thread
  __shared__ T tile[kSide][kSide + (sizeof(T) == 2 ? 2 : 1)];
  const Index width = layout.sizes[0].value, height = layout.sizes[crossing].value;
  const Index across = (width + kSide - 1) / kSide, down = (height + kSide - 1) / kSide;
  for (Index t = blockIdx.x; t < tiles; t += gridDim.x) {
    const Index row_of_tiles = t / across;
    const Index column = (t - row_of_tiles * across) * kSide;
    const Index row = row_of_tiles % down * kSide;
    const auto place = place_of<1>(layout, row_of_tiles / down, 1, crossing);
    const char* input = layout.inputs[0] + place.inputs[0];
    char* output = layout.output + place.output;
    // All of a thread's loads before the first is waited for. Beyond an edge, what lies at it: no branch.
    T held[kLines][kParts];
#pragma unroll
    for (int i = 0; i < kLines; ++i) {
      const Index c = column + threadIdx.y + i * kTileRows;
      const Offset line = static_cast<Offset>(c < width ? c : width - 1);
#pragma unroll
      for (int j = 0; j < kParts; ++j) {
        const Index r = row + threadIdx.x + 32 * j;
        const Offset part = static_cast<Offset>(r < height ? r : height - 1);
        held[i][j] = read<T>(
            input, line * layout.input_strides[0][0] + part * layout.input_strides[0][crossing]);
      }
    }
#pragma unroll
    for (int i = 0; i < kLines; ++i) {
#pragma unroll
      for (int j = 0; j < kParts; ++j) {
        tile[threadIdx.y + i * kTileRows][threadIdx.x + 32 * j] = held[i][j];
      }
    }
    __syncthreads();
#pragma unroll 1
    for (int i = 0; i < kLines; ++i) {
      const int r = threadIdx.y + i * kTileRows;
#pragma unroll
      for (int j = 0; j < kParts; ++j) {
        const int c = threadIdx.x + 32 * j;
        if (column + c >= width || row + r >= height) continue;
        *reinterpret_cast<T*>(output + static_cast<Offset>(column + c) * layout.output_strides[0] +
                              static_cast<Offset>(row + r) * layout.output_strides[crossing]) =
            Op::apply(tile[c][r]);
      }
    }
    __syncthreads();
  }
}

}  // namespace torch_sigmoid_ext::kernels::cuda

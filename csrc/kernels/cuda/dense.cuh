// The kernel over elements side by side: 16 bytes a load, the next loads in flight while these are worked on.
#pragma once

#include <cstdint>
#include <cstring>

#include "device.h"

namespace torch_sigmoid_ext::kernels::cuda {

inline constexpr int kThreads = 256;
inline constexpr int kPackBytes = 16;

struct alignas(kPackBytes) Pack {
  std::uint32_t words[4];
};

template <class Op>
inline constexpr int kPackElements = kPackBytes / sizeof(typename Op::Element);

// Packs of each input that a thread has in flight, and blocks that share a multiprocessor: 24 KiB in flight
// there, or more, cover memory's latency. Sixteen numbers of a 16-bit type at once need registers, and so do
// operations in doubt for their second thoughts.
template <class Op>
inline constexpr int kPacks = sizeof(typename Op::Element) == 16 ? 1 : 2;
template <class Op>
inline constexpr int kBlocks = requires { &Op::attempt; } || requires { &Op::pair; } ? 3 : 4;

// An element's bits among a pack's words, and back.
template <class T>
__device__ __forceinline__ T element_of(const Pack& pack, int i) {
  T value;
  std::memcpy(&value, reinterpret_cast<const char*>(pack.words) + i * sizeof(T), sizeof(T));
  return value;
}

template <class T>
__device__ __forceinline__ void put_element(Pack& pack, int i, T value) {
  std::memcpy(reinterpret_cast<char*>(pack.words) + i * sizeof(T), &value, sizeof(T));
}

template <class Op, int kCount>
  requires(!requires { &Op::attempt; })
__device__ __forceinline__ void apply(Pack (&x)[Op::kInputs][kCount], Pack (&y)[kCount]) {
  using T = typename Op::Element;
#pragma unroll
  for (int p = 0; p < kCount; ++p) {
    if constexpr (requires { &Op::pair; }) {
#pragma unroll
      for (int w = 0; w < 4; ++w) {
        if constexpr (Op::kInputs == 1) {
          y[p].words[w] = Op::pair(x[0][p].words[w]);
        } else {
          y[p].words[w] = Op::pair(x[0][p].words[w], x[1][p].words[w]);
        }
      }
    } else {
#pragma unroll
      for (int i = 0; i < kPackElements<Op>; ++i) {
        if constexpr (Op::kInputs == 1) {
          put_element(y[p], i, Op::apply(element_of<T>(x[0][p], i)));
        } else {
          put_element(y[p], i, Op::apply(element_of<T>(x[0][p], i), element_of<T>(x[1][p], i)));
        }
      }
    }
  }
}

// Attempts at all of a thread's elements, then one loop for those in doubt: the slow code is there once.
template <class Op, int kCount>
  requires requires { &Op::attempt; }
__device__ __forceinline__ void apply(Pack (&x)[1][kCount], Pack (&y)[kCount]) {
  std::uint32_t doubts = 0;
#pragma unroll
  for (int i = 0; i < 4 * kCount; ++i) {
    const Rounded rounded = Op::attempt(__uint_as_float(x[0][i / 4].words[i % 4]));
    y[i / 4].words[i % 4] = __float_as_uint(rounded.value);
    if (rounded.doubt) doubts |= 1u << i;
  }
#pragma unroll 1
  for (; doubts != 0; doubts &= doubts - 1) {
    const int at = __ffs(static_cast<int>(doubts)) - 1;
    float input = 0.0f;
#pragma unroll
    for (int i = 0; i < 4 * kCount; ++i) {  // no register can be indexed
      if (i == at) input = __uint_as_float(x[0][i / 4].words[i % 4]);
    }
    const std::uint32_t output = __float_as_uint(Op::decide(input));
#pragma unroll
    for (int i = 0; i < 4 * kCount; ++i) {
      if (i == at) y[i / 4].words[i % 4] = output;
    }
  }
}

#if defined(__HIPCC__)
__device__ __forceinline__ uint4 read_streaming(const uint4* from) { return *from; }
__device__ __forceinline__ void write_streaming(uint4* to, const uint4& value) { *to = value; }
#else
// Past the cache: nothing is read twice, and the tables should stay there.
__device__ __forceinline__ uint4 read_streaming(const uint4* from) { return __ldcs(from); }
__device__ __forceinline__ void write_streaming(uint4* to, const uint4& value) {
  __stcs(to, value);
}
#endif

template <class T, bool kAligned>
__device__ __forceinline__ Pack load(const T* base, std::int64_t pack) {
  if constexpr (kAligned) {
    const uint4 bits = read_streaming(reinterpret_cast<const uint4*>(base) + pack);
    return {{bits.x, bits.y, bits.z, bits.w}};
  } else {
    constexpr int kCount = kPackBytes / sizeof(T);
    Pack result;
#pragma unroll
    for (int i = 0; i < kCount; ++i) put_element(result, i, base[pack * kCount + i]);
    return result;
  }
}

template <class T, bool kAligned>
__device__ __forceinline__ void store(T* base, std::int64_t pack, const Pack& value) {
  if constexpr (kAligned) {
    const uint4 bits = {value.words[0], value.words[1], value.words[2], value.words[3]};
    write_streaming(reinterpret_cast<uint4*>(base) + pack, bits);
  } else {
    constexpr int kCount = kPackBytes / sizeof(T);
#pragma unroll
    for (int i = 0; i < kCount; ++i) base[pack * kCount + i] = element_of<T>(value, i);
  }
}

// `head` elements come first, `packs` times 16 bytes follow, then a tail. kInputsAligned, kOutputAligned: after
// the head they lie on multiples of 16 bytes.
template <class Op, bool kInputsAligned, bool kOutputAligned>
__global__ void __launch_bounds__(kThreads, kBlocks<Op>)
    dense_kernel(Dense tensors, int head, std::int64_t packs) {
  using T = typename Op::Element;
  constexpr int kCount = kPacks<Op>;
  const T* inputs[Op::kInputs];
#pragma unroll
  for (int o = 0; o < Op::kInputs; ++o) inputs[o] = static_cast<const T*>(tensors.inputs[o]) + head;
  T* output = static_cast<T*>(tensors.output) + head;

  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * (kThreads * kCount);
  std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * (kThreads * kCount) + threadIdx.x;
  Pack next[Op::kInputs][kCount];
  const auto fetch = [&](std::int64_t from) {
#pragma unroll
    for (int p = 0; p < kCount; ++p) {
      if (from + p * kThreads >= packs) continue;
#pragma unroll
      for (int o = 0; o < Op::kInputs; ++o) {
        next[o][p] = load<T, kInputsAligned>(inputs[o], from + p * kThreads);
      }
    }
  };
  fetch(at);
  for (; at < packs; at += step) {
    Pack x[Op::kInputs][kCount], y[kCount];
#pragma unroll
    for (int o = 0; o < Op::kInputs; ++o) {
#pragma unroll
      for (int p = 0; p < kCount; ++p) x[o][p] = next[o][p];
    }
    fetch(at + step);
    apply<Op, kCount>(x, y);
#pragma unroll
    for (int p = 0; p < kCount; ++p) {
      if (at + p * kThreads >= packs) continue;
      store<T, kOutputAligned>(output, at + p * kThreads, y[p]);
    }
  }

  // Head and tail, of less than 16 bytes each: one element a thread, of the first block.
  if (blockIdx.x != 0) return;
  const std::int64_t body = packs * kPackElements<Op>;
  const std::int64_t tail = tensors.numel - head - body;
  if (threadIdx.x >= head + tail) return;
  const int i = static_cast<int>(threadIdx.x);
  const std::int64_t element = i < head ? i - head : body + (i - head);
  if constexpr (Op::kInputs == 1) {
    output[element] = Op::apply(inputs[0][element]);
  } else {
    output[element] = Op::apply(inputs[0][element], inputs[1][element]);
  }
}

}  // namespace torch_sigmoid_ext::kernels::cuda

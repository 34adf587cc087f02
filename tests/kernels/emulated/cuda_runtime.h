// So much of CUDA as csrc/kernels/cuda/launch.cu asks for, on one thread of this CPU: cuda_launch.cpp.
//
// A launch runs its blocks one after another. The threads of a block do so too, unless there is a second
// dimension of them: those share memory and wait for each other, and are fibers.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <utility>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __shared__ static  // of one block at a time

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

struct alignas(16) uint4 {
  std::uint32_t x, y, z, w;
};

inline dim3 gridDim = 0, blockIdx = 0, threadIdx = 0;

using cudaStream_t = struct CUstream_st*;
enum cudaError_t { cudaSuccess, cudaErrorLaunchFailure };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount, cudaDevAttrSingleToDoublePrecisionPerfRatio };

namespace emulated {

inline constexpr int kProcessors = 3, kBlocksEach = 1;  // so few that blocks go round
inline cudaError_t error = cudaSuccess;                 // of the next launch
inline std::int64_t vector_loads = 0, vector_stores = 0;

inline void aligned(const void* address) {
  if (reinterpret_cast<std::uintptr_t>(address) % 16 == 0) return;
  std::fprintf(stderr, "16 bytes at once at an address that is no multiple of 16\n");
  std::abort();
}

struct Fiber {
  ucontext_t context;
  std::vector<std::byte> stack = std::vector<std::byte>(64 << 10);
  bool done;
};

inline std::vector<Fiber> fibers;
inline ucontext_t scheduler;
inline Fiber* running = nullptr;
inline std::function<void()> body;

inline void enter() {
  body();
  running->done = true;
}

// Each fiber until it waits or ends, round and round: no one passes a barrier before all are there.
inline void run_together(dim3 threads) {
  fibers.resize(std::size_t{threads.x} * threads.y);
  for (Fiber& fiber : fibers) {
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    fiber.context.uc_link = &scheduler;
    fiber.done = false;
    makecontext(&fiber.context, enter, 0);
  }
  while (!std::all_of(fibers.begin(), fibers.end(), [](const Fiber& f) { return f.done; })) {
    for (std::size_t i = 0; i < fibers.size(); ++i) {
      if (fibers[i].done) continue;
      threadIdx = dim3(static_cast<unsigned>(i) % threads.x, static_cast<unsigned>(i) / threads.x);
      running = &fibers[i];
      swapcontext(&scheduler, &running->context);
    }
  }
  running = nullptr;
}

template <class Kernel, class... Arguments>
void launch(Kernel* kernel, unsigned blocks, dim3 threads, const Arguments&... arguments) {
  gridDim = blocks;
  body = [&] { kernel(arguments...); };
  for (unsigned block = 0; block < blocks; ++block) {
    blockIdx = block;
    if (threads.y > 1) {
      run_together(threads);
      continue;
    }
    for (unsigned i = 0; i < threads.x; ++i) {
      threadIdx = i;
      body();
    }
  }
}

}  // namespace emulated

inline void __syncthreads() { swapcontext(&emulated::running->context, &emulated::scheduler); }

inline uint4 __ldcs(const uint4* from) {
  emulated::aligned(from);
  ++emulated::vector_loads;
  return *from;
}

inline void __stcs(uint4* to, const uint4& value) {
  emulated::aligned(to);
  ++emulated::vector_stores;
  *to = value;
}

inline std::uint32_t __float_as_uint(float a) { return std::bit_cast<std::uint32_t>(a); }
inline float __uint_as_float(std::uint32_t a) { return std::bit_cast<float>(a); }
inline int __ffs(int a) { return __builtin_ffs(a); }
inline std::uint32_t __umulhi(std::uint32_t a, std::uint32_t b) {
  return static_cast<std::uint32_t>((std::uint64_t{a} * b) >> 32);
}

inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount ? emulated::kProcessors : 2;
  return cudaSuccess;
}

template <class Kernel>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Kernel*, int, std::size_t) {
  *blocks = emulated::kBlocksEach;
  return cudaSuccess;
}

inline cudaError_t cudaGetLastError() { return std::exchange(emulated::error, cudaSuccess); }
inline const char* cudaGetErrorString(cudaError_t) { return "an emulated error"; }

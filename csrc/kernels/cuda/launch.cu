// Which kernel, on how many blocks. Compiled by nvcc, and by hipcc after hipify.
#include <cuda_runtime.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "launch.h"
#include "strided.cuh"

namespace torch_sigmoid_ext::kernels::cuda {
namespace {

constexpr int kMaxDevices = 128;

const char* text_of(cudaError_t error) {
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

// What `ask` says of the current device, asked once for each; 0 where it fails.
template <class Ask>
int cached(std::atomic<int> (&answers)[kMaxDevices], const Ask& ask) {
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return 0;
  if (device >= kMaxDevices) return ask(device);
  int answer = answers[device].load(std::memory_order_relaxed);
  if (answer == 0) {
    answer = ask(device);
    answers[device].store(answer, std::memory_order_relaxed);
  }
  return answer;
}

// As many blocks as the device holds at once.
template <auto kKernel>
std::int64_t resident_blocks(int threads) {
  static std::atomic<int> answers[kMaxDevices];
  const int blocks = cached(answers, [&](int device) {
    int processors = 0, blocks_each = 0;
    cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
    cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks_each, kKernel, threads, 0);
    return processors * blocks_each;
  });
  return std::max(blocks, 1);
}

template <auto kKernel, class... Arguments>
const char* start(std::int64_t blocks_wanted, dim3 threads, void* stream,
                  const Arguments&... arguments) {
  const int threads_a_block = static_cast<int>(threads.x * threads.y);
  const auto blocks = static_cast<unsigned>(
      std::clamp<std::int64_t>(blocks_wanted, 1, resident_blocks<kKernel>(threads_a_block)));
  kKernel<<<blocks, threads, 0, static_cast<cudaStream_t>(stream)>>>(arguments...);
  return text_of(cudaGetLastError());
}

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// How far beyond a multiple of 16 bytes a pointer lies.
int past_boundary(const void* pointer) {
  return static_cast<int>(reinterpret_cast<std::uintptr_t>(pointer) % kPackBytes);
}

template <class Op>
const char* run(const Dense& tensors, void* stream) {
  constexpr int kSize = sizeof(typename Op::Element);
  const int past = past_boundary(tensors.output);
  // A complex number with the alignment of its parts may never meet the boundary.
  const bool meets = past % kSize == 0;
  bool alike = meets;
  for (int o = 0; o < Op::kInputs; ++o) {
    alike = alike && past_boundary(tensors.inputs[o]) == past;
  }
  std::int64_t head = 0;
  if (meets && past != 0) head = std::min<std::int64_t>((kPackBytes - past) / kSize, tensors.numel);
  const std::int64_t packs = (tensors.numel - head) / kPackElements<Op>;
  const std::int64_t blocks = divide_up(packs, kThreads * kPacks<Op>);
  const int first = static_cast<int>(head);
  if (alike) {
    return start<dense_kernel<Op, true, true>>(blocks, kThreads, stream, tensors, first, packs);
  }
  if constexpr (requires(typename Op::Element element) { element.real; }) {
    if (!meets) {
      return start<dense_kernel<Op, false, false>>(blocks, kThreads, stream, tensors, first, packs);
    }
  }
  return start<dense_kernel<Op, false, true>>(blocks, kThreads, stream, tensors, first, packs);
}

// Whether every index, and every operand's offset from its first element, is below 2^31.
bool fits_32_bits(const Strided& tensors, int inputs, std::int64_t numel) {
  constexpr std::int64_t kLimit = std::int64_t{1} << 31;
  const auto reach_fits = [&](const std::int64_t (&strides)[kMaxDimensions]) {
    std::int64_t reach = 0;
    for (int d = 0; d < tensors.dimensions; ++d) {
      reach += (tensors.sizes[d] - 1) * std::abs(strides[d]);
    }
    return reach < kLimit;
  };
  bool fits = numel < kLimit && reach_fits(tensors.output_strides);
  for (int o = 0; o < inputs; ++o) fits = fits && reach_fits(tensors.input_strides[o]);
  return fits;
}

template <class Index>
Layout<Index> layout_of(const Strided& tensors, int inputs, std::int64_t numel) {
  using Offset = typename Layout<Index>::Offset;
  Layout<Index> layout{};
  layout.output = static_cast<char*>(tensors.output);
  layout.dimensions = tensors.dimensions;
  layout.numel = static_cast<Index>(numel);
  for (int o = 0; o < inputs; ++o) layout.inputs[o] = static_cast<const char*>(tensors.inputs[o]);
  for (int d = 0; d < tensors.dimensions; ++d) {
    layout.sizes[d].set(tensors.sizes[d]);
    layout.output_strides[d] = static_cast<Offset>(tensors.output_strides[d]);
    for (int o = 0; o < inputs; ++o) {
      layout.input_strides[o][d] = static_cast<Offset>(tensors.input_strides[o][d]);
    }
  }
  return layout;
}

// The dimension along which the input's elements lie side by side, where that is worth tiles; or 0.
int crossing_dimension(const Strided& tensors, std::int64_t size) {
  constexpr std::int64_t kLeast = 8;  // elements: less than that is a small part of a tile
  if (tensors.output_strides[0] != size || tensors.sizes[0] < kLeast) return 0;
  if (std::abs(tensors.input_strides[0][0]) <= size) return 0;
  for (int d = 1; d < tensors.dimensions; ++d) {
    if (tensors.input_strides[0][d] == size && tensors.sizes[d] >= kLeast) return d;
  }
  return 0;
}

template <class Op, class Index>
const char* run(const Strided& tensors, std::int64_t numel, void* stream) {
  using T = typename Op::Element;
  const auto layout = layout_of<Index>(tensors, Op::kInputs, numel);
  if constexpr (Op::kInputs == 1) {
    if (const int crossing = crossing_dimension(tensors, sizeof(T)); crossing != 0) {
      const std::int64_t width = tensors.sizes[0], height = tensors.sizes[crossing];
      const std::int64_t tiles =
          divide_up(width, kTile<T>) * divide_up(height, kTile<T>) * (numel / (width * height));
      return start<tiled_kernel<Op, Index>>(tiles, dim3(32, kTileRows), stream, layout, crossing,
                                            static_cast<Index>(tiles));
    }
  }
  const std::int64_t blocks = divide_up(numel, kThreads * kBatch<Op>);
  return start<strided_kernel<Op, Index>>(blocks, kThreads, stream, layout);
}

template <class Op>
const char* run(const Strided& tensors, void* stream) {
  std::int64_t numel = 1;
  for (int d = 0; d < tensors.dimensions; ++d) numel *= tensors.sizes[d];
  if (numel == 0) return nullptr;
  return fits_32_bits(tensors, Op::kInputs, numel) ? run<Op, std::uint32_t>(tensors, numel, stream)
                                                   : run<Op, std::uint64_t>(tensors, numel, stream);
}

// Whether float64 is so slow on the current device that pairs of float32 overtake it: 2 on data-centre
// cards, 32 or 64 on others.
bool prefers_pairs() {
  static std::atomic<int> answers[kMaxDevices];
  return cached(answers, [](int device) {
           int ratio = 2;
           cudaDeviceGetAttribute(&ratio, cudaDevAttrSingleToDoublePrecisionPerfRatio, device);
           return ratio;
         }) > 4;
}

// TORCH_SIGMOID_EXT_CUDA_FLOAT32=double or =pairs, for tests and comparisons.
bool runs_pairs() {
  static const char* wish = std::getenv("TORCH_SIGMOID_EXT_CUDA_FLOAT32");
  if (wish != nullptr && std::strcmp(wish, "pairs") == 0) return true;
  if (wish != nullptr && std::strcmp(wish, "double") == 0) return false;
  return prefers_pairs();
}

template <class Tensors>
const char* run_backward(ElementType type, const Tensors& tensors, void* stream) {
  switch (type) {
    case ElementType::kFloat16:
      return run<GradientHalf<Float16Pair>>(tensors, stream);
    case ElementType::kBFloat16:
      return run<GradientHalf<BFloat16Pair>>(tensors, stream);
    case ElementType::kFloat32:
      return run<GradientFloat32>(tensors, stream);
    case ElementType::kFloat64:
      return run<GradientFloat64>(tensors, stream);
    case ElementType::kComplex64:
      return run<GradientComplex<float>>(tensors, stream);
    case ElementType::kComplex128:
      return run<GradientComplex<double>>(tensors, stream);
  }
  return "no kernel for this type";
}

template <class Tensors>
const char* run_sigmoid(ElementType type, bool fast, const Tensors& tensors, void* stream) {
  switch (type) {
    case ElementType::kFloat16:
      return run<SigmoidHalf<Float16Pair>>(tensors, stream);
    case ElementType::kBFloat16:
      return run<SigmoidHalf<BFloat16Pair>>(tensors, stream);
    case ElementType::kFloat32:
      if (fast) return run<SigmoidFloat32Fast>(tensors, stream);
      return runs_pairs() ? run<SigmoidFloat32<InPairs>>(tensors, stream)
                          : run<SigmoidFloat32<InDouble>>(tensors, stream);
    case ElementType::kFloat64:
      return run<SigmoidOf<double>>(tensors, stream);
    case ElementType::kComplex64:
      return run<SigmoidOf<Complex<float>>>(tensors, stream);
    case ElementType::kComplex128:
      return run<SigmoidOf<Complex<double>>>(tensors, stream);
  }
  return "no kernel for this type";
}

template <class Tensors>
const char* run_any(Operation operation, ElementType type, const Tensors& tensors, void* stream) {
  if (operation == Operation::kBackward) return run_backward(type, tensors, stream);
  return run_sigmoid(type, operation == Operation::kFast, tensors, stream);
}

}  // namespace

const char* launch(Operation operation, ElementType type, const Dense& tensors, void* stream) {
  if (tensors.numel == 0) return nullptr;
  return run_any(operation, type, tensors, stream);
}

const char* launch(Operation operation, ElementType type, const Strided& tensors, void* stream) {
  return run_any(operation, type, tensors, stream);
}

}  // namespace torch_sigmoid_ext::kernels::cuda

// Runs of any stride and length, cut into the blocks that a vector kernel takes.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace torch_sigmoid_ext::kernels::cpu {

// Not std::min: a copy compiled for a wide instruction set could become everyone's.
VECTOR_INLINE constexpr std::int64_t least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

// Elements of T apart, a few blocks of a Kernel at a time: gathered side by side, and scattered again.
template <class Kernel, class T>
class Buffer {
 public:
  static constexpr std::int64_t kSize = 8 * Kernel::kBlock;

  // Where `count` elements lie side by side, filled up with 0 to whole blocks; dense ones stay in
  // place, if they are whole blocks.
  const T* gather(const char* from, std::int64_t stride, std::int64_t count) {
    if (in_place(stride, count)) return reinterpret_cast<const T*>(from);
    std::int64_t i = 0;
    for (; i + 4 <= count; i += 4, from += 4 * stride) {
      std::memcpy(elements_ + i, from, sizeof(T));
      std::memcpy(elements_ + i + 1, from + stride, sizeof(T));
      std::memcpy(elements_ + i + 2, from + 2 * stride, sizeof(T));
      std::memcpy(elements_ + i + 3, from + 3 * stride, sizeof(T));
    }
    for (; i < count; ++i, from += stride) std::memcpy(elements_ + i, from, sizeof(T));
    for (; i % Kernel::kBlock != 0; ++i) elements_[i] = T{};
    return elements_;
  }

  // Where to write `count` elements, which scatter() brings to `to`.
  T* results(char* to, std::int64_t stride, std::int64_t count) {
    return in_place(stride, count) ? reinterpret_cast<T*>(to) : elements_;
  }

  void scatter(char* to, std::int64_t stride, std::int64_t count) const {
    if (in_place(stride, count)) return;
    std::int64_t i = 0;
    for (; i + 4 <= count; i += 4, to += 4 * stride) {
      std::memcpy(to, elements_ + i, sizeof(T));
      std::memcpy(to + stride, elements_ + i + 1, sizeof(T));
      std::memcpy(to + 2 * stride, elements_ + i + 2, sizeof(T));
      std::memcpy(to + 3 * stride, elements_ + i + 3, sizeof(T));
    }
    for (; i < count; ++i, to += stride) std::memcpy(to, elements_ + i, sizeof(T));
  }

 private:
  static bool in_place(std::int64_t stride, std::int64_t count) {
    return stride == sizeof(T) && count % Kernel::kBlock == 0;
  }

  alignas(64) T elements_[kSize];
};

VECTOR_INLINE constexpr std::int64_t whole_blocks(std::int64_t count, std::int64_t block) {
  return (count + block - 1) / block * block;
}

// GCC orders instructions before it gives out registers only where it is told to. Where the registers
// suffice for the vectors of a block, that brings these beside each other: 3 to 18 % quicker.
#if defined(__GNUC__) && !defined(__clang__)
#define VECTOR_INTERLEAVED __attribute__((optimize("schedule-insns", "sched-pressure")))
#else
#define VECTOR_INTERLEAVED
#endif

// What a Kernel's blocks put off, if they do: `settle` is called after the last of them, and wherever it
// is full. Here, nothing.
template <class Kernel>
struct LaterOf {
  struct type {
    static constexpr bool full() { return false; }
    VECTOR_INLINE void settle() {}
  };
};
template <class Kernel>
  requires requires { typename Kernel::Later; }
struct LaterOf<Kernel> {
  using type = typename Kernel::Later;
};

// Kernel::block(input, output) takes Kernel::kBlock elements of T side by side; output may be input.
// Where it returns false it has written nothing, and Kernel::wide_block must do the block. Those of a
// Kernel that puts off take its Later as well.
// Each kind of block has a loop of its own, for the compiler to keep that kind's constants at hand.
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
      if (numel > 0 && whole > 0 && from != to) {  // some of the last whole block once more
        const std::int64_t again = numel - Kernel::kBlock;
        blocks(reinterpret_cast<const T*>(from) + again, reinterpret_cast<T*>(to) + again,
               Kernel::kBlock);
        return;
      }
    }
    while (numel > 0) {  // the tail, or elements apart
      Buffer<Kernel, T> buffer;
      const std::int64_t count = least(numel, buffer.kSize);
      const T* x = buffer.gather(from, input_stride, count);
      T* y = buffer.results(to, output_stride, count);
      blocks(x, y, whole_blocks(count, Kernel::kBlock));
      buffer.scatter(to, output_stride, count);
      from += count * input_stride;
      to += count * output_stride;
      numel -= count;
    }
  }

 private:
  static constexpr std::int64_t kShortest = 8 * Kernel::kBlock;
  static constexpr std::int64_t kLongest = 256 * Kernel::kBlock;

  using Path = std::int64_t (*)(const T*, T*, std::int64_t);

  static void blocks(const T* input, T* output, std::int64_t numel) {
    if constexpr (requires { &Kernel::wide_block; }) {
      std::int64_t run = kShortest / 4;
      Path first = nullptr;
      for (std::int64_t i = 0; i < numel;) {
        const std::int64_t usual = take<Kernel::block>(input + i, output + i, numel - i);
        i += usual;
        // What is out of the usual range seldom comes alone: the next blocks are taken as well,
        // and the more of them the longer it goes on.
        run = usual != 0 ? kShortest : least(4 * run, kLongest);
        i += wide_blocks(input + i, output + i, numel - i, run, first);
      }
    } else {
      take<always<Kernel::block>>(input, output, numel);
    }
  }

  // A run of blocks, by the quickest path that takes them; one that took none is not tried again. The
  // path that took all of a run is the `first` of the next, and of the longest ones may take 16 times
  // as many blocks; where it ends, few others follow. Returns how many elements that were.
  static std::int64_t wide_blocks(const T* input, T* output, std::int64_t numel, std::int64_t run,
                                  Path& first) {
    std::int64_t i = 0;
    if (first != nullptr) {
      const std::int64_t most = least(run == kLongest ? 16 * run : run, numel);
      i = first(input, output, most);
      if (i == most) return i;
      if (i < kShortest) first = nullptr;
    }
    numel = least(first != nullptr ? i + kShortest : run, numel);
    [[maybe_unused]] bool low = true, capped = true, negative = true, normal = true;
    std::int64_t wide = kShortest / 2;
    while (i < numel) {
      const std::int64_t before = i;
      if constexpr (requires { &Kernel::saturated_block; }) {
        bool saturated = true;
        attempt<Kernel::saturated_block>(saturated, first, input, output, i, numel);
      }
      if constexpr (requires { &Kernel::low_block; }) {
        attempt<Kernel::low_block>(low, first, input, output, i, numel);
      }
      if constexpr (requires { &Kernel::capped_block; }) {
        attempt<Kernel::capped_block>(capped, first, input, output, i, numel);
      }
      if constexpr (requires { &Kernel::negative_block; }) {
        attempt<Kernel::negative_block>(negative, first, input, output, i, numel);
      }
      if constexpr (requires { &Kernel::normal_block; }) {
        attempt<Kernel::normal_block>(normal, first, input, output, i, numel);
      }
      wide = i != before ? kShortest : least(2 * wide, kLongest);
      i += take<always<Kernel::wide_block>>(input + i, output + i, least(wide, numel - i));
    }
    return numel;
  }

  using Later = typename LaterOf<Kernel>::type;

  // Takes what the path takes, from element i on. `worth_it` becomes false where that is nothing.
  template <auto kBlock>
  static void attempt(bool& worth_it, Path& first, const T* input, T* output, std::int64_t& i,
                      std::int64_t numel) {
    if (!worth_it) return;
    const std::int64_t taken = take<kBlock>(input + i, output + i, numel - i);
    worth_it = taken != 0;
    if (taken == numel) first = take<kBlock>;
    i += taken;
  }

  template <auto kBlock>
  static std::int64_t take(const T* input, T* output, std::int64_t numel) {
    if constexpr (Kernel::kInterleaved) {
      return take_interleaved<kBlock>(input, output, numel);
    } else {
      return take_in_order<kBlock>(input, output, numel);
    }
  }

  template <auto kBlock>
  VECTOR_INTERLEAVED __attribute__((noinline)) static std::int64_t take_interleaved(
      const T* input, T* output, std::int64_t numel) {
    return take_all<kBlock>(input, output, numel);
  }

  template <auto kBlock>
  __attribute__((noinline)) static std::int64_t take_in_order(const T* input, T* output,
                                                              std::int64_t numel) {
    return take_all<kBlock>(input, output, numel);
  }

  template <auto kBlock>
  VECTOR_INLINE static std::int64_t take_all(const T* input, T* output, std::int64_t numel) {
    Later later;
    std::int64_t i = 0;
    for (bool full = true; full; later.settle()) {
      while (i < numel && !later.full() && call<kBlock>(input + i, output + i, later)) {
        i += Kernel::kBlock;
      }
      full = later.full();
    }
    return i;
  }

  template <auto kBlock>
  VECTOR_INLINE static auto call(const T* input, T* output, [[maybe_unused]] Later& later) {
    if constexpr (std::is_invocable_v<decltype(kBlock), const T*, T*, Later&>) {
      return kBlock(input, output, later);
    } else {
      return kBlock(input, output);
    }
  }

  template <auto kBlock>
  VECTOR_INLINE static bool always(const T* input, T* output, Later& later) {
    call<kBlock>(input, output, later);
    return true;
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
    while (numel > 0) {
      Buffer<Kernel, T> g_buffer, y_buffer;
      const std::int64_t count = least(numel, y_buffer.kSize);
      const T* g_run = g_buffer.gather(g, grad_output_stride, count);
      const T* y_run = y_buffer.gather(y, output_stride, count);
      T* result = y_buffer.results(to, grad_input_stride, count);
      blocks(g_run, y_run, result, whole_blocks(count, Kernel::kBlock));
      y_buffer.scatter(to, grad_input_stride, count);
      g += count * grad_output_stride;
      y += count * output_stride;
      to += count * grad_input_stride;
      numel -= count;
    }
  }

 private:
  VECTOR_INLINE static void blocks(const T* grad_output, const T* output, T* grad_input,
                                   std::int64_t numel) {
    for (std::int64_t i = 0; i < numel; i += Kernel::kBlock) {
      Kernel::block(grad_output + i, output + i, grad_input + i);
    }
  }
};

}  // namespace torch_sigmoid_ext::kernels::cpu

// A long count of inputs in chunks, over every CPU.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <thread>
#include <vector>

#include "../../csrc/kernels/contract.h"

namespace proof {

inline constexpr std::uint64_t kChunk = 1u << 14;  // its buffers stay in the cache

// work(first, count) for consecutive ranges that cover [0, total), on several threads at once.
template <class Work>
void for_each_chunk(std::uint64_t total, const Work& work) {
  const std::uint64_t chunks = (total + kChunk - 1) / kChunk;
  std::atomic<std::uint64_t> next{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < std::max(1u, std::thread::hardware_concurrency()); ++t) {
    threads.emplace_back([&] {
      for (std::uint64_t chunk = next++; chunk < chunks; chunk = next++) {
        work(chunk * kChunk, std::min(kChunk, total - chunk * kChunk));
        if (chunk % 32768 == 32767) {
          std::fprintf(stderr, "%d %%\n", static_cast<int>((chunk + 1) * 100 / chunks));
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

// What stands beside an input, so that its block goes another way than one of neighbours: infinities, and
// results of which some are tiny and some are not.
template <class F>
inline constexpr typename F::Bits kOne = F::kInfinity & (F::kInfinity >> 1);
template <class F>
inline constexpr typename F::Bits kCompany[2][2] = {
    {F::kInfinity, F::kInfinity},
    {F::kSign | kOne<F>, F::kSign | (kOne<F> + (6u << F::kFractionBits))},  // -1 and -64
};

// The results of the inputs with one or the other of the company between any two of them.
template <class F>
void run_in_company(torch_sigmoid_ext::kernels::Sigmoid kernel,
                    const std::vector<typename F::Bits>& inputs,
                    const typename F::Bits (&company)[2], std::vector<typename F::Bits>& outputs) {
  using Bits = typename F::Bits;
  static thread_local std::vector<Bits> pairs;
  pairs.resize(2 * inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    pairs[2 * i] = inputs[i];
    pairs[2 * i + 1] = company[i % 2];
  }
  kernel(pairs.data(), sizeof(Bits), pairs.data(), sizeof(Bits),
         static_cast<std::int64_t>(pairs.size()));
  outputs.resize(inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) outputs[i] = pairs[2 * i];
}

}  // namespace proof

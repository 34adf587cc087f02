// A long count of inputs in chunks, over every CPU.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <thread>
#include <vector>

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

}  // namespace proof

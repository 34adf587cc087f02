#include "select.h"

#include <cstdlib>
#include <cstring>
#include <vector>

namespace torch_sigmoid_ext::kernels::cpu {

// Chosen at run time, never by a build flag: one binary serves every CPU of its architecture.
std::vector<const KernelSet*> available() {
  std::vector<const KernelSet*> sets;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
    sets.push_back(&avx512());
  }
  // Every CPU with AVX2 has F16C, which compilers before clang 15 cannot ask for.
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) sets.push_back(&avx2());
#elif defined(__aarch64__)
  sets.push_back(&neon());
#endif
  sets.push_back(&scalar());
  return sets;
}

const KernelSet& select() {
  static const KernelSet& chosen = []() -> const KernelSet& {
    const std::vector<const KernelSet*> sets = available();
    const char* wish = std::getenv("TORCH_SIGMOID_EXT_KERNELS");
    for (const KernelSet* set : sets) {
      if (wish != nullptr && std::strcmp(set->name, wish) == 0) return *set;
    }
    return *sets.front();
  }();
  return chosen;
}

}  // namespace torch_sigmoid_ext::kernels::cpu

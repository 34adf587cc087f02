// Large fresh outputs: most of their cost is the kernel's page faults, one for each 4 KiB.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace torch_sigmoid_ext::ops {

// Asks for 2 MiB pages under a tensor that nobody has written to yet; advice, which may be ignored.
// Below 4 MiB there is at most one such page to win, and the call itself costs a microsecond.
inline void advise_huge_pages(const at::Tensor& fresh) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t kPage = std::uintptr_t{1} << 21;
  if (fresh.nbytes() < 2 * kPage) return;
  const auto begin = reinterpret_cast<std::uintptr_t>(fresh.const_data_ptr());
  const std::uintptr_t first = (begin + kPage - 1) & ~(kPage - 1);
  const std::uintptr_t last = (begin + fresh.nbytes()) & ~(kPage - 1);
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
}

}  // namespace torch_sigmoid_ext::ops

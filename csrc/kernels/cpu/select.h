// Which kernel sets there are, and which one this CPU gets.
#pragma once

#include <vector>

#include "../contract.h"

namespace torch_sigmoid_ext::kernels::cpu {

const KernelSet& scalar();
#if defined(__x86_64__)
const KernelSet& avx2();    // for CPUs with AVX2, FMA and F16C
const KernelSet& avx512();  // for CPUs with AVX-512 F, DQ, BW and VL
#elif defined(__aarch64__)
const KernelSet& neon();  // for every CPU
#endif

// The sets that this CPU can run, the best first.
std::vector<const KernelSet*> available();

// The best of them, or the one named by the environment variable TORCH_SIGMOID_EXT_KERNELS (for
// tests and comparisons; a name that is not available is passed over). Chosen once.
const KernelSet& select();

}  // namespace torch_sigmoid_ext::kernels::cpu

#include "select.h"

namespace torch_sigmoid_ext::kernels::cpu {

// A set for a wider instruction set goes in front of `scalar`, behind a test of the CPU at run
// time (never of a build flag: one binary serves every CPU of its architecture).
const KernelSet& select() { return scalar(); }

}  // namespace torch_sigmoid_ext::kernels::cpu

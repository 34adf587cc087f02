// Which kernel sets there are, and which one this CPU gets.
#pragma once

#include "../contract.h"

namespace torch_sigmoid_ext::kernels::cpu {

const KernelSet& scalar();

// The best set that this CPU can run; chosen once.
const KernelSet& select();

}  // namespace torch_sigmoid_ext::kernels::cpu

// σ(x) = 1 / (1 + e^-x), float64: the steps of ../cpu/sigmoid_f64.h and so the CPU's bits, 0.51 ULP at most.
#pragma once

#include "../cpu/sigmoid_f64.h"
#include "lane.h"

namespace torch_sigmoid_ext::kernels::cuda {

KERNEL_INLINE double sigmoid(double x) {
  using Method = cpu::SigmoidFloat64<DoubleLane>;
  return ::fabs(x) <= -cpu::kFloat64Tiny ? Method::narrow(x) : Method::wide(x);
}

}  // namespace torch_sigmoid_ext::kernels::cuda

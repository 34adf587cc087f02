// σ(x) = 1 / (1 + e^-x), float16 and bfloat16, correctly rounded.
//
// The double core, rounded once to the 16-bit type. Going through float32 would round twice: in
// bfloat16, σ(2^-7) = 1/2 + 2^-9 - 2^-26.6 is below a tie that float32 rounds it onto. In double no
// input needs care: all 65,536 of each type are checked against mpmath in tests/test_accuracy.py.
// Limits: as float32's. Subnormal results are kept, down to x = -17.3287 in float16 and x = -92.8817 in
// bfloat16; below, σ rounds to 0.
#pragma once

#include "core.h"
#include "half.h"

namespace torch_sigmoid_ext::kernels::cpu {

template <int kPrecision, int kMinExponent>
Half<kPrecision, kMinExponent> sigmoid(Half<kPrecision, kMinExponent> input) {
  return Half<kPrecision, kMinExponent>::from_double(sigmoid_core(input.to_double()));
}

}  // namespace torch_sigmoid_ext::kernels::cpu

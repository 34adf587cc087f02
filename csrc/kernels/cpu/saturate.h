// float32 results that are 0 or 1 and nothing else: a store.
#pragma once

#include "exp2_index.h"

namespace torch_sigmoid_ext::kernels::cpu {

// False, and nothing written, where a result of the vectors is another, or NaN.
template <class V, int kVectors>
VECTOR_INLINE bool saturate(const float* input, float* output) {
  for (int v = 0; v < kVectors; ++v) {
    if (!V::all_beyond(V::load(input + v * V::kLanes), kFloat32Zero, kFloat32One)) return false;
  }
  for (int v = 0; v < kVectors; ++v) {
    const auto negative = V::less(V::load(input + v * V::kLanes), 0.0f);
    const auto result = V::choose(negative, V::zero(), V::bits(V::set(1.0f)));
    V::store(output + v * V::kLanes, V::as_float(result));
  }
  return true;
}

}  // namespace torch_sigmoid_ext::kernels::cpu

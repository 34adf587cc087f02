// Two dimensions at once, for a kernel that takes one.
#pragma once

#include <cstdint>

#include "../contract.h"

namespace torch_sigmoid_ext::kernels::cpu {

// A number of elements, at least one, along two dimensions, the first of them the inner one; strides in
// bytes. The output may be the input, in the same place and with the same strides.
struct Plane {
  std::int64_t size[2];
  std::int64_t input_stride[2];
  std::int64_t output_stride[2];
  std::int64_t element_size;
};

// Calls the kernel for every line. Where the input's elements lie closer along the other dimension than
// the output's, as in a transposed matrix, it goes by tiles, so that each cache line is read once.
void run_plane(Sigmoid kernel, const Plane& plane, const void* input, void* output);

}  // namespace torch_sigmoid_ext::kernels::cpu

// What the backends share: which inputs are taken, and how tensors of any layout become runs.
#pragma once

#include <ATen/TensorIterator.h>
#include <ATen/core/Tensor.h>

#include "../kernels/contract.h"

namespace torch_sigmoid_ext::ops {

// Whether there is a kernel for the dtype as it is, without promotion.
bool has_kernel(at::ScalarType dtype);

// The dtype of sigmoid(self): bool and integers promote to the default float type.
at::ScalarType result_dtype(const at::Tensor& self);

// Raises NotImplementedError for a dtype without a kernel; `argument` names the tensor in the text.
void check_dtype(const char* op, const char* argument, const at::Tensor& tensor);

// Raises RuntimeError unless sigmoid(self) may be written into `out`: its device, and a dtype that
// the result casts to. Shape is no matter, an out of another shape is resized.
void check_out(const char* op, const at::Tensor& self, const at::Tensor& out);

// The same for writing over `self`.
void check_inplace(const at::Tensor& self);

// Checks, then an iterator over (output, self) that allocates or resizes the output, refuses
// overlapping memory, promotes and casts as torch.sigmoid does. `out` may be undefined.
at::TensorIterator sigmoid_iterator(at::Tensor& out, const at::Tensor& self);

// The same over (grad_input, grad_output, output), with broadcasting.
at::TensorIterator backward_iterator(at::Tensor& grad_input, const at::Tensor& grad_output,
                                     const at::Tensor& output);

// Of a dtype that check_dtype has let through and that is not integral.
kernels::ElementType element_type(at::ScalarType dtype);

}  // namespace torch_sigmoid_ext::ops

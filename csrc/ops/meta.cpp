// Shapes, strides and dtypes without data: the meta device, FakeTensor and everything that traces.
//
// With plain sizes the CPU's own iterator gives the answer. With symbolic sizes it cannot be asked,
// and its rule for strides is written out in `elementwise_like`.
#include <ATen/ExpandUtils.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/result_type.h>
#include <torch/library.h>

#include "elementwise.h"

namespace torch_sigmoid_ext::ops {
namespace {

bool is_symbolic(const at::Tensor& tensor) {
  return tensor.unsafeGetTensorImpl()->has_symbolic_sizes_strides();
}

// Whether dimension `a` must move inside of `b` (a < b) of `ndim`, as at::TensorIterator decides it: the
// first operand that tells them apart by stride, equal strides by size; broadcast dimensions do not
// tell, nor those that an operand lacks.
bool must_swap(at::TensorList operands, std::int64_t ndim, std::int64_t a, std::int64_t b) {
  for (const at::Tensor& operand : operands) {
    const std::int64_t lacking = ndim - operand.dim();
    if (a < lacking) continue;
    const auto outer_stride = operand.sym_strides()[a - lacking];
    const auto inner_stride = operand.sym_strides()[b - lacking];
    const auto outer_size = operand.sym_sizes()[a - lacking];
    const auto inner_size = operand.sym_sizes()[b - lacking];
    if (outer_stride == 0 || inner_stride == 0 || outer_size == 1 || inner_size == 1) continue;
    if (outer_stride < inner_stride) return true;
    if (outer_stride > inner_stride) return false;
    if (outer_size < inner_size) return true;
  }
  return false;
}

// An empty tensor of these sizes whose dense strides keep the operands' order of dimensions.
at::Tensor elementwise_like(at::TensorList operands, c10::SymIntArrayRef sizes,
                            at::ScalarType dtype) {
  const auto ndim = static_cast<std::int64_t>(sizes.size());
  std::vector<std::int64_t> order(sizes.size());  // outermost first
  for (std::int64_t i = 0; i < ndim; ++i) {
    order[i] = i;
    for (std::int64_t j = i; j > 0 && must_swap(operands, ndim, order[j - 1], order[j]); --j) {
      std::swap(order[j - 1], order[j]);
    }
  }
  std::vector<c10::SymInt> strides(sizes.size());
  c10::SymInt next = 1;
  for (auto dimension = order.rbegin(); dimension != order.rend(); ++dimension) {
    strides[*dimension] = next;
    next = next * sizes[*dimension].max(1);
  }
  return at::empty_strided_symint(sizes, strides, operands.front().options().dtype(dtype));
}

at::Tensor sigmoid_meta(const at::Tensor& self, bool /*fast*/) {
  if (is_symbolic(self)) {
    check_dtype("sigmoid", "input", self);
    return elementwise_like({self}, self.sym_sizes(), result_dtype(self));
  }
  at::Tensor output;
  return sigmoid_iterator(output, self).output();
}

at::Tensor& sigmoid_meta_(at::Tensor& self, bool /*fast*/) {
  if (is_symbolic(self)) {
    check_dtype("sigmoid", "input", self);
    check_inplace(self);
  } else {
    sigmoid_iterator(self, self);
  }
  return self;
}

at::Tensor& sigmoid_out_meta(const at::Tensor& self, bool /*fast*/, at::Tensor& out) {
  if (is_symbolic(self) || is_symbolic(out)) {
    check_dtype("sigmoid", "input", self);
    check_out("sigmoid", self, out);
    at::native::resize_output_symint(out, self.sym_sizes());
    return out;
  }
  sigmoid_iterator(out, self);
  return out;
}

at::Tensor sigmoid_backward_meta(const at::Tensor& grad_output, const at::Tensor& output) {
  if (is_symbolic(grad_output) || is_symbolic(output)) {
    const auto sizes = at::infer_size_symdimvector(grad_output.sym_sizes(), output.sym_sizes());
    return elementwise_like({grad_output, output}, sizes, at::result_type(grad_output, output));
  }
  at::Tensor grad_input;
  return backward_iterator(grad_input, grad_output, output).output();
}

}  // namespace

TORCH_LIBRARY_IMPL(torch_sigmoid_ext, Meta, m) {
  m.impl("sigmoid", sigmoid_meta);
  m.impl("sigmoid_", sigmoid_meta_);
  m.impl("sigmoid.out", sigmoid_out_meta);
  m.impl("sigmoid_backward", sigmoid_backward_meta);
}

}  // namespace torch_sigmoid_ext::ops

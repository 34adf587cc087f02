// Functionalization, which torch.compile and torch.export run on: writing becomes computing and
// replacing. Written by hand because PyTorch derives it only for operators that do not return what
// they wrote to.
#include <ATen/FunctionalTensorWrapper.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include "elementwise.h"
#include "operators.h"

namespace torch_sigmoid_ext::ops {
namespace {

namespace functionalization = at::functionalization::impl;

// The plain tensor behind a functional one, with all writes to it applied.
at::Tensor plain(const at::Tensor& tensor) {
  if (!functionalization::isFunctionalTensor(tensor)) return tensor;
  functionalization::sync(tensor);
  return functionalization::from_functional_tensor(tensor);
}

at::Tensor& sigmoid_functionalize_(at::Tensor& self, bool fast) {
  const at::Tensor input = plain(self);
  const at::AutoDispatchSkipFunctionalize below;
  if (!functionalization::isFunctionalTensor(self)) return sigmoid_().call(self, fast);
  check_dtype("sigmoid", "input", input);
  check_inplace(input);
  functionalization::replace_(self, sigmoid().call(input, fast));
  functionalization::commit_update(self);
  functionalization::sync(self);
  return self;
}

at::Tensor& sigmoid_out_functionalize(const at::Tensor& self, bool fast, at::Tensor& out) {
  const at::Tensor input = plain(self);
  const at::AutoDispatchSkipFunctionalize below;
  if (!functionalization::isFunctionalTensor(out)) {
    TORCH_CHECK(!functionalization::isFunctionalTensor(self),
                "torch_sigmoid_ext::sigmoid: expected out to be a functional tensor, as input is; "
                "allocate out inside of the function that is traced");
    return sigmoid_out().call(self, fast, out);
  }
  functionalization::replace_(out, sigmoid().call(input, fast).to(out.scalar_type()));
  functionalization::commit_update(out);
  functionalization::sync(out);
  return out;
}

}  // namespace

TORCH_LIBRARY_IMPL(torch_sigmoid_ext, Functionalize, m) {
  m.impl("sigmoid_", sigmoid_functionalize_);
  m.impl("sigmoid.out", sigmoid_out_functionalize);
}

}  // namespace torch_sigmoid_ext::ops

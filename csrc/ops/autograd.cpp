// Derivatives, in C++ and by hand, in the form that PyTorch generates for its own operators: a Node
// for reverse mode, tangents set on the result for forward mode. torch.func, double backward and
// views work on this form as they do on torch.sigmoid. The nodes themselves: nodes.cpp.
//
//   y = σ(x),  dy = y (1 - y) dx
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/VariableTypeUtils.h>
#include <torch/library.h>

#include "nodes.h"
#include "operators.h"

namespace torch_sigmoid_ext::ops {
namespace {

namespace autograd = torch::autograd;

// The tangent of `tensor`, zero where it has none.
at::Tensor tangent(const at::Tensor& tensor) {
  const at::Tensor& raw = tensor._fw_grad(/*level=*/0);
  return raw.defined() ? raw : at::zeros_like(tensor._fw_primal(/*level=*/0));
}

at::Tensor sigmoid_autograd(c10::DispatchKeySet keys, const at::Tensor& self, bool fast) {
  NodePointer<SigmoidExtBackward> node;
  if (autograd::compute_requires_grad(self)) node = make_node<SigmoidExtBackward>(self);
  at::Tensor output = [&] {
    const at::AutoDispatchBelowAutograd below;
    return sigmoid().redispatch(keys & c10::after_autograd_keyset, self, fast);
  }();
  if (node) autograd::set_history(output, node);
  if (autograd::isFwGradDefined(self)) {
    const at::Tensor change = sigmoid_backward().call(tangent(self), output._fw_primal(0).conj());
    output._set_fw_grad(change, /*level=*/0, /*is_inplace_op=*/false);
  }
  if (node) node->output = autograd::SavedVariable(output, /*is_output=*/true);
  return output;
}

at::Tensor& sigmoid_autograd_(c10::DispatchKeySet keys, at::Tensor& self, bool fast) {
  const bool requires_grad = autograd::compute_requires_grad(self);
  TORCH_CHECK(!(requires_grad && self.is_leaf() && self.requires_grad()),
              "torch_sigmoid_ext::sigmoid_: a leaf Variable that requires grad is being used in an "
              "in-place operation; use sigmoid(input), or wrap the call in torch.no_grad()");
  autograd::check_inplace(self, requires_grad);
  NodePointer<SigmoidExtBackward> node;
  if (requires_grad) node = make_node<SigmoidExtBackward>(self);
  const bool has_tangent = autograd::isFwGradDefined(self);
  {
    const at::AutoDispatchBelowAutograd below;
    sigmoid_().redispatch(keys & c10::after_autograd_keyset, self, fast);
  }
  if (node) autograd::rebase_history(self, node);
  if (has_tangent) {
    // The tangent is overwritten, as self is: views of it see the new one. What a derivative of
    // this derivative needs of the old one is kept apart.
    at::Tensor change = tangent(self);
    const at::Tensor before = at::GradMode::is_enabled() ? change.clone() : change;
    change.copy_(sigmoid_backward().call(before, self._fw_primal(0).conj()));
    self._set_fw_grad(change, /*level=*/0, /*is_inplace_op=*/true);
  }
  if (node) {
    node->output = autograd::SavedVariable(self, /*is_output=*/true,
                                           /*is_inplace_on_view=*/self.is_view());
  }
  return self;
}

at::Tensor& sigmoid_out_autograd(c10::DispatchKeySet keys, const at::Tensor& self, bool fast,
                                 at::Tensor& out) {
  TORCH_CHECK(
      !autograd::compute_requires_grad(self) && !autograd::compute_requires_grad(out),
      "torch_sigmoid_ext::sigmoid: functions with out=... arguments don't support automatic "
      "differentiation, but one of the arguments requires grad; leave out= away, or wrap "
      "the call in torch.no_grad()");
  TORCH_CHECK_NOT_IMPLEMENTED(
      !autograd::isFwGradDefined(self) && !autograd::isFwGradDefined(out),
      "torch_sigmoid_ext::sigmoid: forward-mode differentiation does not work with out=; leave "
      "out= away");
  const at::AutoDispatchBelowAutograd below;
  sigmoid_out().redispatch(keys & c10::after_autograd_keyset, self, fast, out);
  return out;
}

at::Tensor sigmoid_backward_autograd(c10::DispatchKeySet keys, const at::Tensor& grad_output,
                                     const at::Tensor& output) {
  NodePointer<SigmoidExtDoubleBackward> node;
  if (autograd::compute_requires_grad(grad_output, output)) {
    node = make_node<SigmoidExtDoubleBackward>(grad_output, output);
    node->grad_output = autograd::SavedVariable(grad_output, /*is_output=*/false);
    node->output = autograd::SavedVariable(output, /*is_output=*/false);
  }
  at::Tensor grad_input = [&] {
    const at::AutoDispatchBelowAutograd below;
    return sigmoid_backward().redispatch(keys & c10::after_autograd_keyset, grad_output, output);
  }();
  if (node) autograd::set_history(grad_input, node);
  if (autograd::isFwGradDefined(grad_output) || autograd::isFwGradDefined(output)) {
    const at::Tensor g = grad_output._fw_primal(0);
    const at::Tensor y = output._fw_primal(0);
    const at::Tensor change = sigmoid_backward().call(tangent(grad_output), y) +
                              g * (tangent(output) * (1 - 2 * y)).conj();
    grad_input._set_fw_grad(change, /*level=*/0, /*is_inplace_op=*/false);
  }
  return grad_input;
}

// Below autograd: what was written to counts one version more, so that a tensor saved for backward
// and overwritten since is noticed.
at::Tensor& sigmoid_version_(c10::DispatchKeySet keys, at::Tensor& self, bool fast) {
  {
    const at::AutoDispatchBelowADInplaceOrView below;
    sigmoid_().redispatch(keys & c10::after_ADInplaceOrView_keyset, self, fast);
  }
  autograd::increment_version(self);
  return self;
}

at::Tensor& sigmoid_out_version(c10::DispatchKeySet keys, const at::Tensor& self, bool fast,
                                at::Tensor& out) {
  {
    const at::AutoDispatchBelowADInplaceOrView below;
    sigmoid_out().redispatch(keys & c10::after_ADInplaceOrView_keyset, self, fast, out);
  }
  autograd::increment_version(out);
  return out;
}

}  // namespace

TORCH_LIBRARY_IMPL(torch_sigmoid_ext, Autograd, m) {
  m.impl("sigmoid", TORCH_FN(sigmoid_autograd));
  m.impl("sigmoid_", TORCH_FN(sigmoid_autograd_));
  m.impl("sigmoid.out", TORCH_FN(sigmoid_out_autograd));
  m.impl("sigmoid_backward", TORCH_FN(sigmoid_backward_autograd));
}

TORCH_LIBRARY_IMPL(torch_sigmoid_ext, ADInplaceOrView, m) {
  m.impl("sigmoid_", TORCH_FN(sigmoid_version_));
  m.impl("sigmoid.out", TORCH_FN(sigmoid_out_version));
}

}  // namespace torch_sigmoid_ext::ops

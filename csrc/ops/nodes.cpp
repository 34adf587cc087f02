// Reverse mode: each formula once, for the autograd engine, which applies it, and for compiled
// autograd, which records a call of it in a graph.
//
//   h = g conj(y (1 - y)),  dh = conj(y (1 - y)) dg + g conj((1 - 2 y) dy)
//
// PyTorch's gradient of a complex number is the conjugate of the derivative; at::Tensor::conj() is the
// tensor itself where that is real.
#include "nodes.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/real.h>
#include <torch/csrc/dynamo/compiled_autograd.h>

#include <array>
#include <mutex>
#include <utility>
#include <vector>

#include "operators.h"

namespace torch_sigmoid_ext::ops {
namespace {

namespace autograd = torch::autograd;
namespace compiled = torch::dynamo::autograd;

autograd::variable_list gradient(const at::Tensor& grad, std::array<bool, 1> needed,
                                 const at::Tensor& output) {
  if (!grad.defined() || !needed[0]) return {at::Tensor()};
  return {sigmoid_backward().call(grad, output)};
}

// The gradient of a real tensor that met a complex one is the real part.
at::Tensor as_real_as(const at::Tensor& tensor, const at::Tensor& gradient) {
  return gradient.is_complex() && !tensor.is_complex() ? at::real(gradient) : gradient;
}

autograd::variable_list double_gradient(const at::Tensor& grad, std::array<bool, 2> needed,
                                        const at::Tensor& grad_output, const at::Tensor& output) {
  autograd::variable_list result(2);
  if (!grad.defined()) return result;
  const at::Tensor slope_of = output.conj();
  if (needed[0]) {
    result[0] = as_real_as(grad_output, sigmoid_backward().call(grad, slope_of));
  }
  if (needed[1]) {
    result[1] = as_real_as(output, grad.conj() * grad_output * (1 - 2 * slope_of));
  }
  return result;
}

// The formulas as compiled autograd calls them: everything but the gradient packed in a list.
autograd::variable_list packed_gradient(const autograd::variable_list& grads,
                                        const std::vector<c10::IValue>& packed) {
  compiled::PackedArgs arguments(packed);
  const auto needed = arguments.unpack<std::array<bool, 1>>();
  const auto output = arguments.unpack<at::Tensor>();
  return gradient(grads[0], needed, output);
}

autograd::variable_list packed_double_gradient(const autograd::variable_list& grads,
                                               const std::vector<c10::IValue>& packed) {
  compiled::PackedArgs arguments(packed);
  const auto needed = arguments.unpack<std::array<bool, 2>>();
  const auto grad_output = arguments.unpack<at::Tensor>();
  const auto output = arguments.unpack<at::Tensor>();
  return double_gradient(grads[0], needed, grad_output, output);
}

using Formula = autograd::variable_list(const autograd::variable_list&,
                                        const std::vector<c10::IValue>&);

// Binds a formula to a name that Python knows; once a process is all that Python allows.
template <class... Packed>
bool bind(PyObject* compiler, const std::string& name, Formula* formula) {
  compiled::getPyCompilerInterface()->bind_function(
      compiler, name, formula, {compiled::IValuePacker<Packed>::packed_type()...});
  return true;
}

autograd::variable_list record(const autograd::Node& node, PyObject* compiler,
                               const autograd::variable_list& grads,
                               const compiled::PackedArgs& arguments) {
  const auto metadata =
      compiled::IValuePacker<std::vector<std::optional<autograd::InputMetadata>>>::pack(
          compiled::get_input_metadata(node.next_edges()));
  return compiled::getPyCompilerInterface()->call_function(
      compiler, "apply_functional", node.name(), grads, arguments.vec(), metadata);
}

}  // namespace

void SigmoidExtBackward::release_variables() {
  const std::lock_guard<std::mutex> lock(mutex_);
  output.reset_data();
}

autograd::variable_list SigmoidExtBackward::apply(autograd::variable_list&& grads) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!grads[0].defined()) return {at::Tensor()};
  return gradient(grads[0], {task_should_compute_output(0)}, output.unpack(self()));
}

void SigmoidExtBackward::compiled_args(compiled::CompiledNodeArgs& args) const {
  args.collect(output, /*is_output=*/true);
}

autograd::variable_list SigmoidExtBackward::apply_with_saved(const autograd::variable_list& grads,
                                                             compiled::SwapSavedVariables& saved) {
  using Needed = std::array<bool, 1>;
  static const bool bound =
      bind<Needed, at::Tensor>(saved.get_py_compiler(), name(), packed_gradient);
  static_cast<void>(bound);
  saved.before(output);
  compiled::PackedArgs arguments;
  arguments.pack(Needed{task_should_compute_output(0)});
  arguments.pack(output.unpack(self()));
  auto result = record(*this, saved.get_py_compiler(), grads, arguments);
  saved.after(output);
  return result;
}

NodePointer<autograd::Node> SigmoidExtBackward::self() {
#if TORCH_SIGMOID_EXT_INTRUSIVE_NODES
  return c10::intrusive_ptr<autograd::Node>::reclaim_copy(this);
#else
  return getptr();
#endif
}

void SigmoidExtDoubleBackward::release_variables() {
  const std::lock_guard<std::mutex> lock(mutex_);
  grad_output.reset_data();
  output.reset_data();
}

autograd::variable_list SigmoidExtDoubleBackward::apply(autograd::variable_list&& grads) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return double_gradient(grads[0], {task_should_compute_output(0), task_should_compute_output(1)},
                         grad_output.unpack(), output.unpack());
}

void SigmoidExtDoubleBackward::compiled_args(compiled::CompiledNodeArgs& args) const {
  args.collect(grad_output, /*is_output=*/false);
  args.collect(output, /*is_output=*/false);
}

autograd::variable_list SigmoidExtDoubleBackward::apply_with_saved(
    const autograd::variable_list& grads, compiled::SwapSavedVariables& saved) {
  using Needed = std::array<bool, 2>;
  static const bool bound =
      bind<Needed, at::Tensor, at::Tensor>(saved.get_py_compiler(), name(), packed_double_gradient);
  static_cast<void>(bound);
  saved.before(grad_output);
  saved.before(output);
  compiled::PackedArgs arguments;
  arguments.pack(Needed{task_should_compute_output(0), task_should_compute_output(1)});
  arguments.pack(grad_output.unpack());
  arguments.pack(output.unpack());
  auto result = record(*this, saved.get_py_compiler(), grads, arguments);
  saved.after(grad_output);
  saved.after(output);
  return result;
}

}  // namespace torch_sigmoid_ext::ops

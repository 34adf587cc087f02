// The nodes of the autograd graph: what is saved for the backward pass, and the formulas.
#pragma once

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/version.h>

#include <string>

namespace torch_sigmoid_ext::ops {

// Nodes are counted intrusively from torch 2.13 on, by std::shared_ptr before.
#if TORCH_VERSION_MAJOR > 2 || TORCH_VERSION_MINOR >= 13
#define TORCH_SIGMOID_EXT_INTRUSIVE_NODES 1
#else
#define TORCH_SIGMOID_EXT_INTRUSIVE_NODES 0
#endif

#if TORCH_SIGMOID_EXT_INTRUSIVE_NODES
template <class T>
using NodePointer = c10::intrusive_ptr<T>;
#else
template <class T>
using NodePointer = std::shared_ptr<T>;
#endif

template <class T, class... Inputs>
NodePointer<T> make_node(const Inputs&... inputs) {
#if TORCH_SIGMOID_EXT_INTRUSIVE_NODES
  auto node = c10::make_intrusive<T>();
#else
  auto node = std::shared_ptr<T>(new T(), torch::autograd::deleteNode);
#endif
  node->set_next_edges(torch::autograd::collect_next_edges(inputs...));
  return node;
}

// Of y = σ(x): the gradient of x from that of y.
struct SigmoidExtBackward final : torch::autograd::Node {
  torch::autograd::SavedVariable output;

  std::string name() const override { return "SigmoidExtBackward"; }
  void release_variables() override;
  torch::autograd::variable_list apply(torch::autograd::variable_list&& grads) override;
  void compiled_args(torch::dynamo::autograd::CompiledNodeArgs& args) const override;
  torch::autograd::variable_list apply_with_saved(
      const torch::autograd::variable_list& grads,
      torch::dynamo::autograd::SwapSavedVariables& saved) override;

 private:
  NodePointer<torch::autograd::Node> self();
};

// Of h = sigmoid_backward(g, y): the gradients of g and y from that of h.
struct SigmoidExtDoubleBackward final : torch::autograd::Node {
  torch::autograd::SavedVariable grad_output;
  torch::autograd::SavedVariable output;

  std::string name() const override { return "SigmoidExtDoubleBackward"; }
  void release_variables() override;
  torch::autograd::variable_list apply(torch::autograd::variable_list&& grads) override;
  void compiled_args(torch::dynamo::autograd::CompiledNodeArgs& args) const override;
  torch::autograd::variable_list apply_with_saved(
      const torch::autograd::variable_list& grads,
      torch::dynamo::autograd::SwapSavedVariables& saved) override;
};

}  // namespace torch_sigmoid_ext::ops

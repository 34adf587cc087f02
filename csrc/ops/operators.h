// The operators as typed handles: how C++ calls them through the dispatcher.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

namespace torch_sigmoid_ext::ops {

using Sigmoid = at::Tensor(const at::Tensor& self, bool fast);
using SigmoidInplace = at::Tensor&(at::Tensor& self, bool fast);
using SigmoidOut = at::Tensor&(const at::Tensor& self, bool fast, at::Tensor& out);
using SigmoidBackward = at::Tensor(const at::Tensor& grad_output, const at::Tensor& output);

template <class Signature>
c10::TypedOperatorHandle<Signature> find(const char* name, const char* overload = "") {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Signature>();
}

inline const auto& sigmoid() {
  static const auto handle = find<Sigmoid>("torch_sigmoid_ext::sigmoid");
  return handle;
}

inline const auto& sigmoid_() {
  static const auto handle = find<SigmoidInplace>("torch_sigmoid_ext::sigmoid_");
  return handle;
}

inline const auto& sigmoid_out() {
  static const auto handle = find<SigmoidOut>("torch_sigmoid_ext::sigmoid", "out");
  return handle;
}

inline const auto& sigmoid_backward() {
  static const auto handle = find<SigmoidBackward>("torch_sigmoid_ext::sigmoid_backward");
  return handle;
}

}  // namespace torch_sigmoid_ext::ops

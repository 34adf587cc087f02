// Every operator of this library. What runs behind each name: cpu.cpp, meta.cpp, autograd.cpp,
// layouts.cpp, functionalize.cpp, unsupported.cpp.
#include <ATen/core/enum_tag.h>
#include <torch/library.h>

namespace {

// The tag of torch 2.13 and later for what writes over its input. Its sibling for out= is left away:
// Inductor would then call sigmoid.out in sigmoid's place, with `fast` given twice, and fail.
template <class Tag>
std::vector<Tag> with_inplace(std::vector<Tag> tags) {
  if constexpr (requires { Tag::inplace; }) tags.push_back(Tag::inplace);
  return tags;
}

}  // namespace

TORCH_LIBRARY(torch_sigmoid_ext, m) {
  const std::vector<at::Tag> tags = {at::Tag::pt2_compliant_tag, at::Tag::pointwise};
  const std::vector<at::Tag> inplace_tags = with_inplace(tags);

  // y = 1 / (1 + e^-x), elementwise; gradient: grad_output * conj(y * (1 - y)).
  // `fast` allows a quicker kernel that is never less accurate than torch.sigmoid.
  m.def("sigmoid(Tensor self, *, bool fast=False) -> Tensor", tags);

  // The same, written over its input.
  m.def("sigmoid_(Tensor(a!) self, *, bool fast=False) -> Tensor(a!)", inplace_tags);

  // The same, written into `out`, which is resized if need be; not differentiable.
  m.def("sigmoid.out(Tensor self, *, bool fast=False, Tensor(a!) out) -> Tensor(a!)", tags);

  // grad_output * conj(y * (1 - y)) with y = output;
  // gradients: to grad_output, grad * y * (1 - y); to output, conj(grad) * grad_output * conj(1 - 2 y).
  m.def("sigmoid_backward(Tensor grad_output, Tensor output) -> Tensor", tags);
}

// torch.func.vmap: the operators are elementwise, so the batched tensor is computed as it is, wherever
// its batch dimension stands.
//
// In C++, so that torch.ops and the library without its Python package have it too, and a call inside
// of vmap does not go through Python, which costs many times as much. `sigmoid.out` has no rule,
// as aten's has none: PyTorch refuses it and says so.
#include <ATen/core/Tensor.h>
#include <ATen/functorch/DynamicLayer.h>
#include <ATen/functorch/PlumbingHelper.h>
#include <torch/library.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "operators.h"

namespace torch_sigmoid_ext::ops {
namespace {

// A tensor as it is stored, and which of its dimensions the vmap runs over, if any.
struct Unbatched {
  at::Tensor value;
  std::optional<std::int64_t> dim;

  std::int64_t logical_rank() const { return value.dim() - (dim.has_value() ? 1 : 0); }

  // The batch dimension in front, then ones up to `rank` logical dimensions: those align from the
  // right.
  at::Tensor aligned(std::int64_t rank) const {
    if (!dim.has_value()) return value;
    at::Tensor result = value.movedim(*dim, 0);
    for (auto missing = rank - logical_rank(); missing > 0; --missing) result = result.unsqueeze(1);
    return result;
  }
};

// The innermost vmap under way. While this lives, calls pass it by. A tensor that belongs to none but
// outer ones is handed on to them as it is.
class Vmap {
 public:
  Vmap() {
    const auto layer = at::functorch::maybeCurrentDynamicLayer();
    TORCH_CHECK(
        layer.has_value(),
        "torch_sigmoid_ext: expected a tensor of a vmap under way, got one that escaped from "
        "a function which vmap has left; return it from that function instead of storing it "
        "elsewhere");
    level_ = layer->layerId();
  }

  Unbatched unwrap(const at::Tensor& tensor) const {
    auto [value, dim] = at::functorch::unwrapTensorAtLevel(tensor, level_);
    return {std::move(value), dim};
  }

  at::Tensor wrap(at::Tensor value, std::optional<std::int64_t> dim) const {
    return at::functorch::makeBatched(std::move(value), dim, level_);
  }

 private:
  c10::impl::ExcludeDispatchKeyGuard below_{c10::DispatchKey::FuncTorchBatched};
  std::int64_t level_;
};

at::Tensor sigmoid_vmap(const at::Tensor& self, bool fast) {
  const Vmap vmap;
  const auto [value, dim] = vmap.unwrap(self);
  return vmap.wrap(sigmoid().call(value, fast), dim);
}

at::Tensor& sigmoid_vmap_(at::Tensor& self, bool fast) {
  const Vmap vmap;
  auto [value, dim] = vmap.unwrap(self);
  sigmoid_().call(value, fast);
  return self;
}

at::Tensor sigmoid_backward_vmap(const at::Tensor& grad_output, const at::Tensor& output) {
  const Vmap vmap;
  const Unbatched g = vmap.unwrap(grad_output);
  const Unbatched y = vmap.unwrap(output);
  if (!g.dim.has_value() && !y.dim.has_value()) return sigmoid_backward().call(g.value, y.value);
  const auto rank = std::max(g.logical_rank(), y.logical_rank());
  return vmap.wrap(sigmoid_backward().call(g.aligned(rank), y.aligned(rank)), /*dim=*/0);
}

}  // namespace

TORCH_LIBRARY_IMPL(torch_sigmoid_ext, FuncTorchBatched, m) {
  m.impl("sigmoid", sigmoid_vmap);
  m.impl("sigmoid_", sigmoid_vmap_);
  m.impl("sigmoid_backward", sigmoid_backward_vmap);
}

}  // namespace torch_sigmoid_ext::ops

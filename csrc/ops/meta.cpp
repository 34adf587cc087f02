// Shapes, strides and dtypes without data: the meta device, FakeTensor and everything that traces.
//
// With plain sizes the CPU's own iterator gives the answer. With symbolic sizes it cannot be asked,
// and its rule for strides is written out in `result_strides`.
#include <ATen/ExpandUtils.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/result_type.h>
#include <torch/library.h>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

#include "elementwise.h"

namespace torch_sigmoid_ext::ops {
namespace {

bool is_symbolic(const at::Tensor& tensor) {
  return tensor.unsafeGetTensorImpl()->has_symbolic_sizes_strides();
}

// Whether a comparison holds; no, where it hangs on sizes that only the data decide (nonzero, x[mask]).
bool holds(const c10::SymBool& comparison) { return comparison.guard_or_false(__FILE__, __LINE__); }

// a >= b, also where both hang on the data and a is a multiple of b.
bool at_least(const c10::SymInt& a, const c10::SymInt& b) {
  if (holds(b.sym_eq(0))) return true;
  if (holds(a.sym_eq(0))) return false;
  return holds(a.sym_ge(b)) || holds((a % b).sym_eq(0));
}

using Strides = std::vector<c10::SymInt>;

// The operand's strides in a result of these sizes: 0 along what it is broadcast over, or lacks.
Strides broadcast_strides(const at::Tensor& operand, c10::SymIntArrayRef sizes) {
  Strides strides(sizes.size(), 0);
  const c10::SymIntArrayRef own = operand.sym_sizes(), own_strides = operand.sym_strides();
  const std::size_t lacking = sizes.size() - own.size();
  for (std::size_t i = 0; i < own.size(); ++i) {
    if (holds(own[i].sym_eq(1)) && !holds(sizes[i + lacking].sym_eq(1))) continue;
    strides[i + lacking] = own_strides[i];
  }
  return strides;
}

// Whether dimension a lies inside of b (-1), outside (1), or no operand tells (0): the first that tells
// them apart by stride decides, equal strides by size.
int compare(const std::vector<Strides>& operands, c10::SymIntArrayRef sizes, std::size_t a,
            std::size_t b) {
  for (const Strides& strides : operands) {
    if (holds(strides[a].sym_eq(0)) || holds(strides[b].sym_eq(0))) continue;
    if (holds(strides[a].sym_eq(strides[b]))) {
      if (!at_least(sizes[b], sizes[a])) return 1;
      continue;
    }
    if (at_least(strides[b], strides[a])) return -1;
    if (at_least(strides[a], strides[b])) return 1;
  }
  return 0;
}

// The dimensions, innermost first: an insertion sort that looks past the pairs of which nothing is known.
std::vector<std::size_t> order_of(const std::vector<Strides>& operands, c10::SymIntArrayRef sizes) {
  std::vector<std::size_t> order(sizes.size());
  std::iota(order.rbegin(), order.rend(), std::size_t{0});
  for (std::size_t i = 1; i < sizes.size(); ++i) {
    std::size_t moving = i;
    for (std::size_t j = i; j-- > 0;) {
      const int comparison = compare(operands, sizes, order[j], order[moving]);
      if (comparison < 0) break;
      if (comparison > 0) std::swap(order[j], order[std::exchange(moving, j)]);
    }
  }
  return order;
}

bool are_equal(c10::SymIntArrayRef a, c10::SymIntArrayRef b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& x, const auto& y) { return holds(x.sym_eq(y)); });
}

// Strides without a gap for dimensions in this order. Empty dimensions count as one where nothing was
// reordered, as in every contiguous tensor.
Strides packed(c10::SymIntArrayRef sizes, const std::vector<std::size_t>& order) {
  Strides strides(sizes.size());
  const bool is_contiguous = std::is_sorted(order.rbegin(), order.rend());
  c10::SymInt next = 1;
  for (const std::size_t dimension : order) {
    strides[dimension] = next;
    next = next * (is_contiguous ? sizes[dimension].max(1) : sizes[dimension]);
  }
  return strides;
}

// Whether these strides are packed, those of dimensions of size 1 aside, which may be any.
bool is_packed(const Strides& strides, c10::SymIntArrayRef sizes,
               const std::vector<std::size_t>& order) {
  c10::SymInt next = 1;
  return std::all_of(order.begin(), order.end(), [&](std::size_t dimension) {
    if (holds(sizes[dimension].sym_eq(1))) return true;
    const bool fits = holds(strides[dimension].sym_eq(next));
    next = next * sizes[dimension];
    return fits;
  });
}

// The strides of the result. Operands of its sizes that are all contiguous, all in channels-last order or
// all packed in one way give theirs; else their order of dimensions stays.
Strides result_strides(at::TensorList operands, c10::SymIntArrayRef sizes) {
  std::vector<std::size_t> contiguous(sizes.size());
  std::iota(contiguous.rbegin(), contiguous.rend(), std::size_t{0});
  std::vector<Strides> strides;
  bool have_sizes = true, are_contiguous = true, are_channels_last = sizes.size() == 4;
  for (const at::Tensor& operand : operands) {
    strides.push_back(broadcast_strides(operand, sizes));
    have_sizes &= are_equal(operand.sym_sizes(), sizes);
    are_contiguous &= operand.is_contiguous_or_false();
    are_channels_last &= operand.is_contiguous_or_false(at::MemoryFormat::ChannelsLast);
  }
  if (have_sizes && are_contiguous) return packed(sizes, contiguous);
  if (have_sizes && are_channels_last) return packed(sizes, {1, 3, 2, 0});
  const auto order = order_of(strides, sizes);
  const bool are_alike = std::all_of(strides.begin(), strides.end(), [&](const Strides& other) {
    return are_equal(other, strides.front());
  });
  if (have_sizes && are_alike && is_packed(strides.front(), sizes, order)) return strides.front();
  return packed(sizes, order);
}

at::Tensor elementwise_like(at::TensorList operands, c10::SymIntArrayRef sizes,
                            at::ScalarType dtype) {
  return at::empty_strided_symint(sizes, result_strides(operands, sizes),
                                  operands.front().options().dtype(dtype));
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

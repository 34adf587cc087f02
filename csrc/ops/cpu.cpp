// The CPU backend: tensors in, runs to the kernels. No Python, no autograd.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "../kernels/cpu/select.h"
#include "elementwise.h"
#include "memory.h"

namespace torch_sigmoid_ext::ops {
namespace {

// Elements below which a second thread costs more than it brings.
constexpr std::int64_t kGrain = 16384;
constexpr std::int64_t kComplexGrain = 2048;  // its σ costs as much as many real ones

std::int64_t grain(at::ScalarType dtype) {
  return at::isComplexType(dtype) ? kComplexGrain : kGrain;
}

kernels::Sigmoid sigmoid_kernel(at::ScalarType dtype, bool fast) {
  const kernels::KernelSet& set = kernels::cpu::select();
  return (fast ? set.fast : set.exact)[static_cast<std::size_t>(element_type(dtype))];
}

kernels::SigmoidBackward backward_kernel(at::ScalarType dtype) {
  return kernels::cpu::select().backward[static_cast<std::size_t>(element_type(dtype))];
}

bool is_flat(const at::Tensor& tensor) {
  return tensor.is_contiguous() && !at::isIntegralType(tensor.scalar_type(), /*includeBool=*/true);
}

void run_flat(const at::Tensor& self, bool fast, at::Tensor& output) {
  const auto kernel = sigmoid_kernel(self.scalar_type(), fast);
  const auto size = static_cast<std::int64_t>(self.element_size());
  const auto* from = static_cast<const char*>(self.const_data_ptr());
  auto* to = static_cast<char*>(output.mutable_data_ptr());
  at::parallel_for(0, self.numel(), grain(self.scalar_type()),
                   [&](std::int64_t begin, std::int64_t end) {
                     kernel(from + begin * size, size, to + begin * size, size, end - begin);
                   });
}

void run(at::TensorIterator& iterator, bool fast) {
  const auto kernel = sigmoid_kernel(iterator.common_dtype(), fast);
  iterator.for_each(
      [kernel](char** data, const std::int64_t* strides, std::int64_t numel) {
        kernel(data[1], strides[1], data[0], strides[0], numel);
      },
      grain(iterator.common_dtype()));
  iterator.cast_outputs();  // out= of another dtype was computed in a temporary
}

at::Tensor sigmoid_cpu(const at::Tensor& self, bool fast) {
  at::Tensor output;
  if (is_flat(self)) {
    check_dtype("sigmoid", "input", self);
    output = at::empty(self.sizes(), self.options());
    advise_huge_pages(output);
    run_flat(self, fast, output);
    return output;
  }
  auto iterator = sigmoid_iterator(output, self);
  run(iterator, fast);
  return iterator.output();
}

at::Tensor& sigmoid_cpu_(at::Tensor& self, bool fast) {
  if (is_flat(self)) {
    check_dtype("sigmoid", "input", self);
    run_flat(self, fast, self);
    return self;
  }
  auto iterator = sigmoid_iterator(self, self);
  run(iterator, fast);
  return self;
}

at::Tensor& sigmoid_out_cpu(const at::Tensor& self, bool fast, at::Tensor& out) {
  auto iterator = sigmoid_iterator(out, self);
  run(iterator, fast);
  return out;
}

at::Tensor sigmoid_backward_cpu(const at::Tensor& grad_output, const at::Tensor& output) {
  at::Tensor grad_input;
  auto iterator = backward_iterator(grad_input, grad_output, output);
  const auto kernel = backward_kernel(iterator.common_dtype());
  iterator.for_each(
      [kernel](char** data, const std::int64_t* strides, std::int64_t numel) {
        kernel(data[1], strides[1], data[2], strides[2], data[0], strides[0], numel);
      },
      kGrain);
  return iterator.output();
}

}  // namespace

TORCH_LIBRARY_IMPL(torch_sigmoid_ext, CPU, m) {
  m.impl("sigmoid", sigmoid_cpu);
  m.impl("sigmoid_", sigmoid_cpu_);
  m.impl("sigmoid.out", sigmoid_out_cpu);
  m.impl("sigmoid_backward", sigmoid_backward_cpu);
}

}  // namespace torch_sigmoid_ext::ops

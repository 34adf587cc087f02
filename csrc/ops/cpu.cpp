// The CPU backend: tensors in, runs to the kernels. No Python, no autograd.
#include <ATen/EmptyTensor.h>
#include <ATen/MemoryOverlap.h>
#include <ATen/Parallel.h>
#include <pthread.h>
#include <torch/library.h>

#include <limits>

#include "../kernels/cpu/plane.h"
#include "../kernels/cpu/select.h"
#include "elementwise.h"
#include "memory.h"

namespace torch_sigmoid_ext::ops {
namespace {

// Elements below which a second thread costs more than it brings.
constexpr std::int64_t kGrain = 16384;
constexpr std::int64_t kComplexGrain = 2048;  // its σ costs as much as many real ones

// Whether this thread has come through a fork. GNU's OpenMP keeps the threads of its last parallel
// region for the next, a fork does not copy them, and a region that waits for them never ends: such a
// thread works alone.
thread_local bool has_forked = false;
const int kForkIsNoticed = pthread_atfork(nullptr, nullptr, [] { has_forked = true; });

std::int64_t unless_forked(std::int64_t grain) {
  return has_forked ? std::numeric_limits<std::int64_t>::max() : grain;
}

std::int64_t grain(at::ScalarType dtype) {
  return unless_forked(at::isComplexType(dtype) ? kComplexGrain : kGrain);
}

kernels::Sigmoid sigmoid_kernel(at::ScalarType dtype, bool fast) {
  const kernels::KernelSet& set = kernels::cpu::select();
  return (fast ? set.fast : set.exact)[static_cast<std::size_t>(element_type(dtype))];
}

bool is_flat(const at::Tensor& tensor) {
  return tensor.is_contiguous() && !at::isIntegralType(tensor.scalar_type(), /*includeBool=*/true);
}

// Flat tensors of one shape and dtype: one run, or one for each thread.
bool are_alike(const at::Tensor& a, const at::Tensor& b) {
  return is_flat(b) && a.scalar_type() == b.scalar_type() && a.is_cpu() && b.is_cpu() &&
         a.sizes() == b.sizes();
}

at::Tensor empty_like_flat(const at::Tensor& self) {
  at::Tensor output = at::detail::empty_cpu(self.sizes(), self.scalar_type());
  advise_huge_pages(output);
  return output;
}

// Calls task(begin, end) for parts of numel elements. at::parallel_for would be serial here: its loop
// is in a header, and this library is built without OpenMP, lest it bring a second runtime of it beside
// torch's. The loop of TensorIterator is in torch itself.
template <class Task>
void in_parallel(const at::Tensor& tensor, std::int64_t grain_size, const Task& task) {
  const std::int64_t numel = tensor.numel();
  if (numel <= grain_size || at::get_num_threads() == 1 || at::in_parallel_region()) {
    if (numel > 0) task(0, numel);
    return;
  }
  const auto size = static_cast<std::int64_t>(tensor.element_size());
  const auto* base = static_cast<const char*>(tensor.const_data_ptr());
  auto iterator = at::TensorIteratorConfig()
                      .set_check_mem_overlap(false)
                      .check_all_same_dtype(false)
                      .resize_outputs(false)
                      .add_output(tensor)
                      .build();
  iterator.for_each(
      [&](char** data, const std::int64_t*, std::int64_t count) {
        const std::int64_t begin = (data[0] - base) / size;
        task(begin, begin + count);
      },
      grain_size);
}

void run_flat(const at::Tensor& self, bool fast, const at::Tensor& output) {
  const auto kernel = sigmoid_kernel(self.scalar_type(), fast);
  const auto size = static_cast<std::int64_t>(self.element_size());
  const auto* from = static_cast<const char*>(self.const_data_ptr());
  auto* to = static_cast<char*>(output.mutable_data_ptr());
  in_parallel(output, grain(self.scalar_type()), [&](std::int64_t begin, std::int64_t end) {
    kernel(from + begin * size, size, to + begin * size, size, end - begin);
  });
}

void run(at::TensorIterator& iterator, bool fast) {
  const auto kernel = sigmoid_kernel(iterator.common_dtype(), fast);
  const auto size = static_cast<std::int64_t>(iterator.element_size(/*arg=*/0));
  iterator.for_each(
      [=](char** data, const std::int64_t* strides, std::int64_t inner, std::int64_t outer) {
        const kernels::cpu::Plane plane = {.size = {inner, outer},
                                           .input_stride = {strides[1], strides[3]},
                                           .output_stride = {strides[0], strides[2]},
                                           .element_size = size};
        kernels::cpu::run_plane(kernel, plane, data[1], data[0]);
      },
      grain(iterator.common_dtype()));
  iterator.cast_outputs();  // out= of another dtype was computed in a temporary
}

at::Tensor sigmoid_cpu(const at::Tensor& self, bool fast) {
  if (is_flat(self)) {
    check_dtype("sigmoid", "input", self);
    const at::Tensor output = empty_like_flat(self);
    run_flat(self, fast, output);
    return output;
  }
  at::Tensor output;
  auto iterator = sigmoid_iterator(output, self);
  advise_huge_pages(iterator.output());
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
  if (is_flat(self) && are_alike(self, out) && has_kernel(self.scalar_type()) &&
      at::get_overlap_status(self, out) != at::MemOverlapStatus::Partial) {
    run_flat(self, fast, out);
    return out;
  }
  auto iterator = sigmoid_iterator(out, self);
  run(iterator, fast);
  return out;
}

at::Tensor sigmoid_backward_cpu(const at::Tensor& grad_output, const at::Tensor& output) {
  const auto kernel_of = [](at::ScalarType dtype) {
    return kernels::cpu::select().backward[static_cast<std::size_t>(element_type(dtype))];
  };
  if (is_flat(grad_output) && are_alike(grad_output, output) && has_kernel(output.scalar_type())) {
    const auto kernel = kernel_of(output.scalar_type());
    const auto size = static_cast<std::int64_t>(output.element_size());
    const at::Tensor grad_input = empty_like_flat(output);
    const auto* g = static_cast<const char*>(grad_output.const_data_ptr());
    const auto* y = static_cast<const char*>(output.const_data_ptr());
    auto* to = static_cast<char*>(grad_input.mutable_data_ptr());
    in_parallel(grad_input, unless_forked(kGrain), [&](std::int64_t begin, std::int64_t end) {
      kernel(g + begin * size, size, y + begin * size, size, to + begin * size, size, end - begin);
    });
    return grad_input;
  }
  at::Tensor grad_input;
  auto iterator = backward_iterator(grad_input, grad_output, output);
  advise_huge_pages(iterator.output());
  const auto kernel = kernel_of(iterator.common_dtype());
  iterator.for_each(
      [kernel](char** data, const std::int64_t* strides, std::int64_t numel) {
        kernel(data[1], strides[1], data[2], strides[2], data[0], strides[0], numel);
      },
      unless_forked(kGrain));
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

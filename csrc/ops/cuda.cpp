// The CUDA backend: tensors in, launches out. No Python, no autograd, and nothing that a CPU build of torch
// lacks, so that one library loads into both; there its kernels simply meet no tensor.
//
// It is compiled with TORCH_SIGMOID_EXT_WITH_CUDA where the kernels are; else unsupported.cpp answers.
#if defined(TORCH_SIGMOID_EXT_WITH_CUDA)
#include <ATen/TensorIterator.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <algorithm>

#include "../kernels/cuda/launch.h"
#include "elementwise.h"

// Of torch's stable C interface; null in a CPU build of torch.
extern "C" __attribute__((weak)) std::int32_t aoti_torch_get_current_cuda_stream(
    std::int32_t device_index, void** stream);

namespace torch_sigmoid_ext::ops {
namespace {

namespace cuda = kernels::cuda;
using cuda::Operation;

void* current_stream(const at::Tensor& tensor) {
  void* stream = nullptr;
  TORCH_CHECK(aoti_torch_get_current_cuda_stream != nullptr &&
                  aoti_torch_get_current_cuda_stream(tensor.get_device(), &stream) == 0,
              "torch_sigmoid_ext: expected torch to tell the current stream of ", tensor.device(),
              ", and it does not; install a CUDA build of torch, of the version that this "
              "library was built for");
  return stream;
}

// `tensors` is Dense or Strided, on the device of `output`, whose guard is set.
template <class Tensors>
void launch(Operation operation, const at::Tensor& output, const Tensors& tensors) {
  const char* error =
      cuda::launch(operation, element_type(output.scalar_type()), tensors, current_stream(output));
  TORCH_CHECK(error == nullptr, "torch_sigmoid_ext: the kernel could not be launched on ",
              output.device(), ": ", error,
              "; if the message speaks of a kernel image, build again with TORCH_CUDA_ARCH_LIST "
              "set to this GPU's compute capability");
}

void launch_dense(Operation operation, const at::Tensor& first, const at::Tensor* second,
                  const at::Tensor& output) {
  launch(operation, output,
         cuda::Dense{.inputs = {first.const_data_ptr(),
                                second != nullptr ? second->const_data_ptr() : nullptr},
                     .output = output.mutable_data_ptr(),
                     .numel = output.numel()});
}

// Output first, then one or two inputs, all of one dtype, on one device.
void launch_iterator(Operation operation, const at::TensorIterator& iterator) {
  if (iterator.numel() == 0) return;
  const at::Tensor& output = iterator.tensor(0);
  const int inputs = cuda::inputs_of(operation);
  cuda::Strided tensors{};
  for (int o = 0; o < inputs; ++o) tensors.inputs[o] = iterator.data_ptr(1 + o);
  tensors.output = iterator.data_ptr(0);
  if (iterator.is_contiguous()) {
    return launch(operation, output,
                  cuda::Dense{.inputs = {tensors.inputs[0], tensors.inputs[1]},
                              .output = tensors.output,
                              .numel = iterator.numel()});
  }
  tensors.dimensions = std::max(iterator.ndim(), 1);
  TORCH_CHECK(tensors.dimensions <= cuda::kMaxDimensions, "torch_sigmoid_ext: expected at most ",
              cuda::kMaxDimensions, " dimensions that cannot be merged, got ", tensors.dimensions,
              "; pass input.contiguous()");
  tensors.sizes[0] = 1;
  for (int d = 0; d < iterator.ndim(); ++d) {
    tensors.sizes[d] = iterator.shape()[d];
    tensors.output_strides[d] = iterator.strides(0)[d];
    for (int o = 0; o < inputs; ++o) tensors.input_strides[o][d] = iterator.strides(1 + o)[d];
  }
  launch(operation, output, tensors);
}

Operation operation_of(bool fast) { return fast ? Operation::kFast : Operation::kExact; }

// Of the dtype that the kernels compute in: torch converts bool and integers.
at::Tensor promoted(const at::Tensor& self) {
  const at::ScalarType dtype = result_dtype(self);
  return dtype == self.scalar_type() ? self : self.to(dtype);
}

// Past the dispatcher's other keys, which this call went through already.
at::Tensor empty_contiguous(const at::Tensor& self) {
  return at::_ops::empty_memory_format::redispatch(
      c10::DispatchKeySet(c10::DispatchKey::CUDA), self.sym_sizes(), self.scalar_type(),
      self.layout(), self.device(), /*pin_memory=*/std::nullopt, at::MemoryFormat::Contiguous);
}

at::Tensor sigmoid_cuda(const at::Tensor& self, bool fast) {
  check_dtype("sigmoid", "input", self);
  const c10::DeviceGuard guard(self.device());
  const at::Tensor input = promoted(self);
  if (input.is_contiguous()) {
    at::Tensor output = input.is_same(self) ? empty_contiguous(input) : input;
    launch_dense(operation_of(fast), input, nullptr, output);
    return output;
  }
  at::Tensor output;
  const auto iterator = sigmoid_iterator(output, input);
  launch_iterator(operation_of(fast), iterator);
  return iterator.output();
}

at::Tensor& sigmoid_out_cuda(const at::Tensor& self, bool fast, at::Tensor& out) {
  // Checks first, and resizes; the iterator is what torch.sigmoid would get.
  const auto checked = sigmoid_iterator(out, self);
  const c10::DeviceGuard guard(self.device());
  const at::ScalarType dtype = result_dtype(self);
  if (out.scalar_type() == dtype && self.scalar_type() == dtype) {
    launch_iterator(operation_of(fast), checked);
  } else {
    out.copy_(sigmoid_cuda(self, fast));
  }
  return out;
}

at::Tensor& sigmoid_cuda_(at::Tensor& self, bool fast) {
  const auto iterator = sigmoid_iterator(self, self);
  const c10::DeviceGuard guard(self.device());
  launch_iterator(operation_of(fast), iterator);
  return self;
}

// A number on the CPU may stand for a tensor, as everywhere in torch.
at::Tensor on_device(const at::Tensor& tensor, at::Device device, at::ScalarType dtype) {
  return tensor.dim() == 0 && tensor.is_cpu() ? tensor.to(device, dtype) : tensor.to(dtype);
}

at::Tensor sigmoid_backward_cuda(const at::Tensor& grad_output, const at::Tensor& output) {
  at::Tensor grad_input;
  const bool plain = grad_output.scalar_type() == output.scalar_type() &&
                     grad_output.device() == output.device() && has_kernel(output.scalar_type());
  const c10::DeviceGuard guard(output.is_cuda() ? output.device() : grad_output.device());
  if (plain && grad_output.is_contiguous() && output.is_contiguous() &&
      grad_output.sizes() == output.sizes()) {
    grad_input = empty_contiguous(output);
    launch_dense(Operation::kBackward, grad_output, &output, grad_input);
    return grad_input;
  }
  const auto checked = backward_iterator(grad_input, grad_output, output);
  if (plain) {
    launch_iterator(Operation::kBackward, checked);
    return checked.output();
  }
  const at::Device device = checked.device(0);
  const at::ScalarType dtype = checked.common_dtype();
  const auto iterator = backward_iterator(grad_input, on_device(grad_output, device, dtype),
                                          on_device(output, device, dtype));
  launch_iterator(Operation::kBackward, iterator);
  return iterator.output();
}

}  // namespace

TORCH_LIBRARY_IMPL(torch_sigmoid_ext, CUDA, m) {
  m.impl("sigmoid", sigmoid_cuda);
  m.impl("sigmoid_", sigmoid_cuda_);
  m.impl("sigmoid.out", sigmoid_out_cuda);
  m.impl("sigmoid_backward", sigmoid_backward_cuda);
}

}  // namespace torch_sigmoid_ext::ops
#endif

// Layouts of their own that torch.sigmoid takes, computed through a dense tensor: oneDNN's, and
// quantized by one scale.
#include <ATen/core/Tensor.h>
#include <ATen/ops/quantize_per_tensor.h>
#include <torch/library.h>

#include "operators.h"

namespace torch_sigmoid_ext::ops {
namespace {

at::Tensor dense(const at::Tensor& tensor) {
  return tensor.is_mkldnn() ? tensor.to_dense() : tensor;
}

at::Tensor sigmoid_mkldnn(const at::Tensor& self, bool fast) {
  return sigmoid().call(self.to_dense(), fast).to_mkldnn();
}

at::Tensor& sigmoid_mkldnn_(at::Tensor& self, bool fast) {
  return self.copy_(sigmoid_mkldnn(self, fast));
}

at::Tensor sigmoid_backward_mkldnn(const at::Tensor& grad_output, const at::Tensor& output) {
  return sigmoid_backward().call(dense(grad_output), dense(output)).to_mkldnn();
}

// The result's steps divide [0, 1] evenly, whatever those of the input are: as torch.sigmoid's, but for
// qint32, where its 2^-32 leaves no room above 0.5.
at::Tensor sigmoid_quantized(const at::Tensor& self, bool fast) {
  const at::ScalarType dtype = self.scalar_type();
  const bool is_known = dtype == at::kQUInt8 || dtype == at::kQInt8 || dtype == at::kQInt32;
  TORCH_CHECK_NOT_IMPLEMENTED(
      is_known && self.qscheme() == at::kPerTensorAffine,
      "torch_sigmoid_ext::sigmoid: expected a tensor quantized by one scale to quint8, qint8 or "
      "qint32, got ",
      dtype, " with the scheme ", c10::toString(self.qscheme()), "; pass input.dequantize()");
  const double scale = dtype == at::kQInt32 ? 0x1p-31 : 0x1p-8;
  const std::int64_t zero_point = dtype == at::kQInt8 ? -128 : 0;
  return at::quantize_per_tensor(sigmoid().call(self.dequantize(), fast), scale, zero_point, dtype);
}

}  // namespace

TORCH_LIBRARY_IMPL(torch_sigmoid_ext, MkldnnCPU, m) {
  m.impl("sigmoid", sigmoid_mkldnn);
  m.impl("sigmoid_", sigmoid_mkldnn_);
  m.impl("sigmoid_backward", sigmoid_backward_mkldnn);
}

TORCH_LIBRARY_IMPL(torch_sigmoid_ext, QuantizedCPU, m) { m.impl("sigmoid", sigmoid_quantized); }

}  // namespace torch_sigmoid_ext::ops

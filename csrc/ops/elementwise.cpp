#include "elementwise.h"

#include <c10/core/DefaultDtype.h>

#include <string>
#include <utility>

namespace torch_sigmoid_ext::ops {
namespace {

const char* remedy(at::ScalarType dtype) {
  if (at::isComplexType(dtype)) return "convert it first, with input.to(torch.complex64)";
  if (at::isQIntType(dtype)) return "pass input.dequantize()";
  return "convert it first, for example with input.float()";
}

// A dtype as Python spells it, less the "torch.": at::toString says Float and Long.
std::string name_of(at::ScalarType dtype) { return std::string(c10::getDtypeNames(dtype).first); }

}  // namespace

bool has_kernel(at::ScalarType dtype) {
  return dtype == at::kHalf || dtype == at::kBFloat16 || dtype == at::kFloat ||
         dtype == at::kDouble || dtype == at::kComplexFloat || dtype == at::kComplexDouble;
}

at::ScalarType result_dtype(const at::Tensor& self) {
  const at::ScalarType dtype = self.scalar_type();
  return at::isIntegralType(dtype, /*includeBool=*/true) ? c10::get_default_dtype_as_scalartype()
                                                         : dtype;
}

void check_dtype(const char* op, const char* argument, const at::Tensor& tensor) {
  const at::ScalarType dtype = tensor.scalar_type();
  TORCH_CHECK_NOT_IMPLEMENTED(
      has_kernel(dtype) || at::isIntegralType(dtype, /*includeBool=*/true),
      "torch_sigmoid_ext::", op, ": expected ", argument,
      " to be float16, bfloat16, float32, float64, complex64, complex128, bool or an integer type, "
      "got ",
      name_of(dtype), "; ", remedy(dtype));
}

void check_out(const char* op, const at::Tensor& self, const at::Tensor& out) {
  const at::ScalarType result = result_dtype(self);
  TORCH_CHECK(out.device() == self.device(), "torch_sigmoid_ext::", op,
              ": expected all tensors to be on the same device, got input on ", self.device(),
              " and out on ", out.device(), "; pass out=torch.empty_like(input)");
  TORCH_CHECK(at::canCast(result, out.scalar_type()), "torch_sigmoid_ext::", op,
              ": expected out to be ", name_of(result), ", got ", name_of(out.scalar_type()),
              ", which the result can't be cast to; pass out=torch.empty_like(input, dtype=torch.",
              name_of(result), ")");
}

void check_inplace(const at::Tensor& self) {
  const at::ScalarType dtype = self.scalar_type();
  const at::ScalarType result = result_dtype(self);
  TORCH_CHECK(at::canCast(result, dtype),
              "torch_sigmoid_ext::sigmoid_: expected a floating-point or complex input, got ",
              name_of(dtype), ": the result is ", name_of(result),
              " and can't be cast to the input's own type; use sigmoid(input), or "
              "input.float() first");
}

at::TensorIterator sigmoid_iterator(at::Tensor& out, const at::Tensor& self) {
  check_dtype("sigmoid", "input", self);
  if (out.is_same(self)) {
    check_inplace(self);
  } else if (out.defined()) {
    check_out("sigmoid", self, out);
  }
  return at::TensorIterator::unary_float_op(out, self);
}

at::TensorIterator backward_iterator(at::Tensor& grad_input, const at::Tensor& grad_output,
                                     const at::Tensor& output) {
  for (const auto& [argument, tensor] :
       {std::pair{"grad_output", &grad_output}, std::pair{"output", &output}}) {
    check_dtype("sigmoid_backward", argument, *tensor);
    TORCH_CHECK(!at::isIntegralType(tensor->scalar_type(), /*includeBool=*/true),
                "torch_sigmoid_ext::sigmoid_backward: expected ", argument,
                " to be floating-point or complex, got ", name_of(tensor->scalar_type()),
                "; pass the gradient and result of sigmoid");
  }
  return at::TensorIterator::binary_op(grad_input, grad_output, output);
}

kernels::ElementType element_type(at::ScalarType dtype) {
  switch (dtype) {
    case at::kHalf:
      return kernels::ElementType::kFloat16;
    case at::kBFloat16:
      return kernels::ElementType::kBFloat16;
    case at::kFloat:
      return kernels::ElementType::kFloat32;
    case at::kDouble:
      return kernels::ElementType::kFloat64;
    case at::kComplexFloat:
      return kernels::ElementType::kComplex64;
    case at::kComplexDouble:
      return kernels::ElementType::kComplex128;
    default:
      TORCH_INTERNAL_ASSERT(false, "no kernel for ", dtype);
  }
}

}  // namespace torch_sigmoid_ext::ops

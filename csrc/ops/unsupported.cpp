// Backends without a kernel: say what would work, instead of the dispatcher's list of all keys.
#include <torch/library.h>

namespace torch_sigmoid_ext::ops {
namespace {

void refuse(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto count = op.schema().arguments().size();
  for (const c10::IValue& argument : torch::jit::last(*stack, count)) {
    if (!argument.isTensor() || !argument.toTensor().defined()) continue;
    const at::Tensor& tensor = argument.toTensor();
    TORCH_CHECK_NOT_IMPLEMENTED(!tensor.is_quantized(), op.schema().name(),
                                ": expected a floating-point tensor, got a quantized one; pass "
                                "input.dequantize()");
    TORCH_CHECK_NOT_IMPLEMENTED(!tensor.is_nested(), op.schema().name(),
                                ": expected a NestedTensor of layout torch.jagged, got one of "
                                "layout torch.strided; pass torch.nested.as_nested_tensor("
                                "input.unbind(), layout=torch.jagged)");
    TORCH_CHECK_NOT_IMPLEMENTED(tensor.layout() == at::kStrided, op.schema().name(),
                                ": expected a dense tensor (layout torch.strided), got layout ",
                                tensor.layout(), "; pass input.to_dense()");
    TORCH_CHECK_NOT_IMPLEMENTED(tensor.is_cpu(), op.schema().name(),
                                ": this build has kernels for the CPU only, got a tensor on ",
                                tensor.device(), "; pass input.cpu()");
  }
  TORCH_CHECK_NOT_IMPLEMENTED(false, op.schema().name(), ": no kernel for these arguments");
}

constexpr auto kAll = {"sigmoid", "sigmoid_", "sigmoid.out", "sigmoid_backward"};

void refuse_each(torch::Library& m, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    m.impl(name, torch::CppFunction::makeFromBoxedFunction<&refuse>());
  }
}

}  // namespace

TORCH_LIBRARY_IMPL(torch_sigmoid_ext, SparseCPU, m) { refuse_each(m, kAll); }
TORCH_LIBRARY_IMPL(torch_sigmoid_ext, SparseCsrCPU, m) { refuse_each(m, kAll); }
TORCH_LIBRARY_IMPL(torch_sigmoid_ext, NestedTensorCPU, m) { refuse_each(m, kAll); }
TORCH_LIBRARY_IMPL(torch_sigmoid_ext, SparseCUDA, m) { refuse_each(m, kAll); }
TORCH_LIBRARY_IMPL(torch_sigmoid_ext, SparseCsrCUDA, m) { refuse_each(m, kAll); }
TORCH_LIBRARY_IMPL(torch_sigmoid_ext, NestedTensorCUDA, m) { refuse_each(m, kAll); }
TORCH_LIBRARY_IMPL(torch_sigmoid_ext, QuantizedCUDA, m) { refuse_each(m, kAll); }
#if !defined(TORCH_SIGMOID_EXT_WITH_CUDA)
TORCH_LIBRARY_IMPL(torch_sigmoid_ext, CUDA, m) { refuse_each(m, kAll); }
#endif

// What layouts.cpp leaves open.
TORCH_LIBRARY_IMPL(torch_sigmoid_ext, MkldnnCPU, m) { refuse_each(m, {"sigmoid.out"}); }
TORCH_LIBRARY_IMPL(torch_sigmoid_ext, QuantizedCPU, m) {
  refuse_each(m, {"sigmoid_", "sigmoid.out", "sigmoid_backward"});
}

}  // namespace torch_sigmoid_ext::ops

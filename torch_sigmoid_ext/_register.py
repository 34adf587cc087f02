"""What PyTorch must be told about the operators: vmap, TorchScript, torch.compile, DTensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import functional
from ._layouts import register_masked_tensors
from ._sharding import register_sharding
from ._when_imported import when_imported


def _register_vmap() -> None:
    """Elementwise: the batched tensor is the tensor, wherever its batch dimension is."""

    def unary(operator: Callable[..., Tensor]) -> Callable[..., Any]:
        def rule(info: Any, in_dims: Any, input: Tensor, *, fast: bool = False) -> Any:
            return operator(input, fast=fast), in_dims[0]

        return rule

    def backward(info: Any, in_dims: Any, grad_output: Tensor, output: Tensor) -> Any:
        # Logical dimensions align from the right, so each batch dimension goes in front and a
        # missing rank is filled in behind it.
        tensors = [
            tensor.unsqueeze(0) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip((grad_output, output), in_dims, strict=True)
        ]
        rank = max(tensor.dim() for tensor in tensors)
        grad_output, output = (
            tensor.reshape(tensor.shape[0], *[1] * (rank - tensor.dim()), *tensor.shape[1:])
            for tensor in tensors
        )
        return torch.ops.torch_sigmoid_ext.sigmoid_backward(grad_output, output), 0

    operators = torch.ops.torch_sigmoid_ext
    torch.library.register_vmap("torch_sigmoid_ext::sigmoid", unary(operators.sigmoid))
    torch.library.register_vmap("torch_sigmoid_ext::sigmoid_", unary(operators.sigmoid_))
    torch.library.register_vmap("torch_sigmoid_ext::sigmoid_backward", backward)


def _register_torchscript() -> None:
    """torch.jit.script takes the builtins for the operators of the same name."""
    from torch.jit._builtins import _register_builtin

    for builtin in functional.python_functions:
        _register_builtin(builtin, f"torch_sigmoid_ext::{builtin.__name__}")


def _substitute_in_graphs() -> None:
    """torch.compile sees the Python functions instead of the builtins, which are opaque to it."""
    for builtin, function in functional.python_functions.items():
        torch.compiler.substitute_in_graph(builtin)(function)


def register() -> None:
    """Registers everything; the package's __init__ calls it once."""
    _register_vmap()
    _register_torchscript()
    register_masked_tensors()
    when_imported("torch._dynamo", _substitute_in_graphs)
    when_imported("torch.distributed.tensor", register_sharding)

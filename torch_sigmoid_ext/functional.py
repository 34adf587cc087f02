"""The functions: complete in Python, with a builtin in front of each for speed.

The Python bodies are what runs whenever something looks into the call: torch.compile, torch.export,
TorchScript's tracer, subclasses, modes. On a plain tensor the builtin goes past them (csrc/python).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import has_torch_function_unary

from . import _library  # noqa: F401  (the operators below exist once it is loaded)
from ._C import fast_entry

_F = TypeVar("_F", bound=Callable[..., Any])

# The Python function behind each builtin.
python_functions: dict[Callable[..., Any], Callable[..., Any]] = {}


def _with_fast_entry(function: _F) -> _F:
    builtin = fast_entry(function)
    python_functions[builtin] = function
    return builtin


def _check_tensor(name: str, argument: str, value: object) -> None:
    if isinstance(value, type) or not (
        isinstance(value, Tensor) or has_torch_function_unary(value)
    ):
        raise TypeError(
            f"{name}(): expected {argument} to be a Tensor, got {type(value).__name__}; "
            f"pass torch.tensor({value!r:.40})"
        )


def _check_fast(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name}(): expected fast to be a bool, got {type(value).__name__}")


@_with_fast_entry
def sigmoid(input: Tensor, *, fast: bool = False, out: Tensor | None = None) -> Tensor:
    """Computes ``1 / (1 + e^-input)`` elementwise, correctly rounded.

    Args:
        input: Tensor of any shape, strides and memory format; float16, bfloat16, float32, float64,
            complex64, complex128, or bool or an integer type, which promote to the default float
            type.
        fast: allows a quicker kernel for float32, within 1.98 ULP and with the whole tail.
        out: the tensor to write to; resized if its shape is not input's. Not differentiable.

    Returns:
        Tensor of input's shape, layout and (floating or complex) dtype; real values in [0, 1].

    Raises:
        TypeError: input is not a Tensor.
        NotImplementedError: no kernel for input's dtype, layout or device.
        RuntimeError: ``out`` is on another device, of a dtype that the result does not cast to,
            overlaps itself or input in part, or requires grad.

    Gradient: ``grad * (y * (1 - y)).conj()`` with ``y`` the result; any order, reverse and forward
    mode.

    Accuracy: float32, float16 and bfloat16 are the float nearest the true value for every input
    (``make prove``, tests/test_accuracy.py); float64 is within 0.51 ULP. Subnormal results are
    kept. NaN gives NaN, -inf 0, inf 1. A complex result is within ``4 * 2**-52 * abs(y)`` of the
    true value, and half an ULP of each part in complex64 (tests/test_complex.py); no input
    overflows on the way.

    Example:
        >>> import torch
        >>> from torch_sigmoid_ext import sigmoid
        >>> sigmoid(torch.tensor([1., 2., 3., 4.]))
        tensor([0.7311, 0.8808, 0.9526, 0.9820])
        >>> sigmoid(torch.tensor(-100.)), torch.sigmoid(torch.tensor(-100.))
        (tensor(3.7835e-44), tensor(0.))
    """
    _check_tensor("sigmoid", "input", input)
    _check_fast("sigmoid", fast)
    if out is None:
        return torch.ops.torch_sigmoid_ext.sigmoid(input, fast=fast)  # type: ignore[no-any-return]
    _check_tensor("sigmoid", "out", out)
    return torch.ops.torch_sigmoid_ext.sigmoid(  # type: ignore[no-any-return]
        input, fast=fast, out=out
    )


@_with_fast_entry
def sigmoid_(input: Tensor, *, fast: bool = False) -> Tensor:
    """Computes :func:`sigmoid` in place: input is overwritten and returned.

    Args:
        input: Tensor as for :func:`sigmoid`, floating-point or complex, not overlapping
            itself.
        fast: as for :func:`sigmoid`.

    Returns:
        input itself.

    Raises:
        RuntimeError: input is of an integer type, overlaps itself, or is a leaf that requires grad.
        TypeError, NotImplementedError: as for :func:`sigmoid`.

    Example:
        >>> import torch
        >>> from torch_sigmoid_ext import sigmoid_
        >>> x = torch.zeros(2)
        >>> sigmoid_(x) is x, x
        (True, tensor([0.5000, 0.5000]))
    """
    _check_tensor("sigmoid_", "input", input)
    _check_fast("sigmoid_", fast)
    return torch.ops.torch_sigmoid_ext.sigmoid_(input, fast=fast)  # type: ignore[no-any-return]

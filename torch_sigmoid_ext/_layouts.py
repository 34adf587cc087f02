"""Tensors that torch keeps in Python and decides over by operator: masked tensors.

Jagged nested tensors need no word from here: they take every operator with the pointwise tag.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch


def register_masked_tensors() -> None:
    """Enters the operators in the table of torch.masked, without importing what is not yet.

    A masked result has the mask of its input. torch.sigmoid has no gradient here, ours does.
    """
    try:
        from torch.masked import maskedtensor
    except ImportError:  # a torch without masked tensors
        return
    core: Any = maskedtensor.core
    unary: Any = maskedtensor.unary

    def compute(operator: Callable[..., Any], inplace: bool, *args: Any, **options: Any) -> Any:
        fast = options.pop("fast", False)  # torch's own rule for unary operators has no options
        return unary._unary_helper(partial(operator, fast=fast), args, options, inplace=inplace)

    def backward(grad_output: Any, output: Any) -> Any:
        masked = [value for value in (grad_output, output) if core.is_masked_tensor(value)]
        if len(masked) == 2 and not core._masks_match(grad_output, output):
            raise ValueError(
                "torch_sigmoid_ext::sigmoid_backward: expected grad_output and output to have the "
                "same mask; build the gradient with masked_tensor(gradient, output.get_mask())"
            )
        values = (core._get_data(grad_output), core._get_data(output))
        return core.MaskedTensor(operators.sigmoid_backward(*values), masked[0].get_mask())

    operators = torch.ops.torch_sigmoid_ext
    rules = {
        operators.sigmoid: partial(compute, operators.sigmoid, False),
        operators.sigmoid_: partial(compute, operators.sigmoid, True),
        operators.sigmoid_backward: backward,
    }
    # The table is made from these two when the first masked tensor meets an operator.
    unary.NATIVE_UNARY_MAP.update(rules)
    unary.NATIVE_UNARY_FNS.extend(rules)
    table = sys.modules.get("torch.masked.maskedtensor._ops_refs")
    if table is not None:
        table._MASKEDTENSOR_DISPATCH_TABLE.update(rules)

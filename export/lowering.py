"""What the sigmoid becomes in an ONNX file: the user's choice of speed, reach and exactness.

- ``native``  one Sigmoid node. Fastest and most fusible; what it computes is the runtime's affair,
              and ONNX Runtime's own is 0 below x = -16.
- ``stable``  e^-|x|, in the input's own dtype: within 2 ULP in ONNX Runtime and 3.2 in ONNX's
              reference, from the smallest subnormal to 1.
- ``exact``   float64 inside: the correctly rounded float32 or float16, bit for bit the operator's.
              There is nothing wider for a float64 input, which gets ``stable``.

Each is a plain function that torch.onnx.export calls with the ONNX value of the input, whose dtype
is known by then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnxscript
import torch
from onnxscript import ir

Value = Any  # an onnxscript value: what its operators take and give has no public type
op: Any = onnxscript.opset18  # torch.onnx.export converts to the opset asked for


def native(input: Value, *, fast: bool = False) -> Value:
    """Sigmoid(x)."""
    input, _ = _promoted(input)
    return op.Sigmoid(input)


def stable(input: Value, *, fast: bool = False) -> Value:
    """σ = Where(x < 0, e, 1) / (1 + e) with e = e^-|x|, which neither overflows nor cancels.

    For NaN e is NaN already; nothing exceeds 1, since the numerator never exceeds the denominator.
    """
    input, dtype = _promoted(input)
    zero, one = _constant(0.0, dtype), _constant(1.0, dtype)
    e = op.Exp(op.Neg(op.Abs(input)))
    return op.Div(op.Where(op.Less(input, zero), e, one), op.Add(e, one))


# For `exact`: significand bits of the result, and the x² below which it is taken as 1/2 + r.
_NEAR_HALF = {
    ir.DataType.FLOAT: (24, 2.0**-18),
    ir.DataType.FLOAT16: (11, 2.0**-12),
    ir.DataType.BFLOAT16: (8, 2.0**-12),
}


def exact(input: Value, *, fast: bool = False) -> Value:
    """σ = 1 / (1 + e^-x) in float64, and near 1/2 rounded before it is added to 1/2.

    float64's 29 spare bits decide every float32 input but 66, all with |x| < 2^-9, where σ comes
    within 2^-54 of the middle between two floats (for x = -3·2^-24 within 2^-72). There
    σ = 1/2 + r with r = x/4 - x³/48, and r is rounded to the result's spacing on its own, where its
    own 53 bits count: to 2^-25 below 1/2, to 2^-24 above. The narrower types take the same way,
    since some runtimes cast float64 to float16 by way of float32. float64 has no wider type to go
    to and takes the stable form.
    """
    input, dtype = _promoted(input)
    if dtype == ir.DataType.DOUBLE:
        return stable(input)
    significand, near = _NEAR_HALF[dtype]

    def double(value: float) -> Value:
        return _constant(value, ir.DataType.DOUBLE)

    x = op.Cast(input, to=ir.DataType.DOUBLE)
    chain = op.Reciprocal(op.Add(op.Exp(op.Neg(x)), double(1)))
    square = op.Mul(x, x)
    r = op.Mul(x, op.Sub(double(1 / 4), op.Mul(square, double(1 / 48))))
    below, above = double(2.0 ** (significand + 1)), double(2.0**significand)
    per_unit = op.Where(op.Less(x, double(0)), below, above)
    near_half = op.Add(op.Div(op.Round(op.Mul(r, per_unit)), per_unit), double(1 / 2))
    return op.Cast(op.Where(op.Less(square, double(near)), near_half, chain), to=dtype)


_LOWERINGS = {"exact": exact, "stable": stable, "native": native}


def translation_table(lowering: str) -> dict[Any, Callable[..., Value]]:
    """The operators of torch_sigmoid_ext for torch.onnx.export's ``custom_translation_table``.

    The in-place and out= forms need no entry: torch.export turns them into this one.
    """
    return {torch.ops.torch_sigmoid_ext.sigmoid.default: _LOWERINGS[lowering]}


def _promoted(input: Value) -> tuple[Value, ir.DataType]:
    """The input and its dtype; integers and bool become float32, as torch.sigmoid has it."""
    if input.dtype.is_floating_point():
        return input, input.dtype
    return op.Cast(input, to=ir.DataType.FLOAT), ir.DataType.FLOAT


def _constant(value: float, dtype: ir.DataType) -> Value:
    return op.Constant(value=ir.tensor(value, dtype=dtype))

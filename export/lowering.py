"""What the sigmoid becomes in an ONNX file: the user's choice of speed, reach and exactness.

- ``native``    one Sigmoid node. Fastest and most fusible; what it computes is the runtime's
                affair, and ONNX Runtime's own is 0 below x = -16.
- ``stable``    e^-|x|, in the input's own dtype: within 2 ULP in ONNX Runtime and 3.2 in ONNX's
                reference, from the smallest subnormal to 1.
- ``exact``     float64 inside: the correctly rounded float32, float16 or bfloat16, bit for bit the
                operator's. There is nothing wider for a float64 input, which gets ``stable``.
- ``function``  one node of our own domain, whose body in the file is the exact chain: a runtime
                that has a kernel of that name may take it instead.

Each builds its nodes by ``op``, which torch.onnx.export's opset and a function's body both are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import onnxscript
import torch
from onnxscript import ir

Value = Any  # an onnxscript value: what its operators take and give has no public type
Op = Any  # attributes named as ONNX's operators, functions of values and attributes

OPSET = 18  # of the operators below; torch.onnx.export converts to the opset asked for
DOMAIN = "torch_sigmoid_ext"  # of the functions, at version 1


def native(op: Op, input: Value, dtype: ir.DataType) -> Value:
    """Sigmoid(x)."""
    return op.Sigmoid(input)


def stable(op: Op, input: Value, dtype: ir.DataType) -> Value:
    """σ = Where(x < 0, e, 1) / (1 + e) with e = e^-|x|, which neither overflows nor cancels.

    For NaN e is NaN already; nothing exceeds 1, since the numerator never exceeds the denominator.
    """
    zero, one = _constant(op, 0.0, dtype), _constant(op, 1.0, dtype)
    e = op.Exp(op.Neg(op.Abs(input)))
    return op.Div(op.Where(op.Less(input, zero), e, one), op.Add(e, one))


# For `exact`: significand bits of the result, and the x² below which it is taken as 1/2 + r.
_NEAR_HALF = {
    ir.DataType.FLOAT: (24, 2.0**-18),
    ir.DataType.FLOAT16: (11, 2.0**-12),
    ir.DataType.BFLOAT16: (8, 2.0**-12),
}


def exact(op: Op, input: Value, dtype: ir.DataType) -> Value:
    """σ = 1 / (1 + e^-x) in float64, and near 1/2 rounded before it is added to 1/2.

    float64's 29 spare bits decide every float32 input but 66, all with |x| < 2^-9, where σ comes
    within 2^-54 of the middle between two floats (for x = -3·2^-24 within 2^-72). There
    σ = 1/2 + r with r = x/4 - x³/48, and r is rounded to the result's spacing on its own, where its
    own 53 bits count: to 2^-25 below 1/2, to 2^-24 above. The narrower types take the same way,
    since some runtimes cast float64 to float16 by way of float32. float64 has no wider type to go
    to and takes the stable form.
    """
    if dtype == ir.DataType.DOUBLE:
        return stable(op, input, dtype)
    significand, near = _NEAR_HALF[dtype]
    x = op.Cast(input, to=ir.DataType.DOUBLE)
    square = op.Mul(x, x)
    r = op.Mul(x, op.Sub(_double(op, 1 / 4), op.Mul(square, _double(op, 1 / 48))))
    below, above = _double(op, 2.0 ** (significand + 1)), _double(op, 2.0**significand)
    per_unit = op.Where(op.Less(x, _double(op, 0)), below, above)
    near_half = op.Add(op.Div(op.Round(op.Mul(r, per_unit)), per_unit), _double(op, 1 / 2))
    nearest = op.Where(op.Less(square, _double(op, near)), near_half, _wide(op, x))
    return op.Cast(nearest, to=dtype)


def _wide(op: Op, x: Value) -> Value:
    """1 / (1 + e^-x) of a float64 that was a narrower type: its overflow is the 0 that is due."""
    return op.Reciprocal(op.Add(op.Exp(op.Neg(x)), _double(op, 1)))


def function(op: Op, input: Value, dtype: ir.DataType) -> Value:
    """A call of `functions_of`'s function, which stands in the file or in the runtime."""
    return _call(dtype)(input)


def _gated(lowering: str, op: Op, value: Value, gate: Value, dtype: ir.DataType) -> Value:
    """value·σ(gate), by the exact lowering in float64 and rounded once."""
    if lowering != "exact" or dtype == ir.DataType.DOUBLE:
        return op.Mul(value, _LOWERINGS[lowering](op, gate, dtype))
    wide, sigmoid = op.Cast(value, to=ir.DataType.DOUBLE), op.Cast(gate, to=ir.DataType.DOUBLE)
    return op.Cast(op.Mul(wide, _wide(op, sigmoid)), to=dtype)


_LOWERINGS = {"exact": exact, "stable": stable, "native": native, "function": function}


def translation_table(lowering: str, convert: bool = False) -> dict[Any, Callable[..., Value]]:
    """The operators of torch_sigmoid_ext for torch.onnx.export's ``custom_translation_table``.

    With ``convert`` also torch's own sigmoid, SiLU and GLU. The in-place and out= forms need no
    entry: torch.export turns them into these.
    """
    op = getattr(onnxscript, f"opset{OPSET}")

    def sigmoid(input: Value, *, fast: bool = False) -> Value:
        input, dtype = _promoted(op, input)
        return _LOWERINGS[lowering](op, input, dtype)

    def torch_sigmoid(input: Value) -> Value:
        return sigmoid(input)

    def silu(input: Value) -> Value:
        return _gated(lowering, op, input, input, input.dtype)

    def glu(input: Value, dim: int = -1) -> Value:
        value, gate = op.Split(input, axis=dim, num_outputs=2)
        return _gated(lowering, op, value, gate, input.dtype)

    table: dict[Any, Callable[..., Value]] = {torch.ops.torch_sigmoid_ext.sigmoid.default: sigmoid}
    if convert:
        aten = torch.ops.aten
        table |= {
            aten.sigmoid.default: torch_sigmoid,
            aten.silu.default: silu,
            aten.glu.default: glu,
        }
    return table


def add_functions(model: ir.Model) -> list[str]:
    """Give the model the body of every function of ours that it calls; returns their names.

    To be done last: an optimizer or a converter of opsets would write the bodies in place of the
    calls again.
    """
    called = {node.op_type for node in model.graph.all_nodes() if node.domain == DOMAIN}
    for dtype in _FUNCTION_NAMES:
        if _FUNCTION_NAMES[dtype] in called:
            body = _function(dtype, model.opset_imports[""])
            model.functions[body.identifier()] = body
    if called:
        model.opset_imports[DOMAIN] = 1
    return sorted(called)


# No name is ONNX's own, since several runtimes ignore the domain; and each type has a name of its
# own, since a body is for one type and ONNX's reference evaluator mixes up overloads.
_FUNCTION_NAMES = {
    ir.DataType.FLOAT: "ExactSigmoidFloat32",
    ir.DataType.FLOAT16: "ExactSigmoidFloat16",
    ir.DataType.BFLOAT16: "ExactSigmoidBFloat16",
    ir.DataType.DOUBLE: "StableSigmoidFloat64",
}
_TYPES = {
    ir.DataType.FLOAT: "tensor(float)",
    ir.DataType.FLOAT16: "tensor(float16)",
    ir.DataType.BFLOAT16: "tensor(bfloat16)",
    ir.DataType.DOUBLE: "tensor(double)",
}


def _call(dtype: ir.DataType) -> Any:
    """The function of this dtype as an operator of onnxscript's."""
    name = _FUNCTION_NAMES[dtype]
    schema = onnx.defs.OpSchema(
        name,
        DOMAIN,
        1,
        inputs=[onnx.defs.OpSchema.FormalParameter("x", _TYPES[dtype])],
        outputs=[onnx.defs.OpSchema.FormalParameter("y", _TYPES[dtype])],
    )
    return onnxscript.values.Op(onnxscript.values.Opset(DOMAIN, 1), name, schema)


def _function(dtype: ir.DataType, opset: int) -> ir.Function:
    """The exact chain as a function of ONNX's, in operators that no opset from 13 on changes."""
    body, x = _Body(), ir.Value(name="x")
    y = exact(body, x, dtype)
    y.name = "y"
    graph = ir.Graph([x], [y], nodes=body.tape.nodes, opset_imports={"": opset})
    named = ir.Function(DOMAIN, _FUNCTION_NAMES[dtype], graph=graph, attributes=[])
    named.doc_string = "1 / (1 + e^-x): the float nearest to it, or within 3 ULP for float64"
    return named


class _Body:
    """Operators that write their nodes down."""

    def __init__(self) -> None:
        self.tape = ir.tape.Tape()

    def __getattr__(self, op_type: str) -> Callable[..., Value]:
        return lambda *inputs, **attributes: self.tape.op(op_type, inputs, attributes)


def _promoted(op: Op, input: Value) -> tuple[Value, ir.DataType]:
    """The input and its dtype; integers and bool become float32, as torch.sigmoid has it."""
    if input.dtype.is_floating_point():
        return input, input.dtype
    return op.Cast(input, to=ir.DataType.FLOAT), ir.DataType.FLOAT


def _double(op: Op, value: float) -> Value:
    return _constant(op, value, ir.DataType.DOUBLE)


def _constant(op: Op, value: float, dtype: ir.DataType) -> Value:
    return op.Constant(value=ir.tensor(value, dtype=dtype))

"""What must hold of an ONNX file, looked up in it: opset, dimensions, weights, types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import torch
from onnxscript import ir

from ..errors import UsageError
from . import Program
from .exported import came_out_static

OLDEST = 13  # below, Round, Where and Clip had other types, and no runtime in use needs it


def check_opset(opset: int | None) -> None:
    """UsageError for an opset that no file can have, before any slow work is done."""
    newest = onnx.defs.onnx_opset_version()
    if opset is not None and not OLDEST <= opset <= newest:
        raise UsageError(
            f"expected an opset from {OLDEST} to {newest} (the newest of onnx {onnx.__version__}), "
            f"got opset {opset}; leave --opset away or ask for one that your runtime knows"
        )


# Between opsets 13 and 18 these took in more types and kept their meaning, word for word.
_WIDENED = frozenset(
    "Add CumSum Div GreaterOrEqual Identity If LeakyRelu LessOrEqual Loop Mul PRelu Pow Relu Sub "
    "Where".split()
)
# These got an attribute by whose absence, or this value, they do what they did before.
_NEUTRAL = {
    "BatchNormalization": ("training_mode", 0),
    "GRU": ("layout", 0),
    "LSTM": ("layout", 0),
    "Reshape": ("allowzero", 0),
    "Shape": ("start", 0),
}


def with_opset(model: ir.Model, opset: int | None) -> None:
    """Take the model down to an opset below 18, where torch gave up: it leaves 18, and is silent.

    onnx's converter has no way down for many operators that only took in more types since. Where
    every operator of the graph is such a one, or the same in both, the number is all that changes.
    """
    there = model.opset_imports[""]
    if opset is None or opset == there:
        return
    nodes = list(model.graph.all_nodes())
    changed = sorted({node.op_type for node in nodes if _changed(node, opset, there)})
    if changed or opset > there:
        because = f": {', '.join(changed)} changed since" if changed else ""
        raise UsageError(
            f"expected an ONNX file of opset {opset}, got opset {there} from torch "
            f"{torch.__version__}, which cannot write the one asked for{because}; leave --opset "
            f"away or ask for one from 18 to {onnx.defs.onnx_opset_version()} that your runtime "
            "knows too"
        )
    for node in nodes:
        if node.domain == "":
            node.attributes.pop(_NEUTRAL.get(node.op_type, ("",))[0], None)
            node.version = opset
    model.opset_imports[""] = opset


def _changed(node: ir.Node, opset: int, there: int) -> bool:
    """Whether the node might mean something else, or nothing, in the older opset."""
    if node.domain != "" or node.op_type in _WIDENED:
        return False
    try:
        old, new = (onnx.defs.get_schema(node.op_type, version) for version in (opset, there))
    except onnx.defs.SchemaError:
        return True
    if old.since_version == new.since_version:
        return False
    more = {(name, node.attributes[name].value) for name in node.attributes.keys() - old.attributes}
    return node.op_type not in _NEUTRAL or not more <= {_NEUTRAL[node.op_type]}


def external_name(path: Path) -> str:
    """The file of the weights, where they are not in the model's own."""
    return f"{path.name}.data"


def check_file(program: Program, path: Path, beside: str | None) -> int:
    """The opset in the file, once the file is valid and is what was asked for."""
    onnx.checker.check_model(path, full_check=True)
    model = onnx.load(path, load_external_data=False)
    opset: int = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if program.opset not in (None, opset):
        raise UsageError(f"expected an ONNX file of opset {program.opset}, got opset {opset}")
    places = {
        entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    if places != ({beside} if beside and model.graph.initializer else set()):
        raise UsageError(f"expected the weights in {beside or path.name}, got {sorted(places)}")
    shapes = {i.name: i.type.tensor_type.shape.dim for i in model.graph.input}
    fixed = [
        f"{dim!r} of {spec} is {there.dim_value}"
        for spec in program.inputs
        for dim, there in zip(spec.dims, shapes[spec.name], strict=True)
        if isinstance(dim, str) and not there.dim_param
    ]
    if fixed:
        raise UsageError(came_out_static("the ONNX file", "; ".join(fixed)))
    return opset


# The operators that ONNX Runtime 1.31's CPU provider runs in bfloat16: those that move data.
_BFLOAT16 = frozenset(
    "Cast CastLike Concat Constant ConstantOfShape Flatten Gather Identity If IsNaN "
    "LayerNormalization Loop Reshape Scan Shape Sign Slice Split Squeeze Transpose "
    "Unsqueeze".split()
)


def without_bfloat16(model: Any) -> list[str]:
    """The operators of the model that take or give bfloat16, and that ONNX Runtime has not."""
    return sorted(
        {
            node.op_type
            for node in model.graph.all_nodes()
            if node.domain == "" and node.op_type not in _BFLOAT16
            for value in (*node.inputs, *node.outputs)
            if value is not None and value.dtype == ir.DataType.BFLOAT16
        }
    )

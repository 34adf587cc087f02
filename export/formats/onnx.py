"""ONNX: the model through torch.export, with the sigmoid lowered as the user chose."""

from __future__ import annotations

import importlib
import re
from pathlib import Path, PurePath
from typing import Any

import torch

import torch_sigmoid_ext

from ..errors import UsageError
from . import SUFFIXES, Program
from .exported import (
    DECIDES_BY_VALUE,
    decides_by_value,
    dynamic_shapes,
    quiet,
    root_cause,
    shortened,
)

# Above it the weights go to a file beside: protobuf ends at 2 GiB, and some readers before.
ONE_FILE = 1_500_000_000  # bytes of weights


class Onnx:
    """torch.onnx.export, then a look into the file: it promises less than it is asked for."""

    name = "onnx"
    suffix = SUFFIXES[name]
    install = "pip install onnx onnxscript"
    default = True

    def missing(self) -> str:
        for package in ("onnx", "onnxscript"):
            try:
                importlib.import_module(package)
            except ImportError:
                return package
        return ""

    def export(self, program: Program, path: Path) -> dict[str, Any]:
        from .onnx_file import check_file, check_opset, external_name, with_opset, without_bfloat16

        check_opset(program.opset)
        with quiet(), torch.no_grad():
            try:
                exported = _export(program)
            except Exception as error:
                raise UsageError(_explain(error, program)) from error
        model = exported.model
        with_opset(model, program.opset)
        functions = _finish(program, exported)
        beside = external_name(path) if program.external_data or _size(model) > ONE_FILE else None
        _save(model, path, beside)
        opset = check_file(program, path, beside)
        facts: dict[str, Any] = {"requires": f"an ONNX runtime for opset {opset}", "opset": opset}
        if functions:
            facts["functions"] = functions
            facts["requires"] += f" and for the model-local functions {', '.join(functions)}"
        if beside:
            facts["external_data"] = beside
            facts["requires"] += f", with {beside} beside the file"
        if operators := without_bfloat16(model):
            facts["cannot_run"] = {
                "onnxruntime": "ONNX Runtime's CPU provider has no bfloat16 kernel for "
                f"{', '.join(operators)}; export the model in float32 or float16"
            }
        return facts


def _export(program: Program) -> torch.onnx.ONNXProgram:
    from ..lowering import translation_table  # needs onnxscript

    exported = torch.onnx.export(
        program.module,
        program.example(),
        dynamo=True,
        input_names=[spec.name for spec in program.inputs],
        output_names=list(program.outputs),
        opset_version=program.opset,
        dynamic_shapes=dynamic_shapes(program),
        custom_translation_table={
            **translation_table(program.lowering, program.convert),
            **program.translations,
        },
        external_data=False,  # the default leaves a .data file beside six weights
        verbose=False,
    )
    assert exported is not None  # it is only with dynamo=False
    return exported


def _finish(program: Program, exported: torch.onnx.ONNXProgram) -> list[str]:
    """Put in what tells of us, take out what tells of this machine; return the functions added."""
    from ..lowering import add_functions

    graph = exported.model.graph
    for node in graph.all_nodes():
        node.metadata_props.clear()  # Python's stack, with paths
    graph.metadata_props.clear()
    exported.model.metadata_props.update(metadata(program))
    return add_functions(exported.model)


def metadata(program: Program) -> dict[str, str]:
    """What the file says of itself; of a path in MODEL the last part alone."""
    place, colon, factory = program.source.rpartition(":")
    told = {
        "version": torch_sigmoid_ext.__version__,
        "lowering": program.lowering,
        "source": PurePath(place).name + colon + factory,
        "gate": program.gate,
    }
    return {f"torch_sigmoid_ext.{key}": value for key, value in told.items() if value}


def _size(model: Any) -> int:
    """Bytes of weights."""
    tensors = [value.const_value for value in model.graph.initializers.values()]
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def _save(model: Any, path: Path, beside: str | None) -> None:
    from onnxscript import ir

    if beside is None:
        ir.save(model, path)
    else:
        ir.save(model, path, external_data=beside, size_threshold_bytes=0)


def _explain(error: BaseException, program: Program) -> str:
    """The one sentence in torch.onnx's pages that the user can act on."""
    root, causes = root_cause(error)
    missing = re.search(
        r"No ONNX function found for <OpOverload\(op='(.+?)', overload='(\w+)'",
        "\n".join(map(str, causes)),
    )
    if missing:
        name = f"torch.ops.{missing[1]}.{missing[2]}"
        return (
            f"the operator {name} has no ONNX lowering. To add one, define in the model's file "
            f"onnx_translation_table = {{{name}: function}}, where function builds it from "
            "onnxscript operators, taking the operator's arguments"
        )
    if decides_by_value(causes):
        return DECIDES_BY_VALUE
    inputs = ", ".join(map(str, program.inputs))
    return f"torch.onnx.export cannot convert the model with inputs {inputs}: {shortened(root)}"

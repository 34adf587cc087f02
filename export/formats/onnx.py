"""ONNX: the model through torch.export, with the sigmoid lowered as the user chose."""

from __future__ import annotations

import importlib
import inspect
import logging
import re
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch

from ..errors import UsageError
from . import Program


class Onnx:
    """torch.onnx.export, then a look into the file: it promises less than it is asked for."""

    name = "onnx"
    suffix = ".onnx"
    install = "pip install onnx onnxscript"

    def missing(self) -> str:
        for package in ("onnx", "onnxscript"):
            try:
                importlib.import_module(package)
            except ImportError:
                return package
        return ""

    def export(self, program: Program, path: Path) -> dict[str, Any]:
        import onnx

        from ..lowering import translation_table  # needs onnxscript

        if program.opset is not None and program.opset > onnx.defs.onnx_opset_version():
            raise UsageError(
                f"onnx {onnx.__version__} does not know opset {program.opset}; {_opset_remedy()}"
            )

        with _quiet(), torch.no_grad():
            try:
                exported = torch.onnx.export(
                    program.module,
                    program.example(),
                    dynamo=True,
                    input_names=[spec.name for spec in program.inputs],
                    output_names=list(program.outputs),
                    opset_version=program.opset,
                    dynamic_shapes=_dynamic_shapes(program),
                    custom_translation_table={
                        **translation_table(program.lowering),
                        **program.translations,
                    },
                    external_data=False,  # the default leaves a .data file beside six weights
                    verbose=False,
                )
                assert exported is not None  # it is only with dynamo=False
                _forget_sources(exported)
                exported.save(path, external_data=False)
            except Exception as error:
                raise UsageError(_explain(error, program)) from error
        opset = _check_file(program, path)
        return {"requires": f"an ONNX runtime for opset {opset}", "opset": opset}


def _dynamic_shapes(program: Program) -> tuple[Any, ...]:
    """Names for the dynamic axes, a dict an argument; the arguments of *args in a tuple."""
    shapes = tuple(
        {axis: dim for axis, dim in enumerate(spec.dims) if isinstance(dim, str)}
        for spec in program.inputs
    )
    kinds = [p.kind for p in inspect.signature(program.module.forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        named = kinds.index(inspect.Parameter.VAR_POSITIONAL)
        return (*shapes[:named], shapes[named:])
    return shapes


def _forget_sources(exported: torch.onnx.ONNXProgram) -> None:
    """Without the notes on each node: Python stack traces with the paths of this machine."""
    graph = exported.model.graph
    for node in graph.all_nodes():
        node.metadata_props.clear()
    graph.metadata_props.clear()


def _check_file(program: Program, path: Path) -> int:
    """The opset in the file, once the file is valid and is what was asked for."""
    import onnx

    onnx.checker.check_model(path, full_check=True)
    graph = onnx.load(path)
    opset: int = next(o.version for o in graph.opset_import if o.domain in ("", "ai.onnx"))
    if program.opset not in (None, opset):
        raise UsageError(
            f"expected an ONNX file of opset {program.opset}, got opset {opset} from torch "
            f"{torch.__version__}, which cannot write the one asked for; {_opset_remedy()}"
        )
    shapes = {i.name: i.type.tensor_type.shape.dim for i in graph.graph.input}
    static = [
        f"{dim!r} of {spec} is {there.dim_value}"
        for spec in program.inputs
        for dim, there in zip(spec.dims, shapes[spec.name], strict=True)
        if isinstance(dim, str) and not there.dim_param
    ]
    if static:
        raise UsageError(
            f"a dynamic dimension came out static in the ONNX file: {'; '.join(static)}. The model "
            "computes with that size as a fixed number: change the model, or declare the dimension "
            "as that number"
        )
    return opset


def _opset_remedy() -> str:
    import onnx

    newest = onnx.defs.onnx_opset_version()
    return f"leave --opset away or ask for one from 18 to {newest} that your runtime knows too"


def _explain(error: BaseException, program: Program) -> str:
    """The one sentence in torch.onnx's pages that the user can act on."""
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    text = "\n".join(map(str, causes))
    missing = re.search(
        r"No ONNX function found for <OpOverload\(op='(.+?)', overload='(\w+)'", text
    )
    if missing:
        name = f"torch.ops.{missing[1]}.{missing[2]}"
        return (
            f"the operator {name} has no ONNX lowering. To add one, define in the model's file "
            f"onnx_translation_table = {{{name}: function}}, where function builds it from "
            "onnxscript operators, taking the operator's arguments"
        )
    if "GuardOnDataDependentSymNode" in {type(cause).__name__ for cause in causes}:
        return (
            "the model decides by the value of a tensor (if, while, bool() or item()), which is "
            "no graph; choose with torch.where or torch.cond"
        )
    inputs = ", ".join(map(str, program.inputs))
    reason = " ".join(str(causes[-1]).split())
    return (
        f"torch.onnx.export cannot convert the model with inputs {inputs}: "
        f"{type(causes[-1]).__name__}: {textwrap.shorten(reason, 400)}"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' remarks on torchvision, deprecations and what the check will find."""
    names = ("torch.onnx", "torch.export", "torch.fx", "torch._dynamo", "onnxscript")
    logs = [logging.getLogger(name) for name in names]
    levels = [log.level for log in logs]
    try:
        for log in logs:
            log.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)

"""torch.export, which the formats onnx, pt2 and aoti all go through."""

from __future__ import annotations

import inspect
import logging
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule
from torch.utils import _pytree as pytree

from ..errors import UsageError
from ..missing_library import NAMESPACE, REMEDY
from ..model import named_dims
from . import Program


def dynamic_shapes(program: Program, dim: Callable[[str], Any] = str) -> tuple[Any, ...]:
    """The dynamic axes, a dict an argument, each as ``dim`` has it; those of *args in a tuple."""
    dims = {name: dim(name) for name in named_dims(program.inputs)}
    shapes = tuple(
        {axis: dims[dim] for axis, dim in enumerate(spec.dims) if isinstance(dim, str)}
        for spec in program.inputs
    )
    kinds = [p.kind for p in inspect.signature(program.module.forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        named = kinds.index(inspect.Parameter.VAR_POSITIONAL)
        return (*shapes[:named], shapes[named:])
    return shapes


def export_program(program: Program, format: str) -> tuple[ExportedProgram, bool]:
    """The model as torch.export sees it, without this machine's paths, every dimension checked.

    A torch.export.Dim is a demand: where the model fixes or narrows it, torch.export refuses. Also
    returns whether the program calls an operator of ours.
    """
    with quiet(), torch.no_grad():
        try:
            exported = torch.export.export(
                program.module,
                program.example(),
                dynamic_shapes=dynamic_shapes(program, torch.export.Dim),
                strict=False,
            )
        except Exception as error:
            raise UsageError(_explain(error, program, format)) from error
    check_dynamic_inputs(program, exported, format)
    return exported, _forget_sources(exported)


def check_dynamic_inputs(program: Program, exported: ExportedProgram, format: str) -> None:
    """UsageError where a dimension with a name is a number in the program."""
    shapes = {
        node.name: node.meta["val"].shape
        for node in exported.graph.nodes
        if node.op == "placeholder" and isinstance(node.meta.get("val"), torch.Tensor)
    }
    inputs = [shapes[name] for name in exported.graph_signature.user_inputs if name in shapes]
    fixed = [
        f"{dim!r} of {spec} is {size}"
        for spec, shape in zip(program.inputs, inputs, strict=True)
        for dim, size in zip(spec.dims, shape, strict=True)
        if isinstance(dim, str) and isinstance(size, int)
    ]
    if fixed:
        raise UsageError(came_out_static(format, "; ".join(fixed)))


def check_other_sizes(program: Program, run: Callable[..., Any], format: str) -> None:
    """The file must give eager's shapes at sizes that it was not made with."""
    inputs = program.example(grow=3)
    with torch.no_grad():
        expected = shapes_of(program.module(*inputs))
        try:
            got: Any = shapes_of(run(*inputs))
        except Exception as error:  # whatever a compiled file throws
            got = str(error).strip().splitlines()[-1]
    if got != expected:
        dims = ", ".join(named_dims(program.inputs))
        raise UsageError(
            came_out_static(
                format, f"{dims}: expected outputs {expected} at another size, got {got}"
            )
        )


def shapes_of(outputs: Any) -> list[tuple[int, ...]]:
    """The shapes of all tensors, out of tuples, lists and dicts."""
    leaves = pytree.tree_leaves(outputs)
    return [tuple(leaf.shape) for leaf in leaves if isinstance(leaf, torch.Tensor)]


def came_out_static(format: str, what: str) -> str:
    return (
        f"a dynamic dimension came out static in {format}: {what}. The model computes with that "
        "size as a fixed number: keep sizes as tensors' own (x.shape, not int(...) or a Python "
        "branch), or declare the dimension as that number"
    )


def _forget_sources(exported: ExportedProgram) -> bool:
    """Take Python's stack, with this machine's paths, off each node; put the remedy onto ours.

    The stack of a node is what torch.export.load quotes where it does not know the node's operator.
    Returns whether the program calls an operator of ours.
    """
    calls = False
    for module in exported.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, GraphModule) else ():
            node.meta.pop("stack_trace", None)
            if str(node.target).startswith(f"{NAMESPACE}."):
                node.meta["stack_trace"] = REMEDY
                calls = True
    return calls


def root_cause(error: BaseException) -> tuple[BaseException, Sequence[BaseException]]:
    """The first error of a chain, and the whole chain from the last on."""
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    return causes[-1], causes


DECIDES_BY_VALUE = (
    "the model decides by the value of a tensor (if, while, bool() or item()), which is no graph; "
    "choose with torch.where or torch.cond"
)


def decides_by_value(causes: Sequence[BaseException]) -> bool:
    return "GuardOnDataDependentSymNode" in {type(cause).__name__ for cause in causes}


def shortened(error: BaseException) -> str:
    """The error on one line, not too long for a paragraph."""
    return f"{type(error).__name__}: {textwrap.shorten(' '.join(str(error).split()), 400)}"


def _explain(error: BaseException, program: Program, format: str) -> str:
    root, causes = root_cause(error)
    if decides_by_value(causes):
        return DECIDES_BY_VALUE
    inputs = ", ".join(map(str, program.inputs))
    if "Constraints violated" in str(error):
        return came_out_static(format, f"with inputs {inputs}, {shortened(error)}")
    return f"torch.export cannot follow the model with inputs {inputs}: {shortened(root)}"


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporters' remarks on torchvision, deprecations and what the check will find."""
    names = ("torch.onnx", "torch.export", "torch.fx", "torch._dynamo", "torch._inductor")
    logs = [logging.getLogger(name) for name in (*names, "onnxscript")]
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

"""The sigmoids inside of a model: their inputs and results as outputs of files of their own.

The model's graph, as torch.export sees it, is run node by node, and what each sigmoid is given and
what it returns is kept. That is a module again, which every format exports as it does the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from .bundle import INNER
from .errors import UsageError
from .formats import Format, Program
from .formats.exported import export_program, shortened
from .inner_errors import InnerSigmoid
from .missing_library import NAMESPACE
from .samples import inner_sample
from .stored import Sample, save_samples

_SIGMOIDS = {f"{home}::{name}" for home in ("aten", NAMESPACE) for name in ("sigmoid", "sigmoid_")}


class _Watched(fx.Interpreter):
    """Runs a graph, and keeps copies of what its sigmoids take and give."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.seen: list[Tensor] = []

    def run_node(self, n: fx.Node) -> Any:
        if not _is_sigmoid(n):
            return super().run_node(n)
        given = self.fetch_args_kwargs_from_env(n)[0][0].clone()  # it may be overwritten
        result = super().run_node(n)
        self.seen += [given, result.clone()]
        return result


class Inner(nn.Module):
    """The model's outputs, and after them the input and the result of each of its sigmoids."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__()
        self.model = graph
        self.training = False

    def train(self, mode: bool = True) -> Inner:
        return self  # an exported graph has one mode, and refuses to be asked for it

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        watched = _Watched(self.model)
        outputs = pytree.tree_leaves(watched.run(*inputs))
        return (*outputs, *watched.seen)


def inner_program(program: Program) -> tuple[Program, list[InnerSigmoid]]:
    """The program whose outputs are the model's and those of its sigmoids; and which these are.

    Raises:
        UsageError: torch.export cannot follow the model.
    """
    exported, _ = export_program(program, "pt2")
    graph = exported.module(check_guards=False)
    assert isinstance(graph, fx.GraphModule)
    found = [
        InnerSigmoid(node.name, _module_of(node)) for node in graph.graph.nodes if _is_sigmoid(node)
    ]
    names = [f"{sigmoid.name}_{end}" for sigmoid in found for end in ("input", "result")]
    return replace(program, module=Inner(graph), outputs=[*program.outputs, *names]), found


def export_inner(
    program: Program,
    formats: Sequence[Format],
    entries: Mapping[str, dict[str, Any]],
    batches: Sequence[Sample],
    staging: Path,
) -> tuple[list[InnerSigmoid], list[str]]:
    """A second file a format, whose outputs are those of the sigmoids inside; and what is not so.

    It is there for verification alone: where a format cannot have it, the model's own file stands.
    """
    missed = []
    whole, sigmoids = inner_program(program)
    if not sigmoids:
        return [], ["the model's graph holds no sigmoid: there is nothing inside to verify"]
    sample, why = inner_sample(whole.module, program.inputs, batches)
    if sample is None:
        return [], [f"the sigmoids inside are not verified: {why}"]
    save_samples(staging / INNER, [sample])
    for format in formats:
        name = f"model.inner{format.suffix}"
        try:
            format.export(whole, staging / name)
        except UsageError as error:
            missed.append(
                f"the sigmoids inside are not verified in {format.name}, which cannot take the "
                f"model's graph with their values as outputs: {shortened(error)}. The model's own "
                "file is not touched by that, and other formats tell of them"
            )
            continue
        entries[format.name]["inner"] = name
    return sigmoids, missed


def _is_sigmoid(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return node.op == "call_function" and schema is not None and schema.name in _SIGMOIDS


def _module_of(node: fx.Node) -> str:
    """The path of the innermost module on the node's stack."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return str(stack[-1][0]) if stack else ""

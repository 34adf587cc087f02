"""conversion_report(model): which sigmoids are ours now, and which are not, with the remedy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram

from ._observe import observe
from ._places import places
from ._rewrite import is_converted_sigmoid, is_rerouting, is_torchs, originals, replaced_by
from ._sigmoids import (
    CONVERT,
    FORWARD,
    FUNCTIONS,
    METHODS,
    NAME_OF_CHECKPOINT,
    NAMES,
    SCRIPT,
    UNFLATTENED,
)
from ._uses import SigmoidUse, fused_kernel, fused_use, short_path

ATTRIBUTE = "attribute "


@dataclass(frozen=True)
class ConversionReport:
    """What :func:`torch_sigmoid_ext.conversion_report` found; printed, it is a table.

    Attributes:
        modules: ``nn.Sigmoid`` modules that are ours now.
        functions: calls in code, and nodes of graphs, that are ours now.
        left: what computes a sigmoid and is not ours, each with its remedy.
    """

    modules: tuple[SigmoidUse, ...]
    functions: tuple[SigmoidUse, ...]
    left: tuple[SigmoidUse, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing is left."""
        return not self.left

    def __str__(self) -> str:
        parts = []
        for title, uses in (
            ("modules swapped", self.modules),
            ("functions rerouted", self.functions),
            ("left as they were", self.left),
        ):
            parts.append(f"{title}: {len(uses) or 'none'}")
            width = max((len(use.name) for use in uses), default=0)
            for use in uses:
                where = ", ".join(filter(None, [use.module or "(the model)", use.place]))
                calls = "" if use.calls is None else f", {use.calls}x"
                parts.append(f"  {use.name:{width}}  {where}{calls}")
                if use.remedy:
                    parts.append(f"  {'':{width}}    {use.remedy}")
        return "\n".join(parts)


def conversion_report(
    model: nn.Module | ExportedProgram, example_inputs: Sequence[Any] | None = None
) -> ConversionReport:
    """Tells which sigmoids of a model :func:`convert` made ours, and which it could not.

    Without example inputs the code is read and nothing runs: lines that mention a sigmoid, whether
    they are reached or not. With them a copy of the model runs once, in the mode it is in, and the
    report holds what was called, where, and how often.

    Args:
        model: what :func:`convert` returned, or any model: all that it computes is left then.
        example_inputs: arguments for the model's forward.

    Example:
        >>> from torch import nn
        >>> from torch_sigmoid_ext import conversion_report, convert
        >>> model = nn.Sequential(nn.Linear(3, 3), nn.Sigmoid(), nn.LSTM(3, 3))
        >>> report = conversion_report(convert(model))
        >>> report.complete, [use.name for use in report.left]
        (False, ['nn.LSTM'])
        >>> print(conversion_report(convert(model[:2])))
        modules swapped: 1
          nn.Sigmoid  1
        functions rerouted: none
        left as they were: none
    """
    root: nn.Module
    runs: nn.Module
    if isinstance(model, ExportedProgram):
        root, runs = model.graph_module, model.module()
    elif isinstance(model, nn.Module):
        root = runs = model
    else:
        raise TypeError(
            "conversion_report(): expected model to be a torch.nn.Module or a "
            f"torch.export.ExportedProgram, got {type(model).__name__}; pass what convert() gave"
        )
    uses = [*_modules(root), *_nodes(root)]
    if example_inputs is None:
        uses += _mentions(root)
    else:
        calls = observe(runs, example_inputs)
        uses = [
            replace(use, calls=calls.pop(use, 0)) if not use.place else use
            for use in uses
            if not use.place.startswith(ATTRIBUTE)  # called, it is among the calls
        ]
        uses += [replace(use, calls=count) for use, count in calls.items()]
        uses += [use for use in _mentions(root) if use.name == NAME_OF_CHECKPOINT]
    done = [use for use in uses if not use.remedy]
    return ConversionReport(
        modules=tuple(use for use in done if use.name == "nn.Sigmoid"),
        functions=tuple(use for use in done if use.name != "nn.Sigmoid"),
        left=tuple(use for use in uses if use.remedy),
    )


def _modules(root: nn.Module) -> Iterator[SigmoidUse]:
    """Uses by module: nn.Sigmoid, and those whose kernel has a sigmoid inside."""
    scripted: list[str] = []
    for name, module in root.named_modules():
        if is_converted_sigmoid(module):
            yield SigmoidUse("nn.Sigmoid", name)
        elif type(module) is nn.Sigmoid:
            yield SigmoidUse("nn.Sigmoid", name, remedy=CONVERT)
        elif isinstance(module, torch.jit.ScriptModule):
            if not any(name.startswith(f"{outer}.") or not outer for outer in scripted):
                scripted.append(name)
                if "aten::sigmoid" in str(module.inlined_graph):
                    yield SigmoidUse("torch.jit.ScriptModule", name, "compiled code", None, SCRIPT)
        elif known := fused_kernel(module):
            yield fused_use(known, name)
        elif is_torchs(type(module)):
            for attribute, value in vars(module).items():
                if function := replaced_by(value):
                    remedy = "" if is_rerouting(module) else CONVERT
                    yield SigmoidUse(NAMES[function], name, f"{ATTRIBUTE}{attribute}", None, remedy)


def _nodes(root: nn.Module) -> Iterator[SigmoidUse]:
    """Uses by node, in the graphs among the model's modules."""
    for name, module in root.named_modules():
        if not isinstance(getattr(module, "graph", None), fx.Graph):
            continue
        remedy = CONVERT if isinstance(module, fx.GraphModule) else UNFLATTENED
        for node in module.graph.nodes:
            place = f"node {node.name}"
            if node.target in originals:
                yield SigmoidUse(NAMES[originals[node.target]], name, place)
            elif node.op == "call_function" and node.target in NAMES:
                yield SigmoidUse(NAMES[node.target], name, place, None, remedy)
            elif node.op == "call_method" and node.target in METHODS:
                yield SigmoidUse(METHODS[node.target], name, place, None, remedy)
            elif node.op == "call_function" and node.target in FUNCTIONS:
                known, remedy_there = FUNCTIONS[node.target]
                yield SigmoidUse(known, name, place, None, remedy_there)


def _mentions(root: nn.Module) -> Iterator[SigmoidUse]:
    """Uses by line of code; of a class's many modules, the first is named."""
    found: dict[SigmoidUse, int] = {}
    for name, module in root.named_modules():
        if isinstance(module, (fx.GraphModule, torch.jit.ScriptModule)):
            continue
        if "forward" in vars(module):
            yield SigmoidUse("forward", name, "set on the instance", None, FORWARD)
            continue
        remedy = "" if is_rerouting(module) else CONVERT
        for place in places(module):
            where = f"{short_path(place.file)}:{place.line} in {place.within}"
            if place.function in FUNCTIONS:
                known, its_remedy = FUNCTIONS[place.function]
                use = SigmoidUse(known, name, where, None, its_remedy)
            else:
                use = SigmoidUse(_name(place.function), name, where, None, remedy)
            same = replace(use, module="")
            if same not in found:
                found[same] = 0
                yield use


def _name(function: Any) -> str:
    return METHODS[function] if isinstance(function, str) else NAMES[function]

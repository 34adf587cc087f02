"""What PyTorch must be told about the operators: TorchScript, torch.compile, DTensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from . import functional
from ._layouts import register_masked_tensors
from ._sharding import register_sharding
from ._when_imported import when_imported


def _register_torchscript() -> None:
    """torch.jit.script takes the builtins for the operators of the same name."""
    from torch.jit._builtins import _register_builtin

    for builtin in functional.python_functions:
        _register_builtin(builtin, f"torch_sigmoid_ext::{builtin.__name__}")


def _substitute_in_graphs() -> None:
    """torch.compile sees the Python functions instead of the builtins, which are opaque to it."""
    for builtin, function in functional.python_functions.items():
        torch.compiler.substitute_in_graph(builtin)(function)
        _let_attributes_be_asked_for(builtin)


def _let_attributes_be_asked_for(builtin: Callable[..., Any]) -> None:
    """Dynamo's stand-in for a substituted builtin breaks the graph where an attribute is asked for,
    as torch.func.vmap asks for the name of its function, or a comparison. This one answers.

    A torch whose Dynamo is built otherwise keeps its own stand-in.
    """
    try:
        from torch._dynamo.guards import GuardBuilder
        from torch._dynamo.variables import ConstantVariable, PolyfilledFunctionVariable
        from torch._dynamo.variables.builder import VariableBuilder

        stand_ins = VariableBuilder._id_dispatch()
    except (ImportError, AttributeError):
        return

    class Substituted(PolyfilledFunctionVariable):
        _get_polyfill_handlers = PolyfilledFunctionVariable._get_polyfill_handlers  # one table

        def call_obj_hasattr(self, tx: Any, name: str) -> Any:
            return ConstantVariable.create(hasattr(self.fn, name))

        def richcompare_impl(self, tx: Any, other: Any, op: str) -> Any:
            from torch._dynamo.variables.object_protocol import python_constant_richcompare_impl

            return python_constant_richcompare_impl(self, tx, other, op)

    def build(builder: Any, value: Any) -> Substituted:
        guards = builder.install_guards(GuardBuilder.ID_MATCH)
        return Substituted(value, source=builder.source, **guards)

    stand_ins[id(builtin)] = build


def register() -> None:
    """Registers everything; the package's __init__ calls it once."""
    _register_torchscript()
    register_masked_tensors()
    when_imported("torch._dynamo", _substitute_in_graphs)
    when_imported("torch.distributed.tensor", register_sharding)

"""convert(model): any model, with our sigmoid wherever it computed torch's; and the way back."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn
from torch.export import ExportedProgram

from ._rewrite import convert_modules, revert_modules

_Model = TypeVar("_Model", bound="nn.Module | ExportedProgram")


def _copy(caller: str, model: _Model) -> tuple[_Model, nn.Module]:
    """A copy of the model, and the module that holds its code."""
    if isinstance(model, ExportedProgram):
        program = copy.deepcopy(model)
        return program, program.graph_module
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"{caller}(): expected model to be a torch.nn.Module or a torch.export."
            f"ExportedProgram, got {type(model).__name__}; pass an instance of the model"
        )
    module = copy.deepcopy(model)
    return module, module


def convert(model: _Model) -> _Model:
    """A copy of the model, with :func:`torch_sigmoid_ext.sigmoid` for every sigmoid of torch's.

    ``nn.Sigmoid`` modules become :class:`torch_sigmoid_ext.Sigmoid`; calls of ``torch.sigmoid``,
    ``Tensor.sigmoid``, ``torch.nn.functional.sigmoid``, ``torch.special.expit``, their in-place
    forms and ``torch.ops.aten``'s are rerouted while a forward of the model's runs; the nodes of an
    ``fx.GraphModule`` or an ``ExportedProgram`` are given our operators. State-dict keys, hooks and
    names stay. The copy works in eager mode, training, torch.compile, torch.export and
    torch.jit.trace, and can be pickled, copied and taken apart; of ``fx.symbolic_trace`` convert
    the result.

    :func:`conversion_report` tells what was swapped and what could not be: a sigmoid inside of
    another kernel, as in ``nn.LSTM``, or in TorchScript. torch.jit.script takes a converted model
    only where all its sigmoids are modules, and all its modules torch's or ours.

    Args:
        model: any nn.Module or ExportedProgram; it is not changed.

    Returns:
        A deep copy. Modules with code of their own are of a subclass of their class that has the
        same name.

    Raises:
        TypeError: model is neither.

    Example:
        >>> from torch import nn
        >>> from torch_sigmoid_ext import convert
        >>> convert(nn.Sequential(nn.Linear(3, 2), nn.Sigmoid()))
        Sequential(
          (0): Linear(in_features=3, out_features=2, bias=True)
          (1): Sigmoid()
        )
    """
    converted, module = _copy("convert", model)
    convert_modules(module)
    return converted


def revert(model: _Model) -> _Model:
    """A copy of a converted model as it was: the classes it had, and the bits of torch's sigmoid.

    A :class:`torch_sigmoid_ext.Sigmoid` or a call of :func:`torch_sigmoid_ext.sigmoid` that was in
    the model's code before stays; in a graph, every node that calls it goes back to torch's.

    Args:
        model: what :func:`convert` returned, or any model; it is not changed.

    Raises:
        TypeError: model is neither an nn.Module nor an ExportedProgram.

    Example:
        >>> from torch import nn
        >>> from torch_sigmoid_ext import convert, revert
        >>> type(revert(convert(nn.Sigmoid()))) is nn.Sigmoid
        True
    """
    reverted, module = _copy("revert", model)
    revert_modules(module)
    return reverted

"""convert(model): any model, with our sigmoid wherever it computed torch's."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .functional import sigmoid, sigmoid_
from .modules import Sigmoid

_Model = TypeVar("_Model", bound=nn.Module)

_REPLACEMENTS: dict[Callable[..., Any], Callable[..., Tensor]] = {
    torch.sigmoid: sigmoid,
    torch.special.expit: sigmoid,
    Tensor.sigmoid: sigmoid,
    nn.functional.sigmoid: sigmoid,
    torch.sigmoid_: sigmoid_,
    Tensor.sigmoid_: sigmoid_,
}


class _OurSigmoid(TorchFunctionMode):
    """While entered, a call of torch's sigmoid under any of its names is a call of ours."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return _REPLACEMENTS.get(func, func)(*args, **(kwargs or {}))  # type: ignore[no-untyped-call]


def _swap_modules(model: nn.Module) -> nn.Module:
    """The model with every nn.Sigmoid in it replaced; itself replaced if it is one."""
    if type(model) is nn.Sigmoid:
        return Sigmoid().train(model.training)
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if type(module) is nn.Sigmoid:
            model.set_submodule(name, Sigmoid().train(module.training))
    return model


def _may_call_functions(model: nn.Module) -> bool:
    """Whether some forward is not torch's own: those compute no sigmoid but nn.Sigmoid's."""
    packages = {type(module).__module__.split(".")[0] for module in model.modules()}
    return not packages <= {"torch", __package__}


_converted_classes: dict[type[nn.Module], type[nn.Module]] = {}


def _converted_class(original: type[nn.Module]) -> type[nn.Module]:
    """The class of the same name whose forward runs with our sigmoid in place of torch's."""
    if original in _converted_classes:
        return _converted_classes[original]

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        with _OurSigmoid():
            return original.forward(self, *args, **kwargs)

    def reduce(self: nn.Module, protocol: Any) -> Any:
        # Pickle finds classes by name, and this one's name is the original's.
        return _unpickle, (original,), self.__dict__

    converted = type(
        original.__name__,
        (original,),
        {
            "forward": forward,
            "__reduce_ex__": reduce,
            "__module__": original.__module__,
            "__doc__": original.__doc__,
        },
    )
    _converted_classes[original] = converted
    return converted


def _unpickle(original: type[nn.Module]) -> nn.Module:
    return nn.Module.__new__(_converted_class(original))


def convert(model: _Model) -> _Model:
    """A copy of the model, with :func:`torch_sigmoid_ext.sigmoid` for every sigmoid of torch's.

    ``nn.Sigmoid`` modules are swapped; calls of ``torch.sigmoid``, ``Tensor.sigmoid``,
    ``torch.nn.functional.sigmoid``, ``torch.special.expit`` and of their in-place forms are
    rerouted while the model's forward runs. State-dict keys, hooks and submodule names stay. The
    copy works in eager mode, training, torch.compile, torch.export and torch.jit.trace, and can be
    pickled and copied. Two limits: a model whose functions were rerouted cannot be scripted by
    torch.jit.script (trace it); and torch.compile and strict torch.export pass
    ``torch.nn.functional.sigmoid`` and ``torch.sigmoid_`` by, which stay torch's there (write
    ``torch.sigmoid`` and ``Tensor.sigmoid_``).

    Args:
        model: any nn.Module; it is not changed.

    Returns:
        A deep copy, of model's class or a subclass of it (``Sigmoid`` if model is ``nn.Sigmoid``).

    Raises:
        TypeError: model is not an nn.Module.

    Example:
        >>> from torch import nn
        >>> from torch_sigmoid_ext import convert
        >>> convert(nn.Sequential(nn.Linear(3, 2), nn.Sigmoid()))
        Sequential(
          (0): Linear(in_features=3, out_features=2, bias=True)
          (1): Sigmoid()
        )
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"convert(): expected model to be a torch.nn.Module, got {type(model).__name__}; "
            "pass an instance of the model"
        )
    converted = _swap_modules(copy.deepcopy(model))
    if _may_call_functions(converted):
        converted.__class__ = _converted_class(type(converted))
    return converted  # type: ignore[return-value]

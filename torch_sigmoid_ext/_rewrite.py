"""How convert() puts our sigmoid in torch's place, and how revert() takes it out again.

Nothing is rebuilt. An nn.Sigmoid changes its class, so that its hooks, its name and whoever refers
to it stay. A graph changes the targets of its nodes. Any other module that runs Python code changes
to a subclass of its class, whose methods run the same code within a mode that reroutes calls.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from ._when_imported import when_imported
from .functional import sigmoid, sigmoid_
from .modules import Sigmoid

ours, aten = torch.ops.torch_sigmoid_ext, torch.ops.aten

# What a model may call, by what it calls then.
replacements: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.sigmoid: sigmoid,
    torch.special.expit: sigmoid,
    Tensor.sigmoid: sigmoid,
    nn.functional.sigmoid: sigmoid,
    torch.sigmoid_: sigmoid_,
    Tensor.sigmoid_: sigmoid_,
    aten.sigmoid: ours.sigmoid,
    aten.sigmoid_: ours.sigmoid_,
    aten.special_expit: ours.sigmoid,
    aten.sigmoid.default: ours.sigmoid.default,
    aten.sigmoid_.default: ours.sigmoid_.default,
    aten.sigmoid.out: ours.sigmoid.out,
    aten.special_expit.default: ours.sigmoid.default,
    aten.special_expit.out: ours.sigmoid.out,
}

# The way back, in a graph; whatever name torch's function was called by, it is one function.
originals: dict[Callable[..., Any], Callable[..., Any]] = {
    sigmoid: torch.sigmoid,
    sigmoid_: torch.sigmoid_,
    ours.sigmoid: torch.sigmoid,
    ours.sigmoid_: torch.sigmoid_,
    ours.sigmoid.default: aten.sigmoid.default,
    ours.sigmoid_.default: aten.sigmoid_.default,
    ours.sigmoid.out: aten.sigmoid.out,
}

methods = {"sigmoid": sigmoid, "sigmoid_": sigmoid_}


class Rerouting(TorchFunctionMode):
    """While entered, a call of torch's sigmoid under any of its names is a call of ours."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return replacements.get(func, func)(*args, **(kwargs or {}))


def _is_entered() -> bool:
    """Whether a module around this one reroutes already; torch.compile understands this form."""
    for index in range(torch._C._len_torch_function_stack()):
        if type(torch._C._get_function_stack_at(index)) is Rerouting:
            return True
    return False


def is_torchs(cls: type) -> bool:
    """Whether no part of the class was written by a user: torch's own code has its kernels."""
    return all(_is_of_torch(base.__module__) for base in cls.__mro__ if issubclass(base, nn.Module))


def _runs_python_code(module: nn.Module) -> bool:
    """Whether the module's forward may call a sigmoid by name."""
    if isinstance(module, (torch.jit.ScriptModule, fx.GraphModule)):
        return False
    if not is_torchs(type(module)):
        return True
    # torch.nn.TransformerEncoderLayer(activation=torch.sigmoid) and the like
    return any(replaced_by(v) or _is_users_function(v) for v in vars(module).values())


def replaced_by(value: Any) -> Callable[..., Any] | None:
    """The function with a replacement that the value is, or a partial of, if any."""
    function = value.func if isinstance(value, functools.partial) else value
    try:
        return function if function in replacements else None
    except TypeError:  # not hashable
        return None


def _is_users_function(value: Any) -> bool:
    """A lambda given to a module of torch's, say."""
    return isinstance(value, FunctionType) and not _is_of_torch(value.__module__ or "")


def _is_of_torch(module: str) -> bool:
    return module.split(".")[0] in ("torch", __package__)


_converted_classes: dict[type[nn.Module], type[nn.Module]] = {}
_original_classes: dict[type[nn.Module], type[nn.Module]] = {}


def original_class(cls: type[nn.Module]) -> type[nn.Module]:
    """The class that convert() found, for the one that it put in its place; or the class itself."""
    return _original_classes.get(cls, cls)


def is_converted_class(cls: type) -> bool:
    """Whether convert() made the class; torch may have put one of its own over it since."""
    return cls in _original_classes


class _Quiet(nn.Module):
    """Keeps a converted class from being announced to its base, which may register subclasses."""

    def __init_subclass__(cls, **options: Any) -> None:
        pass


def _rerouted(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        if _is_entered():
            return function(*args, **kwargs)
        with Rerouting():
            return function(*args, **kwargs)

    return run


def _rerouted_methods(cls: type[nn.Module]) -> dict[str, Any]:
    """forward, and what else a user may call: `predict`, say, that ends in a sigmoid."""
    methods: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.split(".")[0] in ("torch", __package__, "builtins"):
            continue
        for name, value in vars(base).items():
            if name.startswith("_") and name != "__call__":
                continue
            if isinstance(value, FunctionType):
                methods[name] = _rerouted(value)
            elif isinstance(value, property) and value.fget is not None:
                methods[name] = value.getter(_rerouted(value.fget))
            else:
                methods.pop(name, None)
    return {**methods, "forward": _rerouted(cls.forward)}


def _state(module: nn.Module) -> Any:
    """What pickle keeps: the user's choice, where the class makes one."""
    getstate = getattr(type(module), "__getstate__", None)
    if getstate is None or getstate is getattr(object, "__getstate__", None):
        return module.__dict__
    return getstate(module)


def _converted_class(original: type[nn.Module]) -> type[nn.Module]:
    """The class of the same name whose methods run with our sigmoid in place of torch's."""
    if original in _converted_classes:
        return _converted_classes[original]

    def reduce(self: nn.Module, protocol: Any) -> Any:
        # Pickle finds classes by name, and this one's name is the original's.
        return _unpickle, (original,), _state(self)

    def refuse_script(self: nn.Module) -> nn.Module:
        raise TypeError(
            f"torch.jit.script: expected a module whose sigmoids are modules, got {type(self)}, "
            "converted by torch_sigmoid_ext.convert() while its forward runs; use torch.jit.trace, "
            "or write torch_sigmoid_ext.sigmoid in its code"
        )

    converted = type(
        original.__name__,
        (_Quiet, original),
        {
            **_rerouted_methods(original),
            "__reduce_ex__": reduce,
            "__prepare_scriptable__": refuse_script,
            "__module__": original.__module__,
            "__qualname__": original.__qualname__,
            "__doc__": original.__doc__,
        },
    )
    _converted_classes[original] = converted
    _original_classes[converted] = original
    when_imported("torch._dynamo", _let_dynamo_ask_modes)
    return converted


def _unpickle(original: type[nn.Module]) -> nn.Module:
    return nn.Module.__new__(_converted_class(original))


def _let_dynamo_ask_modes() -> None:
    """torch.compile asks modes about the functions in a list of torch's; these two are not in it.

    Uncompiled, modes are asked about both. Once `torch.overrides` lists them, this does nothing.
    """
    from torch._dynamo.variables import torch as variables

    variables.get_overridable_functions().update({nn.functional.sigmoid, torch.sigmoid_})


def _retarget(graph: fx.Graph, targets: dict[Callable[..., Any], Callable[..., Any]]) -> bool:
    changed = False
    for node in graph.nodes:
        target: Any = None
        if node.op == "call_function":
            target = targets.get(node.target)
        elif node.op == "call_method" and targets is replacements:
            target = methods.get(node.target)
        if target is None or node.kwargs.get("fast"):  # fast is never of convert()'s making
            continue
        node.op, node.target = "call_function", target
        node.kwargs = {name: value for name, value in node.kwargs.items() if name != "fast"}
        changed = True
    return changed


def _retarget_module(
    module: fx.GraphModule, targets: dict[Callable[..., Any], Callable[..., Any]]
) -> None:
    if _retarget(module.graph, targets):
        module.graph.lint()
        module.recompile()


def _change_class(module: nn.Module, cls: type[nn.Module]) -> None:
    object.__setattr__(module, "__class__", cls)  # past a __setattr__ of the user's that refuses


def convert_modules(model: nn.Module) -> None:
    """Changes the model's modules, itself included, in place."""
    for module in model.modules():
        if type(module) is nn.Sigmoid:
            _change_class(module, Sigmoid)
            vars(module).update(fast=False, inplace=False, converted=True)
        elif isinstance(module, fx.GraphModule):
            _retarget_module(module, replacements)
        elif not is_rerouting(module) and _runs_python_code(module):
            _change_class(module, _converted_class(type(module)))


def revert_modules(model: nn.Module) -> None:
    """Undoes what `convert_modules` did; a Sigmoid of the user's own stays."""
    for module in model.modules():
        if is_converted_sigmoid(module):
            _change_class(module, nn.Sigmoid)
            for name in ("fast", "inplace", "converted"):
                del vars(module)[name]
        elif isinstance(module, fx.GraphModule):
            _retarget_module(module, originals)
        else:
            _change_class(module, original_class(type(module)))


def is_rerouting(module: nn.Module) -> bool:
    """Whether the module's forward reroutes the calls in its code."""
    return any(is_converted_class(base) for base in type(module).__mro__)


def is_converted_sigmoid(module: nn.Module) -> bool:
    """Whether the module was an nn.Sigmoid before convert()."""
    return type(module) is Sigmoid and "converted" in vars(module)

"""Where a module's code names a sigmoid: read from its source, nothing is run.

Followed are the methods of the module's class and of the user's classes under it, and the Python
functions that they name. A name is looked up as Python would; of a local variable only the method
names `sigmoid` and `sigmoid_` are known.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

from ._rewrite import is_converted_class, original_class
from ._sigmoids import FUNCTIONS, METHODS, NAMES

_UNKNOWN = object()


@dataclass(frozen=True)
class Place:
    """One mention of a function in somebody's code."""

    function: Callable[..., Any] | str  # what it names; a method's name where the object is unknown
    file: str
    line: int
    within: str  # qualified name of the function whose code it is in


def places(module: nn.Module) -> list[Place]:
    """Every mention of a function of NAMES or FUNCTIONS in the module's code, in order."""
    found: dict[Place, None] = {}
    seen: set[Any] = set()
    waiting = list(_methods(original_class(type(module))))
    while waiting:
        function = waiting.pop(0)
        if function.__code__ in seen:
            continue
        seen.add(function.__code__)
        for what, line in _mentions(function, module):
            if isinstance(what, FunctionType) and what not in NAMES and what not in FUNCTIONS:
                waiting.append(what)
            else:
                file, name = function.__code__.co_filename, function.__qualname__
                found[Place(what, file, line, name)] = None
    return list(found)


def _is_users(function: FunctionType) -> bool:
    return (function.__module__ or "").split(".")[0] not in ("torch", __package__)


def _methods(cls: type[nn.Module]) -> Iterator[FunctionType]:
    for base in cls.__mro__:
        if is_converted_class(base):  # what it has are covers
            continue
        for value in vars(base).values():
            for part in (getattr(value, "__func__", value), getattr(value, "fget", None)):
                if isinstance(part, FunctionType) and _is_users(part):
                    yield part


def _mentions(function: FunctionType, module: nn.Module) -> Iterator[tuple[Any, int]]:
    """What the function's source names, with the line: our functions, and Python code to follow."""
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError, IndentationError):  # written at run time, or a lambda
        return
    scope = _Scope(function, module)
    calls = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Name, ast.Attribute)):
            continue
        value, line = scope.value(node), first + node.lineno - 1
        if isinstance(value, MethodType):
            value = value.__func__
        if isinstance(value, FunctionType) and _is_users(value):
            yield value, line
        elif _is_known(value):
            yield value, line
        elif value is _UNKNOWN and isinstance(node, ast.Attribute) and id(node) in calls:
            if node.attr in METHODS:
                yield node.attr, line
        elif getattr(value, "__name__", "") in METHODS:
            if isinstance(getattr(value, "__self__", None), Tensor):
                yield value.__name__, line


def _is_known(value: object) -> bool:
    try:
        return value in NAMES or value in FUNCTIONS
    except TypeError:  # not hashable
        return False


class _Scope:
    """The values of the names in a function's code, so far as they are known without running it."""

    def __init__(self, function: FunctionType, module: nn.Module) -> None:
        code = function.__code__
        self._known = {**vars(builtins), **function.__globals__}
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                self._known[name] = cell.cell_contents
            except ValueError:  # not assigned yet
                self._known.pop(name, None)
        for name in (*code.co_varnames, *code.co_cellvars):
            self._known.pop(name, None)
        if code.co_argcount and code.co_varnames[0] == "self":
            self._known["self"] = module

    def value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name):
            return self._known.get(node.id, _UNKNOWN)
        if isinstance(node, ast.Attribute):
            base = self.value(node.value)
            if base is _UNKNOWN or inspect.isdatadescriptor(getattr(type(base), node.attr, None)):
                return _UNKNOWN
            return getattr(base, node.attr, _UNKNOWN)
        return _UNKNOWN

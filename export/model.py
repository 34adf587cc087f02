"""MODEL and its inputs, as they are written on the command line, become a module and arrays.

MODEL is ``SimpleNN``, ``package.module:factory`` or ``path/file.py:factory``. A factory is an
nn.Module, a subclass of it, or a callable without arguments that returns one.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import torch_sigmoid_ext

from .errors import UsageError

if TYPE_CHECKING:
    from torch import nn

Array = NDArray[Any]
_T = TypeVar("_T")

DTYPES = (  # torch's names
    "float16 bfloat16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool"
).split()
EXAMPLE_INPUT = "--input 'x=float32[batch,3]'"
EXAMPLE_BATCH = 4  # a dynamic dimension's size while exporting: neither 0 nor 1, which specialise


@dataclass(frozen=True)
class InputSpec:
    """One input, written ``x=float32[batch,3]``: a named dimension is dynamic, ``[]`` a scalar."""

    name: str
    dtype: str
    dims: tuple[str | int, ...]

    @classmethod
    def parse(cls, text: str) -> InputSpec:
        """Read ``name=dtype[dims]``.

        >>> InputSpec.parse("x=float32[batch, 3]")
        InputSpec(name='x', dtype='float32', dims=('batch', 3))
        """
        match = re.fullmatch(r"\s*([A-Za-z_]\w*)\s*=\s*(\w+)\s*\[([^\[\]]*)\]\s*", text)
        if not match:
            raise UsageError(
                f"expected an input as NAME=DTYPE[DIMS], got {text!r}; write for example "
                f"{EXAMPLE_INPUT}, where a name is a dynamic dimension and a number a fixed one"
            )
        name, dtype, dims = match.groups()
        if dtype not in DTYPES:
            raise UsageError(
                f"expected a dtype of {', '.join(DTYPES)} in --input {text!r}, got {dtype!r}; "
                f"write for example {EXAMPLE_INPUT}"
            )
        if dtype == "bfloat16":
            raise UsageError(
                f"expected an input that can be verified, got bfloat16 in {text!r}: numpy has no "
                "such dtype; declare float32 and cast inside the model"
            )
        parts = [part.strip() for part in dims.split(",")] if dims.strip() else []
        for part in parts:
            if not re.fullmatch(r"[A-Za-z_]\w*|[1-9]\d*", part):
                raise UsageError(
                    f"expected every dimension in --input {text!r} to be a name (dynamic) or a "
                    f"number above 0 (fixed), got {part!r}; write for example {EXAMPLE_INPUT}"
                )
        return cls(name, dtype, tuple(int(part) if part.isdigit() else part for part in parts))

    def __str__(self) -> str:
        return f"{self.name}={self.dtype}[{','.join(map(str, self.dims))}]"

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape with these sizes of the named dimensions."""
        return tuple(sizes[dim] if isinstance(dim, str) else dim for dim in self.dims)

    def sample(self, random: np.random.Generator, sizes: Mapping[str, int]) -> Array:
        """A fresh array. Float rows are scaled by 1, 10 or 100, so that logits reach the tails."""
        shape = self.shape(sizes)
        if not self.dtype.startswith("float"):
            return random.integers(0, 2, shape).astype(self.dtype)
        rows = (*shape[:1], *(1 for _ in shape[1:]))
        scale = random.choice([1.0, 10.0, 100.0], rows)
        return np.asarray(random.standard_normal(shape) * scale, self.dtype)


def named_dims(inputs: Sequence[InputSpec]) -> list[str]:
    """The dynamic dimensions, in order of appearance: the first is the batch."""
    return list(dict.fromkeys(dim for spec in inputs for dim in spec.dims if isinstance(dim, str)))


def example_sizes(inputs: Sequence[InputSpec]) -> dict[str, int]:
    """A size for every dynamic dimension; they differ, so that no exporter takes two for one."""
    return {name: EXAMPLE_BATCH + i for i, name in enumerate(named_dims(inputs))}


def parse_inputs(texts: Sequence[str], source: str) -> list[InputSpec]:
    """The --input options in order; SimpleNN has its own where none is given."""
    if not texts and source == "SimpleNN":
        texts = ["input=float32[batch,3]"]
    if not texts:
        raise UsageError(
            f"expected --input for the model {source}, got none: only SimpleNN's are known; write "
            f"one for each argument of forward, in order, for example {EXAMPLE_INPUT}"
        )
    inputs = [InputSpec.parse(text) for text in texts]
    names = [spec.name for spec in inputs]
    if len(set(names)) < len(names):
        raise UsageError(f"expected every --input to have a name of its own, got {names}")
    return inputs


@dataclass(frozen=True)
class LoadedModel:
    """A module in eval mode, and what its file says about ONNX."""

    module: nn.Module
    translations: Mapping[Any, Callable[..., Any]]  # the file's own onnx_translation_table


def load_model(source: str, weights: Path | None = None, *, convert: bool = False) -> LoadedModel:
    """Build MODEL, load its weights, and with ``convert`` give it our sigmoid for torch's.

    The random seed is fixed before, so that a model with fresh weights is the same on every run.
    """
    import torch
    from torch import nn

    from .weights import load_weights

    torch.manual_seed(0)
    translations: Mapping[Any, Callable[..., Any]] = {}
    if source == "SimpleNN":
        module: Any = torch_sigmoid_ext.SimpleNN()
    else:
        place, _, name = source.rpartition(":")
        if not place:
            raise UsageError(
                f"expected MODEL as SimpleNN, package.module:factory or path/file.py:factory, got "
                f"{source!r}; add the factory's name after a colon"
            )
        home = _import(place)
        translations = getattr(home, "onnx_translation_table", {})
        module = _factory(home, place, name)
        if isinstance(module, type) or not isinstance(module, nn.Module):
            module = _user_code(module, f"call {source}") if callable(module) else module
    if not isinstance(module, nn.Module):
        raise UsageError(
            f"expected {source} to give a torch.nn.Module, got {type(module).__name__}; return the "
            "model from the factory"
        )
    if weights is not None:
        load_weights(module, weights)
    if convert:
        module = torch_sigmoid_ext.convert(module)
    return LoadedModel(module.eval().requires_grad_(False), translations)


def _import(place: str) -> ModuleType:
    """The module of ``package.module`` or ``path/file.py``, with the right folder importable."""
    if not place.endswith(".py"):
        sys.path.insert(0, str(Path.cwd()))
        return _user_code(lambda: _import_package(place), f"import {place}")
    path = Path(place).resolve()
    if not path.is_file():
        raise UsageError(f"expected a Python file at {place}, found none; check the path of MODEL")
    sys.path.insert(0, str(path.parent))  # its neighbours, as when it is run as a script
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # the name ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # so that its classes can be copied and pickled
    execute = spec.loader.exec_module
    _user_code(lambda: execute(module), f"import {place}")
    return module


def _import_package(place: str) -> ModuleType:
    """``package.module``; UsageError where it is not there, and not where its own import is not."""
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if not f"{place}.".startswith(f"{error.name}."):
            raise
        raise UsageError(
            f"expected MODEL to name a module that can be imported, and there is no module named "
            f"{error.name}; looked in {Path.cwd()} and Python's path. Check the name, or give the "
            "file as path/file.py:factory"
        ) from error


def _factory(home: ModuleType, place: str, name: str) -> Any:
    """``place:name``, where a missing name is answered with those that are there."""
    from torch import nn

    if hasattr(home, name):
        return getattr(home, name)
    there = [
        n
        for n, value in vars(home).items()
        if not n.startswith("_")
        and (isinstance(value, nn.Module) or getattr(value, "__module__", None) == home.__name__)
    ]
    raise UsageError(
        f"expected {place} to define {name!r}; it defines: {', '.join(there) or 'no model'}. Name "
        "the factory, class or instance after the colon"
    )


_LIBRARY = re.compile(rf"/(site|dist)-packages/|^{re.escape(sysconfig.get_path('stdlib'))}/")


def _user_code(call: Callable[[], _T], purpose: str) -> _T:
    """Run the user's code; its error becomes a paragraph with the file and line it came from."""
    try:
        return call()
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        # The last frame that is neither ours nor a library's is the user's.
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [f for f in frames if f.filename != __file__ and "<frozen" not in f.filename]
        written = [f for f in theirs if not _LIBRARY.search(f.filename)]
        last = next(reversed(written or theirs), None)
        at = f"{last.filename}:{last.lineno}" if last else ""
        if isinstance(error, SyntaxError):
            at = f"{error.filename}:{error.lineno}"
        where = f" at {at}; the same code must run in {sys.executable}" if at else ""
        raise UsageError(f"cannot {purpose}: {type(error).__name__}: {error}{where}") from error

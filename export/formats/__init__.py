"""One module an export format, all behind one verb: ``export(program, path)``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..model import InputSpec, example_sizes

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Program:
    """What a format turns into a file."""

    module: nn.Module  # in eval mode
    inputs: Sequence[InputSpec]
    outputs: Sequence[str]
    lowering: str = "exact"  # ONNX: what the sigmoid becomes
    opset: int | None = None  # ONNX: None for the exporter's own choice
    translations: Mapping[Any, Callable[..., Any]] = field(default_factory=dict)  # ONNX: the user's
    convert: bool = False  # ONNX: lower torch's own sigmoid, SiLU and GLU as well
    external_data: bool = False  # ONNX: weights in a file beside, even where one file would do
    source: str = ""  # MODEL, for the file's own metadata
    gate: str = ""  # for the file's own metadata

    def example(self, grow: int = 0) -> tuple[Tensor, ...]:
        """Inputs of ones, every dynamic dimension ``grow`` above its example size."""
        import torch

        sizes = {name: size + grow for name, size in example_sizes(self.inputs).items()}
        return tuple(
            torch.ones(spec.shape(sizes), dtype=getattr(torch, spec.dtype)) for spec in self.inputs
        )


class Format(Protocol):
    """An export format."""

    name: str  # on the command line
    suffix: str  # of its files: model + suffix, operator + suffix
    install: str  # the command that brings what it needs
    default: bool  # written where the user names no format

    def missing(self) -> str:
        """What it needs and cannot import or run, or "" where it can work."""

    def export(self, program: Program, path: Path) -> dict[str, Any]:
        """Write the file, check in the file what was asked for, and say what it needs at run time.

        Returns the manifest's entry: ``requires``, a sentence; ``library``, where the operator
        library must lie beside; ``cannot_run``, a reason for each runtime that will not take the
        file; and what else is worth knowing. Raises UsageError where the file is not, or cannot
        be, what was asked for.
        """


# Of each format's files. They are told without the format itself, which needs torch.
SUFFIXES = {
    "torchscript": ".torchscript.pt",
    "onnx": ".onnx",
    "pt2": ".pt2",
    "aoti": ".aoti.pt2",
}

# A module a format, in this folder, with its class.
_CLASSES = {"torchscript": "TorchScript", "onnx": "Onnx", "pt2": "Pt2", "aoti": "Aoti"}


class _Formats(Mapping[str, Format]):
    """Every format by name, imported when it is asked for: all of them need torch to export."""

    def __getitem__(self, name: str) -> Format:
        return _format(name)

    def __contains__(self, name: object) -> bool:
        return name in _CLASSES

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)


@cache
def _format(name: str) -> Format:
    made_by = _CLASSES[name]
    format: Format = getattr(import_module(f".{name}", __name__), made_by)()
    return format


# The sigmoids that a model may call: ours takes the lowering asked for, torch's is exported as the
# exporter does it.
OURS, TORCHS = SIGMOIDS = ("torch_sigmoid_ext.sigmoid", "torch.sigmoid")

FORMATS = _Formats()
# --sigmoid; lowering.py has them, and needs onnxscript
LOWERINGS = ("exact", "stable", "native", "function")

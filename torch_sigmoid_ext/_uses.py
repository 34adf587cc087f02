"""SigmoidUse: one place where a model computes a sigmoid."""

from __future__ import annotations

import os
from dataclasses import dataclass

from torch import nn

from ._sigmoids import MODULES


@dataclass(frozen=True)
class SigmoidUse:
    """One place where a model computes a sigmoid.

    Attributes:
        name: what computes it, as its users write it: ``"nn.Sigmoid"``, ``"torch.sigmoid"``.
        module: the module's name in the model, ``""`` for the model itself.
        place: ``"file.py:12 in Net.forward"``, ``"node sigmoid_1"`` in a graph, or ``""``.
        calls: how often it ran on the example inputs; None without them, and in graphs.
        remedy: what to do where it is not ours; ``""`` where it is.
    """

    name: str
    module: str
    place: str = ""
    calls: int | None = None
    remedy: str = ""


def fused_kernel(module: nn.Module) -> type[nn.Module] | None:
    """The class in MODULES that the module is of, if any."""
    return next((cls for cls in MODULES if isinstance(module, cls)), None)


def fused_use(cls: type[nn.Module], name: str) -> SigmoidUse:
    """The use that the module of that name makes by its kernel."""
    return SigmoidUse(f"nn.{cls.__name__}", name, remedy=MODULES[cls])


def short_path(file: str) -> str:
    """The path, from the working directory if it lies under it."""
    relative = os.path.relpath(file) if os.path.isabs(file) else file
    return file if relative.startswith("..") else relative

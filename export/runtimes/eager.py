"""Eager PyTorch: the operator as it is installed here.

A bundle holds no model source, so at model level eager's outputs are those recorded at export.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .libtorch import Libtorch, of_arrays
from .runtime import Run

if TYPE_CHECKING:
    from torch import Tensor


class Eager(Libtorch):
    """torch_sigmoid_ext.sigmoid; there is no file."""

    name = "eager"
    format = ""

    def load(self, path: Path) -> Run:
        return of_arrays(self.sigmoid)

    @staticmethod
    def sigmoid(x: Tensor) -> Tensor:
        import torch_sigmoid_ext

        return torch_sigmoid_ext.sigmoid(x)


class EagerTorch(Eager):
    """The same for a model that calls torch's own sigmoid."""

    @staticmethod
    def sigmoid(x: Tensor) -> Tensor:
        import torch

        return torch.sigmoid(x)

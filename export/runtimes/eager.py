"""Eager PyTorch: the operator as it is installed here.

A bundle holds no model source, so at model level eager's outputs are those recorded at export.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

import torch_sigmoid_ext

from .libtorch import Libtorch
from .runtime import Array, Run


class Eager(Libtorch):
    """torch_sigmoid_ext.sigmoid; there is no file."""

    name = "eager"
    format = ""
    sigmoid: Callable[[torch.Tensor], torch.Tensor] = staticmethod(torch_sigmoid_ext.sigmoid)

    def load(self, path: Path) -> Run:
        def run(inputs: list[Array]) -> list[Array]:
            return [self.sigmoid(torch.from_numpy(x)).numpy() for x in inputs]

        return run


class EagerTorch(Eager):
    """The same for a model that calls torch's own sigmoid."""

    sigmoid = staticmethod(torch.sigmoid)

"""What the adapters of PyTorch's own formats share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree as pytree

import torch_sigmoid_ext

from .runtime import Array, Run, Runtime


class Libtorch(Runtime):
    """A runtime that is a part of torch."""

    def version(self) -> str:
        return str(torch.__version__)

    def features(self) -> str:
        return torch.backends.cpu.get_cpu_capability()


def load_operator_library() -> None:
    """As a program does it that serves a file without the package."""
    torch.ops.load_library(torch_sigmoid_ext.library_path())  # type: ignore[no-untyped-call]


def of_arrays(model: Callable[..., Any]) -> Run:
    """A callable of tensors as one of arrays, its outputs out of tuples, lists and dicts."""

    def run(inputs: list[Array]) -> list[Array]:
        with torch.no_grad():
            outputs = model(*map(torch.from_numpy, inputs))
        return [leaf.numpy() for leaf in pytree.tree_leaves(outputs)]

    return run

"""What the adapters of PyTorch's own formats share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch_sigmoid_ext import library_path
from torch_sigmoid_ext._torch import install_torch, torch_is_here

from .runtime import Array, Run, Runtime


class Libtorch(Runtime):
    """A runtime that is a part of torch, which is imported when it is there and needed."""

    tools: str = ""  # the command that brings what it needs besides torch

    @property
    def install(self) -> str:  # type: ignore[override]
        return self.tools if torch_is_here() else install_torch()

    confined = True

    def version(self) -> str:
        if not torch_is_here():
            return ""
        import torch

        return str(torch.__version__)

    def environment(self) -> dict[str, str]:
        return {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}  # torch.export.load would fall back to pickle

    def features(self) -> str:
        import torch

        return torch.backends.cpu.get_cpu_capability()


def load_operator_library() -> None:
    """As a program does it that serves a file without the package."""
    import torch

    torch.ops.load_library(library_path())  # type: ignore[no-untyped-call]


def of_arrays(model: Callable[..., Any]) -> Run:
    """A callable of tensors as one of arrays, its outputs out of tuples, lists and dicts."""

    import torch
    from torch.utils import _pytree as pytree

    def run(inputs: list[Array]) -> list[Array]:
        with torch.no_grad():
            outputs = model(*map(torch.from_numpy, inputs))
        return [leaf.numpy() for leaf in pytree.tree_leaves(outputs)]

    return run

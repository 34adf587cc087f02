"""TorchScript in a fresh Python process, with the operator library and nothing of the model."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch.utils import _pytree as pytree

import torch_sigmoid_ext

from . import Array, Run


class TorchScript:
    """torch.jit.load after torch.ops.load_library, as a program that serves the file does it."""

    name = "torchscript"
    format = "torchscript"
    install = ""

    def version(self) -> str:
        return str(torch.__version__)

    def load(self, path: Path) -> Run:
        torch.ops.load_library(torch_sigmoid_ext.library_path())  # type: ignore[no-untyped-call]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit is deprecated as of 2.13, and still works
            model = torch.jit.load(path, "cpu")  # type: ignore[no-untyped-call]

        def run(inputs: list[Array]) -> list[Array]:
            with torch.no_grad():
                outputs = model(*map(torch.from_numpy, inputs))
            return [leaf.numpy() for leaf in pytree.tree_leaves(outputs)]

        return run

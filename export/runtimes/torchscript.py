"""TorchScript in a fresh Python process, with the operator library and nothing of the model."""

from __future__ import annotations

import warnings
from pathlib import Path

from .libtorch import Libtorch, load_operator_library, of_arrays
from .runtime import Run


class TorchScript(Libtorch):
    """torch.jit.load after torch.ops.load_library, as a program that serves the file does it."""

    name = "torchscript"
    format = "torchscript"

    def load(self, path: Path) -> Run:
        import torch

        load_operator_library()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit is deprecated as of 2.13, and still works
            return of_arrays(torch.jit.load(path, "cpu"))  # type: ignore[no-untyped-call]

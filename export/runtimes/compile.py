"""torch.compile: Inductor's kernels for the graph in torch.export's file.

A bundle holds no model source, and verify must import none: the graph is what there is to compile.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from torch_sigmoid_ext import library_path

from .libtorch import Libtorch, of_arrays
from .runtime import Run


class Compile(Libtorch):
    """torch.compile of the program's module, with sizes left free."""

    name = "compile"
    format = "pt2"
    tools = "apt-get install g++"

    def version(self) -> str:
        found = shutil.which(os.environ.get("CXX", "g++"))
        return super().version() if found else ""

    def environment(self) -> dict[str, str]:
        # What Inductor keeps knows operators by name: code for an earlier build would be verified.
        return {**super().environment(), "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}

    def load(self, path: Path) -> Run:
        import torch

        # The package, and not its library alone: Inductor asks it for the operator's strides.
        assert library_path()
        module = torch.export.load(path).module()
        return of_arrays(torch.compile(module, dynamic=True))

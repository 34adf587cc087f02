"""torch.export's file in Python: the graph, operator by operator, without the model's code."""

from __future__ import annotations

from pathlib import Path

import torch

from .libtorch import Libtorch, load_operator_library, of_arrays
from .runtime import Run


class Export(Libtorch):
    """torch.export.load and its module."""

    name = "export"
    format = "pt2"

    def load(self, path: Path) -> Run:
        load_operator_library()
        return of_arrays(torch.export.load(path).module())

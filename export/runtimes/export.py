"""torch.export's file in Python: the graph, operator by operator, without the model's code."""

from __future__ import annotations

from pathlib import Path

from .libtorch import Libtorch, load_operator_library, of_arrays
from .runtime import Array, Run


class Export(Libtorch):
    """torch.export.load and its module."""

    name = "export"
    format = "pt2"

    def load(self, path: Path) -> Run:
        import torch

        load_operator_library()
        return of_arrays(torch.export.load(path).module())


class ExportInFloat64(Export):
    """The same graph with its weights in float64, for inputs in float64: the truth, no runtime."""

    name = "float64"

    def load(self, path: Path) -> Run:
        import torch

        load_operator_library()
        # The guards of a plain module() hold the inputs to the graph's own types.
        wide = torch.export.load(path).module(check_guards=False).double()
        run = of_arrays(wide)

        def widened(inputs: list[Array]) -> list[Array]:
            return run([x.astype("float64") if x.dtype.kind == "f" else x for x in inputs])

        return widened

"""torch.export's file for runtimes of others, which have no operator of ours.

The operator is replaced by operations of PyTorch's own, as the file itself says: export writes its
lowering into it (``--sigmoid``), under the name that the ONNX file has it by.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch_sigmoid_ext

from .libtorch import load_operator_library
from .runtime import Array, Run

if TYPE_CHECKING:  # loaded in the runtime's own process
    import torch

LOWERING = "torch_sigmoid_ext.lowering"  # among the file's extra files


def lowered(path: Path) -> torch.export.ExportedProgram:
    """The program with nothing but operators of PyTorch's own."""
    import torch

    load_operator_library()
    told: dict[str, Any] = {LOWERING: ""}
    program = torch.export.load(path, extra_files=told)
    plain: torch.export.ExportedProgram = program.run_decompositions(
        _TABLES[told[LOWERING] or "exact"]()
    )
    return plain


def _native() -> dict[Any, Callable[..., Any]]:
    import torch

    def sigmoid(self: torch.Tensor, *, fast: bool = False) -> torch.Tensor:
        return torch.sigmoid(self)

    return {torch.ops.torch_sigmoid_ext.sigmoid.default: sigmoid}


_TABLES: dict[str, Callable[[], dict[Any, Callable[..., Any]]]] = {
    "native": _native,
    "stable": lambda: dict(torch_sigmoid_ext.decompositions("fast")),
    "exact": lambda: dict(torch_sigmoid_ext.decompositions("exact")),
    "function": lambda: dict(torch_sigmoid_ext.decompositions("exact")),
}


def of_shapes(
    program: torch.export.ExportedProgram,
    convert: Callable[[torch.nn.Module, tuple[torch.Tensor, ...]], Run],
) -> Run:
    """The program as a function of arrays, converted anew for shapes that it has not had yet.

    For runtimes that plan their memory ahead: a dimension that has no upper bound, as a bundle's
    have none, is refused or fixed at its example size.
    """
    import torch

    module = program.module()
    made: dict[tuple[tuple[int, ...], ...], Run] = {}

    def run(inputs: list[Array]) -> list[Array]:
        shapes = tuple(x.shape for x in inputs)
        if shapes not in made:
            made[shapes] = convert(module, tuple(map(torch.from_numpy, inputs)))
        return made[shapes](inputs)

    return run

"""ExecuTorch: torch.export's file made a program of its own, with XNNPACK and without."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lowered import lowered, of_shapes
from .packages import Packaged
from .runtime import Array, Run

if TYPE_CHECKING:
    import torch


class ExecuTorch(Packaged):
    """What XnnpackPartitioner takes by XNNPACK, the rest by ExecuTorch's own kernels."""

    name = "executorch"
    format = "pt2"
    install = "pip install executorch"
    precision = "as the file says; float32 by XNNPACK"
    imports = "executorch"
    distributions = ("executorch",)
    confined = True
    on_request = True  # it lowers the file for every shape
    mends = dict.fromkeys(("native", "stable"), "export for ExecuTorch with --sigmoid exact")

    def load(self, path: Path) -> Run:
        def convert(module: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> Run:
            return _program(module, example, self._partitioners())

        return of_shapes(lowered(path), convert)

    def _partitioners(self) -> list[Any]:
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

        return [XnnpackPartitioner()]


class ExecuTorchPortable(ExecuTorch):
    """No delegate: every operator by the kernels that the package brings."""

    name = "executorch-portable"
    precision = "as the file says"

    def _partitioners(self) -> list[Any]:
        return []


def _program(
    module: torch.nn.Module, example: tuple[torch.Tensor, ...], partitioners: list[Any]
) -> Run:
    import torch
    from executorch.exir import to_edge_transform_and_lower
    from executorch.runtime import Runtime as Loader

    exported = torch.export.export(module, example, strict=False)
    edge = to_edge_transform_and_lower(exported, partitioner=partitioners)
    program = Loader.get().load_program(edge.to_executorch().buffer)

    def run(inputs: list[Array]) -> list[Array]:
        # The program keeps its method; a method does not keep its program's bytes.
        outputs = program.load_method("forward").execute(list(map(torch.from_numpy, inputs)))
        return [output.numpy() for output in outputs]

    return run

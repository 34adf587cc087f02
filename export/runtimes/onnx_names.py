"""What an ONNX file is called with, for runtimes that do not tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def onnx_names(path: Path) -> tuple[list[str], list[str]]:
    """The names of its inputs and outputs."""
    graph = _graph(path)
    return [value.name for value in graph.input], [value.name for value in graph.output]


def example_shapes(path: Path, grow: int = 0) -> list[list[int]]:
    """A shape an input, its dynamic dimensions 4 and so on, each grown by so much."""
    sizes: dict[str, int] = {}
    shapes = []
    for value in _graph(path).input:
        dims = value.type.tensor_type.shape.dim
        for dim in dims:
            if dim.dim_param:
                sizes.setdefault(dim.dim_param, 4 + len(sizes) + grow)
        shapes.append([sizes[dim.dim_param] if dim.dim_param else dim.dim_value for dim in dims])
    return shapes


def _graph(path: Path) -> Any:
    import onnx

    return onnx.load(path, load_external_data=False).graph

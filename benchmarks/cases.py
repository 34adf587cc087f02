"""What is measured: kernels, dtypes, layouts, outputs, sizes and distributions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

SMALL = (6, 64)
CACHE = (1 << 14, 1 << 17, 1 << 20)
LARGE = 1 << 24
SIZES = (*SMALL, 1 << 10, *CACHE, LARGE)

NORMAL = "N(0,1)"


@dataclass(frozen=True)
class Edges:
    """A dtype's sigmoid is 1 above `one`, subnormal from `least` to `subnormal`, 0 below `zero`."""

    one: float
    subnormal: float
    least: float
    zero: float


EDGES = {
    "float16": Edges(8.4, -9.8, -17.3, -17.4),
    "bfloat16": Edges(6.3, -87.5, -92.5, -93.0),
    "float32": Edges(17.4, -87.4, -103.9, -104.0),
    "float64": Edges(37.5, -708.4, -745.1, -745.2),
}


@dataclass(frozen=True)
class Case:
    """One cell of the tables, apart from threads and instruction set."""

    kernel: str  # "exact", "fast", "backward"
    dtype: str
    numel: int
    distribution: str = NORMAL  # of the sigmoid's input
    output: str = "fresh"  # or "out=": written into a tensor that is there already
    layout: str = "contiguous"  # or "every other", "transposed": the input's
    peers: bool = False  # beside torch eager, the other peers too


@dataclass(frozen=True)
class Tensors:
    """What a case runs on; `x` is sigmoid's input, or its result for the backward."""

    x: Tensor
    out: Tensor
    grad_output: Tensor


def _between(low: float, high: float, numel: int) -> Tensor:
    return torch.rand(numel, dtype=torch.float64) * (high - low) + low


def _saturated(numel: int, edges: Edges) -> Tensor:
    ones = _between(edges.one, edges.one + 50, numel)
    zeros = _between(edges.zero - 50, edges.zero, numel)
    return torch.where(torch.rand(numel) < 0.5, ones, zeros)


def _with_infinities(numel: int, edges: Edges) -> Tensor:
    x = torch.randn(numel)
    x[torch.rand(numel) < 0.1] = math.inf
    x[torch.rand(numel) < 0.1] = -math.inf
    return x


DISTRIBUTIONS: dict[str, Callable[[int, Edges], Tensor]] = {
    NORMAL: lambda numel, edges: torch.randn(numel),
    "N(0,5)": lambda numel, edges: torch.randn(numel) * 5,
    "N(-20,5)": lambda numel, edges: torch.randn(numel) * 5 - 20,
    "uniform ±10": lambda numel, edges: _between(-10, 10, numel),
    "uniform ±100": lambda numel, edges: _between(-100, 100, numel),
    "all 1": lambda numel, edges: _between(edges.one, edges.one + 50, numel),
    "all 0 or 1": _saturated,
    "all subnormal": lambda numel, edges: _between(edges.least, edges.subnormal, numel),
    "with infinities": _with_infinities,
    "far below 0": lambda numel, edges: _between(
        0.95 * edges.subnormal, edges.subnormal / 4, numel
    ),
}


def tensors(case: Case) -> Tensors:
    """The case's inputs, the same for every run of it, and an output whose pages are there."""
    torch.manual_seed(0)
    dtype: torch.dtype = getattr(torch, case.dtype)
    draw, edges = DISTRIBUTIONS[case.distribution], EDGES[case.dtype]
    if case.layout == "every other":
        x = draw(2 * case.numel, edges).to(dtype)[::2]
    elif case.layout == "transposed":
        rows = 1 << (case.numel.bit_length() - 1) // 2
        x = draw(case.numel, edges).to(dtype).reshape(rows, -1).t()
    else:
        x = draw(case.numel, edges).to(dtype)
    if case.kernel == "backward":
        return Tensors(torch.sigmoid(x), torch.zeros_like(x), torch.randn(x.shape).to(dtype))
    return Tensors(x, torch.zeros(x.shape, dtype=dtype), x)


def all_cases() -> list[Case]:
    """The main run's, without threads."""
    return [*_float32(), *_other_dtypes(), *_backward(), *_strided()]


def cache_cases() -> list[Case]:
    """Those of the second run, on AVX2 alone: contiguous and in cache."""
    return [
        replace(case, peers=False)
        for case in all_cases()
        if case.numel in CACHE and case.layout == "contiguous" and case.output == "fresh"
    ]


def _float32() -> Iterator[Case]:
    for kernel in ("exact", "fast"):
        for numel in SIZES:
            for output in ("fresh", "out="):
                yield Case(kernel, "float32", numel, output=output, peers=kernel == "exact")
        for distribution in DISTRIBUTIONS:
            if distribution != NORMAL:
                for numel in CACHE[:2]:
                    yield Case(kernel, "float32", numel, distribution)


def _other_dtypes() -> Iterator[Case]:
    for dtype in ("bfloat16", "float16", "float64"):
        for numel in SIZES:
            yield Case("exact", dtype, numel, peers=numel == CACHE[1])
        yield Case("exact", dtype, LARGE, output="out=")
        for distribution in DISTRIBUTIONS:
            if distribution != NORMAL:
                yield Case("exact", dtype, CACHE[1], distribution)


def _backward() -> Iterator[Case]:
    for dtype in ("float32", "bfloat16", "float16", "float64"):
        for numel in SIZES:
            yield Case("backward", dtype, numel, peers=True)
        yield Case("backward", dtype, LARGE, output="out=")


def _strided() -> Iterator[Case]:
    for dtype in ("float32", "bfloat16"):
        for layout, output in (("every other", "fresh"), ("transposed", "out=")):
            for numel in CACHE:
                yield Case("exact", dtype, numel, output=output, layout=layout)

"""How near the decompositions come to the operator, through Inductor: prints Markdown.

    python -m benchmarks.compile_error --every 1      # all 2^32 float32 inputs, some minutes

The reference for a rounded σ is the operator itself, which `make prove` compares with the truth for
every input (docs/prove.txt); that for an error in ULP is the operator in float64; that for a
gradient is numpy's long double.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

import torch_sigmoid_ext

_CHUNK = 1 << 24
_KINDS = ("exact", "fast")
_PRECISION = {torch.float32: (24, -126), torch.float16: (11, -14), torch.bfloat16: (8, -126)}


@dataclass
class Error:
    """What a row of the table says."""

    inputs: int = 0
    misrounded: int = 0
    ulp: float = 0.5
    worst: float = float("nan")
    examples: list[str] = field(default_factory=list)

    def add(self, x: Tensor, got: Tensor, rounded: Tensor, truth: Tensor) -> None:
        """Results `got` at x; what they should be, in their own dtype and in float64."""
        self.inputs += x.numel()
        wrong = (got != rounded) & ~(got.isnan() & rounded.isnan())
        if not wrong.any():
            return
        x, got, truth = x[wrong], got[wrong].double(), truth[wrong]
        self.misrounded += x.numel()
        precision, least = _PRECISION[rounded.dtype]
        exponent = torch.frexp(truth).exponent.clamp(min=least + 1)
        ulp = (got - truth).abs() / torch.ldexp(torch.ones_like(truth), exponent - precision)
        if ulp.max() > self.ulp:
            self.ulp, self.worst = float(ulp.max()), float(x[ulp.argmax()])
        room = 4 - len(self.examples)
        self.examples += [float(value).hex() for value in x[:room]]


def _float32(every: int) -> Iterator[Tensor]:
    """Every so manieth bit pattern."""
    for start in range(-(1 << 31), 1 << 31, _CHUNK * every):
        stop = min(start + _CHUNK * every, 1 << 31)
        yield torch.arange(start, stop, every).to(torch.int32).view(torch.float32)


def _sixteen(dtype: torch.dtype) -> Iterator[Tensor]:
    yield torch.arange(-(1 << 15), 1 << 15).to(torch.int16).view(dtype)


def _forward(compiled: Callable[[Tensor], Tensor], inputs: Iterator[Tensor]) -> Error:
    error = Error()
    for x in inputs:
        truth = torch_sigmoid_ext.sigmoid(x.double())
        error.add(x, compiled(x), torch_sigmoid_ext.sigmoid(x), truth)
    return error


def _backward(compiled: Callable[[Tensor, Tensor], Tensor], dtype: torch.dtype) -> Error:
    """A normal gradient, and σ of inputs that reach into both tails."""
    generator = torch.Generator().manual_seed(0)
    g = torch.randn(_CHUNK, generator=generator).to(dtype)
    x = torch.randn(_CHUNK, generator=generator) * 12
    y = torch_sigmoid_ext.sigmoid(x.to(dtype))
    wide_g, wide_y = (np.asarray(t.double()).astype(np.longdouble) for t in (g, y))
    truth = wide_g * (wide_y * (1 - wide_y))
    error = Error()
    rounded = torch.from_numpy(truth.astype(np.float32))
    error.add(y, compiled(g, y), rounded, torch.from_numpy(truth.astype(np.float64)))
    return error


def _row(kind: str, what: str, error: Error) -> str:
    share = f"{error.misrounded:,} of {error.inputs:,}"
    worst = f"{error.ulp:.3f} at {error.worst.hex()}" if error.misrounded else "0.5"
    few = ", ".join(error.examples) if error.misrounded <= 4 else ""
    return f"| {kind} | {what} | {share} | {worst} | {few} |"


def table(every: int) -> Iterator[str]:
    """Line by line, as they are measured."""
    yield "| decomposition | of | misrounded | worst error, ULP | which |"
    yield "|---|---|---|---|---|"
    for kind in _KINDS:
        backend = torch_sigmoid_ext.inductor(kind)
        forward = torch.compile(torch_sigmoid_ext.sigmoid, backend=backend, dynamic=True)
        yield _row(kind, "float32", _forward(forward, _float32(every)))
        for dtype in (torch.float16, torch.bfloat16):
            yield _row(kind, str(dtype)[6:], _forward(forward, _sixteen(dtype)))
        operator = torch.ops.torch_sigmoid_ext.sigmoid_backward.default
        gradient = torch.compile(lambda g, y, o=operator: o(g, y), backend=backend)
        yield _row(kind, "float32 gradient", _backward(gradient, torch.float32))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compile_error", description=__doc__)
    parser.add_argument("--every", type=int, default=64, help="one float32 of so many; default 64")
    for line in table(parser.parse_args(arguments).every):
        print(line, flush=True)


if __name__ == "__main__":
    main()

"""What a sigmoid gets wrong: a sample of inputs with the truth, and the tally of what came back.

The truth is export/ulp.py's for float32, vectorized; for the other types, where fewer inputs are
taken, it is mpmath's at 200 bits, by tests/truth.py.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_sigmoid_ext.export import ulp

sys.path.append(str(Path(__file__).parents[2] / "tests"))
import truth

Array = NDArray[Any]

RUN = 16  # adjacent floats taken together, to see whether results keep their order
CHUNK = 1 << 14  # runs
FLOAT64_RUNS = 1 << 11  # of 4, for each line below; mpmath takes its time

# (from, to) by magnitude: nearer to 0 σ rounds to 1/2, farther out to 0 or 1, or see `hard`.
REACH = {
    torch.float32: ((2.0**-26, 17.0), (-(2.0**-26), -104.0)),
    torch.float64: (
        (2.0**-55, 37.5),
        (-(2.0**-55), -16.0),
        (-16.0, -708.0),
        (-708.0, -745.2),
    ),
}
BINS = np.linspace(-105, 18, 247)  # of the curve: half a unit each


@dataclass(frozen=True)
class Questions:
    """Inputs with their true sigmoids."""

    inputs: Tensor
    run: int  # every so many inputs are adjacent floats; 1 for hard ones, which no share counts
    x: Array  # the inputs as float64
    expected: Array  # correctly rounded, as float64
    spacing: Array  # of the dtype at the truth
    offset: Array  # expected - truth, in spacings
    normal: Array  # bool: the truth is a normal number


@dataclass(frozen=True)
class Windows:
    """Bit patterns cut into windows; each gives one run of adjacent floats, at random in it."""

    first: int
    width: int
    count: int

    @property
    def chunks(self) -> int:
        return -(-self.count // CHUNK)

    def inputs(self, chunk: int, run: int, floats: type, random: np.random.Generator) -> Tensor:
        bits = np.dtype(f"u{np.dtype(floats).itemsize}").type
        window = np.arange(chunk * CHUNK, min((chunk + 1) * CHUNK, self.count), dtype=bits)
        inside = random.integers(0, self.width - run, window.shape, endpoint=True).astype(bits)
        starts = bits(self.first) + window * bits(self.width) + inside
        return torch.from_numpy((starts[:, None] + np.arange(run, dtype=bits)).ravel().view(floats))


def windows(dtype: torch.dtype, every: int) -> list[Windows]:
    """Of float32, one run for ``every`` that there are; of float64, some thousand."""
    floats, bits = (np.float32, np.uint32) if dtype == torch.float32 else (np.float64, np.uint64)
    found = []
    for limits in REACH.get(dtype, ()):
        first, last = (int(floats(limit).view(bits)) for limit in limits)
        width = RUN * every if dtype == torch.float32 else (last - first) // FLOAT64_RUNS
        found.append(Windows(first, width, (last - first) // width))
    return found


def chunks(dtype: torch.dtype, every: int) -> int:
    """How many times `questions` yields."""
    return sum(one.chunks for one in windows(dtype, every)) + (dtype != torch.float64)


def questions(dtype: torch.dtype, every: int) -> Iterator[Questions]:
    """Every 16-bit input; of the wider types runs out of all windows, and the hard float32s."""
    random = np.random.default_rng(2026)
    for one in windows(dtype, every):
        for chunk in range(one.chunks):
            if dtype == torch.float32:
                yield by_long_double(one.inputs(chunk, RUN, np.float32, random), RUN)
            else:
                yield by_mpmath(one.inputs(chunk, 4, np.float64, random), 4)
    if dtype == torch.float32:
        yield by_long_double(torch.from_numpy(hard()), 1)
    elif dtype != torch.float64:
        inputs = truth.every_16_bit_input(dtype)
        inputs = inputs[inputs.isfinite()].sort().values
        yield by_mpmath(inputs, len(inputs))


def hard() -> Array:
    """The hardest inputs of all, the ties of 1/2 + x/4, and all where results reach 1."""
    ties = np.arange(-2048, 2048) * 2.0**-24
    first, last = (int(np.float32(limit).view(np.uint32)) for limit in (17, 18.5))
    saturation = np.arange(first, last, dtype=np.uint32).view(np.float32)
    return np.concatenate([np.array(ulp.HARDEST, np.float32), ties.astype(np.float32), saturation])


def by_long_double(inputs: Tensor, run: int) -> Questions:
    x = inputs.numpy()
    true = ulp.true_sigmoid(x)
    expected, spacing = ulp.rounded(true, x.dtype), ulp.spacing_at(true, x.dtype)
    offset = ((expected - true) / spacing).astype(np.float64)
    wide, tiny = (a.astype(np.float64) for a in (expected, spacing))
    return Questions(inputs, run, x.astype(np.float64), wide, tiny, offset, true >= 2.0**-126)


def by_mpmath(inputs: Tensor, run: int) -> Questions:
    x = inputs.double().numpy()
    dtype = inputs.dtype
    true = [truth.true_sigmoid(value) for value in x.tolist()]
    expected = np.array([truth.rounded(value, dtype) for value in true])
    spacing = [truth.spacing(value, dtype) for value in true]
    offset = [(e - t) / s for e, t, s in zip(expected.tolist(), true, spacing, strict=True)]
    return Questions(
        inputs,
        run,
        x,
        expected,
        np.array(spacing, np.float64),
        np.array(offset, np.float64),
        np.array([value >= 2.0 ** truth.FORMATS[dtype][1] for value in true]),
    )


@dataclass
class Worst:
    """The largest error of a group of inputs."""

    ulp: float = 0.0
    input: float | None = None
    got: float | None = None

    def take(self, error: Array, x: Array, y: Array) -> None:
        if error.size and error.max() > self.ulp:
            at = int(error.argmax())
            self.ulp, self.input, self.got = float(error[at]), float(x[at]), float(y[at])


@dataclass
class Tally:
    """What became of the questions."""

    inputs: int = 0
    misrounded: int = 0
    misrounded_hard: int = 0  # of those that are not among the inputs counted
    normal: Worst = field(default_factory=Worst)
    subnormal: Worst = field(default_factory=Worst)
    zero_from: float | None = None  # the input nearest 0 that wrongly gives 0
    pairs: int = 0  # of adjacent inputs
    decreasing: int = 0  # those whose results stand in the wrong order
    outside: int = 0  # results below 0 or above 1, and NaN
    curve: Array = field(default_factory=lambda: np.zeros(len(BINS) - 1))  # largest error in a bin

    def take(self, asked: Questions, outputs: Tensor) -> None:
        if outputs.shape != asked.inputs.shape or outputs.dtype != asked.inputs.dtype:
            raise TypeError(
                f"expected {asked.inputs.dtype}{list(asked.inputs.shape)}, "
                f"got {outputs.dtype}{list(outputs.shape)}"
            )
        x, y = asked.x, outputs.double().numpy()
        with np.errstate(over="ignore", invalid="ignore"):
            error = np.abs((y - asked.expected) / asked.spacing + asked.offset)
        error = np.where(np.isnan(y), np.inf, error)
        misrounded = int((y != asked.expected).sum())
        if asked.run > 1:
            self.inputs += y.size
            self.misrounded += misrounded
        else:
            self.misrounded_hard += misrounded
        for worst, among in ((self.normal, asked.normal), (self.subnormal, ~asked.normal)):
            worst.take(error[among], x[among], y[among])
        zeros = x[(y == 0) & (asked.expected > 0)]
        if zeros.size:
            self.zero_from = max(float(zeros.max()), self.zero_from or -math.inf)
        self.outside += int((~((y >= 0) & (y <= 1))).sum())
        if asked.run > 1:
            step = np.diff(y.reshape(-1, asked.run)) * np.sign(np.diff(x.reshape(-1, asked.run)))
            self.pairs += step.size
            self.decreasing += int((step < 0).sum())
        bins = np.clip(np.searchsorted(BINS, x, side="right") - 1, 0, len(self.curve) - 1)
        np.maximum.at(self.curve, bins, error)

    def as_json(self) -> dict[str, Any]:
        found = asdict(self)
        found["curve"] = [float(f"{error:.3g}") for error in self.curve]
        return found

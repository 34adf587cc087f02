"""Samples as a bundle stores them: inputs, eager's outputs, the float64 truth; without torch."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .consequences import HALF
from .errors import UsageError

Array = NDArray[Any]


@dataclass(frozen=True)
class Sample:
    """One batch, a list of arrays each for inputs and outputs."""

    batch: int
    inputs: list[Array]
    eager: list[Array]
    truth: list[Array]  # float64; empty where the model cannot run in float64

    given: ClassVar[bool] = False  # all of the user's own rows

    def runs(self) -> list[list[Array]]:
        """The inputs of each run that it takes."""
        return [self.inputs]


@dataclass(frozen=True)
class GivenSample(Sample):
    """The user's own rows, all of them."""

    at_once: int  # rows a run
    cut: list[bool]  # the inputs that hold a part of the rows in each run, along the first axis
    labelled: int = 0  # the output that the labels are about
    labels: Array | None = None  # float64, in that output's shape
    threshold: float = HALF  # to decide at, beside 0.5

    given: ClassVar[bool] = True

    def runs(self) -> list[list[Array]]:
        if self.at_once >= self.batch:
            return [self.inputs]
        firsts = range(0, self.batch, self.at_once)
        return [
            [
                x[first : first + self.at_once] if cut else x
                for x, cut in zip(self.inputs, self.cut, strict=True)
            ]
            for first in firsts
        ]


def joined(parts: Sequence[Sequence[Array]]) -> list[Array]:
    """The outputs of several runs as those of one."""
    if len(parts) == 1:
        return list(parts[0])
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


GIVEN = "given"  # in place of a batch: the user's own rows


def save_samples(path: Path, samples: Sequence[Sample]) -> None:
    """One .npz; every array is named by batch, role and position: ``1024/truth/0``."""
    arrays = {}
    for sample in samples:
        prefix = GIVEN if sample.given else str(sample.batch)
        for role in ("inputs", "eager", "truth"):
            for i, array in enumerate(getattr(sample, role)):
                arrays[f"{prefix}/{role}/{i}"] = array
        if isinstance(sample, GivenSample):
            runs = [sample.batch, sample.at_once, *sample.cut]
            arrays[f"{GIVEN}/runs/0"] = np.array(runs, np.int64)
            arrays[f"{GIVEN}/threshold/0"] = np.array(sample.threshold)
            if sample.labels is not None:
                arrays[f"{GIVEN}/labels/{sample.labelled}"] = sample.labels
    np.savez_compressed(path, **arrays)


def load_samples(path: Path) -> list[Sample]:
    """The samples of `save_samples`, in order of batch, the user's own rows last.

    Raises:
        UsageError: the file is not what `save_samples` writes.
    """
    found: dict[str, dict[str, dict[int, Array]]] = {}
    try:
        with np.load(path) as arrays:
            for name in arrays.files:  # in the order in which they were saved
                batch, role, position = name.split("/")
                found.setdefault(batch, {}).setdefault(role, {})[int(position)] = arrays[name]
        return [_loaded(batch, roles) for batch, roles in found.items()]
    except (*_MALFORMED, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(
            f"{path.name} is not as export writes it ({type(error).__name__}: {error}); export the "
            "model again"
        ) from error


_MALFORMED = (OSError, EOFError, KeyError, IndexError, TypeError, ValueError)


def _loaded(batch: str, roles: dict[str, dict[int, Array]]) -> Sample:
    inputs, eager, truth = (
        list(roles.get(role, {}).values()) for role in ("inputs", "eager", "truth")
    )
    if batch != GIVEN:
        return Sample(int(batch), inputs, eager, truth)
    rows, at_once, *cut = roles["runs"][0].tolist()
    labelled, labels = next(iter(roles.get("labels", {}).items()), (0, None))
    threshold = float(roles["threshold"][0])
    cut = [bool(one) for one in cut]
    if at_once < 1 or len(cut) != len(inputs) or not 0 < threshold < 1:
        raise ValueError(f"runs of {at_once} rows, {len(cut)} inputs, threshold {threshold}")
    if labels is not None and labels.shape != eager[labelled].shape:
        raise ValueError(f"labels of shape {labels.shape}")
    return GivenSample(rows, inputs, eager, truth, at_once, cut, labelled, labels, threshold)

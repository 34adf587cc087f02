"""Samples as a bundle stores them: inputs, eager's outputs, the float64 truth; without torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .consequences import HALF
from .errors import UsageError
from .model import InputSpec
from .trust import Untrusted
from .trust.arrays import MOST_BYTES, fits, read_arrays
from .trust.text import shown

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
ROLES = ("inputs", "eager", "truth")
MOST_RUNS = 1 << 20
_OF_GIVEN = ("runs", "threshold", "labels")
_NAME = re.compile(rf"(\d{{1,9}}|{GIVEN})/({'|'.join((*ROLES, *_OF_GIVEN))})/(\d{{1,6}})")

_Roles = dict[str, dict[int, Array]]


def save_samples(path: Path, samples: Sequence[Sample]) -> None:
    """One .npz; every array is named by batch, role and position: ``1024/truth/0``."""
    arrays = {}
    for sample in samples:
        prefix = GIVEN if sample.given else str(sample.batch)
        for role in ROLES:
            for i, array in enumerate(getattr(sample, role)):
                arrays[f"{prefix}/{role}/{i}"] = array
        if isinstance(sample, GivenSample):
            runs = [sample.batch, sample.at_once, *sample.cut]
            arrays[f"{GIVEN}/runs/0"] = np.array(runs, np.int64)
            arrays[f"{GIVEN}/threshold/0"] = np.array(sample.threshold)
            if sample.labels is not None:
                arrays[f"{GIVEN}/labels/{sample.labelled}"] = sample.labels
    np.savez_compressed(path, **arrays)
    unpacked = sum(array.nbytes for array in arrays.values())
    if not fits(unpacked, path.stat().st_size):  # it packs as a bomb would
        np.savez(path, **arrays)
    if not fits(unpacked, path.stat().st_size):
        raise UsageError(
            f"expected samples of at most {MOST_BYTES:,} bytes, got {unpacked:,}; declare smaller "
            "sizes in --input"
        )


def load_samples(path: Path, inputs: Sequence[InputSpec]) -> list[Sample]:
    """The samples of `save_samples`, in order of batch, the user's own rows last.

    The file may come from anybody: it is read as arrays of numbers, and held against the manifest.

    Raises:
        UsageError: the file is not what `save_samples` writes for these inputs.
    """
    try:
        return _samples(read_arrays(path), inputs)
    except Untrusted as error:
        raise UsageError(f"{path.name} {error}; export the model again") from error


def _samples(arrays: Mapping[str, Array], inputs: Sequence[InputSpec]) -> list[Sample]:
    found: dict[str, _Roles] = {}
    for name, array in arrays.items():  # in the order in which they were saved
        match = _NAME.fullmatch(name)
        if not match or (match[2] in _OF_GIVEN and match[1] != GIVEN):
            raise Untrusted(f"has an array {shown(name)}, which is none of a sample's")
        of_role = found.setdefault(match[1], {}).setdefault(match[2], {})
        if match[2] in ROLES and len(of_role) != int(match[3]):
            raise Untrusted(f"has an array {shown(name)} out of its turn")
        of_role[int(match[3])] = array
    samples = [_loaded(batch, roles) for batch, roles in found.items()]
    for sample in samples:
        _check_sample(sample, inputs)
    return samples


def _loaded(batch: str, roles: _Roles) -> Sample:
    inputs, eager, truth = (list(roles.get(role, {}).values()) for role in ROLES)
    if batch != GIVEN:
        return Sample(int(batch), inputs, eager, truth)
    runs, thresholds = (_alone(roles, role) for role in ("runs", "threshold"))
    if runs.dtype != np.int64 or runs.ndim != 1 or runs.size != 2 + len(inputs):
        raise Untrusted("has given rows whose runs are not told")
    rows, at_once, *cut = runs.tolist()
    if rows < 0 or at_once < 1 or any(one not in (0, 1) for one in cut):
        raise Untrusted(f"has {rows} given rows in runs of {at_once}")
    if rows > MOST_RUNS * at_once or (rows > at_once and not any(cut)):
        raise Untrusted(f"has {rows} given rows in too many runs, of {at_once} each")
    if any(one and (x.ndim == 0 or len(x) != rows) for one, x in zip(cut, inputs, strict=True)):
        raise Untrusted(f"has {rows} given rows, and inputs of another number")
    if thresholds.dtype != np.float64 or thresholds.ndim or not 0 < thresholds < 1:
        raise Untrusted("has a threshold that is none")
    labelled, labels = next(iter(roles.get("labels", {}).items()), (0, None))
    if labels is not None and (
        labelled >= len(eager)
        or labels.dtype != np.float64
        or labels.shape != eager[labelled].shape
    ):
        raise Untrusted("has labels that are not of an output's shape")
    wanted = [bool(one) for one in cut]
    threshold = float(thresholds)
    return GivenSample(rows, inputs, eager, truth, at_once, wanted, labelled, labels, threshold)


def _alone(roles: _Roles, role: str) -> Array:
    found = roles.get(role, {})
    if list(found) != [0]:
        raise Untrusted(f"has given rows without {role}")
    return found[0]


def _check_sample(sample: Sample, inputs: Sequence[InputSpec]) -> None:
    """What is measured needs inputs as declared, and a truth of eager's own shapes."""
    who = f"has a batch {sample.batch}"
    given = [str(array.dtype) for array in sample.inputs]
    if given != [spec.dtype for spec in inputs]:
        raise Untrusted(f"{who} with inputs of {', '.join(given) or 'no'} dtypes")
    for run in sample.runs():  # given rows may take several
        _check_shapes(who, run, inputs)
    if not sample.eager or any(not _is_output(array) for array in sample.eager):
        raise Untrusted(f"{who} with no outputs, or of dtypes that no model gives here")
    if sample.truth and not _fits_truth(sample.eager, sample.truth):
        raise Untrusted(f"{who} whose truth is not of its outputs' shapes, or not in float64")


def _check_shapes(who: str, arrays: Sequence[Array], inputs: Sequence[InputSpec]) -> None:
    sizes: dict[str, int] = {}
    for spec, array in zip(inputs, arrays, strict=True):
        due = [
            sizes.setdefault(d, n) if isinstance(d, str) else d
            for d, n in zip(spec.dims, array.shape, strict=False)
        ]
        if len(spec.dims) != array.ndim or tuple(due) != array.shape:
            raise Untrusted(f"{who} with {spec.name} of the shape {list(array.shape)}")


def _is_output(array: Array) -> bool:
    return array.dtype.isnative and array.dtype.kind in "biuf" and array.dtype.itemsize <= 8


def _fits_truth(eager: Sequence[Array], truth: Sequence[Array]) -> bool:
    return [a.shape for a in eager] == [a.shape for a in truth] and all(
        due.dtype == np.float64 if own.dtype.kind == "f" else _is_output(due)
        for own, due in zip(eager, truth, strict=True)
    )

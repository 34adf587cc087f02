"""The user's own rows, from an .npz or .csv file or from arrays, as the model's inputs take them.

    npz    an array an input, by the input's name; labels by --label, or named label, labels, target
    csv    a header; the label's column is split off, the others are the one input, in their order

Everything is checked before it is used; what is wrong is told with what was expected, what came and
how to mend it. Numbers become the input's dtype: floats are rounded to it, integers must be in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .consequences import HALF
from .errors import UsageError
from .labels import checked_labels
from .model import InputSpec, named_dims
from .sample_files import check_dtype, check_size, read_csv, read_npz

Array = NDArray[Any]
Given = str | Path | Mapping[str, Array] | Sequence[Array]

LABELS = ("label", "labels", "target")  # names that mean it where --label names none
RUNS = 4096  # of a model with a fixed batch: each is a file and a run in every runtime
AT_ONCE = 1 << 22  # elements of one input in one run, as in the largest batch that is drawn


@dataclass(frozen=True)
class Rows:
    """Arrays in the inputs' dtypes and shapes, and what was said to be true of them."""

    inputs: list[Array]
    axes: list[int | None]  # which axis of an input counts the rows; None: every row gets all of it
    rows: int
    at_once: int  # rows a run
    labels: Array | None = None  # float64, in [0, 1] or the index of a class
    threshold: float = HALF  # to decide at, beside 0.5
    place: str = "samples"  # for what is said of them
    notes: list[str] = field(default_factory=list)

    def take(self, numbers: Array) -> list[Array]:
        """The inputs of these rows."""
        return [
            x if axis is None else np.take(x, numbers, axis)
            for x, axis in zip(self.inputs, self.axes, strict=True)
        ]


def rows_of(
    given: Given | None,
    inputs: Sequence[InputSpec],
    label: str | None = None,
    *,
    labels: Array | None = None,
    threshold: float | None = None,
) -> Rows | None:
    """`load_rows`, or None where nothing is given; UsageError for what is said of nothing."""
    if given is not None:
        return load_rows(given, inputs, label, labels=labels, threshold=threshold)
    if label is not None or labels is not None or threshold is not None:
        raise UsageError(
            "expected --samples with --label and --threshold, which are about its rows; got none: "
            "give --samples FILE.npz or FILE.csv"
        )
    return None


def load_rows(
    given: Given,
    inputs: Sequence[InputSpec],
    label: str | None = None,
    *,
    labels: Array | None = None,
    threshold: float | None = None,
) -> Rows:
    """The user's rows, ready for the model with these inputs.

    Args:
        given: a file, arrays by the inputs' names (and labels), or one array an input in order.
        inputs: as declared.
        label: the name of the labels' array or column.
        labels: the labels themselves.
        threshold: where to decide, beside 0.5.

    Raises:
        UsageError: what is not as it must be; the text says what was expected, what came, and how
            to mend it.
    """
    notes: list[str] = []
    if threshold is not None and not 0 < threshold < 1:
        raise UsageError(
            f"expected --threshold to lie between 0 and 1, got {threshold:g}; it is a probability"
        )
    if isinstance(given, str | Path):
        path = Path(given)
        place = path.name
        arrays, told = _read(path, inputs, label, notes)
    elif isinstance(given, Mapping):
        place = "samples"
        arrays, told = _by_name(_of_numbers(given, place), inputs, label, place, notes)
    else:
        place = "samples"
        arrays = _in_order(list(given), inputs, place)
        told = None
    converted = [_converted(spec, array, place) for spec, array in zip(inputs, arrays, strict=True)]
    axes, rows, at_once = _rows_of(inputs, converted, place)
    told = told if labels is None else labels
    if told is not None:
        told = checked_labels(told, rows, place)
    threshold = HALF if threshold is None else threshold
    return Rows(converted, axes, rows, at_once, told, threshold, place, notes)


def _read(
    path: Path, inputs: Sequence[InputSpec], label: str | None, notes: list[str]
) -> tuple[list[Array], Array | None]:
    if path.suffix.lower() not in (".npz", ".csv"):
        raise UsageError(
            f"expected --samples FILE.npz or FILE.csv, got {path}; save arrays with numpy.savez, "
            "or a table with a header as .csv"
        )
    if not path.is_file():
        raise UsageError(f"expected a file at --samples {path}, found none; check the path")
    if path.suffix.lower() == ".npz":
        return _by_name(read_npz(path), inputs, label, path.name, notes)
    return _of_csv(path, inputs, label)


def _by_name(
    arrays: Mapping[str, Array],
    inputs: Sequence[InputSpec],
    label: str | None,
    place: str,
    notes: list[str],
) -> tuple[list[Array], Array | None]:
    """Each input's array, and the labels'."""
    names = [spec.name for spec in inputs]
    if missing := [name for name in names if name not in arrays]:
        raise UsageError(
            f"expected an array for each input ({', '.join(names)}) in {place}, got "
            f"{', '.join(arrays) or 'none'}; {', '.join(missing)} is missing: save it under the "
            f"input's name, as in numpy.savez(file, {missing[0]}=array)"
        )
    labelled = _label_name([name for name in arrays if name not in names], label, place)
    unused = [name for name in arrays if name not in (*names, labelled)]
    if unused:
        notes.append(f"{place}: {', '.join(unused)} is neither an input nor the labels: not used")
    return [arrays[name] for name in names], arrays[labelled] if labelled else None


def _label_name(names: Sequence[str], label: str | None, place: str) -> str | None:
    if label is None:
        return next((name for name in names if name in LABELS), None)
    if label not in names:
        raise UsageError(
            f"expected the labels in {place} under --label {label}, got {', '.join(names) or 'no'}"
            " names beside the inputs; name one of them, or leave --label away"
        )
    return label


def _in_order(arrays: list[Any], inputs: Sequence[InputSpec], place: str) -> list[Array]:
    if len(arrays) != len(inputs):
        raise UsageError(
            f"expected an array for each of the {len(inputs)} inputs in {place}, got "
            f"{len(arrays)}; give them in the order of the inputs"
        )
    named = {spec.name: array for spec, array in zip(inputs, arrays, strict=True)}
    return list(_of_numbers(named, place).values())


def _of_numbers(arrays: Mapping[str, Any], place: str) -> dict[str, Array]:
    """The arrays, none of which holds objects, words or complex numbers."""
    found = {}
    for name, value in arrays.items():
        try:
            found[name] = np.asarray(value)
        except ValueError as error:  # ragged rows
            raise UsageError(
                f"expected {name} in {place} to be an array of numbers, got rows of different "
                f"lengths ({error}); pad them to one length"
            ) from None
        check_dtype(name, found[name].dtype, place)
        check_size(name, found[name].shape, place)
    return found


def _of_csv(
    path: Path, inputs: Sequence[InputSpec], label: str | None
) -> tuple[list[Array], Array | None]:
    """The table's columns but the label's as the model's one input."""
    place = path.name
    if len(inputs) != 1 or len(inputs[0].dims) not in (1, 2):
        raise UsageError(
            f"expected a model of one input with two dimensions for {place}, got "
            f"{', '.join(map(str, inputs))}; give the arrays as .npz, each under its input's name"
        )
    names, table = read_csv(path)
    column = _label_name(names, label, place)
    features = [i for i, name in enumerate(names) if name != column]
    width = inputs[0].dims[1] if len(inputs[0].dims) == 2 else 1
    if isinstance(width, int) and len(features) != width:
        raise UsageError(
            f"expected {width} columns for {inputs[0]} in {place}"
            f"{f' beside {column!r}' if column else ''}, got {len(features)}: "
            f"{', '.join(names[i] for i in features)}; keep the columns that the model takes, in "
            "its order, and name the label's by --label"
        )
    rows = table[:, features]
    if len(inputs[0].dims) == 1:
        rows = rows[:, 0]
    return [rows], None if column is None else table[:, names.index(column)]


def _converted(spec: InputSpec, array: Array, place: str) -> Array:
    """The array in the input's dtype and layout; UsageError where that changes more than digits."""
    dtype = np.dtype(spec.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        converted = np.ascontiguousarray(array, dtype).reshape(array.shape)
    if dtype.kind == "f":
        if array.dtype.kind == "b":
            raise UsageError(
                f"expected floats for {spec} in {place}, got bool; save it as {spec.dtype}"
            )
        wrong = np.isinf(converted) & np.isfinite(array)
    else:
        with np.errstate(invalid="ignore"):
            wrong = converted.astype(array.dtype) != array
            wrong |= (converted < 0) != (array < 0) if dtype.kind != "b" else False
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise UsageError(
            f"expected values that are {spec.dtype} for {spec} in {place}, got "
            f"{array[at]!s} at {list(at)} of an array of {array.dtype}; correct it, or declare the "
            "input with the dtype that it has"
        )
    return converted


def _rows_of(
    inputs: Sequence[InputSpec], arrays: Sequence[Array], place: str
) -> tuple[list[int | None], int, int]:
    """Which axis of each input counts the rows, how many there are, and how many to run at once."""
    dynamic = named_dims(inputs)[:1]
    fixed = next((spec.dims[0] for spec in inputs if spec.dims), None)
    axes: list[int | None] = []
    for spec in inputs:
        if dynamic:
            axes.append(spec.dims.index(dynamic[0]) if dynamic[0] in spec.dims else None)
        else:
            axes.append(0 if spec.dims and spec.dims[0] == fixed else None)
    sizes: dict[str | int, int] = {}
    for spec, array, axis in zip(inputs, arrays, axes, strict=True):
        _check_shape(spec, array, axis, sizes, place)
    if not dynamic:
        return _fixed_runs(axes, arrays, fixed, place)
    rows = sizes[dynamic[0]]
    row = max(
        array.size // rows for array, axis in zip(arrays, axes, strict=True) if axis is not None
    )
    together = any(axis for axis in axes)  # rows that are not the first axis may see one another
    return axes, rows, rows if together else min(rows, max(1, AT_ONCE // row))


def _fixed_runs(
    axes: list[int | None], arrays: Sequence[Array], fixed: str | int | None, place: str
) -> tuple[list[int | None], int, int]:
    """Rows for a model whose batch is a number: so many a run, and none left over."""
    if not isinstance(fixed, int):  # scalars only
        return axes, 1, 1
    counts = {len(a) for a, axis in zip(arrays, axes, strict=True) if axis == 0}
    rows = max(counts)
    if len(counts) > 1 or rows % fixed or rows > fixed * RUNS:
        raise UsageError(
            f"expected a multiple of {fixed} rows in {place}, at most {fixed * RUNS:,}, for the "
            f"model's batch is the number {fixed}; got {' and '.join(map(str, sorted(counts)))}; "
            "give other rows, or a name for the batch in --input to make it dynamic"
        )
    return axes, rows, fixed


def _check_shape(
    spec: InputSpec, array: Array, axis: int | None, sizes: dict[str | int, int], place: str
) -> None:
    fits = array.ndim == len(spec.dims) and all(
        dim == size if isinstance(dim, int) and i != axis else True
        for i, (dim, size) in enumerate(zip(spec.dims, array.shape, strict=False))
    )
    if not fits:
        raise UsageError(
            f"expected an array of shape [{','.join(map(str, spec.dims))}] for {spec} in {place}, "
            f"got {list(array.shape)}; reshape it, or correct --input"
        )
    for dim, size in zip(spec.dims, array.shape, strict=True):
        if isinstance(dim, str) and sizes.setdefault(dim, size) != size:
            raise UsageError(
                f"expected one size for the dimension {dim!r} in {place}, got {sizes[dim]} and "
                f"{size} (in {spec.name}); give every input the same rows"
            )

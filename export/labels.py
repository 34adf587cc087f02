"""What is said to be true of the user's rows: one number a row or element, in [0, 1] or a class."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError

Array = NDArray[Any]


def checked_labels(labels: Array, rows: int, place: str = "labels") -> Array:
    """The labels as float64, one at least a row, none of them NaN."""
    labels = np.asarray(labels)
    if labels.dtype.kind not in "biuf":
        raise UsageError(
            f"expected the labels in {place} to be numbers, got {labels.dtype}; write 0 and 1, or "
            "the numbers of the classes from 0 on"
        )
    if labels.ndim == 0 or len(labels) != rows:
        raise UsageError(
            f"expected a label for each of the {rows} rows in {place}, got labels of shape "
            f"{list(labels.shape)}; give one a row, in the order of the rows"
        )
    wide: Array = labels.astype(np.float64)
    if not np.isfinite(wide).all():
        at = [int(i) for i in np.argwhere(~np.isfinite(wide))[0]]
        raise UsageError(
            f"expected every label in {place} to be a number, got {wide[tuple(at)]:g} in row "
            f"{at[0]}; leave rows without a label away"
        )
    return wide


def fitted_labels(labels: Array, shape: tuple[int, ...], output: str) -> Array:
    """The labels in the shape of the output that they are about, in [0, 1].

    One a row is spread over a column; over several columns it is the index of the one that is true.
    """
    columns = math.prod(shape[1:])
    if labels.shape == shape:
        fitted = labels
    elif labels.size == shape[0] and columns == 1:
        fitted = labels.reshape(shape)
    elif labels.size == shape[0] and len(shape) == 2 and _are_classes(labels, columns):
        fitted = np.eye(columns)[labels.reshape(-1).astype(np.int64)]
    else:
        raise UsageError(
            f"expected labels for {output} of shape {list(shape)}: that shape, or one a row"
            + (f", a whole number from 0 to {columns - 1}" if columns > 1 else "")
            + f"; got shape {list(labels.shape)} with values from {labels.min():g} to "
            f"{labels.max():g}; correct the labels or leave them away"
        )
    if fitted.min() < 0 or fitted.max() > 1:
        raise UsageError(
            f"expected labels for {output} to be 0 or 1, or probabilities between, got values from "
            f"{fitted.min():g} to {fitted.max():g}; write what is true as 1 and what is not as 0"
        )
    return fitted


def _are_classes(labels: Array, columns: int) -> bool:
    return bool(((labels == np.floor(labels)) & (labels >= 0) & (labels < columns)).all())

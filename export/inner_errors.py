"""The errors of the sigmoids inside of a model, each apart from what comes before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .findings import Deviation, InnerFindings
from .stored import Sample
from .ulp import rounded, true_sigmoid, ulp_error

Array = NDArray[Any]


@dataclass(frozen=True)
class InnerSigmoid:
    """One call of a sigmoid in the model."""

    name: str  # of its node in the graph: "sigmoid_1"
    module: str  # the path of the module that calls it; "" for the model itself

    def __str__(self) -> str:
        return f"{self.module} ({self.name})" if self.module else self.name


def measure_inner(
    sigmoids: Sequence[InnerSigmoid], sample: Sample, outputs: Sequence[Array]
) -> list[InnerFindings]:
    """Each sigmoid's input and result against the truth, and its result against that of its input.

    The last is its own doing: the truth there is σ of the very input that the runtime gave to it.
    """
    first = len(outputs) - 2 * len(sigmoids)
    found = []
    for number, sigmoid in enumerate(sigmoids):
        at = first + 2 * number
        given, result = outputs[at], outputs[at + 1]
        ours = [_largest(ulp_error(e, t, e.dtype)) for e, t in _pairs(sample, at)]
        theirs = [
            _largest(ulp_error(got, t, e.dtype))
            for got, (e, t) in zip((given, result), _pairs(sample, at), strict=True)
        ]
        truth = true_sigmoid(given)
        due = rounded(truth, result.dtype)
        own = ulp_error(result, truth, result.dtype)
        zero = (result == 0) & (due != 0)
        with np.errstate(invalid="ignore"):
            apart = np.where(own == 0, 0, np.abs(result.astype(np.float64) - due))
        found.append(
            InnerFindings(
                name=sigmoid.name,
                module=sigmoid.module,
                dtype=result.dtype.name,
                elements=result.size,
                input_ulp=theirs[0],
                eager_input_ulp=ours[0],
                result_ulp=theirs[1],
                eager_result_ulp=ours[1],
                own_ulp=_largest(own),
                differing=int(((result != due) & ~(np.isnan(result) & np.isnan(due))).sum()),
                premature_zeros=int(zero.sum()),
                max_abs_error=_largest(np.nan_to_num(apart, nan=np.inf)),
                worst_kept=_worst(np.where(zero, 0, own), own, given, due, result),
                worst_zero=_worst(np.where(zero, due, 0), own, given, due, result),
            )
        )
    return found


def _pairs(sample: Sample, at: int) -> list[tuple[Array, Array]]:
    """Eager's input and result beside the true ones."""
    return list(zip(sample.eager[at : at + 2], sample.truth[at : at + 2], strict=True))


def _largest(errors: Array) -> float:
    return float(errors.max(initial=0))


def _worst(by: Array, own: Array, given: Array, due: Array, got: Array) -> Deviation | None:
    if not by.size or not by.max() > 0:
        return None
    at = np.unravel_index(int(by.argmax()), by.shape)
    where = f"element {[int(i) for i in at]}"
    return Deviation(float(given[at]), float(due[at]), float(got[at]), float(own[at]), where)

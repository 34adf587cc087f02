"""The user's own rows, with what eager and the truth make of them: by the model, or by its file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bundle import Manifest
from .consequences import is_probability
from .errors import NotInstalled, UsageError
from .labels import fitted_labels
from .runtimes.apart import RuntimeFailure
from .runtimes.export import Export, ExportInFloat64
from .runtimes.worker import run_apart
from .stored import GivenSample, joined
from .user_samples import Rows

Array = NDArray[Any]
Outputs = Callable[[list[list[Array]]], list[list[Array]]]  # of each run


def given_sample(rows: Rows, eager: Outputs, truth: Outputs | None) -> GivenSample:
    """The rows, run as often as they need it; ``truth`` is None where the model has none."""
    cut = [axis == 0 for axis in rows.axes]
    runs = GivenSample(rows.rows, rows.inputs, [], [], rows.at_once, cut).runs()
    ours = eager(runs)
    _expect_rows(rows, runs, ours)
    found = joined(ours)
    true = joined(truth(runs)) if truth else []
    labelled, labels = 0, None
    if rows.labels is not None:
        labelled = _first_probabilities(found, rows.place)
        labels = fitted_labels(rows.labels, found[labelled].shape, f"output {labelled}")
    return GivenSample(
        *(rows.rows, rows.inputs, found, true, rows.at_once, cut, labelled, labels),
        rows.threshold,
    )


def sample_by_graph(directory: Path, manifest: Manifest, rows: Rows) -> GivenSample:
    """The rows with eager's outputs and the truth, of a bundle without its model's source.

    model.pt2 is the model's graph with its weights: run operator by operator it is what eager does,
    and with weights and inputs widened to float64 it is the truth. The other files fix their types.

    Raises:
        UsageError: the bundle has no model.pt2, or that cannot be run in float64.
        NotInstalled: torch is not here.
    """
    if "pt2" not in manifest.formats:
        raise UsageError(
            "expected a bundle with the format pt2 for --samples, since the float64 truth of new "
            f"rows needs the model's graph; got {', '.join(manifest.formats)}. Export again with "
            "--format pt2 beside the others, or give --samples to export, which keeps the truth"
        )
    if not Export().version():
        raise NotInstalled(
            "the float64 truth of new --samples is computed by torch, which is not installed; run: "
            "pip install torch"
        )
    path = directory / str(manifest.formats["pt2"]["model"])

    def by(runtime: Export) -> Outputs:
        def run(runs: list[list[Array]]) -> list[list[Array]]:
            try:
                return run_apart(runtime, path, runs)
            except RuntimeFailure as failure:
                raise UsageError(
                    f"expected {path.name} to run {rows.place} in {runtime.name}, for the truth: "
                    f"{failure}; give the samples to export, where the model itself is at hand"
                ) from failure

        return run

    sample = given_sample(rows, by(Export()), by(ExportInFloat64()))
    for own, true in zip(sample.eager, sample.truth, strict=True):
        if own.dtype == np.float64 or (own.dtype.kind == "f" and true.dtype != np.float64):
            raise UsageError(
                f"expected a model that has a float64 truth for --samples, got outputs of "
                f"{own.dtype} that are {true.dtype} in its float64 graph: it casts by itself, or "
                "computes in float64 already; leave --samples away"
            )
    return sample


def _first_probabilities(outputs: Sequence[Array], place: str) -> int:
    """The output that labels are about."""
    for number, output in enumerate(outputs):
        if is_probability(output):
            return number
    ranges = [f"values from {o.min():g} to {o.max():g}" for o in outputs if o.size]
    raise UsageError(
        f"expected an output of probabilities for the labels in {place}, got "
        f"{', '.join(ranges)}; end the model with a sigmoid, or leave the labels away"
    )


def _expect_rows(
    rows: Rows, runs: Sequence[Sequence[Array]], outputs: Sequence[Sequence[Array]]
) -> None:
    """Where the rows take several runs, each output must be one of rows, to be put together."""
    if len(runs) == 1:
        return
    first = next(x for x, axis in zip(runs[0], rows.axes, strict=True) if axis == 0)
    for number, output in enumerate(outputs[0]):
        if output.shape[:1] != (len(first),):
            raise UsageError(
                f"expected a row of output {number} for each row in {rows.place}, got shape "
                f"{list(output.shape)} for {len(first)} rows; give at most {rows.at_once} rows"
            )

"""The table of runtimes and lowerings: its words, from findings that a sweep would make."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import runtimes
from torch_sigmoid_ext.export.findings import RuntimeFindings
from torch_sigmoid_ext.export.ulp import Probe, measure_operator, rounded, true_sigmoid

PROBE = Probe.of("float32")
X = PROBE.inputs
RIGHT = rounded(true_sigmoid(X), np.float32)


def found(results: np.ndarray) -> RuntimeFindings:
    operator = measure_operator(PROBE, results)
    return RuntimeFindings("engine", "1.0", "model.onnx", "ran", operator=operator)


@pytest.mark.parametrize(
    ("results", "says"),
    [
        (RIGHT, "exact; 0.5 ULP"),
        # σ(1) lies 0.3176 of a spacing below its float32, and the next is one more away.
        (np.where(X == 1, np.nextafter(RIGHT, np.float32(1)), RIGHT), "strict; 1.32 ULP"),
        (np.where(X < -87.5, 0, RIGHT).astype(np.float32), "portable; 0 from x = -87.5"),
        (np.where(np.isnan(X), 0, RIGHT).astype(np.float32), "**none**; σ(nan) is 0; 0.5 ULP"),
        (np.where(np.abs(X) > 1e30, np.nan, RIGHT).astype(np.float32), "is nan"),
        (np.where((X > 30) & np.isfinite(X), np.float32(1.5), RIGHT), "up to 1.5"),
    ],
)
def test_cell_says_the_gate_the_departure_and_the_error(results: np.ndarray, says: str) -> None:
    assert says in runtimes.cell(found(results))


def test_cell_of_a_runtime_that_failed_says_why_and_not_where() -> None:
    failed = RuntimeFindings("engine", "1.0", "", "crashed", "running float32[9]: Error: no Round")
    assert runtimes.cell(failed) == "does not run: Error: no Round"


def test_page_has_a_row_a_runtime_and_a_column_a_lowering(capsys) -> None:
    runtimes.main(["--runtime", "eager", "reference", "--sigmoid", "native", "stable"])
    lines = capsys.readouterr().out.splitlines()
    assert "| runtime | version | native | stable |" in lines
    eager = next(line for line in lines if line.startswith("| `eager` |"))
    assert eager.endswith("| exact; 0.5 ULP | - |"), "a lowering is none of eager's affair"
    reference = next(line for line in lines if line.startswith("| `reference` |"))
    assert reference.count("strict") == 2

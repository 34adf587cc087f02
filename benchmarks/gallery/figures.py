"""What a runtime made of one lowering: the figures of a report.json, and of real rows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torch_sigmoid_ext.export.blocks import count, listed, real, ulp
from torch_sigmoid_ext.export.ulp import edges, rounded

Array = NDArray[Any]
Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Rows:
    """What became of the probabilities of real rows, each answer a row has its own question."""

    answers: int
    zeros: int  # of exactly 0, where the true one is no 0 in float32
    pairs: int  # neighbours by their true probabilities, question by question
    reversed: int
    equal: int
    log_loss: float  # mean -log of the probability given to what was true
    read_otherwise: int  # rows whose likeliest answer is another

    @property
    def infinite(self) -> bool:
        """Whether something true was held to be impossible."""
        return math.isinf(self.log_loss)


def rows_of(got: Array, truth: Array, labels: Array) -> Rows:
    """The figures of probabilities [rows, answers].

    Args:
        got: the runtime's, float32.
        truth: the model's in float64.
        labels: the right answer to each row.
    """
    due = rounded(truth, got.dtype)
    pairs = reversals = ties = 0
    for column in range(got.shape[1]):
        order = np.argsort(truth[:, column], kind="stable")
        expected, came = due[order, column], got[order, column]
        apart = expected[:-1] < expected[1:]
        pairs += int(apart.sum())
        reversals += int((came[:-1] > came[1:])[apart].sum())
        ties += int((came[:-1] == came[1:])[apart].sum())
    right = np.arange(got.shape[1]) == labels[:, None]
    wide = np.clip(got.astype(np.float64), 0, 1)
    with np.errstate(divide="ignore"):
        losses = np.where(right, -np.log(wide), -np.log1p(-wide))
    return Rows(
        answers=got.size,
        zeros=int(((got == 0) & (due != 0)).sum()),
        pairs=pairs,
        reversed=reversals,
        equal=ties,
        log_loss=float(losses.mean()),
        read_otherwise=int((got.argmax(axis=1) != truth.argmax(axis=1)).sum()),
    )


@dataclass(frozen=True)
class Cell:
    """One runtime with one lowering."""

    runtime: str
    version: str
    lowering: str
    passed: bool  # the gate of the report, sigmoid and model
    failure: str  # why it did not run; "" where it did
    operator: Mapping[str, Any]  # findings.OperatorFindings; empty where it did not run
    empty_batch: bool  # whether it takes one
    rows: Rows | None = None

    @property
    def exact(self) -> bool:
        """Whether every result of the sweep is the float nearest to the truth."""
        return bool(self.operator) and self.operator["differing"] == 0

    @property
    def max_ulp(self) -> float:
        return float(self.operator["max_ulp"])

    @property
    def normal_ulp(self) -> float:
        """The largest error where the true result is a normal number."""
        limit = edges(self.operator["dtype"]).subnormal
        bands = [band for band in self.operator["bands"] if float(band["low"]) >= limit]
        return max(float(band["max_ulp"]) for band in bands)

    @property
    def worst_input(self) -> float | None:
        worst = self.operator["worst"]
        return float(worst["input"]) if worst else None

    @property
    def band(self) -> str:
        """The band of the largest error."""
        bands = self.operator["bands"]
        return str(max(bands, key=lambda band: float(band["max_ulp"]))["name"])

    @property
    def zero_from(self) -> float | None:
        """The highest x whose result is 0 and should not be."""
        band = self.operator["zero_band"]
        return float(band[1]) if band else None

    @property
    def flushes(self) -> bool:
        """Whether its premature zeros are subnormal results alone."""
        zero = self.zero_from
        return zero is not None and zero < edges(self.operator["dtype"]).subnormal

    @property
    def largest(self) -> float:
        return float(self.operator["largest_result"])

    @property
    def wrong_specials(self) -> list[str]:
        """σ of an infinity or NaN, where it is not what is due."""
        return [
            f"σ({real(float(value['input']))}) = {_short(float(value['got']))}"
            for value in self.operator["special_values"]
            if not value["ok"] and not math.isfinite(float(value["input"]))
        ]

    @property
    def breaks(self) -> list[str]:
        """Each way in which it leaves the truth, in words, the gravest first."""
        if self.failure:
            return ["does not run"]
        said = list(self.wrong_specials)
        if self.zero_from is not None:
            said.append(f"0 for x ≤ {self.zero_from:.4g}")
        if self.largest > 1:
            said.append(f"up to {real(self.largest)}")
        if float(self.operator["largest_drop_ulp"]) > 4:
            said.append(f"{count(int(self.operator['decreasing_pairs']))} falling pairs")
        if self.normal_ulp > 4:
            said.append(f"{ulp(self.normal_ulp)} ULP")
        if not self.empty_batch:
            said.append("no empty batch")
        if not said and not self.passed:
            said.append("the whole model")
        return said

    @property
    def verdict(self) -> str:
        """One cell of the table: the sign, and what matters most."""
        if self.passed:
            return "✓ every bit" if self.exact else f"✓ {ulp(self.max_ulp)} ULP"
        return f"✗ {'; '.join(self.breaks[:3])}"


def _short(value: float) -> str:
    return f"{value:.2g}" if 0 < abs(value) < 0.1 else real(value)


def read_report(path: Path) -> dict[str, Any]:
    """report.json."""
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report


def cells_of(report: Mapping[str, Any]) -> list[Cell]:
    """A cell a runtime of one report."""
    return [
        Cell(
            runtime=found["runtime"],
            version=found["version"],
            lowering=report["lowering"],
            passed=found["passed"],
            failure="" if found["status"] == "ran" else f"{found['status']}: {found['detail']}",
            operator=found["operator"] or {},
            empty_batch=not any("empty batch" in failure["what"] for failure in found["failures"]),
        )
        for found in report["runtimes"]
    ]


def curve_of(cell: Cell) -> Curve:
    """(x, largest error in ULP around it)."""
    return [(float(x), float(error)) for x, error in cell.operator.get("curve", ())]


def names(cells: Sequence[Cell]) -> str:
    """The runtimes as English lists them, as code."""
    return listed([f"`{cell.runtime}`" for cell in cells]) if cells else "none"

"""What was promised: torch.sigmoid's time over ours, and whether the rows reach it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .cases import CACHE, LARGE, NORMAL, SMALL, Case
from .measure import Row
from .timing import Ratio

COLUMNS: dict[str, Callable[[Case], bool]] = {
    "n <= 64": lambda case: case.numel in SMALL and case.output == "fresh",
    "1K": lambda case: case.numel == 1 << 10 and case.output == "fresh",
    "16K-1M (cache)": lambda case: case.numel in CACHE,
    "16M fresh": lambda case: case.numel == LARGE and case.output == "fresh",
    "16M out=": lambda case: case.numel == LARGE and case.output == "out=",
}
_CACHE = "16K-1M (cache)"


@dataclass(frozen=True)
class Target:
    """A row of the table: which cases it speaks of, and the least ratio in each column."""

    name: str
    kernel: str
    dtype: str
    ratios: dict[str, float]
    strided: bool = False
    alone: str = ""  # an instruction set on which both are run for it, where not the best

    def covers(self, row: Row, best: str) -> bool:
        case = row.case
        return (
            (case.kernel, case.dtype) == (self.kernel, self.dtype)
            and (case.layout != "contiguous") == self.strided
            and row.kernels == (self.alone or best)
        )


def _row(*ratios: float) -> dict[str, float]:
    return dict(zip(COLUMNS, ratios, strict=True))


TARGETS = (
    Target("float32 exact", "exact", "float32", _row(1.2, 1.2, 1.0, 3.0, 1.05)),
    Target("float32 fast", "fast", "float32", _row(1.2, 1.8, 2.1, 3.5, 1.4)),
    Target("bfloat16 exact", "exact", "bfloat16", _row(1.2, 2.0, 2.4, 3.3, 2.0)),
    Target("float16 exact", "exact", "float16", _row(1.2, 1.8, 1.7, 2.7, 1.6)),
    Target("float64 exact", "exact", "float64", _row(1.2, 1.3, 1.25, 2.8, 1.1)),
    Target("backward float32", "backward", "float32", _row(1.1, 1.1, 1.5, 3.5, 1.3)),
    Target("strided float32", "exact", "float32", {_CACHE: 3.0}, strided=True),
    Target("strided bfloat16", "exact", "bfloat16", {_CACHE: 5.0}, strided=True),
    Target("AVX2 float32 exact", "exact", "float32", {_CACHE: 1.0}, alone="avx2"),
    Target("AVX2 float32 fast", "fast", "float32", {_CACHE: 2.0}, alone="avx2"),
)


@dataclass(frozen=True)
class Verdict:
    """One cell: the worst of the rows that the target covers there."""

    target: str
    threads: int
    column: str
    least: float
    worst: Row | None  # None where nothing was measured
    normal: Ratio | None  # the worst on N(0,1), over sizes

    @property
    def reached(self) -> bool | None:
        """By the median; the ratio of minima stands beside it for the reader."""
        return None if self.worst is None else self.worst.eager.median >= self.least


def _median(row: Row) -> float:
    return row.eager.median


def judge(rows: Sequence[Row], threads: int, best: str) -> list[Verdict]:
    """Every cell of the table for one number of threads; `best` is the main run's kernel set."""
    verdicts = []
    for target in TARGETS:
        covered = [row for row in rows if row.threads == threads and target.covers(row, best)]
        for column, least in target.ratios.items():
            cell = [row for row in covered if COLUMNS[column](row.case)]
            normal = [row for row in cell if row.case.distribution == NORMAL]
            verdicts.append(
                Verdict(
                    target.name,
                    threads,
                    column,
                    least,
                    min(cell, key=_median, default=None),
                    min(normal, key=_median).eager if normal else None,
                )
            )
    return verdicts


def slower(rows: Sequence[Row]) -> list[Row]:
    """Where torch eager wins, by the median and by the minimum: the slowest first."""
    lost = [row for row in rows if max(row.eager.median, row.eager.minimum) < 1]
    return sorted(lost, key=_median)

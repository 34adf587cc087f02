"""Everything that one run found, and its JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .cases import Case
from .import_time import ImportTime
from .measure import Row
from .small import Comparison, Stage
from .targets import Verdict, judge
from .timing import Ratio

SCHEMA = 1


@dataclass(frozen=True)
class Results:
    """What table, JSON and plot are made of."""

    machine: dict[str, str]
    threads: tuple[int, ...]
    rows: list[Row]
    comparisons: list[Comparison]
    stages: list[Stage]
    import_time: ImportTime
    skipped: dict[str, str]  # who or what was not measured, and why

    @property
    def verdicts(self) -> list[Verdict]:
        best = self.machine["kernels"]
        return [one for count in self.threads for one in judge(self.rows, count, best)]


def to_json(results: Results) -> str:
    """Times in seconds, ratios as peer / ours; one row a line, so that two runs can be compared."""
    parts: dict[str, Any] = {
        "schema": SCHEMA,
        "machine": results.machine,
        "threads": results.threads,
        "skipped": results.skipped,
        "targets": [_verdict(one) for one in results.verdicts],
        "rows": [asdict(row) for row in results.rows],
        "small_calls": [asdict(one) for one in results.comparisons],
        "stages": [asdict(one) for one in results.stages],
        "import_time": asdict(results.import_time),
    }
    return "{\n" + ",\n".join(f'"{name}": {_lines(part)}' for name, part in parts.items()) + "\n}\n"


def _lines(part: object) -> str:
    if isinstance(part, list) and part:
        return "[\n" + ",\n".join(_line(entry) for entry in part) + "\n]"
    return _line(part)


def _line(entry: object) -> str:
    return json.dumps(_rounded(entry), ensure_ascii=False)


def _rounded(entry: Any) -> Any:
    """Four significant digits are more than a timing has."""
    if isinstance(entry, dict):
        return {name: _rounded(value) for name, value in entry.items()}
    return float(f"{entry:.4g}") if isinstance(entry, float) else entry


def _verdict(verdict: Verdict) -> dict[str, object]:
    worst = verdict.worst
    return {
        "target": verdict.target,
        "threads": verdict.threads,
        "column": verdict.column,
        "least": verdict.least,
        "reached": verdict.reached,
        "worst": asdict(worst.eager) if worst else None,
        "case": asdict(worst.case) if worst else None,
        "normal": asdict(verdict.normal) if verdict.normal else None,
    }


def rows_to_json(rows: Sequence[Row]) -> str:
    """Rows alone, for the process that measures another instruction set."""
    return json.dumps([asdict(row) for row in rows])


def rows_from_json(text: str) -> list[Row]:
    return [_row(entry) for entry in json.loads(text)]


def _row(entry: dict[str, Any]) -> Row:
    ratios = {name: Ratio(**ratio) for name, ratio in entry["ratios"].items()}
    return Row(**entry | {"case": Case(**entry["case"]), "ratios": ratios})

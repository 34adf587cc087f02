"""What a bundle's own report recorded, and what does not stand as it did.

The record is report.json as it was sealed with the bundle: its hash was checked before it is read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .bundle import Manifest
from .errors import UsageError
from .findings import Change, Comparison, Report, RuntimeFindings, Standing
from .verify import ALL

RECORD = "report.json"


@dataclass(frozen=True)
class Record:
    """The verification that was made when the bundle was exported."""

    created: str
    gate: str
    standings: dict[str, Standing]  # by runtime


def read_record(directory: Path, manifest: Manifest) -> Record | None:
    """The bundle's record; None where it was exported without verification.

    UsageError for a report that cannot be read, although it has its hash.
    """
    if RECORD not in manifest.files:
        return None
    path = directory / RECORD
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        standings = {str(fields["runtime"]): _recorded(fields) for fields in report["runtimes"]}
        record = Record(str(report["created"]), str(report["gate"]), standings)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"expected {path} to be the report of an export, and it cannot be read as one "
            f"({type(error).__name__}: {error}); export the model again"
        ) from error
    return record if standings else None


def _recorded(fields: dict[str, Any]) -> Standing:
    """One runtime in report.json, where numbers that are not finite are strings."""
    operator, cases = fields["operator"], fields["cases"]
    ran = fields["status"] == "ran"
    within = "within" if fields["passed"] else "outside"
    return Standing(
        version=str(fields["version"]),
        verdict=within if ran else str(fields["status"]),
        max_ulp=float(operator["max_ulp"]) if operator else None,
        differing=int(operator["differing"]) if operator else None,
        model_max_ulp=max((float(case["max_ulp"]) for case in cases), default=None),
        model_differing=sum(int(c["differing_from_eager"]) for c in cases) if cases else None,
    )


def standing(found: RuntimeFindings) -> Standing:
    """One runtime of a verification in short."""
    operator, cases = found.operator, found.cases
    within = "within" if found.passed else "outside"
    return Standing(
        version=found.version,
        verdict=within if found.status == "ran" else found.status,
        max_ulp=operator.max_ulp if operator else None,
        differing=operator.differing if operator else None,
        model_max_ulp=max((case.max_ulp for case in cases), default=None),
        model_differing=sum(c.differing_from_eager for c in cases) if cases else None,
    )


def compare(record: Record, report: Report, asked: Sequence[str] | None = None) -> Comparison:
    """What does not stand as recorded; a runtime that was not `asked` for is not missed."""
    now = {found.runtime: standing(found) for found in report.runtimes}
    everything = asked is None or list(asked) == [ALL]
    gone = [name for name in record.standings if name not in now] if everything else []
    changes = [
        Change(name, record.standings.get(name), stands)
        for name, stands in now.items()
        if record.standings.get(name) != stands
    ]
    changes += [Change(name, record.standings[name], None, _why(name, report)) for name in gone]
    same = [name for name, stands in now.items() if record.standings.get(name) == stands]
    return Comparison(record.created, record.gate, changes, same)


def _why(name: str, report: Report) -> str:
    return str(report.skipped.get(name, "no such runtime is known here"))


def check_outside(path: Path, directory: Path) -> None:
    """UsageError for an output in the bundle, which would no longer be what was exported."""
    if path.resolve().is_relative_to(directory.resolve()):
        raise UsageError(
            f"expected a place outside of {directory} for {path}: a bundle with one file more is "
            "not what was exported; give another place"
        )

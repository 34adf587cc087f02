"""Every runtime that is installed with every lowering: prints Markdown.

    python -m benchmarks.runtimes > benchmarks/results/runtimes.md

SimpleNN is exported once a lowering, in every format, and verified in each runtime as the command
``export`` does it; nothing is timed. ``--runtime`` and ``--sigmoid`` take fewer.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

import torch_sigmoid_ext
from torch_sigmoid_ext.export.findings import OperatorFindings, Report, RuntimeFindings
from torch_sigmoid_ext.export.formats import FORMATS, LOWERINGS
from torch_sigmoid_ext.export.gates import GATES, judge
from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.pipeline import export_bundle
from torch_sigmoid_ext.export.runtimes import RUNTIMES
from torch_sigmoid_ext.export.runtimes.libtorch import Libtorch
from torch_sigmoid_ext.export.ulp import edges

from .machine import describe

ORDER = ("native", "stable", "exact", "function")
assert set(ORDER) == set(LOWERINGS)

_HOW_TO_READ = """\
A cell is the sigmoid alone, float32, {points:,} inputs of every binade: the strictest gate of
exact, strict and portable that it keeps, or none; how it first leaves strict, where it does; and
its largest error in ULP where σ is normal. Of zeros the first below 0 is told. The ONNX runtimes
get the lowering as nodes of the file; litert and executorch get it as PyTorch's own operators, with
function as exact. PyTorch's own runtimes have the operator itself, whatever the lowering is, and
are run with the first alone."""


def verified(lowering: str, runtimes: Sequence[str], folder: Path) -> Report:
    """SimpleNN's findings in each runtime; its weights are the same each time."""
    torch.manual_seed(0)
    formats = {RUNTIMES[name].format for name in runtimes} - {""}
    return export_bundle(
        torch_sigmoid_ext.SimpleNN(),
        "SimpleNN",
        [InputSpec.parse("x=float32[batch,3]")],
        folder / lowering,
        formats=sorted(formats or {"onnx"}),
        lowering=lowering,
        runtimes=runtimes,
        console=Console(stderr=True),
    )


def cell(found: RuntimeFindings) -> str:
    """The verdict on the operator, in a few words."""
    if found.operator is None:
        return f"does not run: {_cause(found.detail)}"
    kept = next((name for name in ("exact", "strict", "portable") if _keeps(found, name)), "none")
    words = [kept if kept != "none" else "**none**", *_departures(found.operator)]
    return "; ".join([*words, f"{_normal_ulp(found.operator):.3g} ULP"])


def _keeps(found: RuntimeFindings, gate: str) -> bool:
    """Whether the operator alone is within the gate."""
    return not judge(GATES[gate], replace(found, cases=[]))


def _departures(found: OperatorFindings) -> Iterator[str]:
    """What no other number of ULP would mend."""
    for special in found.special_values:
        if not special.ok and not math.isfinite(special.input):
            yield f"σ({special.input:g}) is {special.got:.7g}"
    if found.zero_band:
        yield f"0 from x = {found.zero_band[1]:.4g}"
    for band in found.bands:
        if band.worst_kept and not math.isfinite(band.worst_kept.got):
            yield f"σ({band.worst_kept.input:.2g}) is {band.worst_kept.got:g}"
    if found.out_of_range:
        yield f"up to {found.largest_result:.9g}"


def _normal_ulp(found: OperatorFindings) -> float:
    """The largest error, premature zeros apart, where σ is normal and the result finite."""
    low = edges(found.dtype).subnormal
    kept = [b.worst_kept.ulp for b in found.bands if b.low >= low and b.worst_kept]
    return max((ulp for ulp in kept if math.isfinite(ulp)), default=0.0)


def _cause(detail: str) -> str:
    """The error without what the child was at: "loading the file: ", "running float32[9]: "."""
    return (detail.partition(": ")[2] or detail).replace("|", r"\|")


def table(reports: Mapping[str, Report]) -> Iterator[str]:
    """A row a runtime; where a lowering was not run, since it makes no difference, a dash."""
    yield f"| runtime | version | {' | '.join(reports)} |"
    yield f"|---|---|{'---|' * len(reports)}"
    found = {
        (row.runtime, lowering): row
        for lowering, report in reports.items()
        for row in report.runtimes
    }
    for row in next(iter(reports.values())).runtimes:
        cells = [
            cell(found[row.runtime, lowering]) if (row.runtime, lowering) in found else "-"
            for lowering in reports
        ]
        yield f"| `{row.runtime}` | {row.version} | {' | '.join(cells)} |"


def model_failures(reports: Mapping[str, Report]) -> Iterator[str]:
    """Where the whole model leaves strict although its sigmoid is within, as lines of a list."""
    for lowering, report in reports.items():
        for found in report.runtimes:
            if found.operator and _keeps(found, "strict"):
                yield from (f"- `{found.runtime}`, {lowering}: {f.what}" for f in found.failures)


def missing() -> Iterator[str]:
    for runtime in RUNTIMES.values():
        if not runtime.version():
            yield f"- `{runtime.name}`: `{runtime.install}`"


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    shown = list(lines)
    if shown:
        yield from ("", f"## {title}", "", *shown)


def page(reports: Mapping[str, Report]) -> Iterator[str]:
    machine = describe()
    points = max(f.operator.points for r in reports.values() for f in r.runtimes if f.operator)
    yield "# Runtimes and lowerings: what each makes of the sigmoid"
    yield ""
    yield f"{machine['date']}, commit {machine['commit']}, {machine['cpu']},"
    yield f"torch {torch.__version__}, Python {machine['python']}. Gate strict."
    yield ""
    yield _HOW_TO_READ.format(points=points)
    yield ""
    yield from table(reports)
    failures = model_failures(reports)
    yield from _section("SimpleNN outside strict, where its sigmoid alone is within", failures)
    yield from _section("Not installed", missing())


def installed() -> list[str]:
    formats = {"", *(name for name, format in FORMATS.items() if not format.missing())}
    return [name for name, r in RUNTIMES.items() if r.version() and r.format in formats]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runtimes", description=__doc__)
    parser.add_argument("--runtime", nargs="+", metavar="NAME", choices=list(RUNTIMES))
    parser.add_argument("--sigmoid", nargs="+", default=ORDER, choices=ORDER)
    chosen = parser.parse_args(arguments)
    names = chosen.runtime or installed()
    others = [name for name in names if not isinstance(RUNTIMES[name], Libtorch)]
    reports = {}
    with tempfile.TemporaryDirectory(prefix="torch_sigmoid_ext-") as folder:
        for number, lowering in enumerate(chosen.sigmoid):
            reports[lowering] = verified(lowering, others if number else names, Path(folder))
    for line in page(reports):
        print(line)


if __name__ == "__main__":
    main()

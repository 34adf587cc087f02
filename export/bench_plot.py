"""bench's plot: a panel a batch size, a bar a runtime and bundle, a line to the 99th percentile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .bench import Timing, duration

_INK, _QUIET, _RULE = "#1f2328", "#57606a", "#d8dee4"
# Bundles are told apart by hatch as well as by hue.
_BARS = (
    *(("#0550ae", ""), ("#54aeff", "///"), ("#8250df", "..."), ("#1a7f37", "xxx")),
    *(("#9a6700", "---"), ("#cf222e", "ooo")),
)

_LOOK: dict[Any, Any] = {
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib
    "font.size": 9,
    "text.color": _INK,
    **dict.fromkeys(("axes.labelcolor", "xtick.color"), _QUIET),
    "ytick.color": _INK,
    "axes.edgecolor": _QUIET,
    "axes.titlelocation": "left",
    **dict.fromkeys(("axes.spines.left", "axes.spines.right", "axes.spines.top"), False),
    "axes.grid": True,
    "axes.grid.axis": "x",
    "axes.axisbelow": True,
    "grid.color": _RULE,
    "ytick.left": False,
    "hatch.linewidth": 0.6,
}


def draw(rows: Sequence[Timing], file: Path) -> None:
    """Medians as bars, on a scale of powers of ten: runtimes lie far apart."""
    batches = sorted({row.batch for row in rows})
    bundles = {name: _BARS[n % len(_BARS)] for n, name in enumerate(dict.fromkeys(_titles(rows)))}
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's matplotlibrc says
        matplotlib.rcParams.update(_LOOK)
        bars = len(rows) / len(batches) if batches else 0
        height = 1.0 + len(batches) * (0.6 + 0.24 * bars)
        figure = Figure((9, height), layout="constrained")
        panels = figure.subplots(len(batches) or 1, 1, squeeze=False).flat
        for axes, batch in zip(panels, batches, strict=False):
            _panel(axes, [row for row in rows if row.batch == batch], bundles)
            axes.set_title(f"batch {batch}")
        legend = [
            Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=name)
            for name, (colour, hatch) in bundles.items()
        ]
        figure.legend(handles=legend, loc="outside upper center", ncols=3, frameon=False)
        figure.supxlabel("a call's median, line to the 99th percentile", fontsize=9, color=_QUIET)
        figure.savefig(file, dpi=150, metadata={"Software": None})


def _titles(rows: Sequence[Timing]) -> list[str]:
    return [_title(row) for row in rows]


def _title(row: Timing) -> str:
    return f"{row.bundle} ({row.lowering})"


def _panel(axes: Axes, rows: Sequence[Timing], bundles: dict[str, tuple[str, str]]) -> None:
    """One batch size, the runtimes from top to bottom as they stand in the table."""
    ticks: dict[str, list[float]] = {}
    for place, row in enumerate(rows):
        ticks.setdefault(row.runtime, []).append(place)
        if row.failed:
            axes.text(
                0.01,
                place,
                row.failed[:70],
                va="center",
                fontsize=7,
                color=_QUIET,
                transform=axes.get_yaxis_transform(),
            )
            continue
        colour, hatch = bundles[_title(row)]
        axes.barh(place, row.median * 1e6, 0.8, color=colour, hatch=hatch, edgecolor="white")
        axes.plot([row.median * 1e6, row.p99 * 1e6], [place, place], color=_QUIET, linewidth=1)
        axes.annotate(
            duration(row.median),
            (row.p99 * 1e6, place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
        )
    figures = [value * 1e6 for row in rows for value in (row.median, row.p99) if value]
    if figures:
        axes.set_xscale("log")
        axes.set_xlim(min(figures) / 3, max(figures) * 3)
        axes.xaxis.set_major_formatter(lambda value, _: duration(value / 1e6))
    axes.set_yticks([sum(places) / len(places) for places in ticks.values()], list(ticks))
    axes.set_ylim(len(rows) - 0.4, -0.6)

"""GB/s against size: one panel for each number of threads and kind of output.

The shortest times, which a busy machine spoils least.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from .cases import NORMAL
from .markdown import size
from .measure import Row
from .peers import EAGER
from .results import Results

_OUTPUTS = {"fresh": "fresh output", "out=": "out="}
_EXACT, _FAST, _COPY = "ours, exact", "ours, fast", "copy"
_WORDS = {_COPY: "copy, a limit"}
_INK, _QUIET, _RULE = "#1f2328", "#57606a", "#d8dee4"

# Ours are solid and heavy; peers are told apart by dash and mark as well as by hue.
_LINES: dict[str, dict[str, Any]] = {
    _COPY: {"color": "#8c959f", "linewidth": 1.5, "linestyle": ":"},
    "scipy": {"color": "#9a6700", "marker": "v", "dashes": (1.5, 1.5)},
    "onnxruntime": {"color": "#8250df", "marker": "s", "dashes": (4, 1.5, 1, 1.5)},
    "torch.compile": {"color": "#1a7f37", "marker": "^", "dashes": (5, 2)},
    EAGER: {"color": "#cf222e", "marker": "D", "dashes": (8, 2)},
    _FAST: {"color": "#54aeff", "marker": "o", "linewidth": 2.5},
    _EXACT: {"color": "#0550ae", "marker": "o", "linewidth": 2.5},
}

_LOOK: dict[Any, Any] = {
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib
    "font.size": 10,
    "text.color": _INK,
    **dict.fromkeys(("axes.labelcolor", "xtick.color", "ytick.color"), _QUIET),
    "axes.edgecolor": _QUIET,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    **dict.fromkeys(("axes.spines.left", "axes.spines.right", "axes.spines.top"), False),
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": _RULE,
    "ytick.left": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
}


def _lines(rows: Sequence[Row]) -> dict[str, list[tuple[int, float]]]:
    """Points (numel, GB/s) of each line; peers' from the rows of the exact kernel."""
    lines: dict[str, list[tuple[int, float]]] = {name: [] for name in _LINES}
    for row in rows:
        rate = row.bytes / row.least_seconds / 1e9
        if row.case.kernel == "fast":
            lines[_FAST].append((row.case.numel, rate))
            continue
        lines[_EXACT].append((row.case.numel, rate))
        for name, ratio in row.ratios.items():
            lines[name].append((row.case.numel, rate / ratio.minimum))
    return {name: sorted(points) for name, points in lines.items() if points}


def _panel(axes: Axes, rows: Sequence[Row], title: str) -> float:
    """Draws one; returns the highest rate of those that compute, since the copy may leave it."""
    axes.set_title(title)
    axes.set_xscale("log", base=2)
    lines = _lines(rows)
    for name, points in lines.items():
        axes.plot(*zip(*points, strict=True), label=name, **_LINES[name])
    sizes = sorted({row.case.numel for row in rows})
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.set_xticks(sizes, [size(numel) for numel in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    rates = (rate for name, points in lines.items() if name != _COPY for _, rate in points)
    return max(rates, default=0.0)


def draw(results: Results, file: Path) -> None:
    """float32, N(0,1), the main run's kernels: rows of panels are threads, columns outputs."""
    rows = [
        row
        for row in results.rows
        if (row.case.dtype, row.case.layout, row.case.distribution)
        == ("float32", "contiguous", NORMAL)
        and row.case.kernel in ("exact", "fast")
        and row.kernels == results.machine["kernels"]
    ]
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's matplotlibrc says
        matplotlib.rcParams.update(_LOOK)
        height = 0.9 + 3.1 * len(results.threads)
        figure = Figure((10, height), layout="constrained")
        grid = figure.subplots(len(results.threads), 2, sharex=True, sharey="row", squeeze=False)
        for line, threads in zip(grid, results.threads, strict=True):
            top = 0.0
            for axes, (output, words) in zip(line, _OUTPUTS.items(), strict=True):
                shown = [r for r in rows if (r.threads, r.case.output) == (threads, output)]
                noun = "thread" if threads == 1 else "threads"
                top = max(top, _panel(axes, shown, f"{threads} {noun}, {words}"))
            line[0].set_ylim(0, 1.2 * top or 1)
        figure.supxlabel("float32 elements", fontsize=10, color=_QUIET)
        figure.supylabel("GB/s read and written", fontsize=10, color=_QUIET)
        found = [axes.get_legend_handles_labels() for axes in grid.flat]
        handles = {label: line for pair in found for line, label in zip(*pair, strict=True)}
        names = [name for name in reversed(_LINES) if name in handles]
        figure.legend(
            [handles[name] for name in names],
            [_WORDS.get(name, name) for name in names],
            loc="outside upper center",
            ncols=len(names),
            frameon=False,
            fontsize=9,
            handlelength=2.8,
            columnspacing=1.5,
        )
        figure.savefig(file, dpi=160, metadata={"Software": None})

"""The study's chart: error against x, a panel for each runtime or family of equal ones.

On paper of its own colour, so that it is readable on a light page and on a dark one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .figures import Cell, Curve, curve_of

# The colours of the report, export/templates/report.css, on paper.
_PAPER, _INK, _QUIET, _RULE, _SHADE = "#fcfcfa", "#1c2024", "#5a626b", "#dcdfe2", "#eef0f1"
_NATIVE, _MENDED = "#c84a00", "#00795a"

_LOOK: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "gallery",  # the same ids every time
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 9,
    "figure.facecolor": _PAPER,
    "axes.facecolor": "none",
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titlecolor": _INK,
    **dict.fromkeys(("axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _QUIET),
    "text.color": _INK,
    **dict.fromkeys(("axes.spines.left", "axes.spines.right", "axes.spines.top"), False),
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _RULE,
    "ytick.left": False,
    "ytick.minor.left": False,
}
_COLUMNS = 4
_LOW, _HIGH = -108.0, 20.0  # below and above, nothing happens any more
_TOP = 1e9  # what is worse is drawn on the edge
_SUBNORMAL = (-103.97, -87.34)  # where σ is a subnormal float32


@dataclass(frozen=True)
class Panel:
    """Runtimes whose errors are the same all along, native and mended."""

    runtimes: list[str]
    native: Curve
    mended: Curve


def panels(native: Sequence[Cell], mended: Sequence[Cell]) -> list[Panel]:
    """Runtimes with the same curves share a panel; in the order in which they come."""
    exact = {cell.runtime: curve_of(cell) for cell in mended}
    found: list[Panel] = []
    for cell in native:
        curves = (curve_of(cell), exact.get(cell.runtime, []))
        same = next((p for p in found if (p.native, p.mended) == curves), None)
        if same:
            same.runtimes.append(cell.runtime)
        elif any(curves):
            found.append(Panel([cell.runtime], *curves))
    return found


def draw(native: Sequence[Cell], mended: Sequence[Cell], file: Path) -> None:
    """An SVG file of small charts on common axes."""
    shown = panels(native, mended)
    lines = math.ceil(len(shown) / _COLUMNS)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's matplotlibrc says
        matplotlib.rcParams.update(_LOOK)
        figure = Figure((10, 0.9 + 1.75 * lines), layout="constrained")
        grid = figure.subplots(lines, _COLUMNS, sharex=True, sharey=True, squeeze=False)
        for axes, panel in zip(grid.flat, shown, strict=False):
            _panel(axes, panel)
        for axes in grid.flat[len(shown) :]:
            axes.set_axis_off()
        for number in range(len(shown) - _COLUMNS, len(shown)):
            grid.flat[max(number, 0)].tick_params(labelbottom=True)
        figure.supxlabel("x", fontsize=9, color=_QUIET)
        figure.supylabel("largest error around x, ULP", fontsize=9, color=_QUIET)
        handles = grid.flat[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper left", ncols=2, frameon=False)
        figure.savefig(file, format="svg", metadata={"Date": None})


def _panel(axes: Axes, panel: Panel) -> None:
    axes.set_yscale("symlog", linthresh=1)
    axes.set(xlim=(_LOW, _HIGH), ylim=(0, _TOP * 3))
    axes.set_yticks([0, 1, 1e3, 1e6, 1e9], ["0", "1", "10³", "10⁶", "10⁹"])
    axes.set_xticks([-100, -75, -50, -25, 0])
    axes.axvspan(*_SUBNORMAL, color=_SHADE, linewidth=0, zorder=0)
    for curve, colour, width, words in (
        (panel.native, _NATIVE, 2.0, "the runtime's own sigmoid"),
        (panel.mended, _MENDED, 1.2, "exact"),
    ):
        x, error = np.array([*curve, (math.nan, math.nan)], dtype=float).T
        axes.plot(x, np.minimum(error, _TOP), color=colour, linewidth=width, label=words)
    if not panel.mended:
        axes.text(0.2, 0.25, "exact does not run", transform=axes.transAxes, color=_MENDED)
    axes.set_title("\n".join(_wrapped(panel.runtimes)))


def _wrapped(words: Sequence[str], width: int = 32) -> Iterator[str]:
    """Lines of at most so many letters, the names between commas."""
    line = words[0]
    for word in words[1:]:
        if len(f"{line}, {word}") > width:
            yield f"{line},"
            line = word
        else:
            line = f"{line}, {word}"
    yield line

"""Charts as inline SVG: matplotlib draws them, the page paints them.

matplotlib is given stand-ins for colours, and in its SVG they become the style sheet's properties
(`var(--c1)`), so that light mode, dark mode and print each get a palette that is readable there.
Text stays text, in the page's font. Series are told apart by dash and width as well as hue.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import matplotlib.figure
import numpy as np
from markupsafe import Markup
from matplotlib.lines import Line2D

from .blocks import Figure

# Custom properties of report.css, and what stands for each of them while matplotlib draws.
_PAINTS = ("c0", "c1", "c2", "c3", "c4", "c5", "quiet", "rule", "shade", "bad")
_STAND_IN = {name: f"#f0e1{n:02x}" for n, name in enumerate(_PAINTS)}

# How a series with style n is drawn in the colour --cn; a dash is in multiples of the width.
_LINES: list[dict[str, Any]] = [
    {"linewidth": 6, "alpha": 0.55},
    {"linewidth": 3},
    {"linewidth": 2, "dashes": (4.5, 2)},
    {"linewidth": 2, "dashes": (1.5, 2)},
    {"linewidth": 2, "dashes": (5, 1.5, 1, 1.5)},
    {"linewidth": 1, "dashes": (1, 3)},
]
_MARKS = "Dvo^sX"

_LOOK: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: text is measured alike everywhere
    "font.size": 12,
    **dict.fromkeys(("axes.labelcolor", "axes.edgecolor"), _STAND_IN["quiet"]),
    **dict.fromkeys(("xtick.color", "ytick.color"), _STAND_IN["quiet"]),
    "axes.facecolor": "none",
    **dict.fromkeys(("axes.spines.left", "axes.spines.right", "axes.spines.top"), False),
    "ytick.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _STAND_IN["rule"],
    "grid.linewidth": 1,
    "lines.solid_capstyle": "butt",
}

_NEEDLESS = re.compile(
    r"<metadata>.*?</metadata>"
    r"|<defs>\s*<style.*?</defs>"  # would hold for every other <svg> of the page
    r'|<defs>\s*<clipPath.*?</defs>| clip-path="[^"]*"'  # nothing lies outside
    r'| id="[\w.]+_\d+"'  # a group's, the same in each chart; the marks' are salted
    r"|font[a-z-]*: [^;]*; ",
    re.DOTALL,
)
_OPENING = re.compile(r'.*?<svg [^>]*(viewBox="0 0 (\d+) (\d+)")[^>]*>', re.DOTALL)
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Axis:
    """A direction of the chart, from low to high; what lies beyond is drawn on the edge.

    With `symlog` it is linear up to 1 and then a power of ten a step, up to the next above `high`.
    """

    label: str
    low: float
    high: float
    symlog: bool = False

    @property
    def limits(self) -> tuple[float, float]:
        return self.low, 10.0 ** math.ceil(math.log10(self.high)) if self.symlog else self.high


@dataclass(frozen=True)
class Series:
    """A line through its points, or the points alone."""

    points: Sequence[tuple[float, float]]
    style: int  # which of the style sheet's colours c0, c1, ..., and a dash to go with it
    words: str = ""  # beside its sample in the legend; "" for no entry
    dots: bool = False

    def look(self, size: float) -> dict[str, Any]:
        """What Line2D needs to draw it, dots of `size` pixels."""
        n = self.style % len(_LINES)
        colour = {"color": _STAND_IN[f"c{n}"]}
        if not self.dots:
            return colour | _LINES[n]
        dots = {"linestyle": "none", "marker": _MARKS[n], "markersize": size}
        return colour | dots | {"markeredgewidth": 0, "alpha": 0.75}


def figure(
    label: str,
    caption: str,
    x: Axis,
    y: Axis,
    series: Sequence[Series],
    *,
    bands: Sequence[tuple[float, float]] = (),
    bound: tuple[float, str] | None = None,
    small: bool = False,
) -> Figure:
    """A chart for wide pages and one for phones, where text must not shrink with the drawing.

    Args:
        label: what a reader who cannot see the chart is told; no two charts of a page share it.
        caption: the words under it.
        x: the horizontal axis.
        y: the vertical axis.
        series: lines and dots, the first at the bottom.
        bands: stretches of x to tell apart; every other one is shaded lightly.
        bound: a horizontal limit and the words beside it.
        small: the chart for phones does for wide pages too.
    """

    def chart(width: int, height: int, dots: float) -> Markup:
        drawing = _drawing(width, height)
        axes = drawing.subplots()
        if y.symlog:
            axes.set_yscale("symlog", linthresh=1)
            decades = round(math.log10(y.limits[1]))
            powers = range(0, decades + 1, 1 + decades // 5)
            axes.set_yticks([0, *(10.0**n for n in powers)], ["0", *map(_power_of_ten, powers)])
        axes.set(xlabel=x.label, xlim=x.limits, ylabel=y.label, ylim=y.limits)
        for low, high in np.clip(bands[::2], *x.limits):
            axes.axvspan(low, high, color=_STAND_IN["shade"], linewidth=0, zorder=0)
        for one in series:
            across, up = np.array(one.points, dtype=float).reshape(-1, 2).T
            axes.plot(np.clip(across, *x.limits), np.clip(up, *y.limits), **one.look(dots))
        if bound:
            limit, words = bound
            red, edge = _STAND_IN["bad"], axes.get_yaxis_transform()
            axes.axhline(limit, color=red, linewidth=1, dashes=(2, 3))
            axes.text(0.995, limit, words, color=red, transform=edge, ha="right", va="bottom")
        return _svg(drawing, f"{label} {width}")

    def sample(n: int, one: Series) -> Markup:
        drawing = _drawing(34, 12)
        across = (0.5,) if one.dots else (0.03, 0.97)
        drawing.add_artist(Line2D(across, [0.5] * len(across), **one.look(5)))
        return _svg(drawing, f"{label} {n}")

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's matplotlibrc says
        matplotlib.rcParams.update(_LOOK)
        wide = None if small else chart(860, 340, 4.5)
        narrow = chart(360, 290, 3)
        legend = [(sample(n, one), one.words) for n, one in enumerate(series) if one.words]
    return Figure(label, caption, wide, narrow, legend)


def _power_of_ten(n: int) -> str:
    return str(10**n) if n < 2 else "10" + str(n).translate(_SUPERSCRIPTS)


def _drawing(width: int, height: int) -> matplotlib.figure.Figure:
    """An empty drawing of so many pixels, 72 to an inch as matplotlib's SVG has them."""
    size = width / 72, height / 72
    return matplotlib.figure.Figure(size, frameon=False, layout="constrained")


def _svg(drawing: matplotlib.figure.Figure, salt: str) -> Markup:
    """The drawing as an <svg> element that holds no colour, no font and no id of another chart."""
    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt}):  # ids that are the same again every time
        drawing.savefig(file, format="svg")
    hidden = r'<svg \1 width="\2" height="\3" aria-hidden="true" focusable="false">'
    svg = _NEEDLESS.sub("", _OPENING.sub(hidden, file.getvalue(), count=1))
    for name, colour in _STAND_IN.items():
        svg = svg.replace(colour, f"var(--{name})")
    return Markup(" ".join(svg.replace("xlink:href", "href").split()))

"""Draws the figures of docs/numerics.md.

    python docs/figures/draw.py

From docs/peers.json (peers.py), docs/boundaries.json (boundaries.py), the kernels' own ε, and, for
the tails, from the runtimes installed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.axes
import matplotlib.figure
import numpy as np
import torch
from measure import BINS
from runtimes import PEERS

from torch_sigmoid_ext.export.ulp import true_sigmoid

DOCS = Path(__file__).parents[1]
KERNELS = DOCS.parent / "csrc" / "kernels" / "cpu"

# The colours of the report, export/templates/report.css, on paper.
PAPER, INK, QUIET, RULE, SHADE = "#fcfcfa", "#1c2024", "#5a626b", "#dcdfe2", "#eef0f1"
GREY, BLUE, GREEN, PURPLE, ORANGE = "#8a929a", "#0067b1", "#00795a", "#a03c82", "#c84a00"

LOOK: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "numerics",  # the same ids every time
    "font.family": ["DejaVu Sans", "sans-serif"],
    "font.size": 11,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    **dict.fromkeys(("axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), QUIET),
    "text.color": INK,
    **dict.fromkeys(("axes.spines.left", "axes.spines.right", "axes.spines.top"), False),
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "ytick.left": False,
    "ytick.minor.left": False,
    "lines.linewidth": 1.6,
}


def errors(figure: matplotlib.figure.Figure) -> None:
    """The largest error in each half unit of x, for four runtimes."""
    found = json.loads((DOCS / "peers.json").read_text())
    rows = {row["runtime"]: row for row in found if row["dtype"] == "float32"}
    axes = figure.subplots()
    middles = (BINS[:-1] + BINS[1:]) / 2
    words = {  # where its name stands
        "onnxruntime": (ORANGE, -52, 1.6e6, "onnxruntime"),
        "jax": (PURPLE, -86.5, 1e5, "jax"),
        "torch": (BLUE, -86, 9, "torch"),
        "torch_sigmoid_ext": (GREEN, -86, 0.16, "torch_sigmoid_ext: 0.5"),
    }
    for name, (colour, x, y, label) in words.items():
        if name in rows:
            width = 2.4 if name == "torch_sigmoid_ext" else 1.4
            axes.step(middles, rows[name]["curve"], color=colour, where="mid", linewidth=width)
            axes.text(x, y, label, color=colour)
    axes.axvspan(-103.97, -87.34, color=SHADE, linewidth=0, zorder=0)
    axes.text(-103.4, 2.5e8, "σ subnormal", color=QUIET)
    axes.set(
        yscale="log",
        xlim=(-105, 18),
        ylim=(0.1, 1e9),
        xlabel="x",
        ylabel="largest error, ULP",
    )


def in_doubt(figure: matplotlib.figure.Figure) -> None:
    """The share of inputs whose σ lies within ε of the middle between two floats."""
    found = json.loads((DOCS / "boundaries.json").read_text())
    axes = figure.subplots()
    for counts, colour, width, label, (x, y) in (
        (found["counts"], BLUE, 2.4, "all float32s, 2⁻¹⁰ ≤ |x|", (37, 3e-3)),
        (found["normal"], ORANGE, 1.4, "a sample of N(0, 1)", (28.5, 3e-4)),
    ):
        nearer = np.cumsum(counts[::-1])[::-1]  # entry k: distance below 2^-k
        share = nearer / nearer[0]
        depth = np.arange(len(counts))
        axes.plot(depth[share > 0], share[share > 0], color=colour, linewidth=width)
        axes.text(x, y, label, color=colour)
    axes.plot(-np.log2(found["nearest"]), 1 / found["number"], "o", color=BLUE)
    axes.annotate(
        f"the hardest, {short_hex(found['nearest_input'])}",
        (-np.log2(found["nearest"]), 1 / found["number"]),
        (8, 80),
        textcoords="offset points",
        ha="right",
        color=BLUE,
        arrowprops={"arrowstyle": "-", "color": BLUE, "shrinkB": 5},
    )
    marks = {f"ε, {', '.join(names)}": epsilon for epsilon, names in epsilons().items()}
    for name, epsilon in {**marks, "float64's rounding": 2.0**-53}.items():
        axes.axvline(-np.log2(epsilon), color=GREY, linewidth=1, dashes=(4, 3))
        mark: dict[str, Any] = {"color": QUIET, "rotation": 90, "fontsize": 9, "va": "top"}
        axes.text(-np.log2(epsilon) + 0.2, 0.7, name, **mark)
    ticks = range(24, 60, 4)
    axes.set_xticks(list(ticks), [power_of_two(-n) for n in ticks])
    axes.set(
        yscale="log",
        xlim=(24, 57),
        ylim=(1e-9, 1.3),
        xlabel="distance to the middle between two floats, relative to σ",
        ylabel="share of inputs that are nearer",
    )


def tails(figure: matplotlib.figure.Figure) -> None:
    """What three runtimes return where they leave the truth."""
    left, right = figure.subplots(1, 2)
    spans = ((left, np.linspace(-18.2, -13.8, 1101)), (right, np.linspace(-104.5, -86, 1851)))
    for axes, x in spans:
        inputs = torch.from_numpy(x.astype(np.float32))
        truth = true_sigmoid(inputs.numpy()).astype(np.float64)
        axes.plot(x, truth, color=GREY, linewidth=5, alpha=0.5)
        theirs = "onnxruntime" if axes is left else "torch"
        for name, colour, width in (
            (theirs, ORANGE if axes is left else BLUE, 1 if axes is left else 3),
            ("torch_sigmoid_ext", GREEN, 1.2),
        ):
            y = PEERS[name].load(torch.float32)(inputs).double().numpy()
            axes.plot(x, np.where(y > 0, y, np.nan), color=colour, linewidth=width)
            zeros = x[(y == 0) & (x > -103.97)]
            if axes is left:
                axes.plot(zeros, np.full(len(zeros), 3.3e-9), "|", color=colour, markersize=8)
            elif len(zeros):
                axes.axvline(zeros.max(), color=colour, linewidth=1, dashes=(4, 3))
        axes.set(yscale="log", xlabel="x", xlim=(x[0], x[-1]))
    left.set(ylabel="σ(x)", ylim=(3e-9, 2e-6))
    left.text(-15.9, 2e-8, "onnxruntime;", color=ORANGE)
    left.text(-15.9, 1.3e-8, "below, its zeros", color=ORANGE)
    left.text(-17.2, 4e-7, "torch_sigmoid_ext", color=GREEN)
    right.set(ylim=(1e-46, 1e-36))
    right.text(-89.2, 2e-46, "torch: 0 from here", color=BLUE, ha="right")
    right.text(-103.5, 1e-39, "torch_sigmoid_ext,\ndown to the last subnormal", color=GREEN)


def epsilons() -> dict[float, list[str]]:
    """The ε of the rounding test as the kernels have it, each with its instruction sets."""
    found: dict[float, list[str]] = {}
    for path in sorted(KERNELS.glob("vec_*.cpp")):
        if match := re.search(r"\bkEpsilon = (0x\S+?p[+-]?\d+)f?;", path.read_text()):
            name = path.stem.removeprefix("vec_")
            found.setdefault(float.fromhex(match[1]), []).append(name)
    if not found:
        raise SystemExit(f"expected a constant kEpsilon in {KERNELS}/vec_*.cpp, found none")
    return found


def short_hex(text: str) -> str:
    """-0x1.250c020000000p-10 as -0x1.250c02p-10."""
    return re.sub(r"0+p", "p", text)


def power_of_two(n: int) -> str:
    return "2" + str(n).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


FIGURES = {
    "numerics_error": (errors, (8.6, 4.0)),
    "numerics_tails": (tails, (8.6, 3.6)),
    "numerics_in_doubt": (in_doubt, (8.6, 4.2)),
}


def main() -> None:
    matplotlib.rcdefaults()
    matplotlib.rcParams.update(LOOK)
    for name, (draw, size) in FIGURES.items():
        figure = matplotlib.figure.Figure(size, layout="constrained")
        draw(figure)
        path = DOCS / f"{name}.svg"
        figure.savefig(path, metadata={"Date": None})
        print(path.relative_to(DOCS.parent))


if __name__ == "__main__":
    main()

"""One model in every runtime that is installed, with every lowering: where each sigmoid breaks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from torch_sigmoid_ext.export.model import load_model
from torch_sigmoid_ext.export.pipeline import runtime_outputs
from torch_sigmoid_ext.export.runtimes import RUNTIMES
from torch_sigmoid_ext.export.runtimes.apart import RuntimeFailure

from .figures import Cell, Rows, cells_of, read_report, rows_of
from .shell import ROOT

Array = NDArray[Any]

MODEL = "examples/gallery/questions.py:Questions"
WEIGHTS = Path("out/gallery/questions.safetensors")
ROWS = Path("out/gallery/rows.npz")
BUNDLES = Path("out/gallery/study")

TRAIN = f"python examples/gallery/questions.py {WEIGHTS} {ROWS}"
_EXPORT = (
    f"torch-sigmoid-ext export {MODEL} --weights {WEIGHTS} \\\n"
    "    --input 'pixels=float32[batch,64]' --runtime all {options} -o {folder}"
)
_EVERY = "--format torchscript,onnx,pt2,aoti"

# The lowering is that of the ONNX file; in PyTorch's formats there is torch's sigmoid or ours.
OPTIONS = {
    "native": f"--sigmoid native {_EVERY}",
    "stable": "--convert --sigmoid stable --format onnx",
    "exact": f"--convert --sigmoid exact {_EVERY}",
    "function": "--convert --sigmoid function --format onnx",
}
COMMANDS = {
    lowering: _EXPORT.format(options=options, folder=BUNDLES / lowering)
    for lowering, options in OPTIONS.items()
}

Track = Callable[[Iterable[Cell], int], Iterable[Cell]]  # passes them on, and shows how many


@dataclass(frozen=True)
class Study:
    """All cells, and what they were measured on."""

    cells: list[Cell]
    skipped: Mapping[str, str]  # runtime -> why it was not run
    rows: int

    @property
    def runtimes(self) -> list[str]:
        """In the order in which the command knows them."""
        return list(dict.fromkeys(cell.runtime for cell in self.cells))

    def of(self, lowering: str) -> list[Cell]:
        return [cell for cell in self.cells if cell.lowering == lowering]

    @property
    def never(self) -> list[str]:
        """Runtimes that are within the gate with no lowering."""
        kept = {cell.runtime for cell in self.cells if cell.passed}
        return [name for name in self.runtimes if name not in kept]

    @property
    def harmed(self) -> list[tuple[list[str], Rows]]:
        """Runtimes whose own sigmoid makes more zeros and ties than eager has with ours.

        Those that do the same to the rows stand together.
        """
        eager = self.cell("eager", "exact")
        assert eager and eager.rows
        least = eager.rows.zeros + eager.rows.equal
        found: dict[Rows, list[str]] = {}
        for cell in self.of("native"):
            if cell.rows and cell.rows.zeros + cell.rows.equal > least:
                shown = replace(cell.rows, log_loss=float(f"{cell.rows.log_loss:.3g}"))
                found.setdefault(shown, []).append(cell.runtime)
        return [(runtimes, rows) for rows, runtimes in found.items()]

    def cell(self, runtime: str, lowering: str) -> Cell | None:
        return next((c for c in self.of(lowering) if c.runtime == runtime), None)


def measure(track: Track) -> Study:
    """The figures of the four bundles' reports, and of the held-out rows in each runtime."""
    with np.load(ROOT / ROWS) as arrays:
        pixels, labels = arrays["pixels"], arrays["labels"]
    models = {name: _model(convert=name != "native") for name in OPTIONS}
    with torch.no_grad():
        truth = _model(convert=False).double()(torch.from_numpy(pixels).double()).numpy()
    reports = [read_report(ROOT / BUNDLES / name / "report.json") for name in OPTIONS]
    cells = [cell for report in reports for cell in cells_of(report)]

    def with_rows(cell: Cell) -> Cell:
        got = _outputs(cell, models[cell.lowering], pixels)
        return replace(cell, rows=None if got is None else rows_of(got, truth, labels))

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        measured = list(track(pool.map(with_rows, cells), len(cells)))
    skipped = {name: why["reason"] for report in reports for name, why in report["skipped"].items()}
    return Study(measured, skipped, len(labels))


def _model(convert: bool) -> torch.nn.Module:
    model: torch.nn.Module = load_model(str(ROOT / MODEL), ROOT / WEIGHTS, convert=convert).module
    return model


def _outputs(cell: Cell, model: torch.nn.Module, pixels: Array) -> Array | None:
    """The runtime's probabilities; None where it does not run, or fails on these rows."""
    if cell.failure:
        return None
    format = RUNTIMES[cell.runtime].format
    if not format:  # eager has no file
        with torch.no_grad():
            return model(torch.from_numpy(pixels)).numpy()  # type: ignore[no-any-return]
    folder = ROOT / BUNDLES / cell.lowering
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    file = folder / manifest["formats"][format]["model"]
    try:
        [[got]] = runtime_outputs(cell.runtime, file, [[pixels]])
    except RuntimeFailure:
        return None
    outputs: Array = got
    return outputs


def to_json(study: Study) -> dict[str, Any]:
    """What the page says of each cell, and no more: the reports have the rest."""
    return {
        "rows": study.rows,
        "skipped": dict(study.skipped),
        "cells": [_cell_json(cell) for cell in study.cells],
    }


def _cell_json(cell: Cell) -> dict[str, Any]:
    ran = not cell.failure
    return {
        "runtime": cell.runtime,
        "version": cell.version,
        "lowering": cell.lowering,
        "passed": cell.passed,
        "verdict": cell.verdict,
        "failure": cell.failure,
        "max_ulp": _finite(cell.max_ulp) if ran else None,
        "band": cell.band if ran else None,
        "zero_from": cell.zero_from if ran else None,
        "largest": _finite(cell.largest) if ran else None,
        "rows": {k: _finite(v) for k, v in asdict(cell.rows).items()} if cell.rows else None,
    }


def _finite(value: float) -> float | str:
    return value if np.isfinite(value) else str(value)

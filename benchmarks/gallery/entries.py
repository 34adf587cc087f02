"""The two models of the gallery that have a page each, and where every report lies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .shell import ROOT, portable

GALLERY = ROOT / "docs" / "gallery"
WORK = Path("out/gallery")

_GATED = (
    f"torch-sigmoid-ext export examples/gallery/gated.py:Gated --weights {WORK}/gated.safetensors"
    " \\\n    --input 'pixels=float32[batch,64]' "
)


@dataclass(frozen=True)
class Entry:
    """A model's way: commands with the exit codes that are due, and the bundle that is shown."""

    name: str
    title: str
    commands: tuple[tuple[str, tuple[int, ...]], ...]
    bundle: Path


TUMOURS = Entry(
    "tumours",
    "SimpleNN on breast-cancer data",
    ((f"torch-sigmoid-ext demo -o {WORK}/tumours", (0,)),),
    WORK / "tumours",
)
GATED = Entry(
    "gated",
    "A network of gates on handwritten digits",
    (
        (f"python examples/gallery/gated.py {WORK}/gated.safetensors", (0,)),
        (f"{_GATED}--format onnx --runtime onnxruntime -o {WORK}/as-it-is", (0, 1)),
        (f"{_GATED}--convert -o {WORK}/gated", (0,)),
    ),
    WORK / "gated",
)

LARGEST_REPORT = 500_000  # bytes of one file: beyond, it does not belong in a repository


def collect(bundle: Path, name: str) -> dict[str, Any]:
    """Copy a bundle's report into docs/gallery, without this machine's paths; return its figures.

    report.json is laid out on one line, which halves it.
    """
    target = GALLERY / name
    target.mkdir(parents=True, exist_ok=True)
    texts = {
        name: portable((ROOT / bundle / name).read_text(encoding="utf-8"))
        for name in ("report.html", "report.md", "report.json")
    }
    report: dict[str, Any] = json.loads(texts["report.json"])
    texts["report.json"] = json.dumps(report, separators=(",", ":"), ensure_ascii=False)
    for name, text in texts.items():
        (target / name).write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    return report

"""Measures the sigmoids of the runtimes installed and writes the tables of docs/numerics.md.

    python docs/figures/peers.py [--every 64] [--dtype float32] [--only torch onnxruntime]
    python docs/figures/peers.py --check      are the tables those of docs/peers.json?

What was measured goes to docs/peers.json, a line a runtime and dtype. A runtime that is not
installed keeps the line it has, with the version and the date it is from. --every 1 takes every
float32 whose sigmoid is not plainly 0, 1/2 or 1: 530 million.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
from datetime import date
from pathlib import Path
from typing import Any

import torch
from measure import Tally, chunks, questions
from rich.console import Console
from rich.progress import track
from runtimes import PEERS

Row = dict[str, Any]

DOCS = Path(__file__).parents[1]
DTYPES = {
    str(t).removeprefix("torch."): t
    for t in (torch.float32, torch.float16, torch.bfloat16, torch.float64)
}
BEGIN, END = "<!-- peers.py writes from here -->", "<!-- to here -->"

console = Console(stderr=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=64, help="float32: one input of so many")
    parser.add_argument("--only", nargs="+", default=list(PEERS), metavar="RUNTIME")
    parser.add_argument("--dtype", default="", choices=["", *DTYPES])
    parser.add_argument("--json", type=Path, default=DOCS / "peers.json")
    parser.add_argument("--document", type=Path, default=DOCS / "numerics.md")
    parser.add_argument("--check", action="store_true", help="measure nothing, compare")
    options = parser.parse_args()
    rows = read(options.json)
    if options.check:
        if written(options.document.read_text(), rows) != options.document.read_text():
            raise SystemExit(
                f"{options.document} does not hold the tables of {options.json}; run: make figures"
            )
        return
    for name in options.only:
        if name not in PEERS:
            raise SystemExit(f"expected --only among {', '.join(PEERS)}, got {name}")
    dtypes = [options.dtype] if options.dtype else list(DTYPES)
    for name, dtype, row in measured(options.only, dtypes, options.every):
        rows[name, dtype] = row
    options.json.write_text(
        "[\n" + ",\n".join(json.dumps(rows[key]) for key in ordered(rows)) + "\n]\n"
    )
    if options.document.exists():
        options.document.write_text(written(options.document.read_text(), rows))
    print(tables(rows))


def measured(names: list[str], dtypes: list[str], every: int) -> list[tuple[str, str, Row]]:
    """A row for each runtime that is installed and each dtype that it computes in."""
    versions = {name: PEERS[name].version() for name in names}
    for name in (name for name, version in versions.items() if not version):
        console.print(f"{name}: not installed, skipped")
    found = []
    for dtype in dtypes:
        kind = DTYPES[dtype]
        able = [name for name in names if versions[name] and kind in PEERS[name].dtypes]
        sigmoids = {name: PEERS[name].load(kind) for name in able}
        tallies = {name: Tally() for name in able}
        asked = questions(kind, every)
        for one in track(asked, f"{dtype:>8}", chunks(kind, every), console=console):
            for name, sigmoid in sigmoids.items():
                tallies[name].take(one, sigmoid(one.inputs))
        for name, tally in tallies.items():
            row = {"runtime": name, "dtype": dtype, "version": versions[name]}
            row |= {"date": str(date.today()), "cpu": cpu(), **tally.as_json()}
            found.append((name, dtype, row))
    return found


def cpu() -> str:
    """The CPU as Linux calls it, and the instructions that torch takes from it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{(names or [platform.machine()])[0]}, {torch.backends.cpu.get_cpu_capability()}"


def read(path: Path) -> dict[tuple[str, str], Row]:
    rows = json.loads(path.read_text()) if path.exists() else []
    return {(row["runtime"], row["dtype"]): row for row in rows}


def ordered(rows: dict[tuple[str, str], Row]) -> list[tuple[str, str]]:
    """Dtype by dtype, the runtimes in the order of PEERS."""
    return [(name, dtype) for dtype in DTYPES for name in PEERS if (name, dtype) in rows]


def written(document: str, rows: dict[tuple[str, str], Row]) -> str:
    """The document with these tables between its marks."""
    if document.count(BEGIN) != 1 or document.count(END) != 1:
        raise SystemExit(f"expected one line {BEGIN!r} and one {END!r} in the document")
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{tables(rows)}\n\n{END}{after}"


def tables(rows: dict[tuple[str, str], Row]) -> str:
    """A table for float32, and one for the other dtypes."""
    single = [rows[key] for key in ordered(rows) if key[1] == "float32"]
    others = [rows[key] for key in ordered(rows) if key[1] != "float32"]
    origins = sorted({(row["date"], row["cpu"]) for row in rows.values()})
    lines = [
        "Measured " + "; ".join(f"on {day}, {cpu}" for day, cpu in origins) + ".",
        "",
        "| float32 | worst error, σ normal | at x | worst error, σ subnormal | misrounded "
        "| zero from x = | in wrong order | outside [0, 1] | inputs |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in single:
        normal, subnormal = row["normal"], row["subnormal"]
        lines.append(
            f"| {label(row)} | {ulp(normal)} | {place(normal['input'])} | {ulp(subnormal)} "
            f"| {misrounded(row)} | {place(row['zero_from'])} "
            f"| {share(row['decreasing'], row['pairs'])} | {row['outside']:,} "
            f"| {row['inputs']:,} |"
        )
    lines += [
        "",
        "| other types | | worst error, σ normal | worst error, σ subnormal | misrounded "
        "| zero from x = |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in others:
        lines.append(
            f"| {row['dtype']} | {label(row)} | {ulp(row['normal'])} | {ulp(row['subnormal'])} "
            f"| {misrounded(row)} | {place(row['zero_from'])} |"
        )
    return "\n".join(lines)


def label(row: Row) -> str:
    name, version = row["runtime"], row["version"]
    return f"**{name}**" if name.startswith("torch_sigmoid_ext") else f"{name} ({version})"


def ulp(worst: Row) -> str:
    """An error in ULP, to three digits where it is small and two where it is not."""
    error = float(worst["ulp"])
    if not math.isfinite(error):
        return "NaN"
    if error < 100:
        # 0.5 would say that it is correctly rounded.
        digits = next(n for n in range(3, 18) if error <= 0.5 or f"{error:.{n}g}" != "0.5")
        return f"{error:.{digits}g}"
    return (
        f"{float(f'{error:.2g}'):,.0f}"
        if error < 1e9
        else f"{error:.1e}".replace("e+0", "e").replace("e+", "e")
    )


def misrounded(row: Row) -> str:
    if row["misrounded"] == 0 and row["misrounded_hard"]:
        return f"{row['misrounded_hard']} hard ones"
    return share(row["misrounded"], row["inputs"])


def place(x: float | None) -> str:
    return "-" if x is None else f"{x:.5g}"


def share(count: int, total: int) -> str:
    return "0" if count == 0 else f"{100 * count / total:.2g} %"


if __name__ == "__main__":
    main()

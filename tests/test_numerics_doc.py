"""docs/numerics.md: its links, tables and commands, and the script that measures the peers."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from truth import HARDEST_FLOAT32, rounded, true_sigmoid

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "figures"
PAGE = (ROOT / "docs" / "numerics.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
KERNELS = ROOT / "csrc" / "kernels" / "cpu"

sys.path.append(str(FIGURES))


def table(head: str) -> list[list[str]]:
    """The cells below the head of a table of the page."""
    lines = PAGE[PAGE.index(head) :].split("\n\n")[0].splitlines()[2:]
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]


def powers(text: str) -> list[float]:
    """The exponents of 2 in it."""
    return [float(exponent) for exponent in re.findall(r"2\^(-[\d.]+)", text)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8"))
    missing = [t for t in targets if "://" not in t and not (document.parent / t).exists()]
    assert targets and not missing, f"{document.name} links {missing}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_paths_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make ([\w-]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
    paths = re.findall(r"`(?:python )?((?:csrc|tests|docs|benchmarks)/[\w./-]+)", text)
    made = ROOT / "scripts" / "operator_template"  # new-operator.md tells what it makes
    known = [path for path in paths if (ROOT / path).exists() or (made / f"{path}.j2").exists()]
    missing = [path for path in paths if path not in known]
    assert not missing, f"{document.name} names {missing}"


def test_pictures_are_small() -> None:
    pictures = re.findall(r"\]\((\w+\.svg)\)", PAGE)
    assert len(pictures) == 3
    for picture in pictures:
        assert (ROOT / "docs" / picture).stat().st_size < 150_000, picture


def test_hardest_cases_are_those_of_the_tests() -> None:
    rows = table("| x | relative distance")
    found = {x.strip(): powers(distance)[0] for x, distance in rows}
    assert found == HARDEST_FLOAT32


def known_to(kernel: str, constant: str) -> float:
    """The exponent of 2 of an adapter's ε."""
    text = (KERNELS / f"vec_{kernel}.cpp").read_text()
    found = re.search(rf"\b{constant} = (0x\S+?p[+-]?\d+)f?;", text)
    assert found, f"vec_{kernel}.cpp has no {constant}"
    return math.log2(float.fromhex(found[1]))


def sum_of_powers(exponents: list[float]) -> float:
    """The exponent of the sum of so many powers of 2."""
    return math.log2(sum(2.0**exponent for exponent in exponents))


@pytest.mark.parametrize("kernel, column", [("avx512", 1), ("avx2", 2), ("neon", 2)])
def test_budgets_of_epsilon_add_up_to_what_the_kernels_have(kernel: str, column: int) -> None:
    def budget(head: str) -> tuple[list[float], float]:
        *lines, (in_all,) = (powers(row[column]) for row in table(head))
        return [line[0] for line in lines], in_all

    lines, in_all = budget("| what errs |")
    wide_lines, wide_in_all = budget("| what errs there")
    power_lines, power_in_all = budget("| what errs in e^x")
    power_parts = [lines[2], lines[3], wide_lines[0], *power_lines]
    assert abs(sum_of_powers(power_parts) - power_in_all) < 0.02 and power_in_all < wide_in_all
    for constant, parts, stated in (
        ("kEpsilon", lines, in_all),
        ("kWideEpsilon", [*lines[:4], *wide_lines], wide_in_all),
    ):
        together = sum_of_powers(parts)
        assert abs(together - stated) < 0.02, f"{constant}: the lines come to 2^{together:.2f}"
        assert together <= known_to(kernel, constant) < together + 0.1, constant


def test_budgets_of_epsilon_are_the_headers() -> None:
    header = (KERNELS / "sigmoid_f32_vector.h").read_text()
    stated = re.findall(r"//.*(2\^-\d+\.\d+)\s+(2\^-\d+\.\d+)$", header, re.MULTILINE)
    told = [
        (row[1].strip(), row[2].strip())
        for head in ("| what errs |", "| what errs there", "| what errs in e^x")
        for row in table(head)
    ]
    assert told == stated


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, FIGURES / "peers.py", *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


def test_tables_are_those_of_the_measurements(tmp_path: Path) -> None:
    done = run("--check")
    assert done.returncode == 0, done.stderr
    spoiled = tmp_path / "numerics.md"
    spoiled.write_text(PAGE.replace("| torch (", "| Torch (", 1))
    done = run("--check", "--document", spoiled)
    assert done.returncode == 1 and "make figures" in done.stderr


def test_peers_are_measured(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    names = ["torch_sigmoid_ext", "torch", "onnxruntime"]
    measured = tmp_path / "peers.json"
    document = tmp_path / "numerics.md"
    document.write_text("before\n<!-- peers.py writes from here -->\n<!-- to here -->\nafter\n")
    done = run(
        *("--every", "16384", "--dtype", "float32", "--only", *names),
        *("--json", measured, "--document", document),
    )
    assert done.returncode == 0, done.stderr
    rows = {row["runtime"]: row for row in json.loads(measured.read_text())}
    assert list(rows) == names
    ours = rows["torch_sigmoid_ext"]
    assert ours["misrounded"] == ours["misrounded_hard"] == 0
    assert ours["decreasing"] == ours["outside"] == 0
    assert ours["zero_from"] is None and max(ours["curve"]) <= 0.5
    # What onnxruntime itself gives at -20, and far below, where the truth is e^x.
    from runtimes import onnx_model

    session = onnxruntime.InferenceSession(onnx_model(torch.float32).SerializeToString())
    (zeros,) = session.run(None, {"x": np.array([-20.0, -40.0, -80.0], np.float32)})
    theirs = rows["onnxruntime"]
    assert bool((zeros == 0).all()) == (
        theirs["zero_from"] is not None and theirs["zero_from"] > -21
    )
    assert rows["torch"]["normal"]["ulp"] < 4 < theirs["normal"]["ulp"]
    text = document.read_text()
    assert text.startswith("before") and text.endswith("after\n")
    assert all(f"| {name} (" in text for name in names[1:])


def test_tally_counts_what_was_planted() -> None:
    from measure import Tally, by_long_double, by_mpmath

    x = torch.tensor([-30.0, -20.0, -2.0, -1.0, 1.0, 2.0, 3.0, 30.0])
    right = [rounded(true_sigmoid(value), torch.float32) for value in x.tolist()]
    for asked in (by_long_double(x, 4), by_mpmath(x, 4)):
        clean = Tally()
        clean.take(asked, torch.tensor(right))
        assert clean.misrounded == clean.decreasing == clean.outside == 0
        assert clean.zero_from is None and clean.normal.ulp <= 0.5
        spoiled = torch.tensor(right)
        spoiled[0] = spoiled[1] = 0  # too early
        spoiled[3] = spoiled[2] / 2  # in wrong order
        spoiled[4] += 100 * 2.0**-24  # 100 ULP and a rounding
        spoiled[7] = 1 + 2.0**-23  # above 1
        tally = Tally()
        tally.take(asked, spoiled)
        assert tally.misrounded == 5
        assert tally.zero_from == -20.0
        assert (tally.pairs, tally.decreasing, tally.outside) == (6, 1, 1)
        assert tally.normal.ulp > 1e6
        alone = Tally()
        alone.take(asked, torch.tensor([*right[:4], spoiled[4].item(), *right[5:]]))
        hard = Tally()
        hard.take(replace(asked, run=1), spoiled)
        assert (hard.inputs, hard.misrounded, hard.misrounded_hard) == (0, 0, 5)
        assert 99.5 <= alone.normal.ulp <= 100.5 and alone.normal.input == 1.0

"""docs/gallery: its pages say what its reports say, and what its commands still print."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("rich")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).parents[1]
GALLERY = ROOT / "docs" / "gallery"
EXAMPLES = ROOT / "examples" / "gallery"
sys.path += [str(ROOT), str(EXAMPLES)]  # neither is part of the installed package

from benchmarks.gallery import bugs, entries, figures, plot, shell, study  # noqa: E402

PAGES = sorted(GALLERY.glob("*.md"))
TEXTS = sorted(p for p in GALLERY.rglob("*") if p.suffix in (".md", ".html", ".json", ".svg"))
REPORTS = sorted(p.parent for p in GALLERY.rglob("report.json"))


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def report_of(folder: Path) -> dict[str, Any]:
    return json.loads(read(folder / "report.json"))


def table(text: str, head: str) -> list[list[str]]:
    """The cells below a table's head, the first without its backticks."""
    lines = text[text.index(head) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in lines]


def section(page: str, title: str) -> str:
    return read(GALLERY / page).split(f"## {title}\n")[1].split("\n## ")[0]


# The pages


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", read(page))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert targets and not missing, missing


def test_index_names_every_page_and_every_report() -> None:
    index = read(GALLERY / "README.md")
    for path in [*PAGES, *(folder / "report.md" for folder in REPORTS)]:
        assert path.name == "README.md" or f"]({path.relative_to(GALLERY)})" in index, path


def test_every_report_is_whole_and_small() -> None:
    expected = {"tumours", "gated", *(f"study/{lowering}" for lowering in study.OPTIONS)}
    assert {str(folder.relative_to(GALLERY)) for folder in REPORTS} == expected
    for folder in REPORTS:
        for suffix in ("html", "md", "json"):
            size = (folder / f"report.{suffix}").stat().st_size
            assert 1000 < size < entries.LARGEST_REPORT, f"{folder.name}/report.{suffix}: {size}"
    assert not [p for p in GALLERY.rglob("*") if p.is_file() and p not in TEXTS]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(GALLERY)))
def test_nothing_names_a_path_of_a_machine(path: Path) -> None:
    found = re.findall(
        r"(?<![\w.~)])/(?:home|root|tmp|var|work|usr|opt|mnt|Users)\b[^\s`]*", read(path)
    )
    assert not found


# What the pages say, and what the reports say


def verdicts(report: dict[str, Any]) -> dict[str, bool]:
    return {found["runtime"]: found["passed"] for found in report["runtimes"]}


@pytest.mark.parametrize("lowering", study.OPTIONS)
def test_study_gives_each_runtime_the_verdict_of_its_report(lowering: str) -> None:
    report = report_of(GALLERY / "study" / lowering)
    assert report["lowering"] == lowering
    said = verdicts(report)
    column = 2 + list(study.OPTIONS).index(lowering)
    page = read(GALLERY / "study.md")
    overview = {row[0]: row[column] for row in table(page, "| runtime | version")}
    assert {name: cell[0] == "✓" for name, cell in overview.items() if cell != "–"} == said
    detail = table(page.split(f"### {lowering}\n")[1], "| runtime | verdict")
    assert {row[0]: row[1][0] == "✓" for row in detail} == said


def test_study_has_the_figures_of_its_reports() -> None:
    told = json.loads(read(GALLERY / "study" / "study.json"))
    assert {cell["lowering"] for cell in told["cells"]} == set(study.OPTIONS)
    for cell in told["cells"]:
        report = report_of(GALLERY / "study" / cell["lowering"])
        [found] = [one for one in report["runtimes"] if one["runtime"] == cell["runtime"]]
        assert (cell["version"], cell["passed"]) == (found["version"], found["passed"])
        if found["status"] == "ran":
            operator = found["operator"]
            zeros = operator["zero_band"]
            assert cell["max_ulp"] == operator["max_ulp"]
            assert cell["zero_from"] == (zeros[1] if zeros else None)
            assert cell["largest"] == operator["largest_result"]
        else:
            assert found["status"] in cell["failure"] and cell["max_ulp"] is None


def test_study_counts_the_runtimes_that_it_names() -> None:
    text = read(GALLERY / "study.md")
    rows = table(text, "| runtime | version")
    assert f"# One model, {len(rows)} runtimes\n" in text
    within = re.search(r"- Within the gate with their own sigmoid: (.*)\.", text)
    outside = re.search(r"- Outside it with their own: (.*)\.", text)
    assert within and outside
    said = verdicts(report_of(GALLERY / "study" / "native"))
    assert set(re.findall(r"`([^`]+)`", within[1])) == {n for n, passed in said.items() if passed}
    assert set(re.findall(r"`([^`]+)`", outside[1])) == {n for n, ok in said.items() if not ok}


@pytest.mark.parametrize("name", ["tumours", "gated"])
def test_page_says_of_its_report_what_it_says_itself(name: str) -> None:
    report, page = report_of(GALLERY / name), read(GALLERY / f"{name}.md")
    may = "The file may ship" if report["passed"] else "The file may not ship"
    assert page.count("The file may") == page.count(may) == 1
    for runtime, passed in verdicts(report).items():
        rows = re.findall(rf"^  {re.escape(runtime)} .* (within|outside|crashed)\s*$", page, re.M)
        assert rows and (rows[-1] == "within") == passed, rows


# The bugs


CHEAP = [bug for bug in bugs.BUGS if not bug.made]


@pytest.fixture(scope="module")
def met() -> dict[str, bugs.Met]:
    """Every bug whose command wants nothing but the tree, met anew."""
    return {bug.title: bugs.meet(bug) for bug in CHEAP}  # one by one: they name the same folder


@pytest.mark.parametrize("bug", CHEAP, ids=lambda bug: bug.title)
def test_bug_still_gets_the_message_that_stands_on_the_page(
    bug: bugs.Bug, met: dict[str, bugs.Met]
) -> None:
    found = met[bug.title]
    shown = section("bugs.md", bug.title)
    assert found.done.code == 2
    # Seconds that a step took are told on the way, and are another number each time.
    lines = [line for line in found.said.splitlines() if not re.search(r": \d+\.\d s$", line)]
    assert lines and all(line in shown for line in lines), lines
    assert f"$ {bug.command}\n" in shown and shown.count("\n$ echo $?\n2\n```") == 1
    assert found.source in shown


def test_every_bug_stands_on_the_page_once() -> None:
    titles = re.findall(r"^## (.*)$", read(GALLERY / "bugs.md"), re.MULTILINE)
    assert titles == [bug.title for bug in bugs.BUGS]
    codes = re.findall(r"\$ echo \$\?\n(\d+)\n", read(GALLERY / "bugs.md"))
    assert len(codes) == len(titles) and set(codes) == {"1", "2"}


def test_a_factory_that_raises_is_told_by_its_own_line(met: dict[str, bugs.Met]) -> None:
    said = met["A factory that raises"].said
    place = re.search(r" at examples/gallery/broken\.py:(\d+);", said)
    assert (
        place
        and "torch.load(checkpoint" in read(EXAMPLES / "broken.py").splitlines()[int(place[1]) - 1]
    )


# The models


def test_network_of_gates_reaches_the_accuracy_on_its_page() -> None:
    import gated

    threads = torch.get_num_threads()
    try:
        images, labels, held_out, expected = gated.digits()
        model = gated.train(images, labels)
    finally:
        torch.set_num_threads(threads)
    right = (model(held_out).argmax(1) == expected).float().mean().item()
    said = re.search(r"accuracy on 899 held-out images: ([\d.]+)%", read(GALLERY / "gated.md"))
    assert said and float(said[1]) > 95
    assert 100 * right == pytest.approx(float(said[1]), abs=1.0)  # another CPU sums otherwise


def test_study_model_has_logits_in_both_tails() -> None:
    said = re.search(r"logits from (-[\d.]+) to ([\d.]+)", read(GALLERY / "study.md"))
    assert said and float(said[1]) < -88.8 and float(said[2]) > 18


# The generator


def test_rows_are_counted_against_the_truth() -> None:
    truth = np.array([[1e-9, 0.6], [2e-9, 0.5], [3e-9, 0.4], [1e-60, 0.3]])
    labels = np.array([1, 1, 1, 0])
    right = truth.astype(np.float32)
    clean = figures.rows_of(right, truth, labels)
    assert (clean.answers, clean.zeros, clean.pairs) == (8, 0, 6)  # 1e-60 is 0 in float32
    assert (clean.reversed, clean.equal, clean.read_otherwise) == (0, 0, 0)
    assert clean.log_loss == np.inf and clean.infinite
    spoiled = right.copy()
    spoiled[0, 0] = 0  # as row 3
    spoiled[1, 0] = 4e-9  # above row 2
    spoiled[2, 1] = 0.4 - 0.35  # below row 3, and no longer...
    spoiled[2, 0] = 0.2  # ...the likeliest
    got = figures.rows_of(spoiled, truth, labels)
    assert (got.zeros, got.equal, got.reversed, got.read_otherwise) == (1, 1, 1, 1)
    finite = figures.rows_of(right[:3], truth[:3], labels[:3])
    losses = [1e-9, -np.log(0.6), 2e-9, -np.log(0.5), 3e-9, -np.log(0.4)]
    assert finite.log_loss == pytest.approx(np.mean(losses), rel=1e-6)


def test_panels_put_equal_curves_together() -> None:
    def cell(runtime: str, error: float) -> figures.Cell:
        operator = {"curve": [[0.0, error], [1.0, "inf"]]}
        return figures.Cell(runtime, "1", "native", True, "", operator, True)

    shown = plot.panels(
        [cell("a", 1.0), cell("b", 2.0), cell("c", 1.0)], [cell("a", 0.5), cell("c", 0.5)]
    )
    assert [panel.runtimes for panel in shown] == [["a", "c"], ["b"]]
    assert shown[0].mended == [(0.0, 0.5), (1.0, np.inf)] and not shown[1].mended


def test_paths_of_the_machine_are_taken_away() -> None:
    text = f"at {shell.ROOT}/examples/a.py:3; run {sys.executable}  \nin /x/site-packages/torch/b"
    text += "\nof /scratch/torch_sigmoid_ext-ab12/model.onnx"
    expected = "at examples/a.py:3; run python\nin site-packages/torch/b\n"
    assert shell.portable(text) == f"{expected}of (temporary folder)/model.onnx"


def test_commands_name_options_that_there_are() -> None:
    help = subprocess.run(
        [sys.executable, "-m", "torch_sigmoid_ext.export", "export", "--help"],
        **{"capture_output": True, "text": True, "cwd": ROOT},
    ).stdout
    commands = [*study.COMMANDS.values(), *(bug.command for bug in bugs.BUGS)]
    commands += [
        command for entry in (entries.GATED, entries.TUMOURS) for command, _ in entry.commands
    ]
    options = {
        word
        for command in commands
        for word in shlex.split(command.replace("\\\n", " "))
        if word.startswith("--")
    }
    assert options and all(option in help for option in options), options

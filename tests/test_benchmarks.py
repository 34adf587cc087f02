"""The benchmark's command and its bookkeeping; no figure that it takes is asserted."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("rich")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # benchmarks is no part of the installed package

from benchmarks import __main__ as command  # noqa: E402
from benchmarks import cases, markdown, measure, results, targets  # noqa: E402
from benchmarks import import_time as imports  # noqa: E402
from benchmarks.peers import EAGER  # noqa: E402
from benchmarks.timing import Ratio, Times  # noqa: E402


def row(median: float, minimum: float, **case: object) -> measure.Row:
    """A made-up row: torch eager takes `median` times as long as ours."""
    plain = cases.Case("exact", "float32", 1 << 14)
    return measure.Row(
        replace(plain, **case), 1, "avx512", 1e-6, 0.9e-6, 9, {EAGER: Ratio(median, minimum)}
    )


def verdict(rows: list[measure.Row], column: str, name: str = "float32 exact") -> targets.Verdict:
    found = targets.judge(rows, threads=1, best="avx512")
    return next(one for one in found if (one.target, one.column) == (name, column))


CACHE = "16K-1M (cache)"


@pytest.mark.parametrize(("median", "reached"), [(1.0, True), (0.9999, False), (1.4, True)])
def test_a_target_is_reached_from_its_ratio_on(median: float, reached: bool) -> None:
    one = verdict([row(median, 0.5)], CACHE)
    assert (one.least, one.reached) == (1.0, reached)
    assert ("**missed**" in markdown.cell(one)) != reached


def test_the_worst_size_and_distribution_decide() -> None:
    worst = row(0.7, 0.8, distribution="uniform ±100", numel=1 << 17)
    one = verdict([row(1.3, 1.2), worst, row(1.1, 1.1, numel=1 << 20)], CACHE)
    assert one.worst == worst
    assert one.normal == Ratio(1.1, 1.1)
    assert markdown.cell(one) == (
        "0.70 [0.80] ≥ 1 **missed** at 128K, uniform ±100; N(0,1) 1.10 [1.10]"
    )


def test_a_row_counts_in_its_own_cells_only() -> None:
    others = [
        row(0.1, 0.1, dtype="float64"),
        row(0.1, 0.1, kernel="fast"),
        row(0.1, 0.1, layout="every other"),
        row(0.1, 0.1, numel=1 << 10),
        replace(row(0.1, 0.1), threads=2),
        replace(row(0.1, 0.1), kernels="avx2"),
    ]
    good = row(1.5, 1.5)
    assert verdict([*others, good], CACHE).worst == good
    assert verdict([*others, good], CACHE, "AVX2 float32 exact").worst == others[-1]
    assert verdict([*others, good], CACHE, "strided float32").worst == others[2]


def test_a_cell_without_rows_is_neither_reached_nor_missed() -> None:
    one = verdict([row(1.5, 1.5)], "16M fresh")
    assert one.reached is None
    assert markdown.cell(one) == "≥ 3: not measured"


def test_slower_rows_are_those_that_lose_by_both_ratios_worst_first() -> None:
    rows = [row(0.9, 0.95), row(0.99, 1.01), row(1.2, 0.9), row(0.5, 0.6)]
    assert targets.slower(rows) == [rows[3], rows[0]]


def test_ratios_are_medians_of_rounds_and_of_the_shortest() -> None:
    ours, theirs = Times((1.0, 2.0, 4.0)), Times((3.0, 2.0, 4.0))
    assert Ratio.of(theirs, ours) == Ratio(median=1.0, minimum=2.0)


@pytest.mark.parametrize("dtype", cases.EDGES)
@pytest.mark.parametrize(
    ("distribution", "promise"),
    [
        ("all 1", lambda y, tiny: y == 1),
        ("all 0 or 1", lambda y, tiny: (y == 0) | (y == 1)),
        ("all subnormal", lambda y, tiny: (0 < y) & (y < tiny)),
    ],
)
def test_distributions_are_what_their_names_say(dtype: str, distribution: str, promise) -> None:
    x = cases.tensors(cases.Case("exact", dtype, 4096, distribution)).x
    e = torch.exp(x.double())  # e / (1 + e): e itself where it is tiny
    y = torch.where(x < 0, e / (1 + e), 1 / (1 + 1 / e)).to(x.dtype)
    assert promise(y.double(), torch.finfo(x.dtype).tiny).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes, for the smallest sizes."""
    folder = tmp_path_factory.mktemp("benchmarks")
    before = torch.get_num_threads()
    words = "--quick --largest 6 --threads 1 --peers onnxruntime scipy copy --output"
    command.main([*words.split(), str(folder)])
    assert torch.get_num_threads() == before
    return folder


def test_the_command_writes_table_figures_and_plot(folder: Path) -> None:
    assert {file.name for file in folder.iterdir()} == {"cpu.md", "cpu.json", "cpu.png"}
    assert (folder / "cpu.png").read_bytes().startswith(b"\x89PNG")
    text = (folder / "cpu.md").read_text()
    for name in ("commit: ", "cpu: ", "torch: ", *(target.name for target in targets.TARGETS)):
        assert name in text


def test_table_and_json_agree(folder: Path) -> None:
    text, found = (folder / "cpu.md").read_text(), json.loads((folder / "cpu.json").read_text())
    lines = re.findall(r"^\| (?:exact|fast|backward) \|.*\| (?:fresh|out=) \| 6 \|.*$", text, re.M)
    assert len(lines) == len(found["rows"]) > 0
    for line, entry in zip(lines, found["rows"], strict=True):
        case, eager = entry["case"], Ratio(**entry["ratios"][EAGER])
        words = [word.strip() for word in line.strip("|").split("|")]
        assert words[:4] == [case["kernel"], case["dtype"], case["distribution"], case["output"]]
        assert [float(word) for word in re.findall(r"[\d.]+", words[6])] == pytest.approx(
            [eager.median, eager.minimum], rel=1e-3, abs=0.01
        )
    measured = [one for one in found["targets"] if one["reached"] is not None]
    assert measured
    targets = text[text.index("## Targets") : text.index("## Small calls")]
    assert targets.count(" reached") == sum(one["reached"] for one in measured)
    assert targets.count("**missed**") == sum(not one["reached"] for one in measured)


@pytest.mark.parametrize(("load", "busy"), [("0.12", False), ("3.10", True)])
def test_figures_of_a_busy_machine_are_marked(load: str, busy: bool) -> None:
    head = {"kernels": "avx512", "load before": load}
    imported = imports.ImportTime(median=0.02, least=0.031, modules=9)
    run = results.Results(head, (1,), [row(1.5, 1.4)], [], [], imported, {})
    text = markdown.to_markdown(run)
    assert "| torch_sigmoid_ext | 20 ms | 31 ms **missed** | 9 |" in text
    assert ("machine was busy" in text) == busy


def test_rows_survive_the_way_from_the_second_process() -> None:
    rows = [row(1.5, 1.4), row(0.5, 0.4, distribution="N(0,5)")]
    assert results.rows_from_json(results.rows_to_json(rows)) == rows


def test_the_second_process_is_asked_for_the_same(tmp_path: Path) -> None:
    chosen = command.options(["--quick", "--threads", "1", "--largest", "1024"])
    words = chosen.command(tmp_path / "rows.json")
    again = command.options(words[words.index("benchmarks") + 1 :])
    assert again.rows_to == tmp_path / "rows.json"
    assert replace(again, rows_to=None) == chosen


def test_bounds_spread_the_operations_that_they_name() -> None:
    from benchmarks.bounds import INSTRUCTIONS, ROWS, spread, statement

    for name, row in ROWS.items():
        instructions = spread(row)
        assert len(instructions) == sum(row.values())
        for kind, count in row.items():
            mnemonic = INSTRUCTIONS[kind].split()[0]
            assert sum(i.split()[0] == mnemonic for i in instructions) >= count
        assert name in statement(name, row)


def test_import_time_counts_the_modules_that_the_package_brings() -> None:
    imported = imports.measure(rounds=1)
    assert 5 <= imported.modules <= 40  # torch._dynamo alone would be hundreds
    assert -1 < imported.least == imported.median < 60

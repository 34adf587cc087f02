"""bench times every runtime and bundle by turns; a failure is a row. No time is asserted."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from runtime_packages import make_bundle, make_package, run_command

from torch_sigmoid_ext.export import bench
from torch_sigmoid_ext.export.bench import Timing, costs, duration, markdown
from torch_sigmoid_ext.export.errors import NotInstalled, UsageError
from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.runtimes import timing
from torch_sigmoid_ext.export.runtimes.reference import Reference
from torch_sigmoid_ext.export.runtimes.timing import seconds_a_call

DIES = """
import os

class Dies:
    format = "onnx"
    def version(self): return "1.0"
    def load(self, path):
        calls = []
        def run(inputs):
            calls.append(1)
            return inputs if len(calls) < 20 else os.abort()
        return run
"""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundles native and exact."""
    folder = tmp_path_factory.mktemp("bundles")
    for lowering in ("native", "exact"):
        make_bundle(folder / lowering, lowering)
    return folder


def test_bundles_are_timed_beside_each_other_and_a_crash_is_a_row(
    bundles: Path, tmp_path: Path
) -> None:
    package = make_package(tmp_path / "site", "dying_runtime", DIES, {"dies": "Dies"})
    before = {path: path.stat().st_mtime_ns for path in bundles.rglob("*")}
    done = run_command(
        *("bench", "native", "exact", "--runtime", "onnxruntime,dies", "--batch", "1,16"),
        *("--seconds", "0.05", "-o", str(tmp_path / "timing")),
        cwd=bundles,
        path=package,
    )
    assert done.returncode == 1, done.stderr
    assert re.search(r"batch +runtime +bundle +median +× native +p99 +rows/s +calls", done.stdout)
    rows = json.loads((tmp_path / "timing" / "bench.json").read_text())
    assert [(row["batch"], row["runtime"], row["bundle"]) for row in rows] == [
        (batch, runtime, bundle)
        for batch in (1, 16)
        for runtime in ("onnxruntime", "dies")
        for bundle in ("native", "exact")
    ]
    for row in rows:
        if row["runtime"] == "dies":
            assert row["failed"].startswith("crashed: killed by SIGABRT while running float32[")
            continue
        assert row["calls"] >= 5 and 0 < row["median"] <= row["p99"]
        assert row["rows_per_second"] == pytest.approx(row["batch"] / row["median"])
    assert done.stdout.count("dies on native: crashed: killed by SIGABRT") == 1
    assert (tmp_path / "timing" / "bench.md").read_text().count("\n") == 2 + len(rows)
    assert (tmp_path / "timing" / "bench.png").read_bytes()[:4] == b"\x89PNG"
    assert before == {path: path.stat().st_mtime_ns for path in bundles.rglob("*")}


def test_what_cannot_be_timed_is_refused_before_anything_is_loaded(bundles, tmp_path) -> None:
    one = [bundles / "native"]
    with pytest.raises(UsageError, match="holds no model source to run; --runtime export"):
        bench.bench(one, runtimes=["eager"])
    with pytest.raises(UsageError, match="expected --batch from 1"):
        bench.bench(one, runtimes=["onnxruntime"], batches=[0])
    with pytest.raises(UsageError, match="268,435,456 elements"):
        bench.bench(one, runtimes=["onnxruntime"], batches=[1 << 28])
    changed = shutil.copytree(bundles / "native", tmp_path / "changed")
    with (changed / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(UsageError, match=r"model\.onnx has changed"):
        bench.bench([changed])
    with pytest.raises(UsageError, match="expected the folder of a bundle"):
        bench.bench([])


def test_a_batch_that_is_no_number_is_an_error_of_use(bundles: Path) -> None:
    done = run_command("bench", "native", "--batch", "many", cwd=bundles)
    assert done.returncode == 2 and "expected --batch N,... as whole numbers" in done.stderr


def test_runtime_that_is_not_here_is_an_error_with_the_command(bundles, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NotInstalled, match="run: pip install tract"):
        bench.bench([bundles / "native"], runtimes=["tract"])


def timing_of(bundle: str, batch: int, median: float, runtime: str = "r", **more) -> Timing:
    return Timing(bundle, bundle, runtime, "1", batch, 10, median, median * 2, **more)


def test_cost_is_against_the_first_bundle_in_the_same_runtime_and_batch() -> None:
    rows = [
        timing_of("native", 1, 2e-6),
        timing_of("exact", 1, 3e-6),
        timing_of("native", 32, 4e-6),
        timing_of("exact", 32, 2e-6),
        timing_of("native", 1, 0.0, "s", failed="crashed"),
        timing_of("exact", 1, 5e-6, "s"),
    ]
    assert [cost for _, cost in costs(rows)] == [1.0, 1.5, 1.0, 0.5, None, None]
    assert bench.several(rows) and not bench.several(rows[:1])


def test_markdown_has_a_figure_or_a_reason_in_every_row() -> None:
    lines = markdown(
        [timing_of("native", 100, 2e-4), timing_of("exact", 1, 0.0, failed="timeout: a|b")]
    ).splitlines()
    assert lines[2] == "| 100 | r 1 | native | native | 200 µs | 400 µs | 500,000 |"
    assert lines[3] == "| 1 | r 1 | exact | exact | timeout: a/b |  |  |"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(9.99e-7, "0.999 µs"), (1e-3, "1 ms"), (0.0123456, "12.3 ms"), (61.0, "61 s")],
)
def test_durations_have_three_digits_and_a_unit(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_calls_are_timed_one_by_one_until_the_time_is_over(monkeypatch) -> None:
    clock = iter([0.0, *(t for n in range(100) for t in (n * 0.25, n * 0.25 + 0.125))])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    assert seconds_a_call(lambda inputs: inputs, [], 1.0) == [0.125] * 5


def test_program_of_its_own_is_timed_by_its_own_clock() -> None:
    class Run:
        def __call__(self, inputs: list) -> list:
            raise AssertionError("the way to the program would be timed")

        def timed(self, inputs: list, seconds: float) -> np.ndarray:
            return np.array([seconds, 2 * seconds])

    assert seconds_a_call(Run(), [], 0.5) == [0.5, 1.0]


def test_server_loads_once_and_answers_turn_by_turn(
    bundles: Path, tmp_path: Path, monkeypatch
) -> None:
    """In this process: one of its own is killed when its turns are over, with all it could tell."""
    confined: list[Path] = []
    monkeypatch.setattr(timing, "confine", lambda runtime, folder: confined.append(folder))
    batches = [[np.ones((rows, 3), np.float32)] for rows in (1, 2)]
    timing.write_request(tmp_path, Reference(), bundles / "exact" / "model.onnx", batches)
    turns_in, turns_out = os.pipe()
    answers_in, answers_out = os.pipe()
    for batch in (1, 0):
        os.write(turns_out, f"{json.dumps({'batch': batch, 'seconds': 0.0})}\n".encode())
    os.close(turns_out)
    timing._serve(tmp_path, turns_in, answers_out)
    with os.fdopen(answers_in) as answers:
        ready, *times = [json.loads(line) for line in answers]
    assert ready == [] and [len(calls) for calls in times] == [1, 1]
    assert all(seconds > 0 for calls in times for seconds in calls)
    assert confined == [tmp_path]
    assert (tmp_path / "doing.txt").read_text() == "running float32[1, 3]"


def test_fixed_batch_is_the_one_that_is_timed() -> None:
    fixed = SimpleNamespace(inputs=[InputSpec.parse("x=float32[4,3]")])
    assert bench._batches([fixed], None) == bench._batches([fixed], [4]) == [4]
    with pytest.raises(UsageError, match="expected --batch 4, which the model is exported for"):
        bench._batches([fixed], [1, 4])
    other = SimpleNamespace(inputs=[InputSpec.parse("x=float32[5,3]")])
    with pytest.raises(UsageError, match="expected --batch 4, 5"):
        bench._batches([fixed, other], None)

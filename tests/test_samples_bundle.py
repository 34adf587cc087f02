"""The user's rows through export and verify: stored with their truth, told of in every report."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import torch_sigmoid_ext
from torch_sigmoid_ext.export import export, verify
from torch_sigmoid_ext.export.bundle import open_bundle
from torch_sigmoid_ext.export.cli import main
from torch_sigmoid_ext.export.errors import UsageError
from torch_sigmoid_ext.export.stored import GivenSample, load_samples

INPUTS = ["x=float32[batch,3]", "scale=float32[]"]


class Net(nn.Module):
    """Probabilities, and logits beside them; a constant that forward makes, a state that it has."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.fc1, self.fc2 = nn.Linear(3, 4), nn.Linear(4, 1)
        self.register_buffer("shift", torch.full((4,), 0.1))

    def forward(self, x: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch_sigmoid_ext.sigmoid(self.fc1(x)) + self.shift
        logits = self.fc2(hidden) * scale
        return logits, torch_sigmoid_ext.sigmoid(logits)


def rows(count: int = 60) -> dict[str, np.ndarray]:
    random = np.random.default_rng(11)
    x = random.normal(0, 4, (count, 3))
    return {"x": x, "scale": np.float64(9), "label": (x.sum(axis=1) > 0).astype(int)}


def truth_of(model: nn.Module, given: dict[str, np.ndarray]) -> list[np.ndarray]:
    wide = Net().double()
    wide.load_state_dict(model.double().state_dict())
    x = torch.from_numpy(given["x"].astype(np.float32)).double()
    with torch.no_grad():
        return [output.numpy() for output in wide(x, torch.tensor(9.0, dtype=torch.float64))]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    np.savez(folder / "rows.npz", **rows())
    found = export(
        Net(),
        INPUTS,
        folder / "out",
        formats=["torchscript", "pt2"],
        runtimes=["eager", "torchscript"],
        samples=folder / "rows.npz",
        threshold=0.9,
        gate="strict,torchscript=exact",
    )
    assert found.passed
    return folder / "out"


def test_rows_are_stored_with_float64_truth_labels_and_threshold(bundle: Path) -> None:
    *others, given = load_samples(bundle / "samples.npz", open_bundle(bundle).inputs)
    assert [sample.batch for sample in others] == [0, 1, 4, 1024]
    assert isinstance(given, GivenSample) and (given.batch, given.threshold) == (60, 0.9)
    np.testing.assert_array_equal(given.inputs[0], rows()["x"].astype(np.float32))
    for got, expected in zip(given.truth, truth_of(Net(), rows()), strict=True):
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, expected, rtol=1e-14)
    assert given.labelled == 1 and given.labels is not None
    np.testing.assert_array_equal(given.labels[:, 0], rows()["label"])
    np.testing.assert_array_equal(others[3].inputs[0][60:120], given.inputs[0])


def test_report_tells_of_them_in_every_form(bundle: Path) -> None:
    report = json.loads((bundle / "report.json").read_text())
    for found in report["runtimes"]:
        [effects] = found["effects"]  # logits are no probabilities
        assert (effects["output"], effects["rows"], effects["labels"]) == ("output_1", 60, "given")
        assert effects["threshold"] == 0.9
        assert effects["log_loss"] == effects["eager_log_loss"]
        assert found["cases"][-1]["given"] and found["cases"][-1]["batch"] == 60
        assert found["operator"]["symmetry"]["max_ulp"] == 0.5
    page, text = ((bundle / f"report.{kind}").read_text("utf-8") for kind in ("html", "md"))
    for words in ("On the given rows", "Reversed pairs", "Decisions at 0.9 changed", "Log-loss"):
        assert words in page and words in text
    assert "60 given rows" in text and "Uneven pairs" in text


def test_gates_are_recorded_and_judge_again(bundle: Path) -> None:
    [found] = verify(bundle, runtimes=["eager"]).runtimes
    assert (found.gate, found.gate_source) == ("strict", "the bundle")
    [found] = verify(bundle, runtimes=["eager"], gate="portable").runtimes
    assert (found.gate, found.gate_source) == ("portable", "--gate")
    text = (bundle / "report.md").read_text("utf-8")
    assert "strict (--gate)" in text and "exact (--gate)" in text
    assert text.startswith("# Yes. Every runtime tried is within its own gate.")


def test_stored_rows_are_verified_again(bundle: Path) -> None:
    [found] = verify(bundle, runtimes=["torchscript"]).runtimes
    [effects] = found.effects
    assert (found.gate, found.gate_source) == ("exact", "the bundle")
    assert (effects.rows, effects.threshold) == (60, 0.9)
    assert effects.rank_inversions == effects.eager_rank_inversions


def test_new_rows_take_their_truth_from_the_graph(bundle: Path, monkeypatch) -> None:
    seen = []
    from torch_sigmoid_ext.export import pipeline

    original = pipeline.sample_by_graph
    monkeypatch.setattr(
        pipeline, "sample_by_graph", lambda *a: seen.append(original(*a)) or seen[-1]
    )
    new = {"x": rows(25)["x"] * 1.5, "scale": np.float32(9)}
    [found] = verify(bundle, runtimes=["torchscript"], samples=new).runtimes
    [sample] = seen
    for got, expected in zip(sample.truth, truth_of(Net(), new), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-14)
    with torch.no_grad():
        ours = Net()(torch.from_numpy(new["x"].astype(np.float32)), torch.tensor(9.0))
    for got, tensor in zip(sample.eager, ours, strict=True):
        np.testing.assert_array_equal(got, tensor.numpy())
    assert found.passed and found.cases[-1].given and found.cases[-1].batch == 25
    [effects] = found.effects
    assert (effects.rows, effects.labels) == (25, "eager's own decisions")


def test_new_rows_without_the_graph_are_refused_with_the_remedy(tmp_path: Path) -> None:
    options = {"formats": ["torchscript"], "verify": False}
    made = export(torch_sigmoid_ext.SimpleNN(), "x=float32[batch,3]", tmp_path / "out", **options)
    with pytest.raises(UsageError, match=r"format pt2 for --samples.*got torchscript.*--format"):
        verify(made, samples=[np.ones((2, 3))])


def test_rows_go_in_several_runs_through_a_fixed_batch(tmp_path: Path) -> None:
    x = np.random.default_rng(2).normal(0, 9, (7, 3))
    model = torch_sigmoid_ext.SimpleNN()
    options = {"formats": ["torchscript"], "runtimes": ["torchscript"], "samples": [x]}
    made = export(model, "x=float32[1,3]", tmp_path / "out", **options)
    [found] = made.report.runtimes
    assert made.passed and [(c.batch, c.given) for c in found.cases] == [(1, False), (7, True)]
    assert [e.rows for e in found.effects] == [7]
    assert found.cases[-1].differing_from_eager == 0


def test_labels_that_fit_no_output_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    options = {"formats": ["torchscript"], "verify": False, "samples": [np.ones((4, 3))]}
    for model, labels, says in (
        (torch_sigmoid_ext.SimpleNN(), [0, 1, 2, 0], r"whole number from 0 to 1; got shape \[4\]"),
        (nn.Linear(3, 2), [0, 1, 1, 0], "output of probabilities for the labels"),
    ):
        with pytest.raises(UsageError, match=says):
            export(
                model, "x=float32[batch,3]", tmp_path / "out", labels=np.array(labels), **options
            )
    assert list(tmp_path.iterdir()) == []


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch_sigmoid_ext.export", *arguments]
    return subprocess.run(command, cwd=cwd, env=os.environ, capture_output=True, text=True)


def test_command_shows_rows_details_and_gates(tmp_path: Path) -> None:
    table = "\n".join(["a,b,c,sick", *(f"{i},{i % 7},{-i},{i % 2}" for i in range(30))])
    (tmp_path / "rows.csv").write_text(table)
    (tmp_path / "pyproject.toml").write_text(
        "[tool.torch-sigmoid-ext.gates]\nonnxruntime = 'absolute'\n"
    )
    options = ["--format", "onnx", "--sigmoid", "native", "--runtime", "eager,onnxruntime"]
    options += ["--samples", "rows.csv", "--label", "sick", "--details"]
    done = run("export", "SimpleNN", "-o", "out", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "gate strict (default); onnxruntime: absolute (pyproject.toml)" in done.stdout
    words = ("30 given rows", "Max ULP in each band", "The worst inputs", "NaN", "Order and range")
    assert all(word in done.stdout for word in words)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["gates"] == {"onnxruntime": "absolute"}
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "out", tmp_path / "elsewhere" / "out")
    (tmp_path / "pyproject.toml").unlink()
    done = run("verify", "elsewhere/out", "--runtime", "onnxruntime", cwd=tmp_path)
    assert done.returncode == 0 and "onnxruntime: absolute (the bundle)" in done.stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--samples", "none.npz"], "expected a file at --samples none.npz"),
        (["--label", "y"], "give --samples"),
        (["--samples", "rows.csv", "--threshold", "2"], "between 0 and 1"),
        (["--samples", "rows.csv"], "expected 3 columns for input=float32[batch,3]"),
    ],
)
def test_wrong_samples_end_with_2_and_one_sentence(
    tmp_path: Path, monkeypatch, capsys, options: list[str], says: str
) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, "argv", ["torch-sigmoid-ext", "export", "SimpleNN", "-o", "out", *options]
    )
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process is pytest's
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == 2 and told.out == ""
    [line] = told.err.strip().splitlines()
    assert line.startswith("torch-sigmoid-ext: ") and says in line
    assert not (tmp_path / "out").exists()

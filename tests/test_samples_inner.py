"""The sigmoids inside of a model: found by module, measured apart from what comes before them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import torch_sigmoid_ext
from torch_sigmoid_ext.export import export, verify
from torch_sigmoid_ext.export.findings import RuntimeFindings
from torch_sigmoid_ext.export.formats import Program
from torch_sigmoid_ext.export.gates import GATES, first_departure
from torch_sigmoid_ext.export.inner import inner_program
from torch_sigmoid_ext.export.inner_errors import InnerSigmoid, measure_inner
from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.stored import Sample

INPUTS = [InputSpec.parse("x=float32[batch,3]")]


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.fc(x))


class Net(nn.Module):
    """torch's sigmoid, then ours in place, then a change of its result in place."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.gate, self.head = Gate(), nn.Linear(3, 2)
        self.last = torch_sigmoid_ext.Sigmoid(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.head(self.gate(x))).mul_(2)


def test_every_sigmoid_is_found_with_its_module_in_the_order_of_the_graph() -> None:
    program, found = inner_program(Program(Net().eval(), INPUTS, ["output"]))
    assert [sigmoid.module for sigmoid in found] == ["gate", "last"]
    names = [f"{sigmoid.name}_{end}" for sigmoid in found for end in ("input", "result")]
    assert program.outputs == ["output", *names]


def test_values_inside_are_eagers_own_though_they_are_overwritten_later() -> None:
    model = Net().eval()
    program, _ = inner_program(Program(model, INPUTS, ["output"]))
    x = torch.from_numpy(np.random.default_rng(1).normal(0, 9, (7, 3)).astype(np.float32))
    with torch.no_grad():
        logits = model.gate.fc(x)
        gated = x * torch.sigmoid(logits)
        head = model.head(gated)
        expected = [model(x), logits, torch.sigmoid(logits)]
        expected += [head, torch_sigmoid_ext.sigmoid(head)]
        got = program.module(x)
    assert len(got) == 5
    assert all(torch.equal(g, e) for g, e in zip(got, expected, strict=True))


def sample(outputs: list[np.ndarray]) -> Sample:
    return Sample(len(outputs[0]), [], outputs, [output.astype(np.float64) for output in outputs])


LOGITS = np.float32([[-20.0, 0.0, 3.0]])
RIGHT = (1 / (1 + np.exp(-LOGITS.astype(np.float64)))).astype(np.float32)
TWO = [InnerSigmoid("sigmoid", "a"), InnerSigmoid("sigmoid_1", "b.act")]


def measured(*outputs: np.ndarray) -> RuntimeFindings:
    found = measure_inner(TWO, sample([LOGITS, LOGITS, RIGHT, LOGITS, RIGHT]), outputs)
    return RuntimeFindings("r", "1", "model.onnx", "ran", inner=found)


def test_wrong_input_is_not_the_sigmoids_fault() -> None:
    other = LOGITS + np.float32(1)
    due = (1 / (1 + np.exp(-other.astype(np.float64)))).astype(np.float32)
    found = measured(LOGITS, LOGITS, RIGHT, other, due)
    second = found.inner[1]
    assert second.input_ulp > 1e5 and second.result_ulp > 1e5
    assert second.own_ulp <= 0.5 and second.differing == 0
    assert all(first_departure(gate, found) == "" for gate in GATES.values())


@pytest.mark.parametrize(
    ("gate", "departs"), [("exact", 1), ("strict", 1), ("portable", 1), ("absolute", 0)]
)
def test_first_to_lose_a_tail_is_named_with_its_input(gate: str, departs: int) -> None:
    lost = RIGHT.copy()
    lost[0, 0] = 0
    found = measured(LOGITS, LOGITS, RIGHT, LOGITS, lost)
    assert found.inner[1].premature_zeros == 1 and found.inner[0].premature_zeros == 0
    said = first_departure(GATES[gate], found)
    assert bool(said) is bool(departs)
    if departs:
        assert "the model's sigmoid b.act (sigmoid_1) is the first to leave the gate" in said
        assert "x = -20, expected 2.0611536" in said and "got 0" in said


def test_bounds_are_the_operators() -> None:
    off = RIGHT.copy()
    for _ in range(5):
        off[0, 0] = np.nextafter(off[0, 0], np.float32(1))
    found = measured(LOGITS, LOGITS, off, LOGITS, off)
    assert 4 < found.inner[0].own_ulp < 6
    said = first_departure(GATES["strict"], found)
    assert "sigmoid a (sigmoid) is the first" in said and "ULP where 4 is allowed" in said
    assert first_departure(GATES["portable"], found) == ""
    assert "1 of 3 results are not correctly rounded" in first_departure(GATES["exact"], found)
    far = RIGHT.copy()
    far[0, 1] += np.float32(2e-6)
    found = measured(LOGITS, LOGITS, far, LOGITS, RIGHT)
    assert "off by 2.03e-06 where 1e-06" in first_departure(GATES["absolute"], found)


def test_flushed_subnormals_pass_portable_alone() -> None:
    logits = np.float32([[-90.0, 0.0, 1.0]])
    right = torch_sigmoid_ext.sigmoid(torch.from_numpy(logits)).numpy()
    flushed = right.copy()
    flushed[0, 0] = 0
    inner = measure_inner(TWO[:1], sample([logits, logits, right]), [logits, logits, flushed])
    found = replace(measured(LOGITS, LOGITS, RIGHT, LOGITS, RIGHT), inner=inner)
    assert first_departure(GATES["portable"], found) == ""
    assert "1 premature zeros" in first_departure(GATES["strict"], found)


def test_spurious_nan_leaves_every_gate() -> None:
    wrong = RIGHT.copy()
    wrong[0, 1] = np.nan
    found = measured(LOGITS, LOGITS, wrong, LOGITS, RIGHT)
    assert all("sigmoid a" in first_departure(gate, found) for gate in GATES.values())


def test_bundle_tells_in_which_sigmoid_a_runtime_departs(tmp_path: Path) -> None:
    made = export(
        torch_sigmoid_ext.convert(Net()),
        "x=float32[batch,3]",
        tmp_path / "out",
        formats=["onnx", "torchscript"],
        sigmoid="native",
        intermediate=True,
        runtimes=["eager", "onnxruntime", "torchscript"],
    )
    eager, onnxruntime, torchscript = made.report.runtimes
    assert [inner.module for inner in onnxruntime.inner] == ["gate", "last"]
    assert eager.passed and torchscript.passed and len(torchscript.inner) == 2
    assert all(inner.own_ulp <= 0.5 for r in (eager, torchscript) for inner in r.inner)
    first = next(i for i in onnxruntime.inner if i.own_ulp > 4)
    [failure] = [f for f in onnxruntime.failures if "the first to leave the gate" in f.what]
    assert f"sigmoid {first.module} ({first.name})" in failure.what
    assert "--sigmoid exact" in failure.mend
    for page in ("report.html", "report.md"):
        text = (tmp_path / "out" / page).read_text("utf-8")
        assert "The sigmoids inside of the model" in text and "the first to leave" in text
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [one["module"] for one in manifest["inner"]] == ["gate", "last"]
    assert {"model.inner.onnx", "model.inner.torchscript.pt", "inner.npz"} <= set(manifest["files"])
    [again] = verify(made, runtimes=["onnxruntime"]).runtimes
    assert again.inner == onnxruntime.inner


def test_model_without_a_sigmoid_is_noted(tmp_path: Path) -> None:
    made = export(
        nn.Linear(3, 2),
        "x=float32[batch,3]",
        tmp_path / "out",
        formats=["torchscript"],
        intermediate=True,
        verify=False,
    )
    assert any("holds no sigmoid: there is nothing inside" in note for note in made.report.notes)
    assert not (tmp_path / "out" / "inner.npz").exists()

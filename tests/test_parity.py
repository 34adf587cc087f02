"""The operator's exported files, run in their runtimes, against the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import torch_sigmoid_ext
from torch_sigmoid_ext.export import lowering as lowerings
from torch_sigmoid_ext.export.findings import RuntimeFindings
from torch_sigmoid_ext.export.formats import FORMATS, LOWERINGS
from torch_sigmoid_ext.export.gates import GATES, judge
from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.pipeline import export_bundle, export_file
from torch_sigmoid_ext.export.runtimes import RUNTIMES
from torch_sigmoid_ext.export.ulp import HARDEST, Probe, measure_operator


@pytest.fixture(scope="module")
def operator_file(tmp_path_factory: pytest.TempPathFactory):
    """A function that exports the bare operator, once for each way of doing so."""
    files: dict[tuple[str, str, str], Path] = {}

    def export(format: str, lowering: str, dtype: str) -> Path:
        key = (format, lowering, dtype)
        if key not in files:
            folder = tmp_path_factory.mktemp("operator")
            files[key] = export_file(
                torch_sigmoid_ext.Sigmoid(),
                [InputSpec.parse(f"input={dtype}[n]")],
                folder / f"operator{FORMATS[format].suffix}",
                format=format,
                lowering=lowering,
            )
        return files[key]

    return export


def measure(runtime: str, path: Path, dtype: str) -> RuntimeFindings:
    """The sweep in this process: the worker has tests of its own."""
    probe = Probe.of(dtype)
    [outputs] = RUNTIMES[runtime].load(path)([probe.inputs])
    measured = measure_operator(probe, outputs)
    return RuntimeFindings(runtime, "", path.name, "ran", operator=measured)


def complaints(gate: str, found: RuntimeFindings) -> list[str]:
    return [failure.what for failure in judge(GATES[gate], found)]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("runtime", ["onnxruntime", "reference"])
@pytest.mark.parametrize("lowering", ["stable", "exact"])
def test_stable_and_exact_lowerings_pass_strict(operator_file, lowering, runtime, dtype) -> None:
    found = measure(runtime, operator_file("onnx", lowering, dtype), dtype)
    assert complaints("strict", found) == []


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("runtime", ["onnxruntime", "reference"])
def test_exact_lowering_is_correctly_rounded_at_the_hardest_inputs_too(
    operator_file, runtime, dtype
) -> None:
    assert set(np.array(HARDEST, dtype)) <= set(Probe.of(dtype).sweep)
    found = measure(runtime, operator_file("onnx", "exact", dtype), dtype)
    assert complaints("exact", found) == []


def test_torchscript_is_correctly_rounded(operator_file) -> None:
    path = operator_file("torchscript", "exact", "float32")
    assert complaints("exact", measure("torchscript", path, "float32")) == []


def test_native_lowering_fails_strict_in_onnxruntime_and_names_its_zero_band(operator_file) -> None:
    found = measure("onnxruntime", operator_file("onnx", "native", "float32"), "float32")
    first = judge(GATES["strict"], found, "native")[0]
    assert first.what.startswith("premature zeros for x in [-103.97")
    assert found.operator is not None and found.operator.zero_band is not None
    assert -18.5 < found.operator.zero_band[1] < -15, "FACTS: zeros from about -16, all below -18"
    assert "--sigmoid exact" in first.mend


def test_native_lowering_keeps_its_tail_in_the_reference(operator_file) -> None:
    found = measure("reference", operator_file("onnx", "native", "float32"), "float32")
    assert complaints("strict", found) == []


def test_native_lowering_taken_for_exact_is_caught(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(lowerings._LOWERINGS, "exact", lowerings.native)
    report = export_bundle(
        torch_sigmoid_ext.SimpleNN(),
        "SimpleNN",
        [InputSpec.parse("input=float32[batch,3]")],
        tmp_path / "out",
        formats=["onnx"],
        lowering="exact",
        runtimes=["onnxruntime"],
    )
    assert not report.passed
    assert "premature zeros" in report.runtimes[0].failures[0].what


class TorchsOwn(nn.Module):
    def forward(self, x):
        return torch.sigmoid(x)


@pytest.mark.parametrize("converted", [False, True])
def test_torchs_own_sigmoid_is_caught_in_the_model_and_mended_by_convert(
    tmp_path: Path, converted: bool
) -> None:
    report = export_bundle(
        torch_sigmoid_ext.convert(TorchsOwn()) if converted else TorchsOwn(),
        "models.py:TorchsOwn",
        [InputSpec.parse("x=float32[batch]")],
        tmp_path / "out",
        formats=["onnx"],
        runtimes=["onnxruntime"],
    )
    assert report.passed is converted
    if not converted:
        model_failures = [
            failure
            for failure in report.runtimes[0].failures
            if failure.what.startswith("model, batch ")
        ]
        assert model_failures and all("--convert" in f.mend for f in model_failures)


@pytest.mark.parametrize(
    ("lowering", "has"), [("native", {"Sigmoid"}), ("stable", {"Exp", "Abs"}), ("exact", {"Round"})]
)
def test_lowering_is_what_its_name_says(operator_file, lowering, has) -> None:
    nodes = {n.op_type for n in onnx.load(operator_file("onnx", lowering, "float32")).graph.node}
    assert has <= nodes
    assert ("Sigmoid" in nodes) is (lowering == "native")


def test_every_lowering_that_the_command_line_knows_exists() -> None:
    assert set(lowerings._LOWERINGS) == set(LOWERINGS)


@pytest.mark.parametrize("inplace", [False, True])
def test_integers_are_promoted_and_inplace_calls_exported(tmp_path: Path, inplace: bool) -> None:
    class Model(nn.Module):
        def forward(self, x):
            doubled = x * 2
            if inplace:
                doubled = doubled.float()
                torch_sigmoid_ext.sigmoid_(doubled.view(-1))
                return doubled
            return torch_sigmoid_ext.sigmoid(doubled)

    path = export_file(Model(), [InputSpec.parse("x=int64[n]")], tmp_path / "m.onnx")
    x = np.array([-40, -1, 0, 3])
    [got] = RUNTIMES["onnxruntime"].load(path)([x])
    np.testing.assert_array_equal(got, (1 / (1 + np.exp(-2.0 * x))).astype(np.float32))


class CallsTorch(nn.Module):
    """What most models are: torch's own sigmoid, which no lowering of ours touches."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(3, 2)
        self.gate = nn.Sigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gate(self.fc1(x)) + 0 * torch_sigmoid_ext.sigmoid(x[:, :2])


def test_sigmoid_that_is_swept_is_the_one_that_the_model_calls(tmp_path: Path) -> None:
    inputs = [InputSpec.parse("x=float32[batch,3]")]
    options = {"formats": ["onnx"], "runtimes": ["eager", "onnxruntime"]}
    plain = export_bundle(CallsTorch(), "plain", inputs, tmp_path / "plain", **options)
    assert plain.swept == "torch.sigmoid" and any("--convert" in note for note in plain.notes)
    nodes = [node.op_type for node in onnx.load(tmp_path / "plain" / "operator.onnx").graph.node]
    assert nodes == ["Sigmoid"]
    eager, runtime = plain.runtimes
    for findings, lowest in ((eager, -88.8), (runtime, -16.3)):
        assert not findings.passed and lowest < findings.operator.zero_band[1] < lowest + 1
        assert {f.mend.split(":")[0] for f in findings.failures} == {"export with --convert"}

    converted = torch_sigmoid_ext.convert(CallsTorch())
    ours = export_bundle(converted, "ours", inputs, tmp_path / "ours", **options)
    assert ours.passed and ours.swept == "torch_sigmoid_ext.sigmoid"
    assert [findings.operator.differing for findings in ours.runtimes] == [0, 0]

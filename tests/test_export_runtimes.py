"""A runtime that crashes, hangs, lies or is missing is a row of the report, no end of the run."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import torch_sigmoid_ext
from torch_sigmoid_ext.export import runtimes
from torch_sigmoid_ext.export.bundle import open_bundle
from torch_sigmoid_ext.export.errors import NotInstalled, UsageError
from torch_sigmoid_ext.export.findings import Report, RuntimeFindings, Skip, SkipKind
from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.pipeline import export_bundle, runtime_outputs
from torch_sigmoid_ext.export.runtimes import worker
from torch_sigmoid_ext.export.samples import check_model, make_samples
from torch_sigmoid_ext.export.stored import Sample, load_samples
from torch_sigmoid_ext.export.user_samples import load_rows
from torch_sigmoid_ext.export.verify import choose_runtimes, measure_case, verify_operator

INPUTS = [InputSpec.parse("input=float32[batch,3]")]

MISBEHAVING = """
import os, signal, sys, time
import numpy as np
from torch_sigmoid_ext.export import runtimes

class Runtime(runtimes.Runtime):
    format, install = "torchscript", "pip install it"
    name = property(lambda self: type(self).__name__)
    def version(self): return "1.0"
    def load(self, path): raise NotImplementedError

class Crashes(Runtime):
    def load(self, path): os.kill(os.getpid(), signal.SIGSEGV)

class Hangs(Runtime):
    def load(self, path): time.sleep(1000)

class Raises(Runtime):
    def load(self, path):
        def run(inputs): raise ValueError("two\\nlines: no kernel")
        return run

class Exits(Runtime):
    def load(self, path): os._exit(7)

class Transposes(Runtime):
    def load(self, path): return lambda inputs: [x[None] for x in inputs]

class Aborts(Runtime):
    def load(self, path):
        print("terminate called: no such size", file=sys.stderr)
        return lambda inputs: [x if len(x) else os.abort() for x in inputs]

class Stalls(Runtime):
    def load(self, path): return lambda inputs: [x if len(x) else time.sleep(1000) for x in inputs]

class Absent(Runtime):
    def version(self): return ""
"""


@pytest.fixture
def misbehaving(tmp_path: Path, monkeypatch) -> dict[str, runtimes.Runtime]:
    """The adapters above, known by name and importable in the worker."""
    (tmp_path / "misbehaving_runtimes.py").write_text(textwrap.dedent(MISBEHAVING))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    import misbehaving_runtimes as module

    names = ["Crashes", "Hangs", "Raises", "Exits", "Transposes", "Aborts", "Stalls", "Absent"]
    found = {name: getattr(module, name)() for name in names}
    for name, runtime in found.items():
        monkeypatch.setitem(runtimes.RUNTIMES, name, runtime)
    yield found
    del sys.modules["misbehaving_runtimes"]


def export(directory: Path, model: nn.Module | None = None, **options) -> Report:
    options = {"formats": ["torchscript"], **options}
    model = model or torch_sigmoid_ext.SimpleNN()
    return export_bundle(model, "SimpleNN", INPUTS, directory, **options)


def test_crashes_are_rows_and_the_others_are_still_verified(tmp_path: Path, misbehaving) -> None:
    names = ["Crashes", "Raises", "Exits", "Transposes", "torchscript"]
    report = export(tmp_path / "out", runtimes=names)
    rows = {row.runtime: row for row in report.runtimes}
    assert list(rows) == names and not report.passed
    assert rows["Crashes"].status == "crashed"
    assert rows["Crashes"].detail == "killed by SIGSEGV while loading the file"
    assert "ValueError: lines: no kernel" in rows["Raises"].detail
    assert "running float32[" in rows["Raises"].detail
    assert rows["Exits"].detail == "exit code 7 while loading the file"
    assert "returned float32[1, 3" in rows["Transposes"].detail
    assert rows["torchscript"].passed
    assert all(row.failures for name, row in rows.items() if name != "torchscript")
    assert (tmp_path / "out" / "report.html").is_file()


class Identity(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0


@pytest.mark.parametrize(
    ("name", "how"),
    [
        (
            "Aborts",
            "killed by SIGABRT while running float32[0, 3]: terminate called: no such size",
        ),
        ("Stalls", "no answer within 5 s while running float32[0, 3]"),
    ],
)
def test_failure_on_the_empty_batch_alone_keeps_the_other_findings(
    tmp_path: Path, misbehaving, monkeypatch, name: str, how: str
) -> None:
    monkeypatch.setattr(worker, "TIME_LIMIT", 5.0)
    [row] = export(tmp_path / "out", Identity(), runtimes=[name], gate="exact").runtimes
    assert (row.status, row.passed) == ("ran", False) and row.operator is not None
    assert [(case.batch, case.differing_from_eager) for case in row.cases] == [
        (1, 0),
        (4, 0),
        (1024, 0),
    ]
    [failure] = [failure for failure in row.failures if "batch 0" in failure.what]
    assert f"{name} cannot take an empty batch of this model: {how}" in failure.what
    assert failure.mend


def test_hang_is_ended_and_is_a_row(misbehaving, monkeypatch) -> None:
    monkeypatch.setattr(worker, "TIME_LIMIT", 2.0)
    row = verify_operator(misbehaving["Hangs"], Path("file"), "float32", "strict")
    assert (row.status, row.detail[:20]) == ("timeout", "no answer within 2 s")
    assert row.failures and not row.passed


def test_runtime_that_is_not_installed_is_skipped_by_name_or_refused(misbehaving) -> None:
    chosen, skipped = choose_runtimes(None, ["torchscript"])
    assert skipped["Absent"] == Skip(SkipKind.NOT_INSTALLED, "not installed", "run: pip install it")
    assert "Absent" not in [runtime.name for runtime in chosen]
    with pytest.raises(NotInstalled, match="pip install it"):
        choose_runtimes(["Absent"], ["torchscript"])


def test_runtime_names_on_request_unknown_or_for_another_format(monkeypatch) -> None:
    monkeypatch.setattr(type(runtimes.RUNTIMES["tract"]), "version", lambda self: "1.0")
    _, skipped = choose_runtimes(None, ["onnx"])
    assert skipped["tract"].kind is SkipKind.ON_REQUEST
    assert skipped["tract"].mend == "add it with --runtime tract or --runtime all"
    for names in (["tract"], ["all"]):
        assert "tract" in [runtime.name for runtime in choose_runtimes(names, ["onnx"])[0]]
    with pytest.raises(UsageError, match=r"one of eager, compile, .*, reference, .*; got 'onyx'"):
        choose_runtimes(["onyx"], ["onnx"])
    with pytest.raises(UsageError, match="--format onnx"):
        choose_runtimes(["reference"], ["torchscript"])


def test_file_is_run_apart_batch_by_batch(tmp_path: Path) -> None:
    export(tmp_path / "out", verify=False)
    batches = [[np.zeros((n, 3), np.float32)] for n in (0, 1, 5)]
    results = runtime_outputs("torchscript", tmp_path / "out" / "model.torchscript.pt", batches)
    assert [outputs[0].shape for outputs in results] == [(0, 2), (1, 2), (5, 2)]


def test_samples_hold_four_batches_with_float64_truth() -> None:
    model = torch_sigmoid_ext.SimpleNN().eval()
    samples, notes = make_samples(model, INPUTS)
    assert [sample.batch for sample in samples] == [0, 1, 4, 1024] and notes == []
    weight, bias = (p.detach().numpy().astype(np.longdouble) for p in model.parameters())
    last = samples[-1]
    expected = 1 / (1 + np.exp(-(last.inputs[0].astype(np.longdouble) @ weight.T + bias)))
    np.testing.assert_allclose(last.truth[0], expected.astype(np.float64), rtol=1e-13)


def test_real_rows_are_used_over_and_over() -> None:
    rows = np.arange(9, dtype=np.float32).reshape(3, 3)
    given = load_rows([rows], INPUTS)
    samples, _ = make_samples(torch_sigmoid_ext.SimpleNN().eval(), INPUTS, given)
    np.testing.assert_array_equal(samples[2].inputs[0], rows[[0, 1, 2, 0]])
    np.testing.assert_array_equal(samples[-1].inputs[0], rows)


class NoBatchZero(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] == 0:
            raise ValueError("nothing to do")
        return torch_sigmoid_ext.sigmoid(x)


class NoFloat64(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch_sigmoid_ext.sigmoid(x.float())


class NoBatchOne(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] == 1:
            raise ValueError("one is lonely")
        return torch_sigmoid_ext.sigmoid(x)


def test_model_that_cannot_take_batch_0_is_verified_without_it_and_that_is_noted(
    tmp_path: Path,
) -> None:
    report = export(tmp_path / "out", NoBatchZero(), runtimes=["torchscript"])
    assert report.passed and [case.batch for case in report.runtimes[0].cases] == [1, 4, 1024]
    assert any(
        "batch 0 is not verified" in note and "nothing to do" in note for note in report.notes
    )
    stored = load_samples(tmp_path / "out" / "samples.npz", open_bundle(tmp_path / "out").inputs)
    assert [sample.batch for sample in stored] == [1, 4, 1024]


def test_model_that_has_no_float64_truth_is_noted(tmp_path: Path) -> None:
    report = export(tmp_path / "out", NoFloat64(), runtimes=["torchscript"])
    assert report.runtimes[0].cases == [] and report.runtimes[0].operator is not None
    assert any("casts to torch.float32" in note for note in report.notes)


def test_model_whose_every_output_is_nan_is_noted() -> None:
    model = torch_sigmoid_ext.SimpleNN().eval()
    nn.init.constant_(model.fc1.weight, float("nan"))
    _, [note] = make_samples(model, INPUTS)
    assert "every output of the model is NaN in eager PyTorch itself" in note


@pytest.mark.parametrize("dims", ["99999999999,3", "batch,99999999999", "99999999,99999999,99999"])
def test_input_beyond_all_memory_is_an_error_of_use(dims: str) -> None:
    with pytest.raises(
        UsageError, match=r"at most 268,435,456 elements, got [\d,]+ in --input 'x="
    ):
        check_model(Identity(), [InputSpec.parse(f"x=float32[{dims}]")])


def test_float64_model_is_not_held_against_itself() -> None:
    model = nn.Sequential(nn.Linear(3, 2), torch_sigmoid_ext.Sigmoid()).double().eval()
    samples, [note] = make_samples(model, [InputSpec.parse("x=float64[batch,3]")])
    assert not any(sample.truth for sample in samples) and "nothing wider" in note


def test_model_that_cannot_take_its_declared_sizes_is_an_error_of_use() -> None:
    with pytest.raises(UsageError, match=r"input float32\[1, 3\].*one is lonely"):
        make_samples(NoBatchOne(), INPUTS)


def case(got: list[float], eager: list[float], truth: list[float]):
    arrays = [[np.array(a, d)] for a, d in ((got, "f4"), (eager, "f4"), (truth, "f8"))]
    return measure_case(Sample(len(got), [], arrays[1], arrays[2]), arrays[0])


def test_model_errors_are_measured_against_float64_and_beside_eagers() -> None:
    one_ulp, two_ulp = 0.5 + 2.0**-24, 0.5 + 2.0**-23
    found = case([0.5, two_ulp], [0.5, one_ulp], [0.5, 0.5])
    assert (found.max_ulp, found.eager_ulp, found.differing_from_eager) == (2, 1, 1)
    assert found.worst is not None and found.worst.got == two_ulp and found.worst.expected == 0.5


def test_worst_element_of_a_model_is_named_by_output_and_index() -> None:
    truth = [np.full((2, 3), 0.5), np.full((6, 2), 0.5), np.array(0.5)]
    eager = [array.astype("f4") for array in truth]
    got = [array.copy() for array in eager]
    got[0][1, 2], got[1][5, 1] = 0.25, 0
    worst = measure_case(Sample(6, [], eager, truth), got).worst
    assert worst is not None and worst.where == "output 1, element [5, 1]"


def test_nan_of_the_runtime_alone_is_a_mismatch_and_eagers_own_is_not() -> None:
    nan, inf = float("nan"), float("inf")
    assert case([nan], [0.5], [0.5]).nan_mismatches == 1
    assert case([0.5], [nan], [nan]).nan_mismatches == 1
    alike = case([nan, nan, inf], [nan, nan, inf], [nan, 0.5, 1e300])
    assert (alike.nan_mismatches, alike.max_ulp, alike.eager_ulp) == (0, 0, 0)
    assert case([1.0], [inf], [1e300]).max_ulp == inf


def test_not_a_bundle_row_for_eager_needs_no_file() -> None:
    row = verify_operator(runtimes.RUNTIMES["eager"], Path(), "float32", "strict")
    assert isinstance(row, RuntimeFindings) and row.passed and row.file == ""

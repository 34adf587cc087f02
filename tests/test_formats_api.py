"""The command's work as Python functions, and the lowerings for whoever calls torch.onnx.export."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from truth import rounded, true_sigmoid

import torch_sigmoid_ext
from torch_sigmoid_ext import export as package
from torch_sigmoid_ext.export import (
    Bundle,
    InputSpec,
    NotInstalled,
    UsageError,
    add_onnx_functions,
    api,
    assert_parity,
    export,
    onnx_translation_table,
    verify,
)
from torch_sigmoid_ext.export.formats import FORMATS, LOWERINGS
from torch_sigmoid_ext.export.runtimes import RUNTIMES

INPUT = "x=float32[batch,3]"


def test_importing_the_package_imports_nothing_of_it() -> None:
    code = """
import sys, torch, torch_sigmoid_ext
before = set(sys.modules)
import torch_sigmoid_ext.export as export
assert set(sys.modules) - before == {"torch_sigmoid_ext.export"}, set(sys.modules) - before
assert set(export.__all__) <= set(dir(export))
import torch_sigmoid_ext.export.verify
from torch_sigmoid_ext.export import UsageError, verify
assert callable(verify) and "onnx" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there_and_documented() -> None:
    for name in package.__all__:
        assert getattr(package, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'exporter'"):
        package.exporter  # noqa: B018


@pytest.mark.parametrize("name", ["export", "verify", "assert_parity"])
def test_examples_of_the_functions(name: str) -> None:
    [test] = doctest.DocTestFinder(recurse=False).find(getattr(api, name), name, api)
    assert test.examples and doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("name", ["onnx_translation_table", "add_onnx_functions"])
def test_examples_of_the_lowerings(name: str) -> None:
    [test] = doctest.DocTestFinder(recurse=False).find(getattr(api, name), name, api)
    assert test.examples and doctest.DocTestRunner().run(test).failed == 0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export(
        nn.Sequential(nn.Linear(3, 2), nn.Sigmoid()).train(),
        [InputSpec.parse(INPUT)],
        tmp_path_factory.mktemp("api") / "out",
        formats=["onnx"],
        sigmoid="function",
        opset=18,
        convert=True,
        gate="exact",
        verify=False,
    )


def test_export_does_what_the_command_does(bundle: Bundle) -> None:
    manifest = json.loads((bundle.directory / "manifest.json").read_text())
    assert manifest["model"] == "Sequential" and manifest["gate"] == "exact"
    assert manifest["lowering"] == "function" and manifest["opset"] == 18
    assert manifest["swept"] == "torch_sigmoid_ext.sigmoid", "converted"
    assert bundle.file("onnx") == bundle.directory / "model.onnx"
    assert [f.name for f in onnx.load(bundle.file("onnx")).functions] == ["ExactSigmoidFloat32"]
    assert bundle.report.runtimes == [] and bundle.manifest.formats.keys() == {"onnx"}
    with pytest.raises(UsageError, match="expected format to be one of onnx; got 'pt2'"):
        bundle.file("pt2")


def test_verify_takes_a_bundle_or_its_folder(bundle: Bundle) -> None:
    report = verify(bundle, runtimes=["reference"])
    assert report.gate == "exact" and [row.runtime for row in report.runtimes] == ["reference"]
    operator = report.runtimes[0].operator
    assert operator is not None and operator.differing == 0
    with pytest.raises(UsageError, match="expected a bundle with a manifest"):
        verify(bundle.directory.parent)


def test_model_is_given_back_as_it_came(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Dropout(), nn.Sigmoid()).train()
    model[0].eval()
    with pytest.raises(UsageError, match="--gate"):
        export(model, INPUT, tmp_path / "out", gate="loose")
    export(model, INPUT, tmp_path / "out", formats=["torchscript"], verify=False)
    assert [module.training for module in model.modules()] == [True, False, True]
    assert type(model[1]) is nn.Sigmoid


@pytest.mark.parametrize("inputs", [[], ["x=float32[3]", "x=float32[3]"], "x=float[3]"])
def test_inputs_that_are_none_are_answered_with_an_example(tmp_path: Path, inputs) -> None:
    with pytest.raises(UsageError, match=r"x=float32\[batch,3\]"):
        export(torch_sigmoid_ext.SimpleNN(), inputs, tmp_path / "out")


def test_parity_of_a_runtime_that_breaks_the_sigmoid_is_an_assertion_with_its_evidence() -> None:
    with pytest.raises(AssertionError) as error:
        assert_parity(
            torch_sigmoid_ext.Sigmoid(), "x=float32[n]", runtimes=["onnxruntime"], sigmoid="native"
        )
    first = str(error.value).splitlines()[0]
    assert first.startswith("onnxruntime: premature zeros for x in [-103.97")
    assert "got 0 (" in first and "to mend: export with --sigmoid exact" in first


def test_parity_that_nothing_shows_is_an_assertion_too() -> None:
    with pytest.raises(AssertionError, match=r"it was not: .* float64 itself"):
        assert_parity(torch_sigmoid_ext.Sigmoid(), "x=float64[n]", runtimes=["eager"])


def test_parity_in_a_runtime_that_is_not_there_is_no_parity() -> None:
    with pytest.raises((NotInstalled, UsageError), match="onyx"):
        assert_parity(torch_sigmoid_ext.Sigmoid(), "x=float32[n]", runtimes=["onyx"])


def test_formats_are_those_that_the_runtimes_read() -> None:
    assert api._formats_for(None) is None
    assert api._formats_for(["eager"]) == ["torchscript"]
    assert api._formats_for(["reference", "eager", "torchscript"]) == ["torchscript", "onnx"]


# torch.onnx.export by oneself.


class CallsTorch(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(x)


@pytest.mark.parametrize("sigmoid", LOWERINGS)
def test_table_serves_torch_onnx_export_alone(tmp_path: Path, sigmoid: str) -> None:
    program = torch.onnx.export(
        CallsTorch().eval(),
        (torch.ones(4),),
        custom_translation_table=onnx_translation_table(sigmoid, convert=True),
        dynamic_shapes=({0: "n"},),
        verbose=False,
    )
    assert program is not None
    add_onnx_functions(program).save(tmp_path / "m.onnx")
    x = np.array([-15.5, -0.5, 0.25, 9.0], np.float32)
    [got] = RUNTIMES["onnxruntime"].load(tmp_path / "m.onnx")([x])
    right = [rounded(true_sigmoid(float(v)), torch.float32) for v in x]
    same = got.tolist() == right
    assert same if sigmoid in ("exact", "function") else np.allclose(got, right, rtol=1, atol=0)
    assert ("Sigmoid" in {n.op_type for n in program.model.graph}) is (sigmoid == "native")


def test_table_without_convert_leaves_torchs_sigmoid_alone() -> None:
    table = onnx_translation_table()
    assert list(table) == [torch.ops.torch_sigmoid_ext.sigmoid.default]


def test_wrong_names_and_missing_packages_are_told(monkeypatch) -> None:
    with pytest.raises(UsageError, match="one of exact, stable, native, function; got 'fast'"):
        onnx_translation_table("fast")
    with pytest.raises(UsageError, match=r"torch.onnx.ONNXProgram that .* got Linear"):
        add_onnx_functions(nn.Linear(1, 1))
    monkeypatch.setattr(FORMATS["onnx"], "missing", lambda: "onnxscript", raising=False)
    with pytest.raises(NotInstalled, match="need onnxscript; run: pip install onnx onnxscript"):
        onnx_translation_table("exact")

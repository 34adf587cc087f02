"""The runtimes of ONNX files besides ONNX Runtime and the reference, as far as they are installed.

What is asserted of each is what sets it apart, against the truth and against torch; the figures
stand in docs/runtimes.md.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import torch_sigmoid_ext
from torch_sigmoid_ext.export import doctor
from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.pipeline import export_file
from torch_sigmoid_ext.export.runtimes import RUNTIMES, Array, Runtime, onnxruntime_web
from torch_sigmoid_ext.export.runtimes.apart import RuntimeFailure
from torch_sigmoid_ext.export.runtimes.worker import describe_apart, run_apart

INPUTS = [InputSpec.parse("a=float32[batch,3]"), InputSpec.parse("b=float32[batch,3]")]

# The whole of a plain exporter's day: 0, both signs, the tails, the limits, no subnormal results.
X = np.array([0, -0.5, 3, -12, -17.25, 25, -80, -86, np.inf, 88, 1e-6, -1], np.float32)


class Two(nn.Module):
    """Two inputs that are not alike, two outputs: an order that can be got wrong."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch_sigmoid_ext.sigmoid(a), a - b


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The model by lowering."""
    folder = tmp_path_factory.mktemp("files")
    return {
        lowering: export_file(Two(), INPUTS, folder / f"{lowering}.onnx", lowering=lowering)
        for lowering in ("exact", "stable", "native")
    }


def installed(name: str) -> Runtime:
    runtime = RUNTIMES[name]
    if not runtime.version():
        pytest.skip(f"{name} is not installed: {runtime.install}")
    return runtime


def run(runtime: Runtime, path: Path) -> tuple[Array, Array]:
    """Both outputs on X, as flat as X."""
    a = X.reshape(4, 3)
    [[y, difference]] = run_apart(runtime, path, [[a, np.ones_like(a)]])
    assert y.dtype == difference.dtype == np.float32 and y.shape == difference.shape == (4, 3)
    np.testing.assert_array_equal(difference, a - 1)
    return y.ravel(), difference


def truth() -> Array:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-X.astype(np.float64)))


def relative_error(got: Array) -> Array:
    return np.abs(got - truth()) / truth()


def test_onnxruntime_web_keeps_the_exact_lowerings_bits_and_loses_the_native_ones_tail(
    files: dict[str, Path],
) -> None:
    web = installed("onnxruntime-web")
    exact, _ = run(web, files["exact"])
    np.testing.assert_array_equal(exact, torch_sigmoid_ext.sigmoid(torch.from_numpy(X)).numpy())
    native, _ = run(web, files["native"])
    assert relative_error(native)[X == -80] == 1, "the sigmoid of WebAssembly is 0 below -18"


@pytest.mark.parametrize("name", ["openvino", "openvino-default", "opencv", "mnn", "ncnn"])
def test_runtime_in_float32_is_close_to_the_truth_where_results_are_normal(
    files: dict[str, Path], name: str
) -> None:
    got, _ = run(installed(name), files["native"])
    assert relative_error(got).max() < 1e-5, got


def test_tract_runs_the_stable_lowering_and_names_what_it_lacks_for_the_exact_one(files) -> None:
    tract = installed("tract")
    got, _ = run(tract, files["stable"])
    assert relative_error(got).max() < 1e-6
    with pytest.raises(RuntimeFailure, match="RoundHalfToEven does not support F64"):
        run(tract, files["exact"])
    assert "--sigmoid stable" in tract.mends["exact"]


class Product(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 8)

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        return self.fc(a)


def test_openvinos_default_precision_is_what_it_says_and_the_hint_mends_it(tmp_path: Path) -> None:
    """A matrix product in bfloat16 has 8 bits; in float32, 24."""
    precise, default = installed("openvino"), installed("openvino-default")
    torch.manual_seed(0)
    model, x = Product().eval(), torch.randn(16, 64)
    path = export_file(model, [InputSpec.parse("a=float32[n,64]")], tmp_path / "product.onnx")
    due = model.double()(x.double()).detach().numpy()
    errors = {}
    for runtime in (precise, default):
        [[got]] = run_apart(runtime, path, [[x.numpy()]])
        errors[runtime.name] = np.abs(got - due).max()
    assert errors["openvino"] < 1e-5
    kind = describe_apart((type(default).__module__, type(default).__qualname__))["features"]
    assert (errors["openvino-default"] > 1e-4) == ("by default in bf16" in kind), (errors, kind)


def test_onnxruntime_web_is_looked_for_where_node_would(tmp_path, monkeypatch) -> None:
    package = tmp_path / "a" / "node_modules" / "onnxruntime-web"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"version": "9.8.7"}')
    below = tmp_path / "a" / "b" / "c"
    below.mkdir(parents=True)
    monkeypatch.setattr(onnxruntime_web.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.delenv(onnxruntime_web.FOLDER, raising=False)
    monkeypatch.chdir(below)
    web = onnxruntime_web.OnnxRuntimeWeb()
    assert web.version() == "9.8.7"
    assert web.environment() == {onnxruntime_web.FOLDER: str(package.parent)}
    monkeypatch.setenv(onnxruntime_web.FOLDER, str(tmp_path))
    absent = onnxruntime_web.OnnxRuntimeWeb()
    assert absent.version() == "" and absent.install.startswith("npm install onnxruntime-web")
    monkeypatch.setattr(onnxruntime_web.shutil, "which", lambda name: None)
    assert absent.install.startswith("apt-get install nodejs npm")


def test_doctor_calls_a_package_that_kills_its_process_broken(tmp_path, monkeypatch) -> None:
    (tmp_path / "tract.py").write_text("import os\nos.kill(os.getpid(), 11)\n")
    monkeypatch.syspath_prepend(tmp_path)
    paths = [str(tmp_path), *filter(None, sys.path)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    check = doctor._runtime(RUNTIMES["tract"])
    assert check.state == "broken" and "killed by SIGSEGV while importing tract" in check.detail
    assert "pip install tract" in check.detail


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "processor\t: 0\nmodel name\t: A CPU\nflags\t\t: fpu fma avx2 amx_bf16 sse2\n",
            "A CPU: fma avx2 amx_bf16",
        ),
        ("processor\t: 0\nFeatures\t: fp asimd sve\n", ": asimd sve"),
        ("", ""),
    ],
)
def test_doctor_reads_the_cpus_features(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    found = doctor._cpu_features(tmp_path / "cpuinfo")
    assert found and found.endswith(says)

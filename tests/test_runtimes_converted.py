"""Runtimes of others that a converter brings torch.export's file or the ONNX file to.

What is asserted is against the truth in long double; the figures stand in docs/runtimes.md.
"""

from __future__ import annotations

import gc
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import torch_sigmoid_ext
from torch_sigmoid_ext.export import pipeline
from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.runtimes import RUNTIMES, Array, Runtime, packages
from torch_sigmoid_ext.export.runtimes.apart import RuntimeFailure
from torch_sigmoid_ext.export.runtimes.lowered import LOWERING, lowered, of_shapes
from torch_sigmoid_ext.export.runtimes.tract import Tract
from torch_sigmoid_ext.export.runtimes.worker import run_apart
from torch_sigmoid_ext.export.ulp import rounded, true_sigmoid, ulp_error

INPUTS = [InputSpec.parse("a=float32[batch,3]"), InputSpec.parse("b=float32[batch,3]")]
X = np.array([0, -0.5, 3, -12, -17.25, 25, -80, -86, np.inf, 88, 1e-6, -1], np.float32)
LOWERINGS = ("native", "stable", "exact", "function")


class Two(nn.Module):
    """Two inputs that are not alike, two outputs: an order that can be got wrong."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch_sigmoid_ext.sigmoid(a), a - b


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """The model by format and lowering."""
    folder = tmp_path_factory.mktemp("files")
    return {
        (format, lowering): pipeline.export_file(
            Two(), INPUTS, folder / f"{lowering}.{format}", format=format, lowering=lowering
        )
        for format in ("onnx", "pt2")
        for lowering in LOWERINGS
    }


def installed(name: str) -> Runtime:
    runtime = RUNTIMES[name]
    if not runtime.version():
        pytest.skip(f"{name} is not installed: {runtime.install}")
    return runtime


def run(runtime: Runtime, path: Path) -> Array:
    """The sigmoids of X, each output checked for its place, on two batches of unlike sizes."""
    a = X.reshape(4, 3)
    batches = [[a, np.ones_like(a)], [a[:2], np.zeros_like(a[:2])]]
    (y, difference), (part, same) = run_apart(runtime, path, batches)
    np.testing.assert_array_equal(difference, a - 1)
    np.testing.assert_array_equal(same, a[:2])
    np.testing.assert_array_equal(part, y[:2])
    return y.ravel()


def errors(got: Array) -> Array:
    return ulp_error(got, true_sigmoid(X), np.float32)


@pytest.mark.parametrize(
    ("lowering", "operator", "most"),
    [
        ("native", "aten.sigmoid.default", 4.0),
        ("stable", "aten.exp.default", 4.0),
        ("exact", "aten.exp.default", 0.5),
        ("function", "aten.exp.default", 0.5),
    ],
)
def test_exported_program_is_lowered_as_its_file_says(files, lowering, operator, most) -> None:
    program = lowered(files["pt2", lowering])
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert operator in called and not any("torch_sigmoid_ext" in name for name in called)
    a = torch.from_numpy(X.reshape(4, 3))
    y, _ = program.module()(a, torch.ones_like(a))
    assert errors(y.numpy().ravel()).max() <= most


def test_exported_program_that_says_nothing_is_lowered_exactly(tmp_path: Path) -> None:
    program = torch.export.export(torch_sigmoid_ext.Sigmoid(), (torch.ones(3),))
    torch.export.save(program, tmp_path / "plain.pt2")
    assert "sigmoid" not in str(lowered(tmp_path / "plain.pt2").graph)


def test_exported_program_tells_its_lowering_to_whoever_loads_it(files) -> None:
    told = {LOWERING: ""}
    torch.export.load(io.BytesIO(files["pt2", "stable"].read_bytes()), extra_files=told)
    assert told[LOWERING] == "stable"


def test_program_is_converted_once_for_each_set_of_shapes(files) -> None:
    shapes = []

    def convert(module, example):
        shapes.append([tuple(x.shape) for x in example])
        return lambda inputs: [x.numpy() for x in module(*map(torch.from_numpy, inputs))]

    call = of_shapes(lowered(files["pt2", "exact"]), convert)
    for size in (4, 2, 4, 2):
        x = np.full((size, 3), -1, np.float32)
        y, difference = call([x, x])
        np.testing.assert_array_equal(y, rounded(true_sigmoid(x), np.float32))
        assert not difference.any()
    assert shapes == [[(4, 3)] * 2, [(2, 3)] * 2]


@pytest.mark.parametrize(
    "name", ["tvm", "jax", "litert", "executorch", "executorch-portable", "tract"]
)
def test_native_sigmoid_is_close_to_the_truth_where_results_are_normal(files, name) -> None:
    runtime = installed(name)
    got = run(runtime, files[runtime.format, "native"])
    assert np.abs(got - true_sigmoid(X)).max() < 1e-6, got


@pytest.mark.parametrize(
    ("name", "lowering"),
    [
        ("tvm", "exact"),
        *(("executorch", lowering) for lowering in ("exact", "function")),
        *(("executorch-portable", lowering) for lowering in ("exact", "function")),
    ],
)
def test_exact_lowering_is_correctly_rounded(files, name: str, lowering: str) -> None:
    runtime = installed(name)
    got = run(runtime, files[runtime.format, lowering])
    np.testing.assert_array_equal(got, rounded(true_sigmoid(X), np.float32))


@pytest.mark.parametrize(
    ("name", "lowering", "says"),
    [
        ("tvm", "function", "not supported for frontend ONNX: ExactSigmoidFloat32"),
        ("jax", "exact", "Round is not implemented"),
        ("litert", "exact", "failed to legalize operation 'tfl.abs'"),
    ],
)
def test_runtime_that_lacks_what_a_lowering_needs_says_so(files, name, lowering, says) -> None:
    runtime = installed(name)
    with pytest.raises(RuntimeFailure, match=says):
        run(runtime, files[runtime.format, lowering])
    assert "--sigmoid" in runtime.mends[lowering]


def test_executorch_program_outlives_what_made_it(files) -> None:
    runtime = installed("executorch-portable")
    call = runtime.load(files["pt2", "stable"])
    a = X.reshape(4, 3)
    first, _ = call([a, a])
    kept = first.copy()
    gc.collect()
    garbage = [bytes(10_000 + size) for size in range(2_000)]
    second, _ = call([a, a])
    np.testing.assert_array_equal(second, kept)
    np.testing.assert_array_equal(first, kept)
    assert len(garbage) == 2_000


def test_runtime_without_its_converter_is_not_installed(monkeypatch) -> None:
    class Converted(Tract):
        imports, distributions, converter = "numpy", ("numpy",), "onnx"

    there = Converted().version()
    assert there.startswith(f"{np.__version__}, onnx 1.")
    find = packages.importlib.util.find_spec
    monkeypatch.setattr(
        packages.importlib.util, "find_spec", lambda name: None if name == "onnx" else find(name)
    )
    assert Converted().version() == ""


@pytest.mark.parametrize("name", ["openvino", "opencv", "mnn", "ncnn", "tract"])
def test_runtime_without_functions_fails_on_them_and_knows_what_mends_it(files, name) -> None:
    runtime = installed(name)
    with pytest.raises(RuntimeFailure) as failure:
        run(runtime, files["onnx", "function"])
    names_it = {"openvino", "opencv", "mnn"}  # pnnx dies of it, tract names no operator
    assert ("ExactSigmoidFloat32" in str(failure.value)) == (name in names_it), failure.value
    assert "--sigmoid" in runtime.mends["function"]

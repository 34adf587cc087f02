"""What the formats promise is looked for in the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxscript
import pytest
import torch
from torch import nn

import torch_sigmoid_ext
from torch_sigmoid_ext.export.errors import UsageError
from torch_sigmoid_ext.export.formats import FORMATS, Program
from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.pipeline import export_file
from torch_sigmoid_ext.export.runtimes import RUNTIMES


@torch.library.custom_op("torch_sigmoid_ext_tests::cube", mutates_args=())
def cube(x: torch.Tensor) -> torch.Tensor:
    return x**3


@cube.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


class Cubed(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch_sigmoid_ext.sigmoid(torch.ops.torch_sigmoid_ext_tests.cube(x))


class BatchAsNumber(nn.Module):
    """Right in eager at every size; a trace sees one size only."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch_sigmoid_ext.sigmoid(x) + torch.zeros(int(x.shape[0]), 1)


class Branches(nn.Module):
    """Right in eager at every size, and not one graph."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch_sigmoid_ext.sigmoid(x) if x.shape[0] == 4 else x


class TwoInputs(nn.Module):
    def forward(self, rows: torch.Tensor, columns: torch.Tensor, scale: torch.Tensor):
        return torch_sigmoid_ext.sigmoid(rows @ columns), {"scaled": rows * scale}


def specs(*texts: str) -> list[InputSpec]:
    return [InputSpec.parse(text) for text in texts]


def test_names_and_dynamic_dimensions_stand_in_the_onnx_file(tmp_path: Path) -> None:
    inputs = specs("rows=float32[batch,3]", "columns=float32[3,width]", "scale=float64[]")
    path = export_file(TwoInputs(), inputs, tmp_path / "m.onnx")
    graph = onnx.load(path).graph
    dims = {
        i.name: [d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim]
        for i in graph.input
    }
    assert dims == {"rows": ["batch", 3], "columns": [3, "width"], "scale": []}
    assert [o.name for o in graph.output] == ["output_0", "output_1"]
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"], "weights lie inside the file"


@pytest.mark.parametrize("format", ["onnx", "torchscript"])
def test_file_runs_at_sizes_that_it_was_not_exported_with(tmp_path: Path, format: str) -> None:
    inputs = specs("rows=float32[batch,3]", "columns=float32[3,width]", "scale=float64[]")
    path = export_file(TwoInputs(), inputs, tmp_path / "m", format=format)
    runtime = {"onnx": "onnxruntime", "torchscript": "torchscript"}[format]
    rows, columns = np.ones((11, 3), np.float32), np.ones((3, 2), np.float32)
    first, second = RUNTIMES[runtime].load(path)([rows, columns, np.array(2.0)])
    np.testing.assert_array_equal(first, np.full((11, 2), np.float32(1 / (1 + np.exp(-3.0)))))
    np.testing.assert_array_equal(second, np.full((11, 3), 2.0, np.float32))


@pytest.mark.parametrize("opset", [18, 21])
def test_opset_asked_for_is_the_opset_in_the_file(tmp_path: Path, opset: int) -> None:
    path = export_file(
        torch_sigmoid_ext.Sigmoid(), specs("x=float32[n]"), tmp_path / "m.onnx", opset=opset
    )
    assert [o.version for o in onnx.load(path).opset_import if o.domain == ""] == [opset]


@pytest.mark.parametrize("opset", [9, 11, 1000])
def test_impossible_opset_is_an_error_although_the_exporter_is_silent(tmp_path, opset) -> None:
    with pytest.raises(UsageError, match=f"from 13 to .* got opset {opset}; leave"):
        export_file(
            torch_sigmoid_ext.Sigmoid(), specs("x=float32[n]"), tmp_path / "m.onnx", opset=opset
        )


def test_dimension_that_a_trace_made_static_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"batch.* came out static in TorchScript"):
        export_file(
            BatchAsNumber(), specs("x=float32[batch,3]"), tmp_path / "m.pt", format="torchscript"
        )


def test_dimension_on_which_the_model_branches_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot convert .*batch.* static"):
        export_file(Branches(), specs("x=float32[batch,3]"), tmp_path / "m.onnx")


def test_static_dimension_is_read_in_the_onnx_file(tmp_path: Path, monkeypatch) -> None:
    export = torch.onnx.export
    monkeypatch.setattr(
        torch.onnx, "export", lambda *args, **kw: export(*args, **{**kw, "dynamic_shapes": None})
    )
    with pytest.raises(UsageError, match=r"'batch' of x=float32.* is 4"):
        export_file(torch_sigmoid_ext.Sigmoid(), specs("x=float32[batch,3]"), tmp_path / "m.onnx")


def test_operator_without_a_lowering_is_named_with_the_way_to_add_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        export_file(Cubed(), specs("x=float32[n]"), tmp_path / "m.onnx")
    assert "torch.ops.torch_sigmoid_ext_tests.cube.default has no ONNX lowering" in str(error.value)
    assert "onnx_translation_table" in str(error.value)


def test_lowering_that_the_user_adds_is_used(tmp_path: Path) -> None:
    def lowered(x):
        return onnxscript.opset18.Mul(x, onnxscript.opset18.Mul(x, x))

    table = {torch.ops.torch_sigmoid_ext_tests.cube.default: lowered}
    program = Program(Cubed().eval(), specs("x=float32[n]"), ["y"], translations=table)
    FORMATS["onnx"].export(program, tmp_path / "m.onnx")
    [got] = RUNTIMES["onnxruntime"].load(tmp_path / "m.onnx")([np.array([-3, 2], np.float32)])
    np.testing.assert_array_equal(got, (1 / (1 + np.exp([27.0, -8.0]))).astype(np.float32))


def test_onnx_file_tells_no_path_of_the_machine_that_made_it(tmp_path: Path) -> None:
    path = export_file(torch_sigmoid_ext.SimpleNN(), specs("x=float32[n,3]"), tmp_path / "model")
    for package in (torch_sigmoid_ext, torch):
        assert str(Path(package.__file__).parent).encode() not in path.read_bytes()

"""A user's program that uses every public name; test_typing.py has mypy and pyright read it.

What pyright is to ignore here are functions of torch's whose types are known in part.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import assert_type

import torch_sigmoid_ext
from torch_sigmoid_ext import (
    ConversionReport,
    Sigmoid,
    SigmoidUse,
    SimpleNN,
    cmake_prefix_path,
    conversion_report,
    convert,
    decompositions,
    inductor,
    library_path,
    revert,
    sigmoid,
    sigmoid_,
)
from torch_sigmoid_ext.export import (
    Bundle,
    ExportError,
    InputSpec,
    NotInstalled,
    Report,
    UsageError,
    add_onnx_functions,
    assert_parity,
    export,
    onnx_translation_table,
    verify,
)


class Gated(nn.Module):
    """A model of the user's, whose class stays what it is through convert and revert."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.gate = nn.Linear(features, features)
        self.squash = Sigmoid(fast=True, inplace=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.squash(self.gate(x)) * torch.sigmoid(x)  # type: ignore[no-any-return]


def functions(x: Tensor) -> Tensor:
    y = assert_type(sigmoid(x), Tensor)
    sigmoid(x, fast=True, out=y)
    return assert_type(sigmoid_(y, fast=False), Tensor)


def modules() -> SimpleNN:
    model = SimpleNN(in_features=3, out_features=2)
    assert_type(model.fc1, nn.Linear)
    assert_type(Sigmoid().forward(torch.zeros(1)), Tensor)
    return model


def conversion() -> list[str]:
    converted = assert_type(convert(Gated(4)), Gated)
    program = torch.export.export(converted, (torch.zeros(2, 4),))
    assert_type(convert(program), torch.export.ExportedProgram)
    report: ConversionReport = conversion_report(assert_type(revert(converted), Gated))
    uses: tuple[SigmoidUse, ...] = report.left
    assert_type(report.complete, bool)
    return [f"{use.name} {use.module} {use.place} {use.calls or 0} {use.remedy}" for use in uses]


def compiled(model: nn.Module) -> None:
    backend = inductor("fast")
    torch.compile(model, backend=backend)  # pyright: ignore[reportUnknownMemberType]
    program = torch.export.export(model, (torch.zeros(2, 3),))
    table = decompositions("exact")
    program.run_decompositions({**table})  # pyright: ignore[reportUnknownMemberType]


def places() -> tuple[str, str, str]:
    return library_path(), cmake_prefix_path(), torch_sigmoid_ext.__version__


def exported(model: nn.Module, folder: Path) -> int:
    spec = assert_type(InputSpec.parse("x=float32[batch,3]"), InputSpec)
    try:
        bundle: Bundle = export(model, [spec], folder, formats=["onnx"], sigmoid="exact")
        report: Report = verify(bundle, runtimes=["onnxruntime"], gate="strict")
        assert_parity(model, "x=float32[batch,3]", samples=None)
    except (UsageError, NotInstalled) as error:
        return assert_type(error.exit_code, int)
    except ExportError as error:
        raise SystemExit(str(error)) from error
    assert_type(bundle.file("onnx"), Path)
    assert_type(bundle.manifest.files, dict[str, str])
    assert_type(report.passed, bool)
    return sum(len(row.failures) for row in report.runtimes)


def by_torch_onnx(model: nn.Module) -> torch.onnx.ONNXProgram:
    table: dict[Any, Callable[..., Any]] = onnx_translation_table("function", convert=True)
    program = torch.onnx.export(  # pyright: ignore[reportUnknownMemberType]
        model, (torch.zeros(1, 3),), custom_translation_table=table
    )
    assert program is not None
    return assert_type(add_onnx_functions(program), torch.onnx.ONNXProgram)

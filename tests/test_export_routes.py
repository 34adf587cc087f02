"""Graphs that leave the process or the framework's hands: tracers, torch.export, quantization."""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, draft_export, export
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing import assert_close

from torch_sigmoid_ext import Sigmoid, SimpleNN, decompositions, sigmoid, sigmoid_

operators = torch.ops.torch_sigmoid_ext


class EveryForm(nn.Module):
    """Calls each form once."""

    def __init__(self) -> None:
        super().__init__()
        self.net = SimpleNN(3, 3).requires_grad_(False)  # out= has no gradient
        self.inplace = Sigmoid(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.net(x) + sigmoid(x, fast=True) + self.inplace(x * 2)
        view = y.clone()
        sigmoid_(view[:, 1:])
        return sigmoid(view, out=torch.empty_like(view)) + operators.sigmoid(y)


def targets(program: ExportedProgram | torch.fx.GraphModule) -> list[Any]:
    return [n.target for n in program.graph.nodes if n.op == "call_function"]


def ours(program: ExportedProgram | torch.fx.GraphModule) -> list[Any]:
    return [target for target in targets(program) if "torch_sigmoid_ext" in str(target)]


def exported(strict: bool = False, model: nn.Module | None = None) -> ExportedProgram:
    torch.manual_seed(0)
    shapes = ({0: Dim("batch", max=1000)},)
    return export(model or EveryForm(), (torch.randn(4, 3),), dynamic_shapes=shapes, strict=strict)


@pytest.mark.parametrize("strict", [False, True])
def test_export_takes_every_form_and_any_batch(strict: bool) -> None:
    program = exported(strict)
    torch.manual_seed(0)
    model = EveryForm()
    for rows in (1, 2, 9):
        x = torch.randn(rows, 3)
        assert torch.equal(program.module()(x), model(x))


def test_draft_export_finds_nothing_to_complain_of() -> None:
    program = draft_export(EveryForm(), (torch.randn(4, 3),))
    report: Any = program._report  # type: ignore[attr-defined]
    assert report.successful(), str(report)
    assert ours(program)


def test_run_decompositions_keeps_the_operator_by_default() -> None:
    for program in (exported().run_decompositions(), exported().run_decompositions({})):
        assert set(ours(program)) == {operators.sigmoid.default}, targets(program)
        x = torch.randn(5, 3)
        assert torch.equal(program.module()(x), exported().module()(x))


@pytest.mark.parametrize("kind", ["exact", "fast"])
@pytest.mark.parametrize("table", ["ours alone", "beside torch's"])
def test_run_decompositions_with_our_table_leaves_aten_alone(kind: Any, table: str) -> None:
    whole = decompositions(kind)
    if table == "beside torch's":
        whole = torch.export.default_decompositions() | whole  # type: ignore[assignment, operator]
    program = exported().run_decompositions(whole)
    assert not ours(program)
    assert {target.namespace for target in targets(program)} == {"aten"}
    x = torch.randn(5, 3)
    assert_close(program.module()(x), exported().module()(x), rtol=2.0**-21, atol=0)


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_saved_programs_run_in_a_fresh_process(tmp_path: Path) -> None:
    x = torch.randn(6, 3)
    program = exported()
    torch.export.save(program, tmp_path / "operator.pt2")
    plain = program.run_decompositions(decompositions("exact"))
    torch.export.save(plain, tmp_path / "plain.pt2")
    torch.save({"x": x, "y": program.module()(x), "plain": plain.module()(x)}, tmp_path / "io.pt")
    printed = run_python(
        f"import sys, torch; folder = {str(tmp_path)!r}\n"
        "io = torch.load(folder + '/io.pt')\n"
        "plain = torch.export.load(folder + '/plain.pt2').module()(io['x'])\n"
        "print(torch.equal(plain, io['plain']), 'torch_sigmoid_ext' in sys.modules)\n"
        "import torch_sigmoid_ext\n"
        "y = torch.export.load(folder + '/operator.pt2').module()(io['x'])\n"
        "print(torch.equal(y, io['y']))"
    )
    assert printed.split() == ["True", "False", "True"]


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_make_fx_records_the_operator(mode: str) -> None:
    x = torch.randn(4, 3)
    graph = make_fx(lambda x: sigmoid(x) + sigmoid_(x.clone()), tracing_mode=mode)(x)
    assert ours(graph) == [operators.sigmoid.default, operators.sigmoid_.default]
    for input in (x, torch.randn(7, 3)) if mode == "symbolic" else (x,):
        assert torch.equal(graph(input), 2 * sigmoid(input))


def test_make_fx_records_the_derivative() -> None:
    x = torch.randn(4)
    graph = make_fx(torch.func.grad(lambda x: sigmoid(x).sum()))(x)
    assert operators.sigmoid_backward.default in ours(graph)
    y = torch.sigmoid(x.double())
    assert_close(graph(x), (y * (1 - y)).float())


FX_FORMS: dict[str, Callable[..., Any]] = {
    "sigmoid": lambda x: sigmoid(x, fast=True) + 1,
    "sigmoid_": lambda x: sigmoid_(x + 1),
    "out": lambda x: sigmoid(x, out=torch.empty(3)),
    "torch.ops": lambda x: operators.sigmoid(x),
}


@pytest.mark.parametrize("form", FX_FORMS)
def test_symbolic_trace_records_a_call_that_can_be_printed_and_run_again(form: str) -> None:
    traced = torch.fx.symbolic_trace(FX_FORMS[form])
    x = torch.randn(3)
    assert torch.equal(traced(x), FX_FORMS[form](x))
    assert "sigmoid" in traced.code
    buffer = io.BytesIO()
    torch.save(traced, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False)(x), FX_FORMS[form](x))


@pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="torchao is not installed")
@pytest.mark.filterwarnings("ignore")
def test_pt2e_quantization_leaves_the_operator_in_float() -> None:
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), Sigmoid(), nn.Linear(16, 4), Sigmoid()).eval()
    x = torch.randn(64, 8)
    quantizer = x86_inductor_quantizer.X86InductorQuantizer()
    quantizer.set_global(x86_inductor_quantizer.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(export(model, (x,)).module(), quantizer)
    prepared(x)
    converted = convert_pt2e(prepared)
    calls = [n for n in converted.graph.nodes if n.target is operators.sigmoid.default]
    assert len(calls) == 2
    assert all(n.args[0].meta["val"].dtype == torch.float32 for n in calls)
    assert any("quantize_per_tensor" in str(t) for t in targets(converted))
    result = converted(x)
    assert (result - model(x)).abs().max() < 0.02

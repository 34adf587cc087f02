"""ONNX files: every lowering and dtype against the truth, and what the file itself must say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnxscript import ir
from torch import nn
from truth import every_16_bit_input, rounded, true_sigmoid

import torch_sigmoid_ext
from torch_sigmoid_ext.export import lowering as lowerings
from torch_sigmoid_ext.export import pipeline
from torch_sigmoid_ext.export.bundle import open_bundle
from torch_sigmoid_ext.export.calls import sigmoid_of
from torch_sigmoid_ext.export.errors import UsageError
from torch_sigmoid_ext.export.formats import FORMATS, LOWERINGS, Program, onnx_file
from torch_sigmoid_ext.export.formats import onnx as onnx_format
from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.pipeline import export_bundle, export_file
from torch_sigmoid_ext.export.runtimes import RUNTIMES
from torch_sigmoid_ext.export.ulp import Probe, measure_operator, ulp_error

RUNNERS = ["onnxruntime", "reference"]
DOMAIN = "torch_sigmoid_ext"


def specs(*texts: str) -> list[InputSpec]:
    return [InputSpec.parse(text) for text in texts]


def run(runtime: str, path: Path, *inputs: np.ndarray) -> list[np.ndarray]:
    return RUNTIMES[runtime].load(path)(list(inputs))


def op_types(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


# The lowering `function`, in the types that the other lowerings are tested in elsewhere.


@pytest.fixture(scope="module")
def function_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("function")
    return {
        dtype: export_file(
            torch_sigmoid_ext.Sigmoid(),
            specs(f"input={dtype}[n]"),
            folder / f"{dtype}.onnx",
            lowering="function",
        )
        for dtype in ("float16", "float32", "float64")
    }


@pytest.mark.parametrize("runtime", RUNNERS)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_function_is_correctly_rounded(function_files, dtype: str, runtime: str) -> None:
    probe = Probe.of(dtype)
    [outputs] = run(runtime, function_files[dtype], probe.inputs)
    found = measure_operator(probe, outputs)
    assert found.differing == 0, found.worst
    assert all(special.ok for special in found.special_values)


@pytest.mark.parametrize("runtime", RUNNERS)
def test_float64_is_within_the_3_ulp_that_the_note_states(function_files, runtime: str) -> None:
    probe = Probe.of("float64")
    [outputs] = run(runtime, function_files["float64"], probe.inputs)
    found = measure_operator(probe, outputs)
    assert 0.51 < found.max_ulp <= 3, "above 0.51: else the note says too little of it"
    assert found.premature_zeros == found.decreasing_pairs == found.out_of_range == 0


def test_function_is_one_node_of_our_domain_with_the_chain_as_its_body(function_files) -> None:
    model = onnx.load(function_files["float32"])
    assert [(node.domain, node.op_type) for node in model.graph.node] == [
        (DOMAIN, "ExactSigmoidFloat32")
    ]
    [body] = model.functions
    assert (body.domain, body.name) == (DOMAIN, "ExactSigmoidFloat32")
    assert {"Exp", "Reciprocal", "Round"} <= {node.op_type for node in body.node}
    assert {o.domain: o.version for o in body.opset_import}[""] == next(
        o.version for o in model.opset_import if o.domain == ""
    )
    taken = {schema.name for schema in onnx.defs.get_all_schemas()}
    assert not taken & set(lowerings._FUNCTION_NAMES.values()), "several runtimes ignore domains"


def test_two_types_in_one_model_get_a_function_each(tmp_path: Path) -> None:
    class Both(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch_sigmoid_ext.sigmoid(x), torch_sigmoid_ext.sigmoid(x.half())

    path = export_file(Both(), specs("x=float32[n]"), tmp_path / "m.onnx", lowering="function")
    x = np.array([-17.25, -0.5, 3.0], np.float32)
    for runtime in RUNNERS:
        for got, dtype in zip(run(runtime, path, x), (torch.float32, torch.float16), strict=True):
            assert got.tolist() == [rounded(true_sigmoid(float(v)), dtype) for v in x]
    assert len(onnx.load(path).functions) == 2


class InBfloat16(nn.Module):
    """float32 at both ends, as --input asks for."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch_sigmoid_ext.sigmoid(x.to(torch.bfloat16)).float()


@pytest.mark.parametrize("lowering", ["exact", "function"])
def test_bfloat16_is_correctly_rounded_for_every_input(tmp_path: Path, lowering: str) -> None:
    path = export_file(InBfloat16(), specs("x=float32[n]"), tmp_path / "m.onnx", lowering=lowering)
    inputs = every_16_bit_input(torch.bfloat16).float()
    finite = inputs[torch.isfinite(inputs)]
    expected = [rounded(true_sigmoid(x), torch.bfloat16) for x in finite.tolist()]
    for runtime in RUNNERS:
        [got] = run(runtime, path, finite.numpy())
        assert got.tolist() == expected
        [limits] = run(runtime, path, np.array([-np.inf, np.inf, np.nan], np.float32))
        np.testing.assert_array_equal(limits, np.array([0, 1, np.nan], np.float32))


class Bfloat16Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(3, 2).bfloat16()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch_sigmoid_ext.sigmoid(self.fc1(x.bfloat16())).float()


def test_bfloat16_that_onnxruntime_cannot_run_is_said_before_it_is_tried(tmp_path: Path) -> None:
    inputs = specs("x=float32[batch,3]")
    path = tmp_path / "m.onnx"
    facts = FORMATS["onnx"].export(Program(Bfloat16Linear().eval(), inputs, ["y"]), path)
    engines, skipped = pipeline._able([RUNTIMES[name] for name in RUNNERS], {"onnx": facts}, None)
    assert [engine.name for engine in engines] == ["reference"]
    assert "no bfloat16 kernel for Gemm; export the model in" in str(skipped["onnxruntime"])
    with pytest.raises(UsageError, match=r"onnxruntime cannot run the file: .* for Gemm"):
        options = {"formats": ["onnx"], "runtimes": ["onnxruntime"]}
        export_bundle(Bfloat16Linear(), "m", inputs, tmp_path / "b", **options)
    with pytest.raises(Exception, match=r"NOT_IMPLEMENTED.*Gemm"):
        run("onnxruntime", path, np.ones((1, 3), np.float32))


# Opsets.


@pytest.mark.parametrize(
    ("lowering", "opset"), [*((name, 13) for name in LOWERINGS), ("function", 15), ("exact", 23)]
)
def test_every_lowering_is_itself_in_old_and_new_opsets(
    tmp_path: Path, lowering: str, opset: int
) -> None:
    torch.manual_seed(0)
    path = export_file(
        torch_sigmoid_ext.SimpleNN(),
        specs("x=float32[batch,3]"),
        tmp_path / "m.onnx",
        lowering=lowering,
        opset=opset,
    )
    model = onnx.load(path)
    assert {o.version for o in model.opset_import if o.domain == ""} == {opset}
    assert {o.version for f in model.functions for o in f.opset_import} <= {opset}
    x = np.linspace(-4, 4, 21, dtype=np.float32).reshape(7, 3)
    weight, bias = (
        onnx.numpy_helper.to_array(t)
        for t in sorted(
            (t for t in model.graph.initializer if t.name.startswith("fc1.")),
            key=lambda t: -len(t.dims),
        )
    )
    truth = 1 / (1 + np.exp(-(x.astype(np.float64) @ weight.T.astype(np.float64) + bias)))
    for runtime in RUNNERS:
        [got] = run(runtime, path, x)
        np.testing.assert_allclose(got, truth, rtol=3e-5 if lowering == "native" else 2e-6)


def test_newest_opset_is_reached(tmp_path: Path) -> None:
    newest = onnx.defs.onnx_opset_version()
    sigmoid = torch_sigmoid_ext.Sigmoid()
    path = export_file(sigmoid, specs("x=float32[n]"), tmp_path / "m.onnx", opset=newest)
    x = np.array([-100.0, 0.25], np.float32)
    [got] = run("reference", path, x)
    assert got.tolist() == [rounded(true_sigmoid(float(v)), torch.float32) for v in x]
    with pytest.raises(UsageError, match=rf"from 13 to {newest} .* got opset {newest + 1}; leave"):
        export_file(sigmoid, specs("x=float32[n]"), tmp_path / "n.onnx", opset=newest + 1)


class Reduces(nn.Module):
    """ReduceMean takes its axes as an input from opset 18 on."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch_sigmoid_ext.sigmoid(x.mean(1))


def test_opset_that_would_change_an_operators_meaning_is_refused_by_its_name(
    tmp_path: Path, monkeypatch
) -> None:
    export = torch.onnx.export
    monkeypatch.setattr(  # as torch does by itself where its converter gives up
        torch.onnx, "export", lambda *args, **kw: export(*args, **{**kw, "opset_version": 18})
    )
    with pytest.raises(UsageError, match=r"of opset 14, got opset 18 .*: ReduceMean changed since"):
        export_file(Reduces(), specs("x=float32[n,3]"), tmp_path / "m.onnx", opset=14)


class Widened(nn.Module):
    """Add, Mul and Where, which onnx's converter does not take below opset 14."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch_sigmoid_ext.sigmoid(torch.where(x > 0, x, x * 2) + 1)


def test_operators_that_only_took_in_more_types_go_down(tmp_path: Path) -> None:
    path = export_file(Widened(), specs("x=float32[n]"), tmp_path / "m.onnx", opset=13)
    assert {"Add", "Mul", "Where"} <= op_types(path)
    x = np.linspace(-30, 20, 24, dtype=np.float32)
    inner = np.where(x > 0, x, x * 2) + np.float32(1)
    for runtime in RUNNERS:
        [got] = run(runtime, path, x)
        assert got.tolist() == [rounded(true_sigmoid(float(v)), torch.float32) for v in inner]


def test_attribute_that_an_old_opset_lacks_is_in_the_way_unless_it_changes_nothing() -> None:
    def changed(op_type: str, **attributes: int) -> bool:
        node = ir.node(op_type, [ir.val("x")] * 2, attributes)
        return onnx_file._changed(node, 13, 18)

    assert not changed("Reshape") and not changed("Reshape", allowzero=0)
    assert changed("Reshape", allowzero=1) and changed("Shape", start=0, end=1)
    assert changed("HardSwish"), "new in 14"


# What the file says of itself, and where its weights lie.


def test_metadata_names_version_lowering_source_and_gate_and_no_folder(tmp_path: Path) -> None:
    export_bundle(
        torch_sigmoid_ext.SimpleNN(),
        f"{tmp_path}/net.py:make",
        specs("x=float32[batch,3]"),
        tmp_path / "out",
        formats=["onnx"],
        lowering="stable",
        gate="portable",
        verify=False,
    )
    told = {
        name: {p.key: p.value for p in onnx.load(tmp_path / "out" / name).metadata_props}
        for name in ("model.onnx", "operator.onnx")
    }
    ours = {"version": torch_sigmoid_ext.__version__, "lowering": "stable", "gate": "portable"}
    for name, source in (
        ("model.onnx", "net.py:make"),
        ("operator.onnx", "torch_sigmoid_ext.sigmoid"),
    ):
        expected = {**ours, "source": source}
        assert told[name] == {f"torch_sigmoid_ext.{k}": v for k, v in expected.items()}


@pytest.mark.parametrize("asked", [True, False])
def test_weights_go_beside_the_file_on_request_or_above_the_limit(
    tmp_path: Path, monkeypatch, asked: bool
) -> None:
    if not asked:
        monkeypatch.setattr(onnx_format, "ONE_FILE", 20)  # SimpleNN's weights take 32 bytes
    model = torch_sigmoid_ext.SimpleNN()
    export_bundle(
        model,
        "SimpleNN",
        specs("x=float32[batch,3]"),
        tmp_path / "out",
        formats=["onnx"],
        lowering="native",
        external_data=asked,
        verify=False,
    )
    path = tmp_path / "out" / "model.onnx"
    for tensor in onnx.load(path, load_external_data=False).graph.initializer:
        places = {entry.key: entry.value for entry in tensor.external_data}
        assert places["location"] == "model.onnx.data" and not tensor.raw_data
    assert (tmp_path / "out" / "model.onnx.data").stat().st_size >= 32
    assert not (tmp_path / "out" / "operator.onnx.data").exists(), "it has no weights"
    manifest = open_bundle(tmp_path / "out")
    assert manifest.formats["onnx"]["external_data"] == "model.onnx.data" in manifest.files
    x = torch.ones(2, 3)
    [got] = run("onnxruntime", path, x.numpy())
    np.testing.assert_allclose(got, model(x).detach().numpy(), rtol=1e-5)


def test_weights_that_are_not_where_they_should_be_are_an_error(
    tmp_path: Path, monkeypatch
) -> None:
    save = onnx_format._save
    monkeypatch.setattr(onnx_format, "_save", lambda model, path, _: save(model, path, "else.data"))
    with pytest.raises(UsageError, match=r"expected the weights in m.onnx, got \['else.data'\]"):
        export_file(torch_sigmoid_ext.SimpleNN(), specs("x=float32[batch,3]"), tmp_path / "m.onnx")


def test_onnx_bytes_are_the_same_on_every_export(tmp_path: Path) -> None:
    model = torch_sigmoid_ext.SimpleNN()
    first, second = (
        export_file(model, specs("x=float32[batch,3]"), tmp_path / name, lowering="function")
        for name in ("first", "second")
    )
    assert first.read_bytes() == second.read_bytes()


# Models that hold torch's own sigmoid, SiLU or GLU, and are left as they are.


def gated(module: nn.Module, x: np.ndarray) -> np.ndarray:
    """x·σ(x), or a·σ(b) of the halves, in long double."""
    wide = x.astype(np.longdouble)
    value, gate = (wide, wide) if isinstance(module, nn.SiLU) else np.split(wide, 2, axis=-1)
    e = np.exp(-np.abs(gate))
    return value * np.where(gate < 0, e, 1) / (1 + e)


@pytest.mark.parametrize("runtime", RUNNERS)
@pytest.mark.parametrize(
    ("lowering", "allowed"),
    # Where σ itself is subnormal, below -87, a product that is not loses its bits: no bound there.
    [("exact", 0.5001), ("function", 1.5), ("stable", 4.5)],
)
@pytest.mark.parametrize("module", [nn.SiLU(), nn.GLU()], ids=["silu", "glu"])
def test_silu_and_glu_take_the_lowering_on_request(
    tmp_path: Path, module: nn.Module, lowering: str, allowed: float, runtime: str
) -> None:
    inputs = specs("x=float32[n,8]")
    path = export_file(module, inputs, tmp_path / "m.onnx", lowering=lowering, convert=True)
    assert "Sigmoid" not in op_types(path)
    x = np.linspace(-115 if lowering == "exact" else -87, 115, 40_000, dtype=np.float32)
    x = x.reshape(-1, 8)
    [got] = run(runtime, path, x)
    assert ulp_error(got, gated(module, x), np.float32).max() <= allowed


def test_silu_is_the_runtimes_own_without_the_request_and_that_is_said(tmp_path: Path) -> None:
    inputs = specs("x=float32[n,8]")
    path = export_file(nn.SiLU(), inputs, tmp_path / "m.onnx")
    assert "Sigmoid" in op_types(path)
    _, [note] = sigmoid_of(Program(nn.SiLU(), inputs, ["y"]))
    assert "calls SiLU or GLU (1 calls)" in note and "--convert" in note
    _, [note] = sigmoid_of(Program(nn.SiLU(), inputs, ["y"], convert=True))
    assert "in ONNX it has the lowering exact" in note
    x = np.full((1, 8), -17.5, np.float32)
    [got] = run("onnxruntime", path, x)
    assert ulp_error(got, gated(nn.SiLU(), x), np.float32).max() > 1e6, "the defect is mended"


class CallsTorch(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sigmoid() + torch.special.expit(x) + torch.sigmoid(x.to(torch.int64))


def test_torchs_own_sigmoid_takes_the_lowering_under_every_name(tmp_path: Path) -> None:
    path = export_file(CallsTorch(), specs("x=float32[n]"), tmp_path / "m.onnx", convert=True)
    assert "Sigmoid" not in op_types(path)
    x = np.array([-3.0, 0.0, 5.0], np.float32)
    [got] = run("onnxruntime", path, x)
    np.testing.assert_allclose(got, 3 / (1 + np.exp(-x.astype(np.float64))), rtol=3e-7)


def test_float64_model_is_told_what_exact_gives_it() -> None:
    sigmoid, inputs = torch_sigmoid_ext.Sigmoid(), specs("x=float64[n]")
    _, [note] = sigmoid_of(Program(sigmoid, inputs, ["y"]))
    assert "within 3 ULP and not correctly rounded" in note
    assert sigmoid_of(Program(sigmoid, inputs, ["y"], "stable"))[1] == []


def test_list_of_bfloat16_operators_is_what_onnxruntime_has() -> None:
    """One operator that is on the list and three that are not, asked of ONNX Runtime itself."""
    import onnxruntime

    make = onnx.helper
    bfloat16, float32 = onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT

    def loads(op_type: str) -> bool:
        nodes = [
            make.make_node("Cast", ["x"], ["a"], to=bfloat16),
            make.make_node(op_type, ["a"], ["y"]),
        ]
        value = make.make_tensor_value_info
        graph = make.make_graph(
            nodes, "g", [value("x", float32, [2, 2])], [value("y", bfloat16, None)]
        )
        imports = [make.make_opsetid("", 20)]
        model = make.make_model(graph, opset_imports=imports, ir_version=10)
        try:
            onnxruntime.InferenceSession(
                model.SerializeToString(), providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            assert "NOT_IMPLEMENTED" in str(error)
            return False
        return True

    for op_type in ("Transpose", "Neg", "Exp", "Sigmoid"):
        assert loads(op_type) is (op_type in onnx_file._BFLOAT16)

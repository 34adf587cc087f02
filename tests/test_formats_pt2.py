"""The files of torch.export and AOTInductor: eager's bits, no path of this machine, the remedy."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

import torch_sigmoid_ext
from torch_sigmoid_ext.export import missing_library
from torch_sigmoid_ext.export.bundle import open_bundle
from torch_sigmoid_ext.export.errors import NotInstalled, UsageError
from torch_sigmoid_ext.export.formats import FORMATS, Program, exported
from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.pipeline import export_bundle, export_file

ROOT = Path(__file__).parents[1]
INPUTS = [InputSpec.parse("x=float32[batch,3]")]
ROWS = [[-100.0, -17.5, 3.0], [float("nan"), float("inf"), -87.5], [0.1, -0.0, 1e-30]]
TWO_INPUTS = [InputSpec.parse(text) for text in ("rows=float32[batch,3]", "columns=float32[3,n]")]


class Gate(nn.Module):
    """Weights that are powers of two, so that every rounding is the operator's."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.5, 2.0, -4.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch_sigmoid_ext.sigmoid(x * self.weight)


class TwoInputs(nn.Module):
    def forward(self, rows: torch.Tensor, columns: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"y": torch_sigmoid_ext.sigmoid(rows @ columns), "rows": rows * 2}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "out"
    export_bundle(Gate(), "Gate", INPUTS, folder, formats=["pt2", "aoti"], verify=False)
    return folder


# Without the package: first without its library, for the error, then with the one in the bundle.
RUN = """
import json, sys, torch
rows = torch.tensor(json.loads(sys.argv[1]))
try:
    torch.export.load("model.pt2")
except RuntimeError:
    pass
torch.ops.load_library("./libtorch_sigmoid_ext.so")
pt2 = torch.export.load("model.pt2").module()
aoti = torch._inductor.aoti_load_package("model.aoti.pt2")
for run in (pt2, aoti):
    for batch in (rows, rows[:1], rows[:0], rows.repeat(9, 1)):
        print(json.dumps(run(batch).tolist()))
assert "torch_sigmoid_ext" not in sys.modules
"""


@pytest.fixture(scope="module")
def alone(bundle: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN, json.dumps(ROWS)],
        cwd=bundle,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def test_both_give_eagers_bits_at_every_batch_with_the_library_of_the_bundle_alone(alone) -> None:
    rows = torch.tensor(ROWS)
    eager = [
        torch_sigmoid_ext.sigmoid(batch * torch.tensor([0.5, 2.0, -4.0])).tolist()
        for batch in (rows, rows[:1], rows[:0], rows.repeat(9, 1))
    ]
    lines = alone.stdout.splitlines()
    assert lines == [json.dumps(output) for output in eager] * 2


def test_torch_quotes_the_remedy_where_the_library_is_missing(alone) -> None:
    said = alone.stderr
    assert "failed to resolve torch.ops.torch_sigmoid_ext.sigmoid" in said
    assert missing_library.REMEDY in said


def test_bundle_brings_the_library_and_says_what_each_file_needs(bundle: Path) -> None:
    manifest = open_bundle(bundle)
    pt2, aoti = (manifest.formats[name] for name in ("pt2", "aoti"))
    for entry in (pt2, aoti):
        assert entry["library"] == "libtorch_sigmoid_ext.so" in manifest.files
        assert 'torch.ops.load_library("libtorch_sigmoid_ext.so")' in entry["requires"]
    assert f"torch {torch.__version__} in Python" in pt2["requires"]
    assert "the instructions of the CPU that compiled it" in aoti["requires"]
    assert os.uname().machine in aoti["requires"]


@pytest.mark.parametrize("name", ["model.pt2", "operator.pt2", "model.aoti.pt2"])
def test_no_record_keeps_a_path_of_this_machine(bundle: Path, name: str) -> None:
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    folders = [ROOT, sys.prefix, sys.base_prefix, Path.home(), bundle.parent, cache_dir()]
    folders += [Path(torch.__file__).parent, Path.cwd()]
    with zipfile.ZipFile(bundle / name) as archive:
        assert any(name.endswith((".json", ".so")) for name in archive.namelist())
        for record in archive.namelist():
            content = archive.read(record)
            for folder in folders:
                assert str(folder).encode() not in content, (record, folder)


def test_aoti_says_the_remedy_to_whoever_looks_into_the_package(bundle: Path) -> None:
    with zipfile.ZipFile(bundle / "model.aoti.pt2") as archive:
        [name] = [n for n in archive.namelist() if n.endswith(".wrapper_metadata.json")]
        assert json.loads(archive.read(name))["requires"] == missing_library.REMEDY


def test_pt2_bytes_are_the_same_on_every_export(tmp_path: Path) -> None:
    first, second = (
        export_file(Gate(), INPUTS, tmp_path / name, format="pt2") for name in ("first", "second")
    )
    assert first.read_bytes() == second.read_bytes()


def test_several_inputs_and_dimensions_and_a_dict_of_outputs(tmp_path: Path) -> None:
    path = export_file(TwoInputs(), TWO_INPUTS, tmp_path / "m.pt2", format="pt2")
    rows, columns = torch.full((11, 3), 0.5), torch.ones(3, 2)
    outputs = torch.export.load(path).module()(rows, columns)
    assert list(outputs) == ["y", "rows"]
    assert torch.equal(outputs["y"], torch_sigmoid_ext.sigmoid(torch.full((11, 2), 1.5)))


def test_model_without_our_operator_needs_no_library(tmp_path: Path) -> None:
    program = Program(nn.Sigmoid(), INPUTS, ["y"])
    facts = FORMATS["pt2"].export(program, tmp_path / "m.pt2")
    assert facts == {"requires": f"torch {torch.__version__} in Python (torch.export.load)"}


class BatchAsNumber(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch_sigmoid_ext.sigmoid(x) + torch.zeros(int(x.shape[0]), 1)


class Branches(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch_sigmoid_ext.sigmoid(x) if x.shape[0] < 5 else x


class DecidesByValue(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch_sigmoid_ext.sigmoid(x) if x.sum() > 0 else x


class CallsNumpy(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(x.numpy() + 1)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (Branches(), r"dynamic dimension came out static in pt2: .*batch.* declare the dimension"),
        (DecidesByValue(), "choose with torch.where or torch.cond"),
        (CallsNumpy(), r"torch.export cannot follow the model with inputs x=float32\[batch,3\]: "),
    ],
)
def test_what_torch_export_cannot_hold_is_refused_with_the_remedy(
    tmp_path: Path, model: nn.Module, says: str
) -> None:
    with pytest.raises(UsageError, match=re.compile(says, re.DOTALL)):
        export_file(model, INPUTS, tmp_path / "m.pt2", format="pt2")
    assert list(tmp_path.iterdir()) == []


def test_dimension_that_torch_export_fixes_in_silence_is_found_in_the_program(
    tmp_path: Path, monkeypatch
) -> None:
    auto = ({0: torch.export.Dim.AUTO},)
    monkeypatch.setattr(exported, "dynamic_shapes", lambda *_: auto)
    with pytest.raises(UsageError, match=r"static in pt2: 'batch' of x=float32\[batch,3\] is 4"):
        export_file(BatchAsNumber(), INPUTS, tmp_path / "m.pt2", format="pt2")


def test_file_that_fails_at_another_size_is_found() -> None:
    program = Program(Gate(), INPUTS, ["y"])
    with pytest.raises(
        UsageError, match=r"batch: expected outputs \[\(7, 3\)\] .* got \[\(4, 3\)\]"
    ):
        exported.check_other_sizes(program, lambda x: x[:4], "aoti")
    with pytest.raises(UsageError, match="got no such size"):
        exported.check_other_sizes(program, _raises, "aoti")


def _raises(x: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("aoti runner failed:\nno such size")


def test_aoti_without_a_compiler_is_answered_with_the_command(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(NotInstalled, match="aoti needs no-such-compiler; run: apt-get install g"):
        export_bundle(Gate(), "Gate", INPUTS, tmp_path / "b", formats=["aoti"])


def test_aoti_that_inductor_cannot_compile_is_one_paragraph(tmp_path, monkeypatch) -> None:
    def fails(*_: object, **__: object) -> str:
        raise RuntimeError("no lowering\nfor this")

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", fails)
    with pytest.raises(UsageError, match="cannot compile the model: RuntimeError: no lowering for"):
        export_file(Gate(), INPUTS, tmp_path / "m", format="aoti")


def test_formats_written_by_default_are_the_three_that_need_no_compiler() -> None:
    assert [name for name, f in FORMATS.items() if f.default] == ["torchscript", "onnx", "pt2"]


def test_operator_has_no_tag_that_makes_inductor_call_its_out_form() -> None:
    """torch 2.13 gives the out form of a tagged operator arguments that it cannot take."""
    compiled = torch.compile(lambda x: torch_sigmoid_ext.sigmoid(x * 2), dynamic=True)
    x = torch.tensor([-50.0, 0.5, 3.0])
    with torch._inductor.config.patch(force_disable_caches=True):
        assert torch.equal(compiled(x), torch_sigmoid_ext.sigmoid(x * 2))
        assert compiled(x[:2]).shape == (2,)

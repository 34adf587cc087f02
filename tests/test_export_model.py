"""MODEL, --input and --weights: what is understood, and what is answered when it is not."""

from __future__ import annotations

import re
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import torch_sigmoid_ext
from torch_sigmoid_ext.export.errors import UsageError
from torch_sigmoid_ext.export.model import InputSpec, load_model, parse_inputs

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(3, 2)

    def forward(self, x):
        return torch.sigmoid(self.fc1(x))

def make():
    return Net()

instance = Net()
number = 3
"""


@pytest.fixture
def net(tmp_path: Path, monkeypatch) -> Path:
    """A folder with net.py and package/net.py in it, as the current one."""
    (tmp_path / "package").mkdir()
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "package" / "net_of_package.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # load_model prepends to it
    return tmp_path


@pytest.mark.parametrize("name", ["Net", "make", "instance"])
@pytest.mark.parametrize("place", ["net.py", "package.net_of_package"])
def test_model_comes_from_a_file_or_a_module_as_class_factory_or_instance(net, place, name) -> None:
    model = load_model(f"{place}:{name}").module
    assert type(model).__name__ == "Net" and not model.training
    assert model(torch.ones(1, 3)).shape == (1, 2)


def test_simple_nn_needs_no_inputs_and_has_the_same_weights_every_time() -> None:
    assert [str(spec) for spec in parse_inputs([], "SimpleNN")] == ["input=float32[batch,3]"]
    first, second = (load_model("SimpleNN").module.fc1.weight for _ in range(2))
    assert torch.equal(first, second)


def test_convert_replaces_torchs_sigmoid(net: Path) -> None:
    traced = torch.jit.trace(load_model("net.py:make", convert=True).module, torch.ones(1, 3))
    assert "torch_sigmoid_ext::sigmoid" in str(traced.inlined_graph)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_are_loaded(tmp_path: Path, suffix: str) -> None:
    state = {"fc1.weight": torch.arange(6.0).reshape(2, 3), "fc1.bias": torch.ones(2)}
    path = tmp_path / f"weights{suffix}"
    safetensors.torch.save_file(state, path) if suffix != ".pt" else torch.save(state, path)
    assert torch.equal(load_model("SimpleNN", path).module.fc1.weight, state["fc1.weight"])


def test_weights_that_do_not_fit_are_named_key_by_key(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"fc1.weight": torch.zeros(2, 4), "fc2.bias": torch.zeros(2)}, path)
    with pytest.raises(UsageError) as error:
        load_model("SimpleNN", path)
    for part in ("missing fc1.bias", "unexpected fc2.bias", "fc1.weight is [2, 4]", "has [2, 3]"):
        assert part in str(error.value)


def test_weights_of_a_layout_that_the_model_s_cannot_take_are_refused(tmp_path: Path) -> None:
    state = torch_sigmoid_ext.SimpleNN().state_dict()
    torch.save({**state, "fc1.weight": state["fc1.weight"].to_sparse()}, tmp_path / "weights.pt")
    with pytest.raises(UsageError, match=r"weights\.pt does not fit the model: .*; save it with"):
        load_model("SimpleNN", tmp_path / "weights.pt")


def test_weights_are_known_by_content_and_not_by_name(tmp_path: Path) -> None:
    state = torch_sigmoid_ext.SimpleNN().state_dict()
    safetensors.torch.save_file(state, tmp_path / "weights.pt")
    torch.save(state, tmp_path / "weights.safetensors")
    torch.save(state, tmp_path / "old", _use_new_zipfile_serialization=False)
    for name in ("weights.pt", "weights.safetensors", "old"):
        loaded = load_model("SimpleNN", tmp_path / name).module
        assert torch.equal(loaded.fc1.weight, state["fc1.weight"]), name


def damaged(state: dict[str, torch.Tensor]) -> bytes:
    file = BytesIO()
    torch.save(state, file)
    return file.getvalue()[:200]


STATE = torch_sigmoid_ext.SimpleNN().state_dict()
HEADER = (2).to_bytes(8, "little") + b"{]"

WEIGHTS = {  # what is in the file, and what must be said of it
    "whole.pt": (torch_sigmoid_ext.SimpleNN(), ["SimpleNN", "whole pickled model", "is not run"]),
    "text.pt": (b"hello world, this is text", ["neither a file of torch.save nor", "torch.save("]),
    "empty.pt": (b"", ["empty file", "torch.save(model.state_dict(), path)"]),
    "pickle.pt": (b"\x80\x02garbage", ["damaged or no file of torch.save"]),
    "cut.pt": (damaged(STATE), ["damaged or no file of torch.save"]),
    "garbage.safetensors": (b"garbage", ["safetensors.torch.save_file(model.state_dict(), path)"]),
    "cut.safetensors": (HEADER, ["whole safetensors file", "safetensors.torch.save_file("]),
    "script.pt": (torch.jit.script(nn.Linear(3, 2)), ["a TorchScript archive"]),
    "list.pt": ([1, 2], ["a dict of tensors, got list"]),
    "keys.pt": ({0: torch.ones(1)}, ["the key 0 is no name"]),
    "mixed.pt": ({**STATE, "epoch": 1}, ["'epoch' is of type int", "torch.save("]),
    "checkpoint.pt": (
        {"state_dict": STATE, "epoch": 1},
        ["with the keys 'state_dict', 'epoch'", "may be under 'state_dict'"],
    ),
    "parallel.pt": (
        {f"module.{key}": value for key, value in STATE.items()},
        ["'module.' in front of every key", "DataParallel", "model.module.state_dict()"],
    ),
    "compiled.pt": (
        {f"_orig_mod.{key}": value for key, value in STATE.items()},
        ["torch.compile", "model._orig_mod.state_dict()"],
    ),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_are_none_are_answered_with_what_they_are(tmp_path: Path, name: str) -> None:
    content, says = WEIGHTS[name]
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif isinstance(content, torch.jit.ScriptModule):
        content.save(tmp_path / name)
    else:
        torch.save(content, tmp_path / name)
    with pytest.raises(UsageError, match=name) as error:
        load_model("SimpleNN", tmp_path / name)
    for part in says:
        assert part in str(error.value)
    assert not re.search("weights_only|\x1b|trust|\n", str(error.value)), "torch's own words"


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="found no file there; check --weights"):
        load_model("SimpleNN", tmp_path / "missing.pt")


def test_missing_package_is_told_apart_from_its_own_missing_import(net: Path) -> None:
    (net / "package" / "lacks.py").write_text("import no_such_package\n")
    for source, missing in (("no.such.mod:f", "no"), ("package.nope:f", "package.nope")):
        with pytest.raises(UsageError) as error:
            load_model(source)
        assert f"no module named {missing}; looked in {net} and Python's path" in str(error.value)
        assert "the same code" not in str(error.value) and "importlib" not in str(error.value)
    with pytest.raises(UsageError, match=r"ModuleNotFoundError: .*lacks.py:1; the same code"):
        load_model("package.lacks:f")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("Simple", "expected MODEL as SimpleNN"),
        ("nowhere.py:Net", "expected a Python file at nowhere.py"),
        ("nowhere_at_all:Net", "no module named nowhere_at_all"),
        ("net.py:Nets", "it defines: Net, make, instance"),
        ("net.py:number", "expected net.py:number to give a torch.nn.Module, got int"),
        ("dict.py:make", "expected dict.py:make to give a torch.nn.Module, got dict"),
        ("broken.py:make", "broken.py:2"),
        ("syntax.py:make", "syntax.py:3"),
        ("raises.py:make", "ZeroDivisionError: division by zero at"),
        ("raises.py:make", "raises.py:2"),
        ("leaves.py:make", "SystemExit"),
    ],
)
def test_model_that_is_not_there_is_answered_with_what_is(
    net: Path, source: str, says: str
) -> None:
    (net / "dict.py").write_text("def make():\n    return {}\n")
    (net / "broken.py").write_text("import os\nimport no_such_package\n")
    (net / "syntax.py").write_text("x = 1\n\ny = = 2\n")
    (net / "raises.py").write_text("def make():\n    return 1 / 0\n")
    (net / "leaves.py").write_text("raise SystemExit(0)\n")
    with pytest.raises(UsageError) as error:
        load_model(source)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("text", "dims"),
    [
        ("x=float32[batch,3]", ("batch", 3)),
        (" x = float32 [ batch , 3 ] ", ("batch", 3)),
        ("x=int64[]", ()),
    ],
)
def test_input_is_understood(text: str, dims: tuple[str | int, ...]) -> None:
    assert InputSpec.parse(text).dims == dims


@pytest.mark.parametrize(
    "text",
    "|x|x=float32|x=[3]|x=float33[3]|x=float32[0]|x=float32[-1]|x=float32[a,]|x=bfloat16[3]|"
    "x=float32[3|3=float32[3]|x=float32[1.5]".split("|"),
)
def test_wrong_input_is_answered_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as error:
        InputSpec.parse(text)
    assert "float32" in str(error.value) and "got" in str(error.value)


def test_inputs_are_required_and_their_names_differ() -> None:
    with pytest.raises(UsageError, match=r"--input 'x=float32\[batch,3\]'"):
        parse_inputs([], "net.py:Net")
    with pytest.raises(UsageError, match="name of its own"):
        parse_inputs(["x=float32[3]", "x=float32[3]"], "net.py:Net")


def test_float_inputs_reach_the_tails_and_flags_stay_flags() -> None:
    random = np.random.default_rng(0)
    rows = InputSpec.parse("x=float32[batch,3]").sample(random, {"batch": 1000})
    assert rows.shape == (1000, 3) and rows.dtype == np.float32
    assert np.abs(rows).max() > 110 and np.median(np.abs(rows)) < 20
    for dtype in ("int64", "bool", "uint8"):
        flags = InputSpec.parse(f"x={dtype}[batch]").sample(random, {"batch": 1000})
        assert flags.dtype == dtype and set(flags) == {0, 1}

"""Which gate judges which runtime, and who said so."""

from __future__ import annotations

from pathlib import Path

import pytest

from torch_sigmoid_ext.export.errors import UsageError
from torch_sigmoid_ext.export.settings import GateChoice, choose_gates, recorded_gates

TABLE = """
[tool.torch-sigmoid-ext]
gate = "portable"
[tool.torch-sigmoid-ext.gates]
openvino-default = "absolute"
tract = "exact"
"""


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(text)
    return folder


def test_without_a_file_or_an_option_it_is_strict(tmp_path: Path) -> None:
    assert choose_gates(None, tmp_path).of("eager") == ("strict", "default")


def test_order_of_precedence(tmp_path: Path) -> None:
    write(tmp_path, TABLE)
    found = choose_gates(None, tmp_path)
    assert found.of("eager") == ("portable", "pyproject.toml")
    assert found.of("tract") == ("exact", "pyproject.toml")
    found = choose_gates("strict", tmp_path)
    assert found.of("eager") == ("strict", "--gate")
    assert found.of("tract") == ("exact", "pyproject.toml")
    found = choose_gates("tract=strict, eager=exact", tmp_path)
    assert found.of("tract") == ("strict", "--gate")
    assert found.of("eager") == ("exact", "--gate")
    assert found.of("openvino-default") == ("absolute", "pyproject.toml")
    assert found.of("reference") == ("portable", "pyproject.toml")


def test_nearest_file_with_the_table_counts(tmp_path: Path) -> None:
    write(tmp_path, TABLE)
    inner = write(tmp_path / "a" / "b", "[project]\nname = 'x'\n")
    assert choose_gates(None, inner).of("eager") == ("portable", "pyproject.toml")
    nearer = write(tmp_path / "a", "[tool.torch-sigmoid-ext]\n")
    assert choose_gates(None, nearer).of("eager") == ("strict", "default")


def test_bundle_is_judged_as_recorded_unless_told_otherwise() -> None:
    names = {"tract": "absolute"}
    assert recorded_gates(None, "exact", names).of("eager") == ("exact", "the bundle")
    assert recorded_gates(None, "exact", names).of("tract") == ("absolute", "the bundle")
    assert recorded_gates("strict", "exact", names).of("eager") == ("strict", "--gate")
    assert recorded_gates("strict", "exact", names).of("tract") == ("absolute", "the bundle")
    assert recorded_gates("tract=strict", "exact", names).of("tract") == ("strict", "--gate")
    assert GateChoice("exact", "x", {"tract": ("absolute", "y")}).names == names


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tool.torch-sigmoid-ext]\ngates = 3\n", "expected a table at gates"),
        ("[tool]\ntorch-sigmoid-ext = 'strict'\n", "expected a table at [tool.torch-sigmoid-ext]"),
        ("[tool.torch-sigmoid-ext]\nsigmoid = 'exact'\n", "expected the keys gate and gates"),
        ("[tool.torch-sigmoid-ext]\ngate = 'stric'\n", "one of exact, strict, portable, absolute"),
        ("[tool.torch-sigmoid-ext]\ngate = 4\n", "to be a name, got 4"),
        ("[tool.torch-sigmoid-ext.gates]\ntract = 4\n", "gate of tract"),
        ("[tool.torch-sigmoid-ext.gates]\ntract = 'loose'\n", "got 'loose'"),
        ("[tool.torch-sigmoid-ext.gates]\ntracks = 'exact'\n", "got 'tracks'"),
        ("[tool.torch-sigmoid-ext\n", "to be TOML, it cannot be read"),
        ("tool = 3\n", "to be TOML, it cannot be read"),
    ],
)
def test_what_is_unknown_is_answered_with_file_and_choices(
    tmp_path: Path, text: str, says: str
) -> None:
    write(tmp_path, text)
    with pytest.raises(UsageError) as error:
        choose_gates(None, tmp_path)
    assert says in str(error.value) and str(tmp_path / "pyproject.toml") in str(error.value)


@pytest.mark.parametrize("option", ["", "strict,exact", "tracks=exact", "tract=loose", "=exact"])
def test_wrong_option_is_an_error_of_use(tmp_path: Path, option: str) -> None:
    with pytest.raises(UsageError, match="--gate"):
        choose_gates(option, tmp_path)

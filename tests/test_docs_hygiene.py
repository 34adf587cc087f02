"""What stands beside the code: one version everywhere, a citation, hooks that are make lint's."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import torch_sigmoid_ext

ROOT = Path(__file__).parents[1]
VERSION = torch_sigmoid_ext.__version__


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def citation() -> dict[str, Any]:
    return dict(yaml.safe_load(read("CITATION.cff")))


def test_version_is_the_same_everywhere() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    assert importlib.metadata.version("torch_sigmoid_ext") == VERSION
    assert str(citation()["version"]) == VERSION
    assert "torch_sigmoid_ext._version.__version__" in read("pyproject.toml")
    assert f"newest one, {VERSION.rsplit('.', 1)[0]}." in read("SECURITY.md")
    released = re.findall(r"^## \[(\d\S*)\]", read("CHANGELOG.md"), re.MULTILINE)
    assert released[:1] in ([], [VERSION]), "the newest release in the CHANGELOG is another one"


def test_citation_has_what_the_format_requires() -> None:
    fields = citation()
    required = {"cff-version": str, "message": str, "title": str, "authors": list}
    for name, kind in required.items():
        assert isinstance(fields.get(name), kind) and fields[name], name
    assert fields["cff-version"] == "1.2.0" and fields["type"] in ("software", "dataset")
    assert all({"name", "family-names"} & set(author) for author in fields["authors"])
    assert f'license = "{fields["license"]}"' in read("pyproject.toml")


def test_citation_is_valid() -> None:
    pytest.importorskip("cffconvert", reason="cffconvert is not installed")
    command = [sys.executable, "-m", "cffconvert.cli.cli", "--validate"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hooks_call_the_tools_of_make_lint() -> None:
    (repository,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"  # nothing is fetched
    entries = {hook["entry"] for hook in repository["hooks"]}
    recipe = read("Makefile").split("\nlint:")[1].split("\n\n")[0]
    linted = {
        line.strip().replace("$(BIN)", ".venv/bin").split(" $(shell")[0].removesuffix(" .")
        for line in recipe.splitlines()[1:]
    }
    [hook], [lint] = ([e for e in each if "/mypy " in e] for each in (entries, linted))
    assert entries - {hook} == linted - {lint}
    assert set(hook.split()) >= set(lint.split())


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md"])
def test_page_is_one_page(name: str) -> None:
    assert 500 < len(read(name)) and len(read(name).splitlines()) <= 66


def test_contributing_names_what_there_is() -> None:
    page, makefile = read("CONTRIBUTING.md"), read("Makefile")
    targets = set(re.findall(r"^make ([\w-]+)", page, re.MULTILINE))
    assert len(targets) > 8
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"no make {target}"
    for path in re.findall(r"`((?:\w+/)+[\w*.]+)`", page):
        assert list(ROOT.glob(path)), f"{path} is not there"


def test_types_ship() -> None:
    assert (ROOT / "torch_sigmoid_ext" / "py.typed").is_file()
    assert re.search(r'^torch_sigmoid_ext = \["py\.typed"', read("pyproject.toml"), re.MULTILINE)

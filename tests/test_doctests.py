"""Every example in a docstring and in the README runs and prints what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import torch_sigmoid_ext

MODULES = [
    "torch_sigmoid_ext",
    *(
        module.name
        for module in pkgutil.walk_packages(torch_sigmoid_ext.__path__, "torch_sigmoid_ext.")
        # The operator library is no Python module.
        if module.name.split(".")[-1] not in ("__main__", "libtorch_sigmoid_ext")
    ),
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("function", ["sigmoid", "sigmoid_"])
def test_builtins_keep_their_examples(function: str) -> None:
    builtin = getattr(torch_sigmoid_ext, function)
    example = doctest.DocTestParser().get_doctest(builtin.__doc__, {}, function, None, 0)
    assert example.examples and doctest.DocTestRunner().run(example).failed == 0


def test_readme_examples() -> None:
    readme = Path(__file__).parents[1] / "README.md"
    results = doctest.testfile(str(readme), module_relative=False)
    assert results.attempted >= 3 and results.failed == 0


def test_links_in_the_documents_lead_somewhere() -> None:
    root = Path(__file__).parents[1]
    for document in root.glob("*.md"):
        for target in re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (root / target).exists(), f"{document.name} links {target}"

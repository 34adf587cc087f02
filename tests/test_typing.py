"""mypy and pyright take a user's program that uses every public name of the package."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "tests" / "typing" / "user_program.py"
CACHE = ROOT / "build" / "typing"  # torch is read once, which takes a minute


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the package as a wheel would leave it there."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    printed = subprocess.run(
        [python, "-c", "import site; print(site.getsitepackages()[0])"],
        capture_output=True,
        text=True,
        check=True,
    )
    packages = Path(printed.stdout.strip())
    ours = packages / "torch_sigmoid_ext"
    unwanted = shutil.ignore_patterns("__pycache__", "*.so", "export")
    shutil.copytree(ROOT / "torch_sigmoid_ext", ours, ignore=unwanted)
    shutil.copytree(ROOT / "export", ours / "export", ignore=unwanted)
    # torch and the rest come from here; an editable install of this tree is not found through it.
    paths = [*site.getsitepackages(), *(p for p in sys.path if p.endswith("site-packages"))]
    (packages / "rest.pth").write_text("\n".join(dict.fromkeys(paths)))
    return python


def checked(*command: object, cwd: Path = ROOT) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["torch_sigmoid_ext", "torch_sigmoid_ext.export"])
def test_program_uses_every_public_name(module: str) -> None:
    tree = ast.parse(PROGRAM.read_text(encoding="utf-8"))
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == module
        for alias in node.names
    }
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    public = set(importlib.import_module(module).__all__)
    assert imported | {"__version__"} >= public, "the program does not import every name"
    assert used >= public, f"the program does not use {sorted(public - used)}"


def test_mypy_takes_the_program(installed: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    options = ["--strict", "--config-file=", f"--cache-dir={CACHE}"]
    command = (sys.executable, "-m", "mypy", *options, "--python-executable", installed, PROGRAM)
    checked(*command, cwd=installed.parent)  # mypy would take this tree's package for the installed


def test_mypy_sees_a_wrong_call(installed: Path, tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from torch_sigmoid_ext import sigmoid\nsigmoid('1', fast=2)\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={CACHE}"]
    done = subprocess.run(
        [*command, "--python-executable", str(installed), str(wrong)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stdout.count("[arg-type]") == 2, done.stdout


@pytest.fixture(scope="module")
def pyright() -> list[str]:
    """The command, where it is installed with the Node that it runs on."""
    if importlib.util.find_spec("pyright") is None or shutil.which("node") is None:
        pytest.skip("pyright (pip) or node is not installed")
    command = [sys.executable, "-m", "pyright"]
    started = subprocess.run([*command, "--version"], capture_output=True, text=True)
    if started.returncode != 0:  # the first start fetches it by npm
        pytest.skip(f"pyright does not start here: {started.stderr.strip()[-200:]}")
    return command


def test_pyright_takes_the_program(pyright: list[str], installed: Path, tmp_path: Path) -> None:
    settings = tmp_path / "pyrightconfig.json"  # none of this tree's settings
    settings.write_text('{"typeCheckingMode": "strict", "include": ["user_program.py"]}')
    program = tmp_path / PROGRAM.name
    program.write_text(PROGRAM.read_text(encoding="utf-8"), encoding="utf-8")
    checked(*pyright, "--pythonpath", installed, "--project", settings)

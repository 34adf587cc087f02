"""scripts/new_operator.py: the package that it makes builds, and passes its own tests."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "new_operator.py"
PAGE = (ROOT / "docs" / "new-operator.md").read_text(encoding="utf-8")
UNWRAPPED = PAGE.replace("\\\n> ", "")


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_made_package_is_whole_and_names_nothing_of_ours(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    done = make("softplus", "-o", str(folder))
    assert done.returncode == 0 and "torch_softplus_ext is in" in done.stdout
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.*")}
    for source in [*folder.glob("*.py"), *folder.glob("t*/*.py")]:
        compile(source.read_text(), source, "exec")
    rooms = re.findall(r"^\| `([^`]+)`(?:, `([^`]+)`)? \|", PAGE, re.M)
    assert len(rooms) > 12
    for room in filter(None, sum(rooms, ())):
        assert room in files or (folder / room).is_dir(), f"the page tells of {room}"
    kept = {"build_backend/backend.py", ".gitignore"}  # ours as they are
    for place, path in files.items():
        text = path.read_text() if path.is_file() and place not in kept else ""
        assert "sigmoid" not in text and "{{" not in text, place


def test_commands_of_the_page_make_packages(tmp_path: Path) -> None:
    commands = re.findall(r"^\$ python scripts/new_operator\.py (.*)$", UNWRAPPED, re.M)
    assert len(commands) >= 2
    for command in commands:
        *arguments, output = shlex.split(command)
        folder = tmp_path / Path(output).name
        assert make(*arguments, str(folder)).returncode == 0, command
        assert (folder / "csrc" / "kernels" / "formula.h").is_file()


def test_kernel_compiles_without_torch_and_without_a_warning(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    formula = "Piecewise((x**3/(1 + exp(x)), x < 1), (sin(x)*log1p(x), True))"
    assert make("wave", "--formula", formula, "-o", str(folder)).returncode == 0
    compiler = os.environ.get("CXX", "g++")
    flags = ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    source = folder / "csrc" / "kernels" / "run.cpp"
    done = subprocess.run([compiler, *flags, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["Bad-Name"], "expected NAME as a lower-case name"),
        (["unheard"], "expected --formula, or a name among softplus"),
        (["odd", "--formula", "x + ("], "expected a formula of sympy's"),
        (["odd", "--formula", "x + y"], r"in x alone, got 'x \+ y' with \['y'\]"),
        (["odd", "--formula", "airyai(x)"], r"functions that C\+\+ and mpmath have, got airyai"),
        (["odd", "--formula", "Abs(x)"], r"expected --second of functions .*DiracDelta"),
        (["odd", "--formula", "x**2", "--domain=3"], "expected --domain=LOW,HIGH"),
        (["odd", "--formula", "x**2", "--domain=3,2"], "expected --domain=LOW,HIGH"),
    ],
)
def test_wrong_arguments_end_with_2_and_leave_nothing(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    done = make(*arguments, "-o", str(tmp_path / "made"))
    assert done.returncode == 2 and re.search(said, done.stderr), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    assert make("softplus", "-o", str(tmp_path)).returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.skipif(
    "TORCH_SIGMOID_EXT_SLOW" not in os.environ,
    reason="minutes of g++: make docs runs it, or TORCH_SIGMOID_EXT_SLOW=1",
)
@pytest.mark.parametrize(
    "arguments",
    [["softplus"], ["arctangent", "--formula", "atan(x)"]],
    ids=["formulas given", "formulas derived"],
)
def test_made_package_builds_and_passes_its_tests(arguments: list[str], tmp_path: Path) -> None:
    folder, site = tmp_path / "made", tmp_path / "site"
    assert make(*arguments, "-o", str(folder)).returncode == 0
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    install = ["install", "--no-deps", "--no-build-isolation", "--target", str(site), str(folder)]
    installed = subprocess.run([*pip, *install], cwd=tmp_path, capture_output=True, text=True)
    assert installed.returncode == 0, installed.stderr[-3000:]
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / "tests")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert tested.returncode == 0, tested.stdout[-5000:]
    assert re.search(r"^\d\d passed", tested.stdout, re.M) and "failed" not in tested.stdout

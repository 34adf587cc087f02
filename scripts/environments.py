"""Empty environments, the package in them, and its operator tests run outside of the tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# What the operator tests import besides torch and this package.
TEST_PACKAGES = ("expecttest", "hypothesis", "mpmath", "numpy", "pytest")

# The operator itself: what a build for another torch, Python or compiler could break.
OPERATOR_TESTS = (
    "test_accuracy.py",
    "test_autograd.py",
    "test_complex.py",
    "test_errors.py",
    "test_fuzzed_views.py",
    "test_integration.py",
    "test_layouts.py",
    "test_modules.py",
    "test_operator.py",
    "test_transforms.py",
)


class Failed(Exception):
    """A command that did not end with 0: its name, and what it said last."""


def run(
    *command: str | Path, cwd: Path, environment: Mapping[str, str] | None = None, last: int = 3000
) -> str:
    """The standard output of a command that is expected to go well."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=cwd, env={**os.environ, **(environment or {})}, capture_output=True, text=True
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[-last:].strip()
        raise Failed(f"`{' '.join(words)}` ended with {done.returncode}:\n{said}")
    return done.stdout


class Environment:
    """A virtual environment with nothing of the one around it."""

    def __init__(self, folder: Path, interpreter: str | Path = sys.executable) -> None:
        self.folder = folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        run(interpreter, "-m", "venv", folder, cwd=folder.parent)
        self.python = folder / "bin" / "python"

    def pip(
        self, *arguments: str | Path, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> str:
        quiet = ("--quiet", "--disable-pip-version-check")
        return run(self.python, "-m", "pip", *arguments, *quiet, cwd=cwd, environment=environment)

    def wheel(self, sdist: Path, into: Path, *options: str, **environment: str) -> Path:
        """The wheel that pip builds from the source distribution, without CUDA."""
        into.mkdir()
        self.pip(
            *("wheel", "--no-deps", *options, "-w", str(into), str(sdist)),
            cwd=into,
            environment={
                "PATH": f"{self.python.parent}{os.pathsep}{os.environ['PATH']}",
                "TORCH_SIGMOID_EXT_CUDA": "0",
                **environment,
            },
        )
        (built,) = into.glob("*.whl")
        return built

    def version_of(self, package: str) -> str:
        ask = f"import importlib.metadata as m; print(m.version({package!r}))"
        return run(self.python, "-c", ask, cwd=self.folder).strip()


def build_sdist(into: Path, **environment: str) -> Path:
    """By the build backend's own hook, with the interpreter that runs this."""
    into.mkdir()
    hook = f"import backend; backend.build_sdist({str(into)!r})"
    path = {"PYTHONPATH": str(ROOT / "build_backend")}
    run(sys.executable, "-c", hook, cwd=ROOT, environment={**path, **environment})
    (archive,) = into.glob("*.tar.gz")
    return archive


def run_tests(
    environment: Environment, folder: Path, names: Sequence[str] = OPERATOR_TESTS
) -> tuple[str, bool]:
    """What pytest counted in a copy of the tests, in words, and whether all went well.

    The copy is the only thing of the tree that they see. Failures are named on standard error.
    """
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    report = folder / "report.xml"
    paths = [f"tests/{name}" for name in names]
    options = ("-q", "-p", "no:cacheprovider", "--strict-markers", f"--junitxml={report}")
    done = subprocess.run(
        [environment.python, "-m", "pytest", *options, *paths],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        print(done.stdout[-6000:], done.stderr[-2000:], file=sys.stderr)
    if not report.exists():
        return f"pytest ended with {done.returncode}", False
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for suite in ET.parse(report).getroot().iter("testsuite"):
        for name in counts:
            counts[name] += int(suite.get(name, 0))
    bad = counts["failures"] + counts["errors"]
    passed = counts["tests"] - bad - counts["skipped"]
    words = f"{passed} passed, {bad} failed, {counts['skipped']} skipped"
    return words, done.returncode == 0 and passed > 0


def commit() -> str:
    """The commit of this tree, marked where files differ from it."""
    try:
        command = ("git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*")
        return run(*command, cwd=ROOT).strip()
    except (Failed, OSError):
        return "unknown"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the last one as it comes."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )

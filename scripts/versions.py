"""Every promised version of torch and of Python that can be had: `make test-versions`.

    python -m scripts.versions > docs/versions.txt

For each torch, and for each Python with the torch that the build backend pins: an empty environment
with torch from the registry, the wheel of the environment before (which must refuse this torch with
a sentence that names the remedy), a build from the source distribution, and the operator tests
outside of the tree. The environment is removed before the next is made: one with CUDA takes 5 GB.
With --keep FOLDER it stays there, and the next run of this finds it.

The registry's CPU builds are taken where pip sees them, else the CUDA builds, which run on the CPU.
What cannot be had here is a line of its own. Ends with 1 where something that could be had failed.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from .environments import (
    ROOT,
    TEST_PACKAGES,
    Environment,
    Failed,
    build_sdist,
    commit,
    run,
    run_tests,
    table,
)

PROMISED_TORCH = ("2.11", "2.12", "2.13", "newest")
PROMISED_PYTHON = ("3.10", "3.11", "3.12", "3.13")
HEAD = ("Python", "torch", "built", "refuses another torch's build", "operator tests", "result")
# cpp_extension needs them, and torch before 2.15 does not ask for both.
BUILD_PACKAGES = ("ninja", "setuptools>=77")


@dataclass(frozen=True)
class Line:
    """A row of the table; `good` is None for what cannot be had here."""

    python: str
    torch: str
    built: str
    refused: str
    tests: str
    good: bool | None

    def cells(self) -> tuple[str, ...]:
        result = {True: "yes", False: "NO", None: "not here"}[self.good]
        return (self.python, self.torch, self.built, self.refused, self.tests, result)


def released() -> list[str]:
    """The versions of torch that pip sees for this interpreter, the newest first."""
    listed = run(sys.executable, "-m", "pip", "index", "versions", "torch", cwd=ROOT)
    found = re.search(r"^Available versions: (.*)$", listed, re.MULTILINE)
    if found is None:
        raise Failed(f"expected `pip index versions torch` to list versions, got:\n{listed}")
    return found[1].split(", ")


def choose(wish: str, versions: Sequence[str]) -> str | None:
    """The newest release of a minor version, its CPU build where there is one; None without any.

    >>> choose("2.13", ["2.14.1", "2.13.1", "2.13.0+cpu", "2.13.0"])
    '2.13.1'
    >>> choose("2.13", ["2.13.0", "2.13.0+cpu"]), choose("newest", ["2.14.1", "2.13.1"])
    ('2.13.0+cpu', '2.14.1')
    """

    def rank(version: str) -> tuple[tuple[int, ...], bool]:
        public, _, local = version.partition("+")
        return tuple(int(part) for part in public.split(".")), local == "cpu"

    final = [v for v in versions if re.fullmatch(r"[\d.]+(\+cpu)?", v)]
    fitting = [v for v in final if wish == "newest" or v.startswith(f"{wish}.")]
    return max(fitting, key=rank, default=None)


def interpreter(version: str) -> str | None:
    """A Python that can make environments: the command on the PATH, or one of pyenv's; or None."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    own = sorted(pyenv.glob(f"versions/{version}.*/bin/python"))
    for command in (shutil.which(f"python{version}"), *map(str, own)):
        asked = (
            [command, "-c", "import venv, ensurepip, sys; print(sys.version)"] if command else []
        )
        if asked and subprocess.run(asked, capture_output=True, text=True).stdout.startswith(
            version
        ):
            return command
    return None


def refusal(environment: Environment, foreign: Path | None, torch: str) -> tuple[str, bool]:
    """What a wheel that was built for another torch says to `import torch_sigmoid_ext` here."""
    if foreign is None:
        return "no other at hand", True
    environment.pip("install", "--no-deps", foreign, cwd=environment.folder)
    done = subprocess.run(
        [environment.python, "-c", "import torch_sigmoid_ext"],
        cwd=environment.folder,
        capture_output=True,
        text=True,
    )
    said = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "nothing"
    built_for = re.search(r"was built for torch ([\d.]+),? and this is torch ([^\s,;]+)", said)
    good = bool(
        done.returncode != 0
        and built_for
        and built_for[2].startswith(torch.split("+")[0])
        and "pip install" in said
        and "undefined symbol" not in done.stderr
    )
    if not good or built_for is None:
        print(done.stderr, file=sys.stderr)
        return f"no: {said[:60]}", False
    return f"{built_for[1]}'s", True


class Trial:
    """One torch after another; each leaves its wheel for the next to refuse."""

    def __init__(self, work: Path, keep: Path | None = None) -> None:
        self.work = work
        self.keep = keep.resolve() if keep else None
        self.sdist = build_sdist(work / "sdist")
        self.left: tuple[str, str, Path] | None = None

    def run(self, python: str, command: str, torch: str) -> Line:
        name = f"{python}-{torch}"
        built = refused = tests = "-"
        good = False
        environment = None
        try:
            environment = Environment((self.keep or self.work) / name, command)
            wanted = (f"torch=={torch}", *BUILD_PACKAGES, *TEST_PACKAGES)
            environment.pip("install", *wanted, cwd=self.work)
            torch = run(
                *(environment.python, "-c", "import torch; print(torch.__version__)"),
                cwd=self.work,
            ).strip()
            refused, refuses = refusal(environment, self.foreign(python, torch), torch)
            wheel = environment.wheel(
                self.sdist, self.work / f"wheel-{name}", "--no-build-isolation"
            )
            environment.pip("install", "--no-deps", "--force-reinstall", wheel, cwd=self.work)
            built, self.left = "yes", (python, torch, wheel)
            (folder := self.work / f"tests-{name}").mkdir()
            tests, passed = run_tests(environment, folder)
            good = refuses and passed
        except Failed as error:
            print(error, file=sys.stderr)
            built = built if built == "yes" else "no"
            tests = str(error).splitlines()[0][:80]
        finally:
            if environment and not self.keep:
                shutil.rmtree(environment.folder, ignore_errors=True)
        return Line(python, torch, built, refused, tests, good)

    def foreign(self, python: str, torch: str) -> Path | None:
        """The wheel at hand, if it is for this Python and another minor version of torch."""
        if self.left is None:
            return None
        own, built_for, wheel = self.left
        return wheel if own == python and minor(built_for) != minor(torch) else None


def minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def default_torch() -> str:
    """The minor version that the build backend pins."""
    text = (ROOT / "build_backend" / "backend.py").read_text()
    (pinned,) = re.findall(r'^DEFAULT_TORCH = "torch==(\d+\.\d+)', text, re.MULTILINE)
    return str(pinned)


def lines(trial: Trial, wishes: Sequence[str], pythons: Sequence[str]) -> Iterator[Line]:
    versions = released()
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    done: set[str] = set()
    for wish in wishes:
        torch = choose(wish, versions)
        if torch is None:
            yield Line(own, wish, "-", "-", "the registry has none for this Python", None)
        elif torch not in done:
            done.add(torch)
            yield trial.run(own, sys.executable, torch)
    pinned = choose(default_torch(), versions)
    for python in pythons:
        command = interpreter(python)
        if python == own:
            continue
        if command is None or pinned is None:
            missing = f"no python{python} with venv on the PATH or in pyenv"
            yield Line(python, default_torch(), "-", "-", missing, None)
        else:
            yield trial.run(python, command, pinned.split("+")[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--torch", nargs="*", default=PROMISED_TORCH, metavar="MINOR|newest")
    parser.add_argument("--python", nargs="*", default=PROMISED_PYTHON, metavar="MINOR")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where environments stay")
    wanted = parser.parse_args()
    began = datetime.now(timezone.utc)
    found: list[Line] = []
    complete = True
    with tempfile.TemporaryDirectory(prefix="torch-sigmoid-ext-") as folder:
        try:
            for line in lines(Trial(Path(folder), wanted.keep), wanted.torch, wanted.python):
                print("  ".join(line.cells()), file=sys.stderr)
                found.append(line)
        except Failed as error:
            print(error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted: what follows is what was tried before", file=sys.stderr)
            complete = False
    print(f"{began:%F}, commit {commit()}, {platform.system()} {platform.machine()}\n")
    print(table([HEAD, *(line.cells() for line in found)]))
    return 0 if complete and all(line.good is not False for line in found) else 1


if __name__ == "__main__":
    sys.exit(main())

"""A wheel and a source distribution for other people, made and tried: `make wheel`.

    python -m scripts.wheel > docs/wheel.txt

The source distribution is built twice, the wheel twice from it: in two folders, by pip in an
isolated environment each, under different umasks, time zones and hash seeds, with a `git` that
fails first on the PATH. auditwheel gives the wheels their manylinux tag; both must be the same
bytes. Then the wheel, and what pip builds of the source distribution, go each into an empty
environment with torch from the registry, and the operator tests run there, outside of the tree.
Prints one table and leaves both files in dist/; ends with 1 where a line of the table is a failure.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

# The libraries of torch that ours are linked with. They come with the torch that the metadata ask
# for; a second copy of them in the wheel would be a second torch.
TORCH_LIBRARIES = ("libc10.so", "libtorch.so", "libtorch_cpu.so", "libtorch_python.so")
LIMIT = 1_000_000  # bytes, without CUDA
# Two builds may differ in all of this and in nothing of the result. A compiler cache, which torch
# uses where it finds one, would hand the second build the objects of the first.
HERE = {"PYTHONHASHSEED": "1", "TZ": "UTC", "CCACHE_DISABLE": "1"}
ELSEWHERE = {"PYTHONHASHSEED": "2", "TZ": "Pacific/Auckland", "CCACHE_DISABLE": "1"}


class Checks:
    """Rows of the table: what was looked at, whether it is so, and what was found."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str]] = []

    def note(self, what: str, found: str, good: bool) -> None:
        self.rows.append((what, "yes" if good else "NO", found))
        print(f"{what}: {found}", file=sys.stderr)

    def attempt(self, what: str, check: Callable[[], tuple[str, bool]]) -> None:
        """A check that runs commands: one that fails is a row, and its words go to stderr."""
        try:
            found, good = check()
        except Failed as error:
            print(error, file=sys.stderr)
            found, good = str(error).splitlines()[0][:100], False
        self.note(what, found, good)

    @property
    def good(self) -> bool:
        return all(row[1] == "yes" for row in self.rows)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def without_git(folder: Path) -> tuple[dict[str, str], Path]:
    """A PATH whose first git writes down that it was called, and fails; and where it writes."""
    called, shim = folder / "git-was-called", folder / "bin" / "git"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\necho "$@" >> {called}\nexit 1\n')
    shim.chmod(0o755)
    return {"PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}"}, called


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def same(first: Path, second: Path) -> tuple[str, bool]:
    """Whether two archives have one name and the same bytes; else which of their members differ."""
    if first.name == second.name and sha256(first) == sha256(second):
        return f"sha256 {sha256(first)}", True
    if first.suffix != ".whl":
        return f"{sha256(first)} and {sha256(second)}", False
    with zipfile.ZipFile(first) as one, zipfile.ZipFile(second) as two:
        names = sorted({*one.namelist(), *two.namelist()})
        shared = {*one.namelist()} & {*two.namelist()}
        unlike = [n for n in names if n not in shared or one.read(n) != two.read(n)]
    return f"unlike: {', '.join(unlike) or 'dates, modes or order of the members'}", False


def repaired(wheel: Path, into: Path) -> Path:
    """The wheel with the manylinux tag that its symbols allow, and torch's libraries left out."""
    excluded = [word for name in TORCH_LIBRARIES for word in ("--exclude", name)]
    command = (sys.executable, "-m", "auditwheel", "repair", *excluded, "-w", str(into), str(wheel))
    tools = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    run(*command, cwd=into.parent, environment={**tools, "SOURCE_DATE_EPOCH": "315532800"})
    (made,) = into.glob("*.whl")
    return made


def look_into(wheel: Path, torch: str, builds: Path, checks: Checks) -> None:
    """What a wheel is to be, by its name and its contents."""
    checks.note("the wheel has a manylinux tag", wheel.name, "-manylinux_" in wheel.name)
    size = wheel.stat().st_size
    checks.note(f"under {LIMIT:,} bytes, without CUDA", f"{size:,} bytes", size < LIMIT)
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    (metadata,) = (contents[name].decode() for name in contents if name.endswith("/METADATA"))
    minor = ".".join(torch.split(".")[:2])
    asked = re.findall(r"^Requires-Dist: (torch\b.*)$", metadata, re.MULTILINE)
    checks.note(
        "its metadata ask for the torch minor it is built for",
        f"built for {torch}, asks for {', '.join(asked) or 'no torch'}",
        asked == [f"torch=={minor}.*"],
    )
    libraries = sorted(name for name in contents if ".so" in Path(name).name)
    own = [n for n in libraries if re.fullmatch(r"torch_sigmoid_ext/(_C\..*|libtorch_.*)\.so", n)]
    checks.note(
        "no library in it but ours", ", ".join(libraries), len(own) == 2 and own == libraries
    )
    places = {str(builds), str(ROOT), str(Path.home()), "pip-req-build", "site-packages"}
    told = [p for p in sorted(places) if any(p.encode() in contents[n] for n in libraries)]
    checks.note("no path of the build in them", ", ".join(told) or "none", not told)


def look_into_sdist(sdist: Path, checks: Checks) -> None:
    with tarfile.open(sdist) as archive:
        (name,) = (n for n in archive.getnames() if re.fullmatch("[^/]+/PKG-INFO", n))
        file = archive.extractfile(name)
        text = file.read().decode() if file else ""
    asked = re.findall(r"^Requires-Dist: (torch\b.*)$", text, re.MULTILINE)
    pinned = [requirement for requirement in asked if "==" in requirement]
    checks.note("the sdist binds to no one torch", ", ".join(asked), asked != [] and not pinned)


def build_twice(work: Path, sdist: Path, checks: Checks) -> tuple[Path, Path, Environment]:
    """The repaired wheel, the wheel as pip built it the second time, and where it did so.

    The first environment is empty, so that the build backend has to ask for torch; the second has
    torch already, which the build must find.
    """
    path, called = without_git(work)
    (work / "elsewhere, and deeper").mkdir()
    first_place, second_place = work / "one", work / "elsewhere, and deeper" / "two"
    environment = Environment(work / "empty")
    first = environment.wheel(sdist, first_place, **HERE, **path)
    shutil.rmtree(environment.folder)

    environment = Environment(work / "with-torch")
    environment.pip("install", default_torch(), cwd=work)
    with umask(0o077):
        second = environment.wheel(sdist, second_place, **ELSEWHERE, **path)
    checks.note("the sdist builds with no git", "twice, in isolation", not called.exists())

    wheels = []
    for number, built in enumerate((first, second)):
        (work / f"repaired{number}").mkdir()
        wheels.append(repaired(built, work / f"repaired{number}"))
    checks.note("two builds of the wheel, the same bytes", *same(*wheels))
    return wheels[0], second, environment


def default_torch() -> str:
    """The requirement that the build backend pins, as it stands there."""
    text = (ROOT / "build_backend" / "backend.py").read_text()
    (pinned,) = re.findall(r'^DEFAULT_TORCH = "(.*)"', text, re.MULTILINE)
    return str(pinned)


def try_out(environment: Environment, wheel: Path, folder: Path) -> tuple[str, bool]:
    """The operator tests with the installed wheel, in a folder that holds a copy of them alone."""
    folder.mkdir()
    environment.pip("install", wheel, *TEST_PACKAGES, cwd=folder)
    words, good = run_tests(environment, folder)
    return f"{words}; torch {environment.version_of('torch')}", good


def check(work: Path, checks: Checks) -> None:
    sdist = build_sdist(work / "sdist", **HERE)
    with umask(0o077):
        again = build_sdist(work / "sdist-again", **ELSEWHERE)
    checks.note("two builds of the sdist, the same bytes", *same(sdist, again))
    look_into_sdist(sdist, checks)

    wheel, from_sdist, with_torch = build_twice(work, sdist, checks)
    look_into(wheel, with_torch.version_of("torch"), work, checks)
    what = "installed into an empty environment, tests outside of the tree"
    checks.attempt(f"sdist: {what}", lambda: try_out(with_torch, from_sdist, work / "of-sdist"))
    shutil.rmtree(with_torch.folder)
    empty = Environment(work / "empty")
    checks.attempt(f"wheel: {what}", lambda: try_out(empty, wheel, work / "of-wheel"))

    (ROOT / "dist").mkdir(exist_ok=True)
    for made in (sdist, wheel):
        shutil.copy2(made, ROOT / "dist")


def main() -> int:
    checks = Checks()
    began = datetime.now(timezone.utc)
    with tempfile.TemporaryDirectory(prefix="torch-sigmoid-ext-") as folder:
        try:
            check(Path(folder), checks)
        except Failed as error:
            print(error, file=sys.stderr)
            checks.note("every step ran", str(error).splitlines()[0][:100], False)
    print(f"{began:%F}, commit {commit()}")
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}\n")
    print(table(checks.rows))
    return 0 if checks.good else 1


if __name__ == "__main__":
    sys.exit(main())

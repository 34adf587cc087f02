"""A copy of the working tree, with its own build, in which one thing at a time is spoiled."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from filecmp import cmp
from pathlib import Path
from shutil import copy

from ..environments import Failed, run
from .catalogue import Mutation

PACKAGE = "torch_sigmoid_ext"


class Tree:
    """The copy. The working tree itself is never written to."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder = folder
        self._must_build = (source / "setup.py").exists()
        self.python = folder / ".venv" / "bin" / "python"
        self.environment = {
            **os.environ,
            "PYTHONPATH": "",
            "PYTHONDONTWRITEBYTECODE": "1",  # it would be found again where a mutation is as long
            "TORCH_SIGMOID_EXT_CUDA": "0",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        for name in _files_of(source):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if not (folder / name).exists() or not cmp(source / name, folder / name, shallow=False):
                copy(source / name, folder / name)  # and what is as it was stays compiled
        self._make_environment()
        inner = folder / PACKAGE / "export"  # pyproject.toml has it there in an installed package
        if (folder / "export").is_dir() and not inner.exists():
            inner.symlink_to("../export")

    def _make_environment(self) -> None:
        """An interpreter that sees the packages of this one, but ours in the copy: whatever a test
        sets PYTHONPATH to, and wherever it starts a process."""
        if self.python.exists():
            return
        venv.create(self.folder / ".venv", with_pip=False)
        (packages,) = (self.folder / ".venv" / "lib").glob("python*/site-packages")
        # A folder named in a .pth file is searched; what the .pth files in it say is not done.
        installed = (path for path in sys.path if path.endswith(("site-packages", "dist-packages")))
        (packages / "tree.pth").write_text("\n".join([str(self.folder), *installed]))

    @contextmanager
    def spoiled(self, mutation: Mutation) -> Iterator[None]:
        """The mutation in its place, and gone again afterwards."""
        path = self.folder / mutation.file
        before = path.read_text(encoding="utf-8")
        path.write_text(mutation.applied_to(before), encoding="utf-8")
        self._must_build |= mutation.is_compiled
        try:
            yield
        finally:
            path.write_text(before, encoding="utf-8")
            self._must_build |= mutation.is_compiled

    def build(self) -> None:
        """The libraries, in place; ninja compiles what changed. Failed where that does not go."""
        if self._must_build:
            command = (sys.executable, "setup.py", "--quiet", "build_ext", "--inplace")
            run(*command, cwd=self.folder, environment=self.environment, last=2000)
            self._must_build = False

    def check(self) -> None:
        """Failed unless what is imported lies in the copy."""
        if not (self.folder / PACKAGE).is_dir():
            return
        code = f"import {PACKAGE}.export as e, {PACKAGE} as p; print(p.__file__, e.__file__)"
        command = (self.python, "-c", code)
        printed = run(*command, cwd=self.folder.parent, environment=self.environment)
        if printed.count(str(self.folder / PACKAGE)) != 2:
            raise Failed(f"expected to import {PACKAGE} from {self.folder}, got {printed.strip()}")


def _files_of(source: Path) -> list[str]:
    """Tracked or not, all that git does not ignore, less links and what is deleted."""
    command = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(
            f"expected a git repository in {source}, to copy its files from: {done.stderr}"
        )
    names = sorted(set(done.stdout.split("\0")) - {""})
    return [n for n in names if (source / n).is_file() and not (source / n).is_symlink()]

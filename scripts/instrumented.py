"""The package built in a copy of the tree by a compiler that is given more flags.

The working tree's own build stays as it is. Tests are those of the tree: they find the copy's
package first, because they run in the copy's folder with it on the path.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from .environments import ROOT, run

SOURCES = ("build_backend", "csrc", "export", "torch_sigmoid_ext")
FILES = ("LICENSE", "README.md", "pyproject.toml", "setup.py")
BUILT = shutil.ignore_patterns("*.so", "__pycache__", "export")


class Copy:
    """`folder` holds the copy; a build there again compiles what has changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects = folder / "build"
        self.environment = {"PYTHONPATH": str(folder)}

    def build(self, flags: Sequence[str]) -> None:
        """setup.py's own build, with the flags behind all of its own, so that they prevail."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in SOURCES:
            shutil.copytree(ROOT / name, self.folder / name, ignore=BUILT, dirs_exist_ok=True)
        for name in FILES:
            shutil.copy2(ROOT / name, self.folder)
        package = self.folder / "torch_sigmoid_ext" / "export"  # as an installation has it
        if not package.exists():
            package.symlink_to(os.path.join("..", "export"))
        compiler = self.folder / "compiler"
        command = f'{os.environ.get("CXX", "g++")} "$@" {shlex.join(flags)}'
        compiler.write_text(f"#!/bin/sh\nexec {command}\n")
        compiler.chmod(0o755)
        run(
            *(sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"),
            cwd=self.folder,
            environment={
                "CC": str(compiler),
                "CXX": str(compiler),
                "CCACHE_DISABLE": "1",
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # ninja
                "TORCH_SIGMOID_EXT_CUDA": "0",
            },
        )

"""TorchScript files and AOTInductor packages in C++: a program that has libtorch and no Python.

The program (server/serve.cpp) is built once by CMake for each torch and compiler, into a folder of
the user's cache: ``$XDG_CACHE_HOME/torch_sigmoid_ext``, or ``~/.cache/torch_sigmoid_ext``.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
from functools import cache
from pathlib import Path

from torch_sigmoid_ext import library_path

from .apart import RuntimeFailure, printable, run_command
from .libtorch import Libtorch
from .piped import Piped
from .runtime import Run

SOURCES = Path(__file__).with_name("server")
BUILD_LIMIT = 900.0  # seconds; it takes half a minute


class Cpp(Libtorch):
    """The program serving one file."""

    tools = "apt-get install cmake g++ make"

    def version(self) -> str:
        torch = super().version()
        return f"{torch}, {_compiler_version(_compiler())}" if torch and _tools() else ""

    def pending(self) -> str:
        return "" if program().exists() else "building the C++ program (half a minute, once)"

    def prepare(self) -> None:
        if not program().exists():
            build(program())

    def load(self, path: Path) -> Run:
        return Piped([str(program()), library_path(), str(path)])


class TorchScriptCpp(Cpp):
    """torch::jit::load."""

    name = "torchscript-cpp"
    format = "torchscript"


class AotiCpp(Cpp):
    """torch::inductor::AOTIModelPackageLoader."""

    name = "aoti-cpp"
    format = "aoti"


def program() -> Path:
    """Where the program is once it is built, for these sources, this torch and this compiler."""
    import torch

    parts = [torch.__file__, torch.__version__, _compiler(), _compiler_version(_compiler())]
    parts += [path.read_text() for path in _sources()]
    key = hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]
    cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache_home) / "torch_sigmoid_ext" / f"serve-{key}" / "serve"


def build(target: Path) -> None:
    """Build the program; it appears whole, also where two processes build it at once."""
    import torch

    staging = target.parent.with_name(f".{target.parent.name}.{secrets.token_hex(4)}")
    try:
        staging.mkdir(parents=True)
        for path in _sources():
            shutil.copy(path, staging)
        configure = [
            *("cmake", "-S", str(staging), "-B", str(staging / "build")),
            f"-DCMAKE_CXX_COMPILER={_compiler()}",
            *("-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS_RELEASE=-O1"),
            f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}",
        ]
        for command in (configure, ["cmake", "--build", str(staging / "build")]):
            _run(command, staging)
        ready = staging / "ready"
        ready.mkdir()
        shutil.move(staging / "build" / "serve", ready / "serve")
        try:
            ready.rename(target.parent)
        except OSError:
            if not target.exists():  # else another process was first
                raise
    except OSError as error:
        raise RuntimeFailure(
            "crashed", f"the C++ program cannot be built in {target.parent}: {error}"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _run(command: list[str], folder: Path) -> None:
    done = run_command(command, folder, BUILD_LIMIT)
    if done.code != 0:
        errors = [line for line in done.stderr.splitlines() if "rror" in line]
        said = printable(errors[0]) if errors else done.last_line
        raise RuntimeFailure(
            "crashed", f"building the C++ program: {command[0]} {done.manner}: {said}"
        )


def _sources() -> list[Path]:
    return [SOURCES / name for name in ("CMakeLists.txt", "serve.cpp")]


def _compiler() -> str:
    return shutil.which(os.environ.get("CXX", "g++")) or ""


def _tools() -> bool:
    make = shutil.which("make") or shutil.which("ninja")
    return bool(shutil.which("cmake") and make and _compiler())


@cache
def _compiler_version(compiler: str) -> str:
    if not compiler:
        return ""
    shown = subprocess.run([compiler, "-dumpfullversion"], capture_output=True, text=True)
    return f"{Path(compiler).name} {shown.stdout.strip()}"

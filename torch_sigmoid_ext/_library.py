"""Loads the operator library, or says why it cannot be loaded and what to do."""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path

import torch

_PATH = Path(__file__).with_name("libtorch_sigmoid_ext.so")
_REBUILD = "`pip install --force-reinstall --no-deps .` in the repository"


def library_path() -> str:
    """The absolute path of the operator library, a shared library without Python in it.

    For programs that have no Python package to import: ``dlopen`` it (C++) or give it to
    ``torch.ops.load_library`` before loading a TorchScript file that holds the operator.

    >>> import torch, torch_sigmoid_ext
    >>> torch.ops.load_library(torch_sigmoid_ext.library_path())
    """
    return str(_PATH)


def cmake_prefix_path() -> str:
    """The folder for CMake's ``CMAKE_PREFIX_PATH`` where ``find_package(torch_sigmoid_ext)`` looks.

    As ``torch.utils.cmake_prefix_path`` is torch's; a C++ program needs both. The imported target
    ``torch_sigmoid_ext::torch_sigmoid_ext`` links the operator library and libtorch.

    >>> import os, torch_sigmoid_ext
    >>> os.listdir(torch_sigmoid_ext.cmake_prefix_path())
    ['torch_sigmoid_ext']
    """
    return str(_PATH.parent / "share" / "cmake")


def _load() -> None:
    if not _PATH.exists():
        raise ImportError(
            f"torch_sigmoid_ext: expected the operator library at {_PATH}, and it is not there. "
            "This is the source folder, not yet built, that Python found before any installed "
            "package: run `pip install -e .` in the repository, or start Python elsewhere."
        )
    built_for = _built_for()
    if _minor(built_for) not in ("", _minor(str(torch.__version__))):
        # Where every symbol happens to be found, it would load, and read torch's objects wrongly.
        raise ImportError(
            f"torch_sigmoid_ext: {_PATH.name} was built for torch {built_for}, and this is torch "
            f"{torch.__version__}; a build fits one torch version only. Build it again for this "
            f"one: {_REBUILD}."
        )
    if torch._C._dispatch_has_kernel("torch_sigmoid_ext::sigmoid") and not _is_loaded():
        # Registering the same operators twice ends the process.
        raise ImportError(
            f"torch_sigmoid_ext: expected to load {_PATH}, and the operators of another copy of "
            "it are in this process already. Load one: `import torch_sigmoid_ext` alone, without "
            "torch.ops.load_library, or torch.ops.load_library alone."
        )
    try:
        torch.ops.load_library(str(_PATH))  # type: ignore[no-untyped-call]
    except OSError as error:
        raise ImportError(
            f"torch_sigmoid_ext: {_PATH.name} does not load into torch {torch.__version__}; a "
            f"build fits one torch version only. Build it again for this one: {_REBUILD}. "
            f"The loader said: {error.__cause__ or error}"
        ) from error


def _built_for() -> str:
    """The torch version that the library names (csrc/ops/info.cpp), or "" where it names none."""
    found = re.search(rb"torch_sigmoid_ext: built for torch ([\w.]+)", _PATH.read_bytes())
    return found[1].decode() if found else ""


def _minor(version: str) -> str:
    """Patch releases of torch keep the binary interface: "2.13" of "2.13.0+cpu"."""
    return ".".join(version.split(".")[:2])


def _is_loaded() -> bool:
    """Whether this very file is in the process, by whomever."""
    try:
        ctypes.CDLL(str(_PATH), os.RTLD_NOLOAD | os.RTLD_LAZY)
    except OSError:
        return False
    return True


_load()

"""Where the package's native files lie, and which torch they were built for; nothing is loaded."""

from __future__ import annotations

import re
from pathlib import Path

LIBRARY = Path(__file__).with_name("libtorch_sigmoid_ext.so")


def library_path() -> str:
    """The absolute path of the operator library, a shared library without Python in it.

    For programs that have no Python package to import: ``dlopen`` it (C++) or give it to
    ``torch.ops.load_library`` before loading a TorchScript file that holds the operator.

    >>> import torch, torch_sigmoid_ext
    >>> torch.ops.load_library(torch_sigmoid_ext.library_path())
    """
    return str(LIBRARY)


def cmake_prefix_path() -> str:
    """The folder for CMake's ``CMAKE_PREFIX_PATH`` where ``find_package(torch_sigmoid_ext)`` looks.

    As ``torch.utils.cmake_prefix_path`` is torch's; a C++ program needs both. The imported target
    ``torch_sigmoid_ext::torch_sigmoid_ext`` links the operator library and libtorch.

    >>> import os, torch_sigmoid_ext
    >>> os.listdir(torch_sigmoid_ext.cmake_prefix_path())
    ['torch_sigmoid_ext']
    """
    return str(LIBRARY.parent / "share" / "cmake")


def built_for() -> str:
    """The torch version that the library names (csrc/ops/info.cpp), or "" where it names none."""
    found = re.search(rb"torch_sigmoid_ext: built for torch ([\w.]+)", LIBRARY.read_bytes())
    return found[1].decode() if found else ""

"""Loads the operator library, or says why it cannot be loaded and what to do."""

from __future__ import annotations

from pathlib import Path

import torch

_PATH = Path(__file__).with_name("libtorch_sigmoid_ext.so")


def library_path() -> str:
    """The absolute path of the operator library, a shared library without Python in it.

    For programs that have no Python package to import: ``dlopen`` it (C++) or give it to
    ``torch.ops.load_library`` before loading a TorchScript file that holds the operator.

    >>> import torch, torch_sigmoid_ext
    >>> torch.ops.load_library(torch_sigmoid_ext.library_path())
    """
    return str(_PATH)


def _load() -> None:
    if not _PATH.exists():
        raise ImportError(
            f"torch_sigmoid_ext: expected the operator library at {_PATH}, and it is not there. "
            "This is the source folder, not yet built, that Python found before any installed "
            "package: run `pip install -e .` in the repository, or start Python elsewhere."
        )
    try:
        torch.ops.load_library(str(_PATH))  # type: ignore[no-untyped-call]
    except OSError as error:
        raise ImportError(
            f"torch_sigmoid_ext: {_PATH.name} does not load into torch {torch.__version__}; a "
            "build fits one torch version only. Build it again for this one: `pip install "
            f"--force-reinstall --no-deps .` in the repository. The loader said: {error}"
        ) from error


_load()

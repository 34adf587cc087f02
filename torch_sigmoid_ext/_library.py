"""Loads the operator library, or says why it cannot be loaded and what to do."""

from __future__ import annotations

import ctypes
import os

import torch

from ._paths import LIBRARY, built_for

_REBUILD = "`pip install --force-reinstall --no-deps .` in the repository"


def _load() -> None:
    if not LIBRARY.exists():
        raise ImportError(
            f"torch_sigmoid_ext: expected the operator library at {LIBRARY}, and it is not there. "
            "This is the source folder, not yet built, that Python found before any installed "
            "package: run `pip install -e .` in the repository, or start Python elsewhere."
        )
    version = built_for()
    if _minor(version) not in ("", _minor(str(torch.__version__))):
        # Where every symbol happens to be found, it would load, and read torch's objects wrongly.
        raise ImportError(
            f"torch_sigmoid_ext: {LIBRARY.name} was built for torch {version}, and this is torch "
            f"{torch.__version__}; a build fits one torch version only: get that torch by "
            f"`pip install 'torch=={_minor(version)}.*'`, or build it again for this one by "
            f"{_REBUILD}."
        )
    if torch._C._dispatch_has_kernel("torch_sigmoid_ext::sigmoid") and not _is_loaded():
        # Registering the same operators twice ends the process.
        raise ImportError(
            f"torch_sigmoid_ext: expected to load {LIBRARY}, and the operators of another copy of "
            "it are in this process already. Load one: `import torch_sigmoid_ext` alone, without "
            "torch.ops.load_library, or torch.ops.load_library alone."
        )
    try:
        torch.ops.load_library(str(LIBRARY))  # type: ignore[no-untyped-call]
    except OSError as error:
        raise ImportError(
            f"torch_sigmoid_ext: {LIBRARY.name} does not load into torch {torch.__version__}; a "
            f"build fits one torch version only. Build it again for this one: {_REBUILD}. "
            f"The loader said: {error.__cause__ or error}"
        ) from error


def _minor(version: str) -> str:
    """Patch releases of torch keep the binary interface: "2.13" of "2.13.0+cpu"."""
    return ".".join(version.split(".")[:2])


def _is_loaded() -> bool:
    """Whether this very file is in the process, by whomever."""
    try:
        ctypes.CDLL(str(LIBRARY), os.RTLD_NOLOAD | os.RTLD_LAZY)
    except OSError:
        return False
    return True


_load()

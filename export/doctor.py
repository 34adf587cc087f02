"""What works here: core, compiler, formats, runtimes; and how to mend what does not."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

import torch_sigmoid_ext

from .formats import FORMATS
from .runtimes import RUNTIMES
from .ulp import rounded, true_sigmoid


@dataclass(frozen=True)
class Check:
    """One part and its state: "ok", "missing" or "broken"."""

    part: str
    state: str
    detail: str  # a version or a path; for a missing part the command that brings it
    core: bool = False  # without it nothing works


def examine() -> list[Check]:
    """Every part, the core first."""
    return [*_core(), _compiler(), *_formats(), *_runtimes()]


def _core() -> Iterator[Check]:
    yield Check("python", "ok", platform.python_version(), core=True)
    yield Check("torch", "ok", str(torch.__version__), core=True)
    yield Check("torch_sigmoid_ext", "ok", torch_sigmoid_ext.__version__, core=True)
    yield Check("operator library", "ok", str(torch_sigmoid_ext.library_path()), core=True)
    yield Check("CPU capability", "ok", torch.backends.cpu.get_cpu_capability())
    x = np.linspace(-110, 110, 10_001, dtype=np.float32)
    y = torch_sigmoid_ext.sigmoid(torch.from_numpy(x)).numpy()
    wrong = int((y != rounded(true_sigmoid(x), x.dtype)).sum())
    detail = f"{len(x) - wrong} of {len(x)} float32 results are correctly rounded"
    yield Check("sigmoid", "broken" if wrong else "ok", detail, core=True)


def _compiler() -> Check:
    """What would build the operator again; an installed one runs without."""
    command = os.environ.get("CXX", "g++")
    path = shutil.which(command)
    if path is None:
        return Check("C++ compiler", "missing", f"{command}; apt-get install g++")
    shown = subprocess.run([path, "--version"], capture_output=True, text=True)
    return Check("C++ compiler", "ok", (shown.stdout.splitlines() or [path])[0])


def _formats() -> Iterator[Check]:
    for format in FORMATS.values():
        missing = format.missing()
        detail = format.install if missing else ""
        yield Check(f"format {format.name}", "missing" if missing else "ok", detail)


def _runtimes() -> Iterator[Check]:
    for runtime in RUNTIMES.values():
        version = runtime.version()
        state = "ok" if version else "missing"
        yield Check(f"runtime {runtime.name}", state, version or runtime.install)

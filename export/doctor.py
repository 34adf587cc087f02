"""What works here: core, compiler, formats, runtimes; and how to mend what does not."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import torch_sigmoid_ext
from torch_sigmoid_ext._torch import install_torch, torch_is_here

from .formats import FORMATS
from .runtimes import RUNTIMES, Runtime
from .runtimes.apart import RuntimeFailure
from .runtimes.worker import adapter_of, describe_apart
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
    yield Check("torch_sigmoid_ext", "ok", torch_sigmoid_ext.__version__, core=True)
    yield Check("CPU features", "ok", _cpu_features())
    if not torch_is_here():
        yield Check("torch", "missing", f"{install_torch()}; only ONNX files are verified without")
        return
    import torch

    yield Check("torch", "ok", str(torch.__version__), core=True)
    yield Check("CPU capability", "ok", torch.backends.cpu.get_cpu_capability())
    yield Check("operator library", "ok", torch_sigmoid_ext.library_path(), core=True)
    x = np.linspace(-110, 110, 10_001, dtype=np.float32)
    y = torch_sigmoid_ext.sigmoid(torch.from_numpy(x)).numpy()
    wrong = int((y != rounded(true_sigmoid(x), x.dtype)).sum())
    detail = f"{len(x) - wrong} of {len(x)} float32 results are correctly rounded"
    yield Check("sigmoid", "broken" if wrong else "ok", detail, core=True)


# Those that decide which kernels runtimes choose, and in which precision they compute.
_FEATURES = (
    *("fma", "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_bf16", "amx_fp16", "asimd", "asimdhp", "bf16", "sve", "sve2"),
)


def _cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The CPU's name and its features, as Linux tells them."""
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    name = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    has = set(flags[1].split()) if flags else set()
    known = " ".join(feature for feature in _FEATURES if feature in has)
    return ": ".join(filter(None, [name[1] if name else platform.machine(), known]))


def _compiler() -> Check:
    """What would build the operator again; an installed one runs without."""
    command = os.environ.get("CXX", "g++")
    path = shutil.which(command)
    if path is None:
        return Check("C++ compiler", "missing", f"{command}; apt-get install g++")
    shown = subprocess.run([path, "--version"], capture_output=True, text=True)
    return Check("C++ compiler", "ok", (shown.stdout.splitlines() or [path])[0])


def _formats() -> Iterator[Check]:
    if not torch_is_here():
        for name in FORMATS:
            yield Check(f"format {name}", "missing", install_torch())
        return
    for format in FORMATS.values():
        missing = format.missing()
        detail = format.install if missing else ""
        yield Check(f"format {format.name}", "missing" if missing else "ok", detail)


def _runtimes() -> list[Check]:
    """A row each; those with native libraries of their own are imported apart, some at a time."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(_runtime, RUNTIMES.values()))


def _runtime(runtime: Runtime) -> Check:
    part = f"runtime {runtime.name}"
    if runtime.broken:
        return Check(part, "broken", runtime.broken)
    version = runtime.version()
    if not version:
        return Check(part, "missing", runtime.install)
    features = ""
    try:
        if runtime.imports:
            features = describe_apart(adapter_of(runtime))["features"]
        else:
            features = runtime.features()
    except RuntimeFailure as failure:
        return Check(part, "broken", f"{version}; {failure}; run: {runtime.install}")
    words = [version, runtime.precision, features, "on request" if runtime.on_request else ""]
    words += [f"first {runtime.pending()}"] if runtime.pending() else []
    return Check(part, "ok", "; ".join(filter(None, words)))

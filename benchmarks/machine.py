"""On what the figures were taken."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import torch_sigmoid_ext

_ROOT = Path(__file__).parent.parent


def kernel_set() -> str:
    """The instruction set that the library chose in this process."""
    library = ctypes.CDLL(torch_sigmoid_ext.library_path())
    library.torch_sigmoid_ext_kernels.restype = ctypes.c_char_p
    name: bytes = library.torch_sigmoid_ext_kernels()
    return name.decode()


def _cpu() -> str:
    """As Linux calls it; elsewhere the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    """The commit of this tree, marked where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def describe() -> dict[str, str]:
    """The head of the results: date, commit, CPU, versions, and what else the machine did."""
    packages = ("torch", "numpy", "onnxruntime", "scipy")
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "kernels": kernel_set(),
        "torch capability": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
    } | {package: _version(package) for package in packages}

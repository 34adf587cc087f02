"""What `import torch_sigmoid_ext` costs beyond `import torch`.

Each import is in a process of its own, by turns with one of a module that does nothing.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from dataclasses import dataclass

LIMIT = 0.030  # seconds: what was promised
_PROGRAM = """\
import sys, time, torch
before = len(sys.modules)
start = time.perf_counter()
import {module}
print(time.perf_counter() - start, len(sys.modules) - before)
"""


@dataclass(frozen=True)
class ImportTime:
    """Of the package, after torch."""

    median: float  # seconds
    least: float
    modules: int  # how many it brings

    @property
    def reached(self) -> bool:
        """Whether it is under the limit, by the least time."""
        return self.least < LIMIT


def _once(module: str) -> tuple[float, int]:
    command = [sys.executable, "-c", _PROGRAM.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, modules = done.stdout.split()
    return float(seconds), int(modules)


def measure(rounds: int = 7) -> ImportTime:
    """The package's import less that of a module of the standard library that is already there."""
    times, modules = [], 0
    for _ in range(rounds):
        nothing, _ = _once("sys")
        seconds, modules = _once("torch_sigmoid_ext")
        times.append(seconds - nothing)
    return ImportTime(statistics.median(times), min(times), modules)

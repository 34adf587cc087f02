"""One runtime, one file, some batches, in a process of its own.

What a runtime does to its process (a crash, a hang, a library that cannot live beside another) then
ends as a sentence about that runtime. The parent calls `run_apart`; the child is
``python -m torch_sigmoid_ext.export.runtimes.worker FOLDER``, and everything passes through FOLDER.
"""

from __future__ import annotations

import importlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..missing_library import explain
from . import Array, Run, Runtime

# What serves requests answers in far less, and a runtime that hangs must not hold the report.
TIME_LIMIT = 600.0  # seconds

DOING, ERROR = "doing.txt", "error.txt"  # in FOLDER: what the child is at, and its exception


class RuntimeFailure(Exception):
    """A runtime did not answer; ``status`` is "crashed" or "timeout"."""

    def __init__(self, status: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def run_apart(
    runtime: Runtime, path: Path, batches: Sequence[Sequence[Array]]
) -> list[list[Array]]:
    """The outputs of the file for each batch of inputs; RuntimeFailure where there are none."""
    with tempfile.TemporaryDirectory(prefix="torch_sigmoid_ext-") as name:
        folder = Path(name)
        request = {
            "adapter": [type(runtime).__module__, type(runtime).__qualname__],
            "path": str(path.resolve()),
            "batches": len(batches),
        }
        (folder / "request.json").write_text(json.dumps(request))
        for number, batch in enumerate(batches):
            _save(folder / f"inputs{number}.npz", batch)
        try:
            done = subprocess.run(
                [sys.executable, "-m", f"{__package__}.worker", name],
                cwd=name,  # the user's folder may hold an onnx.py
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIME_LIMIT,
            )
        except subprocess.TimeoutExpired:
            detail = f"no answer within {TIME_LIMIT:g} s{_during(folder)}"
            raise RuntimeFailure("timeout", detail) from None
        if done.returncode != 0:
            raise RuntimeFailure("crashed", _last_words(folder, done))
        return [_load(folder / f"outputs{number}.npz") for number in range(len(batches))]


def _last_words(folder: Path, done: subprocess.CompletedProcess[str]) -> str:
    """How the child ended, at what, and the last that it said."""
    doing, error = folder / DOING, folder / ERROR
    if error.exists():
        return f"{doing.read_text()}: {error.read_text()}"
    code = done.returncode
    end = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return ": ".join([end + _during(folder), *done.stderr.strip().splitlines()[-1:]])


def _during(folder: Path) -> str:
    """ " while running float32[1, 3]", or nothing if the child never came that far."""
    doing = folder / DOING
    return f" while {doing.read_text()}" if doing.exists() else ""


def _save(path: Path, arrays: Sequence[Array]) -> None:
    np.savez(path, **{str(i): array for i, array in enumerate(arrays)})  # type: ignore[arg-type]


def _load(path: Path) -> list[Array]:
    with np.load(path) as arrays:
        return [arrays[str(i)] for i in range(len(arrays))]


def _serve(folder: Path) -> None:
    """The child's side: load the file once, run every batch, leave outputs or the error's line."""
    request = json.loads((folder / "request.json").read_text())
    module, name = request["adapter"]
    doing = folder / DOING
    try:
        doing.write_text("loading the file")
        runtime: Runtime = getattr(importlib.import_module(module), name)()
        run: Run = runtime.load(Path(request["path"]))
        for number in range(request["batches"]):
            inputs = _load(folder / f"inputs{number}.npz")
            shapes = ", ".join(f"{x.dtype}{list(x.shape)}" for x in inputs)
            doing.write_text(f"running {shapes}")
            _save(folder / f"outputs{number}.npz", run(inputs))
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        said = explain(error) or lines[-1].strip()
        (folder / ERROR).write_text(f"{type(error).__name__}: {said}")
        raise


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))

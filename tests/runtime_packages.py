"""Packages with runtimes in them, each a folder with a module and dist-info metadata; bundles."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

import torch_sigmoid_ext
from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.pipeline import export_bundle

COMMAND = [sys.executable, "-m", "torch_sigmoid_ext.export"]


def make_bundle(directory: Path, lowering: str) -> Path:
    """SimpleNN as ONNX, not verified."""
    torch.manual_seed(0)
    options = {"formats": ["onnx"], "lowering": lowering, "verify": False}
    inputs = [InputSpec.parse("input=float32[batch,3]")]
    export_bundle(torch_sigmoid_ext.SimpleNN(), "SimpleNN", inputs, directory, **options)
    return directory


def make_package(folder: Path, module: str, code: str, runtimes: dict[str, str]) -> Path:
    """The folder, as pip would have left it on sys.path; ``runtimes``: name -> class in module."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    lines = [f"{name} = {module}:{attribute}" for name, attribute in runtimes.items()]
    points = "\n".join(["[torch_sigmoid_ext.runtimes]", *lines])
    (info / "entry_points.txt").write_text(points + "\n")
    return folder


def run_command(
    *arguments: str, cwd: Path, path: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """torch-sigmoid-ext in that folder, with ``path`` in front of Python's own."""
    paths = [str(path)] if path else []
    paths += [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment}
    done = subprocess.run([*COMMAND, *arguments], cwd=cwd, env=env, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def row(done: subprocess.CompletedProcess[str], name: str) -> str:
    """The line of a table that begins with this name."""
    [line] = [line for line in done.stdout.splitlines() if line.strip().startswith(f"{name} ")]
    return line

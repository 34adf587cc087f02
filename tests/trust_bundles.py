"""Bundles for the tests of trust: a real one, and the tools of one who forges it."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch_sigmoid_ext
from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.pipeline import export_bundle

COMMAND = [sys.executable, "-m", "torch_sigmoid_ext.export"]


@functools.cache
def real() -> Path:
    """A bundle of SimpleNN in the formats that need no compiler, made once for all."""
    folder = Path(tempfile.mkdtemp(prefix="trust-tests-"))
    inputs = [InputSpec.parse("input=float32[batch,3]")]
    formats = ["torchscript", "onnx", "pt2"]
    export_bundle(
        torch_sigmoid_ext.SimpleNN(),
        "SimpleNN",
        inputs,
        folder / "bundle",
        formats=formats,
        external_data=True,
        verify=False,
    )
    return folder / "bundle"


def copied(folder: Path) -> Path:
    return shutil.copytree(real(), folder / "bundle")


def reseal(bundle: Path, change: Callable[[dict[str, Any]], None] | None = None) -> Path:
    """Hashes and sizes made right again, as anybody can who changed a file."""
    fields = json.loads((bundle / "manifest.json").read_text())
    for name in fields["files"]:
        data = (bundle / name).read_bytes()
        fields["files"][name] = hashlib.sha256(data).hexdigest()
        fields["sizes"][name] = len(data)
    if change:
        change(fields)
    (bundle / "manifest.json").write_bytes(sealed(fields))
    return bundle


def sealed(fields: dict[str, Any]) -> bytes:
    """The manifest's bytes, with its own hash as this module's own arithmetic has it."""
    rest = {key: value for key, value in fields.items() if key != "sha256"}
    whole = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
    return json.dumps({**rest, "sha256": whole}).encode()


def rezip(
    data: bytes,
    changes: dict[str, bytes | None] | None = None,
    more: dict[str, bytes] | None = None,
    method: int = zipfile.ZIP_STORED,
) -> bytes:
    """An archive with members replaced (by their names' endings), left out (None) or added."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(packed, "w", method) as new:
        for name in old.namelist():
            content: bytes | None = old.read(name)
            for ending, changed in (changes or {}).items():
                if name.endswith(ending):
                    content = changed
            if content is not None:
                new.writestr(name, content)
        for name, content in (more or {}).items():
            new.writestr(name, content)
    return packed.getvalue()


def run(*arguments: str, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command; whatever comes of it, it ends in time and without a traceback of ours."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def assert_one_clear_line(done: subprocess.CompletedProcess[str], *says: str) -> None:
    assert done.returncode == 2, (done.returncode, done.stderr)
    *steps, line = done.stderr.strip().splitlines()
    assert line.startswith("torch-sigmoid-ext: ") and len(line) < 2000 and line.isprintable()
    assert all(": " in step and step.endswith(" s") for step in steps), done.stderr
    assert done.stdout == ""
    for words in says:
        assert words in line

"""The folder that an export leaves: whole or not at all, and provably unchanged ever after."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import UsageError
from .model import InputSpec, named_dims

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
SAMPLES = "samples.npz"


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` says of the files beside it."""

    created: str  # ISO 8601, UTC
    model: str  # MODEL as the user wrote it
    lowering: str
    gate: str
    opset: int | None
    inputs: list[InputSpec]
    outputs: list[str]
    operator_dtype: str  # of the operator files, the model's own
    formats: dict[str, dict[str, Any]]  # name -> model, operator: files; requires: at run time
    versions: dict[str, str]
    notes: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)  # name -> sha256

    def to_json(self) -> dict[str, Any]:
        fields = asdict(self)
        fields["inputs"] = [
            {"name": spec.name, "dtype": spec.dtype, "dims": list(spec.dims)}
            for spec in self.inputs
        ]
        return {
            "format_version": FORMAT_VERSION,
            "dynamic_dims": named_dims(self.inputs),
            **fields,
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Manifest:
        """KeyError, TypeError or ValueError where something is missing or of the wrong kind."""
        if fields["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format_version is {fields['format_version']}, not {FORMAT_VERSION}")
        inputs = [
            InputSpec.parse(f"{i['name']}={i['dtype']}[{','.join(map(str, i['dims']))}]")
            for i in fields["inputs"]
        ]
        names = [f"{entry[role]}" for entry in fields["formats"].values() for role in ROLES]
        for name in [*fields["files"], *names]:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ValueError(f"{name!r} lies outside the bundle")
        for name in [SAMPLES, *names]:
            if name not in fields["files"]:
                raise ValueError(f"{name!r} has no sha256")
        own = {k: v for k, v in fields.items() if k not in ("format_version", "dynamic_dims")}
        return cls(**{**own, "inputs": inputs})


ROLES = ("model", "operator")


@contextmanager
def staged(directory: Path) -> Iterator[Path]:
    """A hidden folder that becomes ``directory`` at the end, and is gone after any error."""
    staging = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
    staging.mkdir()
    try:
        yield staging
        os.rename(staging, directory)
    except BaseException:  # KeyboardInterrupt too
        shutil.rmtree(staging, ignore_errors=True)
        raise


def check_free(directory: Path) -> None:
    """UsageError where a bundle cannot be written, before any slow work is done."""
    parent = directory.resolve().parent
    if os.path.lexists(directory):
        raise UsageError(
            f"expected {directory} not to exist, for a bundle is written whole; give -o another "
            "name or remove it"
        )
    if not parent.is_dir():
        raise UsageError(f"expected the folder {parent} to exist; create it first")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(f"expected a writable folder, and {parent} is not; give -o another place")


def seal(directory: Path, manifest: Manifest) -> None:
    """Write the manifest with the hash of every file that is in the folder by now."""
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            manifest.files[path.relative_to(directory).as_posix()] = _sha256(path)
    (directory / MANIFEST).write_text(json.dumps(manifest.to_json(), indent=2) + "\n")


def open_bundle(directory: Path) -> Manifest:
    """The manifest of a bundle all of whose files are what it says; UsageError otherwise."""
    path = directory / MANIFEST
    if not path.is_file():
        raise UsageError(
            f"expected a bundle with a {MANIFEST} in {directory}, found none; give the folder that "
            "torch-sigmoid-ext export wrote"
        )
    try:
        manifest = Manifest.from_json(json.loads(path.read_text()))
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
        raise UsageError(
            f"{path} is not a manifest that can be read ({type(error).__name__}: {error}); export "
            "the model again"
        ) from error
    wrong = []
    for name, expected in manifest.files.items():
        file = directory / name
        if not file.is_file():
            wrong.append(f"{name} is missing")
        elif _sha256(file) != expected:
            wrong.append(f"{name} has changed: its sha256 is not the manifest's")
    if wrong:
        raise UsageError(
            f"{directory} is not as it was exported: {'; '.join(wrong)}. Nothing can be said about "
            "it; export the model again"
        )
    return manifest


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

"""The folder that an export leaves: whole or not at all, and provably unchanged ever after."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import UsageError
from .formats import FORMATS, LOWERINGS, SIGMOIDS
from .gates import GATES
from .model import InputSpec, named_dims
from .ulp import DTYPES

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
SAMPLES = "samples.npz"
INNER = "inner.npz"  # the same for the sigmoids inside of the model, where they were asked for


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
    swept: str  # the sigmoid in the operator files, the model's own: formats.SIGMOIDS names them
    formats: dict[str, dict[str, Any]]  # name -> model, operator: files; requires: at run time
    versions: dict[str, str]
    gates: dict[str, str] = field(default_factory=dict)  # of the runtimes that have their own
    inner: list[dict[str, str]] = field(default_factory=list)  # name, module of the sigmoids
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
        for key, known in _KNOWN.items():
            if fields[key] not in known:
                raise ValueError(f"{key} is {fields[key]!r}, none of {', '.join(known)}")
        for runtime, gate in fields.get("gates", {}).items():
            if gate not in GATES:
                raise ValueError(f"the gate of {runtime} is {gate!r}, none of {', '.join(GATES)}")
        if unknown := [name for name in fields["formats"] if name not in FORMATS]:
            raise ValueError(f"formats has {', '.join(unknown)}, none of {', '.join(FORMATS)}")
        names = [f"{entry[role]}" for entry in fields["formats"].values() for role in ROLES]
        names += [f"{e['inner']}" for e in fields["formats"].values() if "inner" in e]
        names += [INNER] if fields.get("inner") else []
        if any({*one} != {"name", "module"} for one in fields.get("inner", [])):
            raise ValueError("inner has something else than name and module")
        for name in [*fields["files"], *names]:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ValueError(f"{name!r} lies outside the bundle")
        for name in [SAMPLES, *names]:
            if name not in fields["files"]:
                raise ValueError(f"{name!r} has no sha256")
        derived = ("format_version", "sha256", "dynamic_dims")
        own = {k: v for k, v in fields.items() if k not in derived}
        return cls(**{**own, "inputs": inputs})


ROLES = ("model", "operator")

_KNOWN = {"lowering": LOWERINGS, "gate": GATES, "operator_dtype": DTYPES, "swept": SIGMOIDS}


@contextmanager
def staged(directory: Path) -> Iterator[Path]:
    """A hidden folder that becomes ``directory`` at the end, and is gone after any error."""
    with _staging(directory) as staging:
        yield staging
        os.rename(staging, directory)


def check_free(directory: Path) -> None:
    """UsageError where a bundle cannot be written, before any slow work is done."""
    if os.path.lexists(directory):
        raise UsageError(
            f"expected {directory} not to exist, for a bundle is written whole; give -o another "
            "name or remove it"
        )
    with _staging(directory):  # trying is surer than asking: not every file system tells
        pass


@contextmanager
def _staging(directory: Path) -> Iterator[Path]:
    """A hidden folder beside ``directory``, and the parents that it lacks.

    What is still there at the end is removed: the folder unless it was renamed, the parents unless
    there is something in them.
    """
    nearest = next(path for path in directory.absolute().parents if os.path.lexists(path))
    if not nearest.is_dir():
        raise UsageError(
            f"expected a folder for {directory}, and {nearest} is none; give -o another place"
        )
    made = [path for path in directory.parents if not path.exists()]  # the innermost first
    staging = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir()
        yield staging
    except OSError as error:
        if not any(Path(str(error.filename)).is_relative_to(path) for path in (staging, *made)):
            raise  # it is not about this folder
        raise UsageError(
            f"cannot write {directory} in {nearest}: {error.strerror}; give -o another place"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        for parent in made:
            with suppress(OSError):
                parent.rmdir()


def seal(directory: Path, manifest: Manifest) -> None:
    """Write the manifest with the hash of every file that is in the folder by now, and its own.

    The hashes tell that something was changed; who can rewrite them all is not found out.
    """
    for name, path in _files(directory).items():
        manifest.files[name] = _sha256(path)
    fields = manifest.to_json()
    fields["sha256"] = _sha256_of_fields(fields)
    (directory / MANIFEST).write_text(json.dumps(fields, indent=2) + "\n")


def open_bundle(directory: Path) -> Manifest:
    """The manifest of a bundle all of whose files are what it says; UsageError otherwise."""
    path = directory / MANIFEST
    if not path.is_file():
        raise UsageError(
            f"expected a bundle with a {MANIFEST} in {directory}, found none; give the folder that "
            "torch-sigmoid-ext export wrote"
        )
    try:
        fields = json.loads(path.read_text())
        manifest = Manifest.from_json(fields)
        changed = _sha256_of_fields(fields) != fields["sha256"]
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
        raise UsageError(
            f"{path} is not a manifest that can be read ({type(error).__name__}: {error}); export "
            "the model again"
        ) from error
    wrong = [f"{MANIFEST} has changed: its sha256 is not its own"] if changed else []
    wrong += [
        f"{name} is not in the manifest"
        for name in _files(directory).keys() - {MANIFEST, *manifest.files}
    ]
    for name, expected in manifest.files.items():
        file = directory / name
        if not file.is_file():
            wrong.append(f"{name} is missing")
        elif _sha256(file) != expected:
            wrong.append(f"{name} has changed: its sha256 is not the manifest's")
    if wrong:
        raise UsageError(
            f"{directory} is not as it was exported: {'; '.join(sorted(wrong))}. Nothing can be "
            "said about it; export the model again"
        )
    return manifest


def _files(directory: Path) -> dict[str, Path]:
    """Every file in the folder, by its name there."""
    found = sorted(path for path in directory.rglob("*") if not path.is_dir())
    return {path.relative_to(directory).as_posix(): path for path in found}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):  # weights may be larger than memory
            digest.update(block)
    return digest.hexdigest()


def _sha256_of_fields(fields: dict[str, Any]) -> str:
    """Of everything in the manifest but this hash itself, however it is laid out."""
    rest = {key: value for key, value in fields.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()

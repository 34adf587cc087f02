"""manifest.json: what it says, as data, every part of it of the kind that it has to be."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any

from .errors import UsageError
from .formats import FORMATS, LOWERINGS, SIGMOIDS, SUFFIXES
from .gates import GATES
from .model import InputSpec, named_dims
from .trust import Untrusted
from .trust.files import check_name
from .trust.text import is_plain, parse_json, plain, shown
from .ulp import DTYPES

FORMAT_VERSION = 2
READ_VERSIONS = (1, 2)  # 1 has no sizes
MANIFEST = "manifest.json"
SAMPLES = "samples.npz"
INNER = "inner.npz"  # the same for the sigmoids inside of the model, where they were asked for
MOST_BYTES = 1 << 20  # of the manifest
MOST_DIMS = 32
LARGEST_DIM = 1 << 40

ROLES = ("model", "operator")

_KNOWN = {"lowering": LOWERINGS, "gate": GATES, "operator_dtype": DTYPES, "swept": SIGMOIDS}
_DERIVED = ("format_version", "sha256", "dynamic_dims")


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
    sizes: dict[str, int] = field(default_factory=dict)  # name -> bytes; none in version 1

    def to_json(self) -> dict[str, Any]:
        """As it is written, but for its own hash."""
        fields = asdict(self)
        fields["inputs"] = [
            {"name": spec.name, "dtype": spec.dtype, "dims": list(spec.dims)}
            for spec in self.inputs
        ]
        whole = {
            "format_version": FORMAT_VERSION,
            "dynamic_dims": named_dims(self.inputs),
            **fields,
        }
        return {key: plain(value) for key, value in whole.items()}

    def to_text(self) -> str:
        """The file, its own hash in it."""
        fields = self.to_json()
        fields["sha256"] = _sha256_of_fields(fields)
        return json.dumps(fields, indent=2) + "\n"

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Manifest:
        """ValueError where something is missing, of the wrong kind, or leads out of the bundle."""
        _of(dict, fields, "the manifest")
        if fields.get("format_version") not in READ_VERSIONS:
            raise ValueError(
                f"format_version is {shown(str(fields.get('format_version')))}, none of "
                f"{', '.join(map(str, READ_VERSIONS))}"
            )
        own = {key: value for key, value in fields.items() if key not in _DERIVED}
        if unknown := own.keys() - _KINDS.keys():
            raise ValueError(f"it has {shown(min(unknown))}, which no manifest has")
        for key, check in _KINDS.items():
            if key not in own and key not in _OPTIONAL:
                raise ValueError(f"it has no {key}")
            if key in own:
                check(own[key], key)
        for key, known in _KNOWN.items():
            if own[key] not in known:
                raise ValueError(f"{key} is {shown(repr(own[key]))}, none of {', '.join(known)}")
        for runtime, gate in own.get("gates", {}).items():
            if gate not in GATES:
                who, what = shown(runtime), shown(repr(gate))
                raise ValueError(f"the gate of {who} is {what}, none of {', '.join(GATES)}")
        _check_files(own)
        return cls(**{**own, "inputs": [_input(each) for each in own["inputs"]]})

    @classmethod
    def from_bytes(cls, data: bytes) -> tuple[Manifest, bool]:
        """The manifest, and whether it is as it was written; ValueError where it is none."""
        fields = parse_json(data)
        manifest = cls.from_json(fields)
        return manifest, _sha256_of_fields(fields) == fields.get("sha256")


def _sha256_of_fields(fields: dict[str, Any]) -> str:
    """Of everything in the manifest but this hash itself, however it is laid out."""
    rest = {key: value for key, value in fields.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _check_files(fields: dict[str, Any]) -> None:
    """Names stay below the folder, and every file that is named has its hash, and its size."""
    if unknown := [name for name in fields["formats"] if name not in FORMATS]:
        raise ValueError(f"formats has {shown(unknown[0])}, none of {', '.join(FORMATS)}")
    named = [
        (str(entry[role]), SUFFIXES[format])
        for format, entry in fields["formats"].items()
        for role in ROLES
    ]
    named += [
        (entry["inner"], SUFFIXES[format])
        for format, entry in fields["formats"].items()
        if "inner" in entry
    ]
    names = [name for name, _ in named]
    names += [INNER] if fields.get("inner") else []
    for name in [*fields["files"], *names]:
        check_name(name)
    for name, suffix in named:  # a runtime may go by it
        if not PurePosixPath(name).name.endswith(suffix):
            raise ValueError(f"{shown(name)} is no name of a file *{suffix}")
    for name in [SAMPLES, *names]:
        if name not in fields["files"]:
            raise ValueError(f"{shown(name)!r} has no sha256")
    if fields.get("sizes", {}).keys() not in (fields["files"].keys(), set()):
        raise ValueError("sizes are not those of its files")


def _of(kind: type, value: Any, what: str) -> None:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{what} is of type {type(value).__name__}, not {kind.__name__}")


def _text(value: Any, what: str) -> None:
    _of(str, value, what)
    if not is_plain(value):
        raise ValueError(f"{what} has control characters: {shown(value)}")


def _number(value: Any, what: str) -> None:
    _of(int, value, what)
    if not 0 <= value < 1 << 62:
        raise ValueError(f"{what} is {value}")


def _hash(value: Any, what: str) -> None:
    _text(value, what)
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError(f"{what} is {shown(value)}, no sha256")


def _opset(value: Any, what: str) -> None:
    if value is not None:
        _number(value, what)


def _list(check: Callable[[Any, str], None]) -> Callable[[Any, str], None]:
    def check_list(value: Any, what: str) -> None:
        _of(list, value, what)
        for each in value:
            check(each, f"{what}'s element")

    return check_list


def _dict(check: Callable[[Any, str], None]) -> Callable[[Any, str], None]:
    def check_dict(value: Any, what: str) -> None:
        _of(dict, value, what)
        for key, each in value.items():
            _text(key, f"a key of {what}")
            check(each, f"{what}'s {shown(key)}")

    return check_dict


def _input_fields(value: Any, what: str) -> None:
    _of(dict, value, what)
    if value.keys() != {"name", "dtype", "dims"}:
        raise ValueError(f"{what} has not name, dtype and dims")
    _text(value["name"], f"{what}'s name")
    _text(value["dtype"], f"{what}'s dtype")
    _of(list, value["dims"], f"{what}'s dims")
    for dim in value["dims"]:
        if not isinstance(dim, str):
            _number(dim, f"{what}'s dimension")
        if isinstance(dim, int) and dim > LARGEST_DIM:
            raise ValueError(f"{what}'s dimension is {dim:,}, more than {LARGEST_DIM:,}")
    if len(value["dims"]) > MOST_DIMS:
        raise ValueError(f"{what} has {len(value['dims'])} dimensions")


def _inner_sigmoid(value: Any, what: str) -> None:
    _dict(_text)(value, what)
    if value.keys() != {"name", "module"}:
        raise ValueError(f"{what} has not name and module")


def _entry(value: Any, what: str) -> None:
    """One of the formats: its files, and what else is worth knowing."""
    _of(dict, value, what)
    for role in ROLES:
        _text(value.get(role), f"{what}'s {role}")
    if "inner" in value:
        _text(value["inner"], f"{what}'s inner")
    for key, each in value.items():
        _text(key, f"a key of {what}")
        name = f"{what}'s {shown(key)}"
        if key == "cannot_run":
            _dict(_text)(each, name)
        elif isinstance(each, list):
            _list(_text)(each, name)
        elif isinstance(each, str):
            _text(each, name)
        elif each is not None and not isinstance(each, bool):
            _number(each, name)


_KINDS: dict[str, Callable[[Any, str], None]] = {
    **dict.fromkeys(("created", "model", *_KNOWN), _text),
    "opset": _opset,
    "inputs": _list(_input_fields),
    "outputs": _list(_text),
    "formats": _dict(_entry),
    "versions": _dict(_text),
    "gates": _dict(_text),
    "inner": _list(_inner_sigmoid),
    "notes": _list(_text),
    "files": _dict(_hash),
    "sizes": _dict(_number),
}
_OPTIONAL = ("gates", "inner", "notes", "sizes")


def _input(fields: dict[str, Any]) -> InputSpec:
    try:
        dims = ",".join(map(str, fields["dims"]))
        return InputSpec.parse(f"{fields['name']}={fields['dtype']}[{dims}]")
    except UsageError as error:
        raise Untrusted(str(error)) from None

"""The JSON schemas of report.json and manifest.json, made from the dataclasses that fill them.

``python -m torch_sigmoid_ext.export.schema`` writes export/schemas anew. A field's description is
the comment behind it, or stands below; a number's unit stands below where its name does not tell.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import json
import sys
import textwrap
import tokenize
import types
import typing
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from . import manifest
from .findings import REPORT_SCHEMA, Report, RuntimeFindings
from .formats import FORMATS, LOWERINGS, SIGMOIDS
from .gates import GATES
from .model import DTYPES as INPUT_DTYPES
from .model import InputSpec
from .schema_words import EAGER, UNITS, UNITS_OF_ONE_CLASS, described
from .ulp import DTYPES

SCHEMAS = Path(__file__).with_name("schemas")
MANIFEST_SCHEMA = f"urn:torch-sigmoid-ext:schema:manifest:{manifest.FORMAT_VERSION}"

Schema = dict[str, Any]

_CHOICES = {
    ("Report", "gate"): GATES,
    ("Report", "lowering"): LOWERINGS,
    ("Report", "swept"): SIGMOIDS,
    ("Comparison", "gate"): GATES,
    ("OperatorFindings", "dtype"): DTYPES,
    ("RuntimeFindings", "status"): ("ran", "crashed", "timeout", "not installed"),
    ("Standing", "verdict"): ("within", "outside", "crashed", "timeout", "not installed"),
    ("Manifest", "gate"): GATES,
    ("Manifest", "lowering"): LOWERINGS,
    ("Manifest", "operator_dtype"): DTYPES,
    ("Manifest", "swept"): SIGMOIDS,
}

_SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_NAME = {"type": "string", "minLength": 1}

# A number, or what JSON has no number for.
_REAL: Schema = {
    "description": "a number, or the name of one that JSON has no number for",
    "anyOf": [{"type": "number"}, {"enum": ["inf", "-inf", "nan"]}],
}

# What a format says of its files (formats/*.py), beside their names.
_FORMAT: Schema = {
    "type": "object",
    "description": "one format: its files, and what they need at run time",
    "properties": {
        "model": {**_NAME, "description": "the model's file"},
        "operator": {**_NAME, "description": "the file of the sigmoid alone"},
        "requires": {"type": "string", "description": "what the files need at run time"},
        "library": {**_NAME, "description": "the operator library, which lies beside the files"},
        "opset": {"type": "integer", "description": "of the ONNX file", "unit": "1, a version"},
        "functions": {
            "type": "array",
            "items": _NAME,
            "description": "model-local functions that the ONNX file calls",
        },
        "external_data": {**_NAME, "description": "the file that holds the ONNX file's weights"},
        "cannot_run": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "runtimes that will not take the file, each with the reason",
        },
    },
    "required": ["model", "operator", "requires"],
    "additionalProperties": False,
}
_INPUT: Schema = {
    "type": "object",
    "description": "one argument of the model's forward",
    "properties": {
        "name": {**_NAME, "description": "its name in the files"},
        "dtype": {"enum": list(INPUT_DTYPES), "description": "its dtype"},
        "dims": {
            "type": "array",
            "items": {"anyOf": [_NAME, {"type": "integer", "minimum": 1}]},
            "description": "a name for a dynamic dimension, a size for a fixed one",
            "unit": "elements",
        },
    },
    "required": ["name", "dtype", "dims"],
    "additionalProperties": False,
}


def report_schema() -> Schema:
    """The schema that report.json keeps to."""
    maker = _Maker()
    top = maker.object(Report)
    top["properties"] = {
        "schema": {"const": REPORT_SCHEMA, "description": "the $id of this schema"},
        **top["properties"],
    }
    top["required"] = ["schema", *top["required"]]
    return _document(
        REPORT_SCHEMA, "report.json of a bundle, or of a later verification", top, maker
    )


def manifest_schema() -> Schema:
    """The schema that manifest.json keeps to."""
    maker = _Maker()
    top = maker.object(manifest.Manifest)
    properties = top["properties"]
    properties["files"]["additionalProperties"] = _SHA256
    properties["formats"] |= {
        "propertyNames": {"enum": list(FORMATS)},
        "additionalProperties": _FORMAT,
    }
    derived = {
        "format_version": {
            "const": manifest.FORMAT_VERSION,
            "description": "of the manifest",
            "unit": UNITS["format_version"],
        },
        "dynamic_dims": {
            "type": "array",
            "items": _NAME,
            "description": "the names of dynamic dimensions; the first is the batch",
        },
        "sha256": {
            **_SHA256,
            "description": "of the manifest without this field, as JSON with sorted keys",
        },
    }
    properties |= derived
    top["required"] += derived
    return _document(MANIFEST_SCHEMA, "manifest.json of a bundle", top, maker)


def _document(name: str, title: str, top: Schema, maker: _Maker) -> Schema:
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": name, "title": title}
    return {**head, **top, "$defs": {"real": _REAL, **dict(sorted(maker.definitions.items()))}}


class _Maker:
    """Schemas of dataclasses, each of those that they hold under $defs."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}

    def object(self, cls: type[Any]) -> Schema:
        comments, hints = _comments(cls), typing.get_type_hints(cls)
        properties = {
            field.name: self._property(cls, field.name, hints[field.name], comments)
            for field in dataclasses.fields(cls)
        }
        if cls in (Report, RuntimeFindings):
            properties["passed"] = {
                "type": "boolean",
                "description": "whether everything that was run is within the gate",
            }
        return {
            "type": "object",
            "description": (inspect.getdoc(cls) or "").split("\n\n")[0],
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def _property(
        self, cls: type[Any], name: str, hint: Any, comments: Mapping[str, str]
    ) -> Schema:
        description = described(name, comments)
        if not description:
            sys.exit(
                f"torch_sigmoid_ext: expected a comment behind {cls.__name__}.{name}, found none; "
                "write there what it is, or in DESCRIPTIONS of export/schema_words.py"
            )
        if choices := _CHOICES.get((cls.__name__, name)):
            return {"enum": list(choices), "description": description}
        unit = self._unit(cls, name, hint)
        return {**self._type(hint), "description": description, **({"unit": unit} if unit else {})}

    def _unit(self, cls: type[Any], name: str, hint: Any) -> str:
        if not _numbers(hint):
            return ""
        unit = UNITS_OF_ONE_CLASS.get((cls.__name__, name)) or UNITS.get(name.removeprefix(EAGER))
        unit = unit or ("ULP" if name.endswith("ulp") else "")
        if not unit and float in _numbers(hint):
            sys.exit(
                f"torch_sigmoid_ext: expected the unit of {cls.__name__}.{name}, found none; write "
                "it into UNITS of export/schema_words.py"
            )
        return unit or "count"

    def _type(self, hint: Any) -> Schema:
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin in (types.UnionType, typing.Union):
            return {"anyOf": [self._type(one) for one in arguments]}
        if origin is list:
            return {"type": "array", "items": self._type(arguments[0])}
        if origin is tuple:
            items = [self._type(one) for one in arguments]
            return {"type": "array", "prefixItems": items, "minItems": len(items), "items": False}
        if origin is dict:
            return {"type": "object", "additionalProperties": self._type(arguments[1])}
        if dataclasses.is_dataclass(hint) and hint not in _PLAIN:
            return self._reference(typing.cast("type[Any]", hint))
        if isinstance(hint, type) and issubclass(hint, Enum):
            return {"enum": [member.value for member in hint]}
        return dict(_PLAIN[hint])

    def _reference(self, cls: type[Any]) -> Schema:
        if cls.__name__ not in self.definitions:
            self.definitions[cls.__name__] = {}  # for a class that holds its own kind
            self.definitions[cls.__name__] = self.object(cls)
        return {"$ref": f"#/$defs/{cls.__name__}"}


_PLAIN: dict[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": 0},
    float: {"$ref": "#/$defs/real"},
    type(None): {"type": "null"},
    Any: {},
    InputSpec: _INPUT,  # its to_json is the manifest's own
}


def _numbers(hint: Any) -> set[Any]:
    """Which of int and float the type is made of."""
    parts = typing.get_args(hint)
    if typing.get_origin(hint) is dict:
        parts = parts[1:]
    return set().union(*map(_numbers, parts)) if parts else {hint} & {int, float}


def _comments(cls: type[Any]) -> dict[str, str]:
    """The comment behind each field of a class, in its source and in that of its bases."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            found |= _own_comments(base)
    return found


def _own_comments(cls: type[Any]) -> dict[str, str]:
    source = textwrap.dedent(inspect.getsource(cls))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    [tree] = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            span = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            found[node.target.id] = " ".join(lines[line] for line in span if line in lines)
    return found


def published() -> dict[Path, str]:
    """Every schema's file with what stands in it."""
    schemas = {"report": report_schema(), "manifest": manifest_schema()}
    return {
        SCHEMAS / f"{name}.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in schemas.items()
    }


if __name__ == "__main__":
    for file, text in published().items():
        file.write_text(text, encoding="utf-8")

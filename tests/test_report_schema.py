"""report.json and manifest.json keep to the published schemas, which leave nothing open."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from test_junit import REPORTS

import torch_sigmoid_ext
from torch_sigmoid_ext.export import findings, schema
from torch_sigmoid_ext.export.findings import REPORT_SCHEMA, Report, Skip, SkipKind, to_json
from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.pipeline import export_bundle
from torch_sigmoid_ext.export.report import write_report
from torch_sigmoid_ext.export.ulp import (
    DTYPES,
    Probe,
    measure_operator,
    rounded,
    true_sigmoid,
)

NAMES = ("report", "manifest")


def published(name: str) -> dict[str, Any]:
    path = Path(schema.__file__).parent / "schemas" / f"{name}.schema.json"
    read: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return read


def complaints(name: str, document: Any) -> list[str]:
    validator = Draft202012Validator(published(name))
    return [f"{list(e.absolute_path)}: {e.message}" for e in validator.iter_errors(document)]


def strictly(text: str) -> Any:
    """The document, where NaN and Infinity are not JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("kind", [kind for kind in REPORTS if kind != "unsayable"])
def test_report_of_every_kind_is_valid(kind: str, tmp_path: Path) -> None:
    report = REPORTS[kind]()
    write_report(report, tmp_path)
    document = strictly((tmp_path / "report.json").read_text("utf-8"))
    assert complaints("report", document) == []
    assert document["schema"] == published("report")["$id"] == REPORT_SCHEMA


@pytest.mark.parametrize("kind", SkipKind)
def test_report_with_every_kind_of_skip_is_valid(kind: SkipKind) -> None:
    report = dataclasses.replace(REPORTS["passing"](), skipped={"tract": Skip(kind, "why")})
    document = strictly(json.dumps(to_json(report), allow_nan=False))
    assert complaints("report", document) == []
    assert document["skipped"]["tract"]["kind"] == kind.value


@pytest.mark.parametrize("dtype", DTYPES)
def test_measured_report_of_every_dtype_is_valid(dtype: str) -> None:
    probe = Probe.of(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        outputs = (1 / (1 + np.exp(-probe.inputs))).astype(dtype)
    outputs[::1000] = np.nan
    exact = rounded(true_sigmoid(probe.inputs), dtype)
    for operator in (measure_operator(probe, outputs), measure_operator(probe, exact)):
        report = REPORTS["native"]()
        report.runtimes[0].operator = operator
        document = strictly(json.dumps(to_json(report), allow_nan=False))
        assert complaints("report", document) == []
    assert document["runtimes"][0]["operator"]["dtype"] == dtype


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["gate"], "loose"),
        (["schema"], "urn:torch-sigmoid-ext:schema:report:0"),
        (["extra"], 1),
        (["runtimes", 0, "status"], "sleeping"),
        (["runtimes", 0, "operator", "max_ulp"], "large"),
        (["runtimes", 0, "operator", "points"], -1),
        (["runtimes", 0, "operator", "zero_band"], [1.0]),
        (["runtimes", 0, "failures"], [{"what": "a"}]),
        (["skipped"], {"tract": "not installed"}),
        (["since_export"], {"recorded": "2026"}),
    ],
)
def test_document_that_is_no_report_is_refused(path: list[Any], value: Any) -> None:
    document = json.loads(json.dumps(to_json(REPORTS["passing"]())))
    assert complaints("report", document) == []
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert complaints("report", document)


def objects(node: Any) -> Iterator[dict[str, Any]]:
    """Every object of a schema with properties, however deep."""
    if isinstance(node, dict):
        if "properties" in node and "type" in node:
            yield node
        for value in node.values():
            yield from objects(value)
    elif isinstance(node, list):
        for value in node:
            yield from objects(value)


def is_number(node: Any) -> bool:
    """Whether the property is a number or holds numbers, itself and not in an object."""
    if not isinstance(node, dict):
        return isinstance(node, list) and any(map(is_number, node))
    if node.get("type") in ("integer", "number") or node.get("$ref") == "#/$defs/real":
        return True
    inner = (node.get(key) for key in ("items", "prefixItems", "anyOf", "additionalProperties"))
    return any(map(is_number, inner)) and node.get("properties") is None


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_tight_and_tells_every_field_with_its_unit(name: str) -> None:
    document = published(name)
    Draft202012Validator.check_schema(document)
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert document["$id"].startswith("urn:") and "/" not in document["$id"]
    found = list(objects(document))
    classes = [c for c in vars(findings).values() if dataclasses.is_dataclass(c)]
    assert len(found) == {"report": len(classes), "manifest": 3}[name]
    for each in found:
        assert each["additionalProperties"] is False and each["description"]
        optional = set(each["properties"]) - set(each["required"])
        assert optional <= {"library", "opset", "functions", "external_data", "cannot_run"}
        for field, told in each["properties"].items():
            assert len(told["description"]) > 3 or told["description"] == "x", field
            assert not is_number(told) or told["unit"], field


@pytest.mark.parametrize("name", NAMES)
def test_published_schema_is_made_from_the_dataclasses_of_today(name: str) -> None:
    [text] = [text for path, text in schema.published().items() if path.name.startswith(name)]
    assert json.loads(text) == published(name), (
        "run `python -m torch_sigmoid_ext.export.schema` and commit export/schemas"
    )


def test_field_without_a_word_or_a_unit_is_not_published() -> None:
    @dataclasses.dataclass
    class Undescribed:
        mystery: int

    @dataclasses.dataclass
    class Unmeasured:
        mystery: float  # what it is

    for cls, lacks in ((Undescribed, "a comment"), (Unmeasured, "the unit")):
        with pytest.raises(SystemExit, match=f"expected {lacks}.*{cls.__name__}.mystery"):
            schema._Maker().object(cls)


@pytest.mark.parametrize(
    "options",
    [
        {"formats": ["torchscript", "onnx", "pt2"]},
        {"formats": ["onnx"], "lowering": "function", "external_data": True},
    ],
    ids=["default", "function beside its weights"],
)
def test_bundle_that_is_exported_keeps_to_both(options: dict[str, Any], tmp_path: Path) -> None:
    inputs = [InputSpec.parse("input=float32[batch,3]")]
    out = tmp_path / "out"
    model = torch_sigmoid_ext.SimpleNN()
    report: Report = export_bundle(model, "SimpleNN", inputs, out, verify=False, **options)
    manifest = strictly((out / "manifest.json").read_text("utf-8"))
    assert complaints("manifest", manifest) == []
    assert complaints("report", strictly((out / "report.json").read_text("utf-8"))) == []
    assert report.runtimes == []
    for field in ("created", "files", "sha256"):
        assert complaints("manifest", {k: v for k, v in manifest.items() if k != field})
    manifest["formats"]["onnx"]["extra"] = 1
    assert complaints("manifest", manifest)

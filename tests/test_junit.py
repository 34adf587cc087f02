"""JUnit XML: of the structure that CI servers read, with every failure where it belongs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from xml.etree import ElementTree

import pytest
import xmlschema
from test_report import (
    HOSTILE,
    failing_report,
    later_report,
    native_report,
    passing_report,
    runtime,
    sigmoid_only,
)

from torch_sigmoid_ext.export.errors import UsageError
from torch_sigmoid_ext.export.findings import Failure, Report, RuntimeFindings, Skip, SkipKind
from torch_sigmoid_ext.export.gates import GATES, judge
from torch_sigmoid_ext.export.junit import check_junit, write_junit

SCHEMA = xmlschema.XMLSchema(str(Path(__file__).parent / "data" / "junit.xsd"))


def unverified() -> Report:
    return dataclasses.replace(passing_report(), runtimes=[], verified=None)


def unsayable() -> Report:
    """Names and words with what XML cannot hold."""
    odd = Failure("got \x00\x1b[31m\ud800\ufffe end", "ask \x07")
    report = dataclasses.replace(passing_report(), runtimes=[runtime("a\x01b", 1.0, 0, odd)])
    skipped = {"c\x02": Skip(SkipKind.BROKEN, "the plug-in says \x08")}
    return dataclasses.replace(report, model="\x03", skipped=skipped)


REPORTS = {
    "passing": passing_report,
    "failing": failing_report,
    "native": native_report,
    "later": later_report,
    "sigmoid only": lambda: sigmoid_only(native_report()),
    "not verified": unverified,
    "unsayable": unsayable,
}


def written(report: Report, folder: Path) -> ElementTree.Element:
    path = folder / "junit.xml"
    write_junit(report, path)
    SCHEMA.validate(str(path))
    return ElementTree.parse(path).getroot()


@pytest.mark.parametrize("kind", REPORTS)
def test_every_report_keeps_to_the_schema_and_adds_up(kind: str, tmp_path: Path) -> None:
    report = REPORTS[kind]()
    root = written(report, tmp_path)
    for count, path in (
        *(("tests", "testcase"), ("failures", "testcase/failure")),
        *(("errors", "testcase/error"), ("skipped", "testcase/skipped")),
    ):
        in_suites = [(int(suite.get(count, "")), len(suite.findall(path))) for suite in root]
        assert all(told == there for told, there in in_suites)
        assert int(root.get(count, "")) == sum(there for _, there in in_suites)
    failed = [suite.find("testcase/failure") is not None for suite in root]
    errors = [suite.find("testcase/error") is not None for suite in root]
    outside = sum(not found.passed for found in report.runtimes)
    assert sum(f or e for f, e in zip(failed, errors, strict=True)) == outside
    assert [path.name for path in tmp_path.iterdir()] == ["junit.xml"]


def test_schema_refuses_what_is_no_junit(tmp_path: Path) -> None:
    root = written(native_report(), tmp_path)
    root[0][1].attrib.pop("classname")
    assert not SCHEMA.is_valid(root)
    root = written(native_report(), tmp_path)
    ElementTree.SubElement(root[0], "verdict")
    assert not SCHEMA.is_valid(root)


def test_runtime_is_a_suite_and_each_part_a_case(tmp_path: Path) -> None:
    root = written(native_report(), tmp_path)
    assert [suite.get("name") for suite in root][:3] == ["eager", "torchscript", "onnxruntime"]
    [operator, empty, full] = root[2].findall("testcase")
    assert [case.get("name") for case in (operator, empty, full)] == [
        *("operator", "model, batch 0", "model, batch 257"),
    ]
    [failure] = operator
    assert "premature zeros for x in [-103.9, -16]" in str(failure.get("message"))
    assert "to mend: export with `--sigmoid exact`" in str(failure.text)
    assert len(empty) == len(full) == 0
    facts = {p.get("name"): p.get("value") for p in root[2].findall("properties/property")}
    assert facts["version"] == "1.0" and facts["gate"] == "strict"


def test_failure_of_a_batch_is_told_at_that_batch(tmp_path: Path) -> None:
    found = runtime("onnxruntime", 0.5)
    bad = dataclasses.replace(found.cases[1], max_ulp=1e6, nan_mismatches=3)
    found.cases[1] = bad
    found.failures = judge(GATES["strict"], found)
    assert found.failures and {failure.subject for failure in found.failures} == {bad.name}
    root = written(dataclasses.replace(passing_report(), runtimes=[found]), tmp_path)
    [failing] = [case for case in root[0].findall("testcase") if len(case)]
    assert failing.get("name") == "model, batch 257"
    assert "3 of 514 elements are NaN" in str(failing[0].get("message"))


def test_failure_of_a_part_that_was_never_measured_gets_a_case_of_its_own(tmp_path: Path) -> None:
    found = dataclasses.replace(
        runtime("tract", 0.5), failures=[Failure("no empty batch", "", "model, batch 7")]
    )
    root = written(dataclasses.replace(passing_report(), runtimes=[found]), tmp_path)
    [failing] = [case for case in root[0].findall("testcase") if len(case)]
    assert failing.get("name") == "model, batch 7"


@pytest.mark.parametrize("status", ["crashed", "timeout"])
def test_runtime_that_did_not_answer_is_an_error_with_its_last_words(
    status: str, tmp_path: Path
) -> None:
    found = RuntimeFindings("slow", "1", "model.onnx", status, "killed by SIGSEGV")
    found.failures = judge(GATES["strict"], found)
    root = written(dataclasses.replace(passing_report(), runtimes=[found]), tmp_path)
    [case] = root[0].findall("testcase")
    [error] = case
    assert (error.tag, error.get("type")) == ("error", status)
    assert "killed by SIGSEGV" in str(error.get("message"))


def test_skipped_runtime_tells_its_kind_and_remedy(tmp_path: Path) -> None:
    root = written(failing_report(), tmp_path)
    [suite] = [suite for suite in root if suite.get("name") == "tract"]
    [[skipped]] = suite.findall("testcase")
    assert (skipped.tag, skipped.get("type")) == ("skipped", "not installed")
    assert HOSTILE in str(skipped.get("message"))


def test_place_that_cannot_be_written_is_refused_and_the_file_there_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="a folder that exists"):
        check_junit(tmp_path / "no" / "junit.xml")
    with pytest.raises(UsageError, match="name a file"):
        check_junit(tmp_path)
    (tmp_path / "junit.xml").write_text("before")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ElementTree.ElementTree, "write", full)
    with pytest.raises(UsageError, match="No space left on device; give --junit another place"):
        write_junit(passing_report(), tmp_path / "junit.xml")
    assert (tmp_path / "junit.xml").read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1

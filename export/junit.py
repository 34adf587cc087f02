"""A verification as JUnit XML, which CI servers show as tests.

A testsuite is a runtime; its testcases are the operator and the model on each batch. A runtime that
crashed or did not answer is an error, one that was not run is skipped with the reason.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

from .errors import UsageError
from .findings import Failure, Report, RuntimeFindings, Skip

JUNIT = "junit.xml"  # its name in a folder of reports
PACKAGE = "torch_sigmoid_ext"

# What XML 1.0 cannot hold in any way; a runtime's own words may.
_UNSAYABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def check_junit(path: Path) -> None:
    """UsageError where no file can be written, before any slow work is done."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(
            f"expected --junit FILE in a folder that exists, got {path}; name a file, for example "
            f"{JUNIT}"
        )


def write_junit(report: Report, path: Path) -> None:
    """Write the report to the file, which is there whole or as it was."""
    staging = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        tree = junit(report)
        ElementTree.indent(tree)
        tree.write(staging, encoding="utf-8", xml_declaration=True)
        os.replace(staging, path)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}; give --junit another place"
        ) from error
    finally:
        with suppress(FileNotFoundError):
            staging.unlink()


def junit(report: Report) -> ElementTree.ElementTree[ElementTree.Element]:
    """The whole document, with its sums."""
    root = ElementTree.Element("testsuites", name=_text(f"{PACKAGE}: {report.model}"))
    for found in report.runtimes:
        root.append(_runtime(report, found))
    for name, skip in report.skipped.items():
        root.append(_skipped(report, name, skip))
    if not len(root):
        root.append(_skipped(report, "verification", "nothing was verified"))
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    root.set("time", _seconds(sum(found.seconds for found in report.runtimes)))
    return ElementTree.ElementTree(root)


def _runtime(report: Report, found: RuntimeFindings) -> ElementTree.Element:
    """One runtime: a testcase for each part that was or should have been measured."""
    suite = _suite(report, found.runtime, found.seconds)
    facts = {"version": found.version, "file": found.file, "lowering": report.lowering}
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in {**facts, "gate": report.gate}.items():
        ElementTree.SubElement(properties, "property", name=name, value=_text(value))
    by_subject: dict[str, list[Failure]] = {"operator": []}
    by_subject |= {case.name: [] for case in found.cases}
    for failure in found.failures:
        by_subject.setdefault(failure.subject, []).append(failure)
    for subject, failures in by_subject.items():
        case = _case(suite, found.runtime, subject)
        if subject == "operator":
            case.set("time", _seconds(found.seconds))  # of the whole runtime: it is not measured
        if subject == "operator" and found.status != "ran":
            words = _told(failures) or found.detail
            _outcome(case, "error", found.status, f"{found.status}: {found.detail}", words)
        elif failures:
            _outcome(case, "failure", f"outside {report.gate}", failures[0].what, _told(failures))
    return _summed(suite)


def _skipped(report: Report, name: str, skip: Skip | str) -> ElementTree.Element:
    suite = _suite(report, name, 0.0)
    kind = skip.kind.value if isinstance(skip, Skip) else "not verified"
    _outcome(_case(suite, name, "operator"), "skipped", kind, str(skip))
    return _summed(suite)


def _suite(report: Report, name: str, seconds: float) -> ElementTree.Element:
    when = (report.verified or report.created).partition("+")[0].removesuffix("Z")
    return ElementTree.Element(
        "testsuite", name=_text(name), timestamp=_text(when), time=_seconds(seconds)
    )


def _case(suite: ElementTree.Element, runtime: str, name: str) -> ElementTree.Element:
    place = _text(f"{PACKAGE}.{runtime}")
    return ElementTree.SubElement(
        suite, "testcase", classname=place, name=_text(name), time=_seconds(0.0)
    )


def _outcome(case: ElementTree.Element, tag: str, kind: str, message: str, words: str = "") -> None:
    element = ElementTree.SubElement(case, tag, type=_text(kind), message=_text(message))
    element.text = _text(words) or None


def _told(failures: Sequence[Failure]) -> str:
    """Every failure in full, then each remedy once."""
    lines = [failure.what for failure in failures]
    mends = dict.fromkeys(failure.mend for failure in failures if failure.mend)
    return "\n".join([*lines, *(f"to mend: {mend}" for mend in mends)])


def _summed(suite: ElementTree.Element) -> ElementTree.Element:
    suite.set("tests", str(len(suite.findall("testcase"))))
    for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(count, str(len(suite.findall(f"testcase/{tag}"))))
    return suite


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"


def _text(text: str) -> str:
    return _UNSAYABLE.sub("�", text)

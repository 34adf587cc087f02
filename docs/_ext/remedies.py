"""The directive ``remedies``: what doctor, the gates and the errors say to do, in their words.

``{remedies} missing`` lists what may not be installed, with the command that brings it; ``outside``
what mends a runtime outside its gate; ``errors`` every error that a user may meet.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("torch_sigmoid_ext", "export")
ERRORS = {
    "UsageError": "exit code 2",
    "NotInstalled": "exit code 3",
    "ImportError": "at import",
    "RuntimeFailure": "a row of the report",
}


def missing() -> Iterator[str]:
    """A row for each format and runtime that needs something installed: doctor's own words."""
    from torch_sigmoid_ext.export.formats import FORMATS
    from torch_sigmoid_ext.export.runtimes import RUNTIMES

    yield from ("| part that doctor shows as missing | to mend |", "|---|---|")
    for kind, parts in (("format", FORMATS), ("runtime", RUNTIMES)):
        for part in parts.values():
            if part.install:
                yield f"| {kind} {part.name} | `{_cell(part.install)}` |"


def outside() -> Iterator[str]:
    """A row for each gate and lowering, then one for each runtime that knows better."""
    from torch_sigmoid_ext.export.findings import RuntimeFindings
    from torch_sigmoid_ext.export.formats import LOWERINGS
    from torch_sigmoid_ext.export.gates import CONVERT, GATES, _operator_mend
    from torch_sigmoid_ext.export.runtimes import RUNTIMES

    findings = RuntimeFindings("onnxruntime", "", "model.onnx", "ran")
    yield from ("| runtime | the file's `--sigmoid` | `--gate` | to mend |", "|---|---|---|---|")
    yield f"| any | torch's own | any | {_cell(CONVERT)} |"
    for gate in GATES.values():
        for lowering in LOWERINGS:
            if mend := _operator_mend(gate, findings, lowering):
                yield f"| any of ONNX | `{lowering}` | `{gate.name}` | {_cell(mend)} |"
    for runtime in RUNTIMES.values():
        for mend in dict.fromkeys(runtime.mends.values()):
            lowerings = ", ".join(f"`{key}`" for key, said in runtime.mends.items() if said == mend)
            yield f"| `{runtime.name}` | {lowerings} | any | {_cell(mend)} |"


def _cell(text: str) -> str:
    """As a table's cell: |x| would be three."""
    return text.replace("|", "\\|")


def errors() -> Iterator[str]:
    """A section for each module that raises, under its own first line."""
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if folder == "torch_sigmoid_ext" and "export" in path.relative_to(ROOT).parts:
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found = list(dict.fromkeys(_raised(tree)))
            if found:
                place = path.relative_to(ROOT).as_posix()
                yield from (f"### {place}", "", _first_line(tree), "")
                for kind, text in found:
                    yield from (f"- *{ERRORS[kind]}*: {text}",)
                yield ""


def _first_line(tree: ast.Module) -> str:
    return (ast.get_docstring(tree) or "").splitlines()[0]


def _raised(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Every error that is raised with a text, as its class and the text."""
    for node in ast.walk(tree):
        call = node.exc if isinstance(node, ast.Raise) else None
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or not call.args:
            continue
        text = _text(call.args[0])
        if call.func.id in ERRORS and text:
            yield call.func.id, text


def _text(node: ast.expr) -> str:
    """A literal's text as Markdown; what is filled in at run time by its name, or as dots."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _escaped(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(
            _escaped(str(part.value)) if isinstance(part, ast.Constant) else _filled(part)
            for part in node.values
        )
    return ""


def _filled(part: ast.expr) -> str:
    value = part.value if isinstance(part, ast.FormattedValue) else part
    name = value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")
    return f"*{name.strip('_').lower().replace('_', ' ')}*" if name else "..."


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "*_[]<>`|\\" else letter for letter in text)


PARTS = {"missing": missing, "outside": outside, "errors": errors}


class Remedies(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        part = PARTS.get(self.arguments[0])
        if part is None:
            raise ExtensionError(f"expected one of {', '.join(PARTS)}, got {self.arguments[0]!r}")
        return self.parse_text_to_nodes("\n".join(part()), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("remedies", Remedies)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

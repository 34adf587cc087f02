"""The site: Sphinx over the repository's own Markdown, so that its links mean the same in both."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.inspect import stringify_signature

from torch_sigmoid_ext import __version__
from torch_sigmoid_ext.functional import python_functions

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs" / "_ext"))

project = "torch_sigmoid_ext"
version = release = __version__
root_doc = "docs/index"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "command_reference",
    "remedies",
    "sources",
]

# The folder of the sources is the repository: only these of its files are pages.
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "benchmarks/*.md",
    "benchmarks/results/*.md",
    "docs/*.md",
    "docs/gallery/**.md",
]
exclude_patterns = [".*", "build", "out", "node_modules", "**/node_modules", "torch_sigmoid_ext"]

nitpicky = True  # a name in a docstring that leads nowhere is a warning, and so an error
nitpick_ignore_regex = [
    (r"py:.*", r"(torch|nn|numpy|np|collections|pathlib)\..*|Module|ONNXProgram|Tensor|Path"),
    (r"py:.*", r"torch_sigmoid_ext\.convert\._Model"),
    (r"py:.*", r"torch_sigmoid_ext\._decompositions\.(Backend|Kind)"),
    (r"py:.*", r"torch_sigmoid_ext\.export\.\w+\.Manifest"),
    (r"py:.*", r"Array|Given|Inputs"),  # aliases in export/api.py
]

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4

autodoc_inherit_docstrings = False  # nn.Module's, of forward
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_custom_sections = ["Shape", "Gradient", "Accuracy"]
napoleon_use_ivar = True
napoleon_use_rtype = False

smartquotes = False  # --gate is two hyphens

html_theme = "furo"
html_title = f"torch_sigmoid_ext {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "monokai"


# What a program wrote and the menu does not show: it is reached from the pages that tell of it.
PRINTED = re.compile(r"benchmarks/results/|docs/gallery/.*/")


def _prepare(app: Sphinx, docname: str, source: list[str]) -> None:
    """A title where a program wrote none, and a menu without what is not there yet."""
    if PRINTED.match(docname) and not re.search(r"^# ", source[0], re.MULTILINE):
        source[0] = f"# {Path(docname).name}\n\n{source[0]}"
    if docname == root_doc:
        lines = source[0].splitlines()
        kept = [line for line in lines if not line.endswith("*") or _matches(line)]
        source[0] = "\n".join(kept)


def _matches(pattern: str) -> bool:
    return any((ROOT / "docs").glob(f"{pattern}.md"))


def _out_of_the_menu(app: Sphinx, doctree: nodes.document) -> None:
    docname = app.env.docname
    if PRINTED.match(docname):
        app.env.metadata[docname]["orphan"] = True


def _signature(
    app: Sphinx, what: str, name: str, thing: object, options: object, given: str, returned: str
) -> tuple[str, str] | None:
    """That of the Python function behind a builtin, which has the types."""
    python = python_functions.get(thing) if callable(thing) else None
    if python is None:
        return None
    arguments, result = stringify_signature(inspect.signature(python)).split(" -> ")
    return arguments, result


def _dashes(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Sphinx writes two hyphens between a parameter and its meaning."""
    for text in list(doctree.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" – "))


def _front_door(app: Sphinx, error: Exception | None) -> None:
    """The site's own address leads to its first page."""
    page = f'<!doctype html><meta http-equiv="refresh" content="0; url={root_doc}.html">\n'
    Path(app.outdir, "index.html").write_text(page, encoding="utf-8")


def setup(app: Sphinx) -> None:
    app.connect("source-read", _prepare)
    app.connect("doctree-read", _out_of_the_menu, priority=900)  # after Sphinx's own
    app.connect("autodoc-process-signature", _signature)
    app.connect("doctree-resolved", _dashes)
    app.connect("build-finished", _front_door)

"""Links from a page into the tree lead to the file, as a page with its lines, offline as well."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

LANGUAGES = {
    ".py": "python",
    ".cpp": "cpp",
    ".h": "cpp",
    ".cu": "cuda",
    ".toml": "toml",
    ".json": "json",
    ".txt": "text",
    ".j2": "jinja",
    ".md": "markdown",
}


def page_of(path: str) -> str:
    return f"source/{path}"


def listed(path: Path) -> list[Path]:
    """The files that a folder's page leads to."""
    return sorted(each for each in path.glob("*") if each.suffix in LANGUAGES and each.is_file())


class LinkSources(SphinxTransform):
    """A download of a source file, which a relative link in Markdown is, becomes a reference."""

    default_priority = 5  # ahead of Sphinx's collector of downloads

    def apply(self, **kwargs: Any) -> None:
        root = Path(self.app.srcdir)
        for link in list(self.document.findall(_is_file_link)):
            target = link["reftarget"].split("#")[0]
            path = (root / self.env.docname).parent.joinpath(target).resolve()
            if not path.is_dir() and (path.suffix not in LANGUAGES or not path.is_file()):
                continue
            place = path.relative_to(root).as_posix()
            wanted: set[str] = vars(self.env).setdefault("linked_sources", set())
            wanted.add(place)
            reference = nodes.reference("", "", *link.children, internal=True)
            reference["linked_source"] = place
            link.replace_self(reference)


def _is_file_link(node: nodes.Node) -> bool:
    kinds = (addnodes.download_reference, addnodes.pending_xref)
    return isinstance(node, kinds) and node.get("reftype") == "myst" and not node.get("refdomain")


def resolve(app: Sphinx, document: nodes.document, docname: str) -> None:
    """The reference's address, which depends on where its page is."""
    for reference in document.findall(nodes.reference):
        if "linked_source" in reference:
            page = page_of(reference["linked_source"])
            reference["refuri"] = app.builder.get_relative_uri(docname, page)


def pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page for each file that is linked, and for each in a folder that is."""
    root = Path(app.srcdir)
    linked = {root / place for place in getattr(app.env, "linked_sources", ())}
    below = {each for folder in linked if folder.is_dir() for each in listed(folder)}
    for path in sorted(linked | below):
        place = path.relative_to(root).as_posix()
        content = _folder(app, place) if path.is_dir() else _listing(app, path)
        body = f"<h1>{escape(place)}</h1>\n{content}"
        yield page_of(place), {"title": place, "body": body, "parents": []}, "page.html"


def _listing(app: Sphinx, path: Path) -> str:
    highlighter = app.builder.highlighter  # type: ignore[attr-defined]
    text = path.read_text(encoding="utf-8")
    code = highlighter.highlight_block(text, LANGUAGES[path.suffix], linenos=False)
    return f"<div class='source-listing'>{code}</div>"


def _folder(app: Sphinx, place: str) -> str:
    root = Path(app.srcdir)
    items = (
        (app.builder.get_relative_uri(page_of(place), page_of(str(each.relative_to(root)))), each)
        for each in listed(root / place)
    )
    lines = [f"<li><a href='{escape(uri)}'>{escape(each.name)}</a></li>" for uri, each in items]
    return "\n".join(["<ul>", *lines, "</ul>"])


def merge(app: Sphinx, env: Any, docnames: list[str], other: Any) -> None:
    """What a parallel reader has found."""
    found: set[str] = vars(env).setdefault("linked_sources", set())
    found |= getattr(other, "linked_sources", set())


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_transform(LinkSources)
    app.connect("doctree-resolved", resolve)
    app.connect("html-collect-pages", pages)
    app.connect("env-merge-info", merge)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

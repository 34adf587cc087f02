"""The site: built without a warning, whole, its links lead somewhere, nothing is fetched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import torch_sigmoid_ext
import torch_sigmoid_ext.export

ROOT = Path(__file__).parents[1]


class Page(HTMLParser):
    """The identifiers, links and resources of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.resources: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag in ("a", "link") and "href" in given:
            kept = self.links if tag == "a" else self.resources
            kept.append(given["href"])
        if "src" in given:
            self.resources.append(given["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What make docs has built, or the same built here."""
    if built := os.environ.get("TORCH_SIGMOID_EXT_SITE"):
        return (ROOT / built).resolve()
    for package in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(package, reason=f"{package} is not installed; make docs installs it")
    folder = tmp_path_factory.mktemp("site")
    options = ["-W", "--keep-going", "-q", "-b", "html", "-d", str(folder / "doctrees")]
    command = [sys.executable, "-m", "sphinx", *options, "-c", "docs", ".", str(folder / "html")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def text(site: Path, page: str) -> str:
    """What a reader sees of a page, as one line."""
    html = (site / page).read_text(encoding="utf-8")
    article = html[html.index("<article") : html.index("</article>")]
    return " ".join(unescape(re.sub(r"<[^>]+>", "", article)).split())


def test_every_document_is_a_page_in_the_menu(site: Path, pages: dict[Path, Page]) -> None:
    menu = {(site / "docs" / link).resolve() for link in pages[site / "docs/index.html"].links}
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    documents += (ROOT / "docs" / "gallery").glob("*.md")
    for document in set(documents) - {ROOT / "docs" / "index.md"}:
        page = site / document.relative_to(ROOT).with_suffix(".html")
        assert page in pages and page in menu, document


def broken(site: Path, path: Path, pages: dict[Path, Page]) -> Iterator[str]:
    """The links and resources of the page that lead nowhere on this disk."""
    for link in [*pages[path].links, *pages[path].resources]:
        parts = urlsplit(link)
        if parts.scheme in ("http", "https", "mailto", "data"):
            if parts.scheme.startswith("http") and "." not in parts.netloc:
                yield link
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        anchors = pages[target].ids if target in pages else set()
        if not target.is_file() or (target in pages and parts.fragment not in {"", *anchors}):
            yield link


def test_links_lead_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    # The bundles' reports are made elsewhere, and are pages of their own.
    own = [path for path in pages if "_downloads" not in path.parts]
    wrong = {str(path.relative_to(site)): list(broken(site, path, pages)) for path in own}
    assert len(own) > 20 and not {page: links for page, links in wrong.items() if links}


def test_nothing_is_fetched_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        assert not [each for each in page.resources if urlsplit(each).netloc], path
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", sheet.read_text()), sheet


def test_commands_are_those_of_the_command(site: Path) -> None:
    import typer

    from torch_sigmoid_ext.export.commands import app

    page = text(site, "docs/commands.html")
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert {"export", "verify", "bench", "demo", "doctor"} <= set(commands)
    for name, command in commands.items():
        assert f"torch-sigmoid-ext {name}" in page
        for parameter in command.params:
            said = " ".join((parameter.help or "").replace("\\[", "[").split())
            names = parameter.opts if parameter.param_type_name == "option" else []
            assert said in page and all(option in page for option in names), parameter.name


def test_api_has_every_public_name(site: Path, pages: dict[Path, Page]) -> None:
    anchors = pages[site / "docs" / "api.html"].ids
    for module in (torch_sigmoid_ext, torch_sigmoid_ext.export):
        missing = {name for name in module.__all__ if f"{module.__name__}.{name}" not in anchors}
        assert not missing, f"docs/api.md lacks {sorted(missing)} of {module.__name__}"


def test_troubleshooting_has_the_remedies_of_doctor_and_gates(site: Path) -> None:
    from torch_sigmoid_ext.export.formats import FORMATS
    from torch_sigmoid_ext.export.gates import CONVERT
    from torch_sigmoid_ext.export.runtimes import RUNTIMES

    page = text(site, "docs/troubleshooting.html")
    for part in [*FORMATS.values(), *RUNTIMES.values()]:
        assert part.install in page, part.name
    for runtime in RUNTIMES.values():
        assert all(mend in page for mend in runtime.mends.values()), runtime.name
    assert CONVERT in page
    assert "a build fits one torch version only" in page  # torch_sigmoid_ext/_library.py
    assert "write one for each argument of forward" in page  # export/model.py

"""report.html, report.md and report.json: one set of sections, said three ways."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from .findings import Report, to_json
from .sections import lead, model_measured, remedies, sections, verdict

TEMPLATES = Path(__file__).parent / "templates"

# What a pull request shows at once, and first of all; the rest of report.md unfolds.
SHOWN = ("runtimes", "outside", "since")

_CODE = re.compile(r"`([^`\n]+)`")
_UNBROKEN = re.compile(r"[\d.]+e[-+]\d+|--\w[\w-]*")  # 1e-07, --sigmoid
_MARKDOWN = re.compile(r"([\\*_{}\[\]#|~!])")  # what GitHub would take for markup


def write_report(report: Report, directory: Path) -> None:
    """Write report.html, report.md and report.json into the directory.

    report.html stands alone: style and charts are inside it, and it asks for nothing else.
    report.md says the same without charts. report.json holds every figure (see findings.py), with
    non-finite numbers as strings.
    """
    said = sections(report)
    shown = {
        "title": f"{report.model}: {verdict(report)}",
        "verdict": verdict(report),
        "passed": report.passed and model_measured(report),
        "lead": lead(report),
        "remedies": remedies(report),
        "notes": report.notes,
        "sections": said,
        "shown": sum(section.anchor in SHOWN for section in said),
    }
    html = _environment(autoescape=True, inline=inline_html).get_template("report.html.j2")
    markdown = _environment(autoescape=False, inline=inline_markdown).get_template("report.md.j2")
    values = json.dumps(to_json(report), indent=1, allow_nan=False, ensure_ascii=False)
    (directory / "report.html").write_text(html.render(shown), encoding="utf-8")
    (directory / "report.md").write_text(markdown.render(shown), encoding="utf-8")
    (directory / "report.json").write_text(values + "\n", encoding="utf-8")


def inline_html(text: str) -> Markup:
    """The text escaped, with `backticks` as <code>, and nothing short broken at a hyphen.

    >>> inline_html("`a<b` & c")
    Markup('<code class="short">a&lt;b</code> &amp; c')
    """

    pieces = _CODE.split(str(escape(text)))
    for n, piece in enumerate(pieces):
        if n % 2 and len(piece) <= 30:  # every other piece was code
            pieces[n] = f'<code class="short">{piece}</code>'
            continue
        unbroken = _UNBROKEN.sub(r'<span class="short">\g<0></span>', piece)
        pieces[n] = f"<code>{unbroken}</code>" if n % 2 else unbroken
    return Markup("".join(pieces))


def inline_markdown(text: str) -> str:
    r"""The text on one line, with everything escaped that GitHub takes for markup.

    >>> inline_markdown("a|b `c_d` <e>")
    'a\\|b `c_d` &lt;e&gt;'
    """
    pieces = _CODE.split(" ".join(text.split()))
    for n in range(0, len(pieces), 2):  # every other piece was code
        plain = pieces[n].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        pieces[n] = _MARKDOWN.sub(r"\\\1", plain).replace("`", "\\`")
    for n in range(1, len(pieces), 2):
        pieces[n] = "`" + pieces[n].replace("|", "\\|") + "`"
    return "".join(pieces)


def _environment(*, autoescape: bool, inline: object) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline"] = inline
    return environment

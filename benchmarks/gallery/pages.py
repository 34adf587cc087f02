"""The pages of docs/gallery, from their templates and what was measured."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from torch_sigmoid_ext.export.blocks import count, listed, quantity, real, several, ulp
from torch_sigmoid_ext.export.gates import DEFAULT_GATE
from torch_sigmoid_ext.export.report import inline_markdown

from .bugs import Met
from .entries import GALLERY, Entry
from .figures import names
from .shell import Done
from .study import COMMANDS, TRAIN, Study

_SPACES = re.compile(r"[ \t]+$", re.MULTILINE)  # that nobody sees
_TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Shown:
    """An entry, what its commands printed, and the figures of its report."""

    entry: Entry
    done: list[Done]
    report: dict[str, Any]

    @property
    def passed(self) -> bool:
        return bool(self.report["passed"])

    @property
    def outside(self) -> list[str]:
        """The runtimes that are outside the report's gate."""
        return [found["runtime"] for found in self.report["runtimes"] if not found["passed"]]


def write(
    tumours: Shown, gated: Shown, met: Sequence[Met], trained: Done, study: Study
) -> list[Path]:
    """Write every page, and return their paths."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=False,  # Markdown
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "count": count,
        "listed": listed,
        "code": lambda name: f"`{name}`",
        "markdown": inline_markdown,
        "names": names,
        "quantity": quantity,
        "real": real,
        "several": several,
        "ulp": ulp,
    }
    values = {
        "tumours": tumours,
        "gated": gated,
        "met": met,
        "study": study,
        "train": TRAIN,
        "trained": trained,
        "gate": DEFAULT_GATE,
        "commands": COMMANDS,
    }
    written = []
    for template in sorted(_TEMPLATES.glob("*.md.j2")):
        path = GALLERY / template.stem
        text = environment.get_template(template.name).render(values)
        path.write_text(_SPACES.sub("", text), encoding="utf-8")
        written.append(path)
    return written

"""What a report page is made of, whatever it is rendered to, and how its numbers are written."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup

from .findings import Failure, RuntimeFindings
from .formats import LOWERINGS
from .gates import GATES

# A flag with its value; code that is marked as such already goes by.
_VALUES = "|".join((*GATES, *LOWERINGS))
_FLAG = re.compile(rf"`[^`\n]+`|--(?:gate|sigmoid) (?:{_VALUES})\b|--[a-z][a-z-]*")


@dataclass(frozen=True)
class Badge:
    """A table cell that is good or bad: shown by a sign and words, never by colour alone."""

    ok: bool
    text: str

    @property
    def sign(self) -> str:
        return "✓" if self.ok else "✗"


Cell = str | Badge


@dataclass(frozen=True)
class Column:
    title: str
    numeric: bool = True  # set flush right


def columns(words: list[str], figures: list[str]) -> list[Column]:
    """Columns of words, then columns of figures."""
    return [Column(w, numeric=False) for w in words] + [Column(f) for f in figures]


@dataclass(frozen=True)
class Text:
    """A paragraph; words between `backticks` are code."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Terms:
    """Terms and what they mean, where a reader first meets them."""

    kind: ClassVar[str] = "terms"
    terms: list[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """A table whose first column heads its rows.

    What matters most comes first, since a phone shows two or three columns and hints at the rest.
    A table whose rows are read one at a time can be `cards` there, a row under its columns' names.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: list[Column]
    rows: list[list[Cell]]
    cards: bool = False


@dataclass(frozen=True)
class Outside:
    """What one runtime did outside the gate, as (what happened, what mends it)."""

    kind: ClassVar[str] = "outside"
    title: str
    findings: list[tuple[list[str], str]]

    @classmethod
    def of(cls, title: str, found: RuntimeFindings) -> Outside:
        """The runtime's failures, each mend said once, its flags as code."""

        failures = found.failures or [Failure(f"{found.status}: {found.detail}", "")]
        grouped = itertools.groupby(failures, lambda failure: failure.mend)
        return cls(title, [([f.what for f in some], flagged(mend)) for mend, some in grouped])


def flagged(mend: str) -> str:
    """What mends a failure, with its flags as code."""
    return _FLAG.sub(lambda found: f"`{found[0].strip('`')}`", mend)


@dataclass(frozen=True)
class Remedy:
    """What mends one or several runtimes, and the worst that it mends."""

    mend: str  # "" where nothing is known
    runtimes: list[str]
    worst: str


@dataclass(frozen=True)
class Figure:
    """A chart, drawn twice so that a phone gets one with the same size of text.

    Without a wide drawing it is a small one, which may stand beside another.
    """

    kind: ClassVar[str] = "figure"
    label: str  # what a reader who cannot see the chart is told
    caption: str
    wide: Markup | None
    narrow: Markup
    legend: list[tuple[Markup, str]] = field(default_factory=list)  # (drawn sample, words)


Block = Text | Terms | Table | Outside | Figure


@dataclass(frozen=True)
class Section:
    anchor: str
    title: str
    blocks: list[Block]


def ulp(value: float) -> str:
    """An error in ULP: three significant digits, powers of ten from 100,000 on."""
    if not math.isfinite(value):
        return "∞"
    return f"{value:.1e}" if value >= 99_999.5 else quantity(value)


def quantity(value: float) -> str:
    """A measured figure: three significant digits, thousands separated."""
    if not math.isfinite(value):
        return real(value)
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def count(value: int) -> str:
    return f"{value:,}"


def real(value: float) -> str:
    """An input or a result: enough digits to tell neighbouring float32 apart, and to be copied."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.9g}"


def several(number: int, noun: str, plural: str = "") -> str:
    """The number with its noun: "1 row", "2 rows"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listed(words: list[str]) -> str:
    """The words as English lists them: "a, b and c"."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]

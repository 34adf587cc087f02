"""The tables of a report on a terminal, beside the one with the verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich import box
from rich.table import Table
from rich.text import Text

from .blocks import Badge, Cell
from .blocks import Table as Words
from .findings import Report
from .row_sections import effects_tables, inner_tables
from .sections import operator_tables


def gates_said(report: Report) -> str:
    """The gate, who named it, and the runtimes that have one of their own."""
    others = {
        f"{r.runtime}: {r.gate} ({r.gate_source})": None
        for r in report.runtimes
        if r.gate and r.gate != report.gate
    }
    sources = {r.gate_source: None for r in report.runtimes if r.gate == report.gate}
    source = next((source for source in sources if source), "")
    return "; ".join([report.gate + (f" ({source})" if source else ""), *others])


def sample_tables(report: Report) -> list[Table]:
    """What became of the user's own rows, and of the sigmoids inside; each where asked for."""
    return [_table(words) for words in [*effects_tables(report), *inner_tables(report)]]


def detail_tables(report: Report) -> list[Table]:
    """Bands, worst inputs, special values, order, range and symmetry of the sigmoid alone."""
    return [_table(words) for words in operator_tables(report)]


def _table(words: Words) -> Table:
    """The report's table as rich has it; what heads a row stays on one line."""
    table = Table(box=box.SIMPLE, title=_plain(words.caption), title_justify="left")
    for number, column in enumerate(words.columns):
        justify: Literal["left", "right"] = "right" if column.numeric else "left"
        title = _plain(column.title)
        table.add_column(title, justify=justify, overflow="fold", no_wrap=number == 0)
    for row in words.rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Sequence[Cell]) -> list[Text]:
    return [
        Text(f"{cell.sign} {cell.text}", "green" if cell.ok else "red")
        if isinstance(cell, Badge)
        else Text(_plain(cell))
        for cell in row
    ]


def _plain(words: str) -> str:
    return words.replace("`", "").replace("\u00a0", " ")

"""What the terminal shows beside the table of runtimes: changes since the export, and skips."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .changes import differences
from .findings import Comparison, Report, Skip, SkipKind


def show_changes(out: Console, report: Report, since: Comparison) -> None:
    """What is not as the bundle recorded it, and nothing of what is."""
    if since.gate != report.gate:
        out.print(f"recorded by the gate {since.gate}, judged by {report.gate} now")
    if not since.changes:
        out.print(f"as recorded on {since.recorded}: {', '.join(since.same)}", soft_wrap=True)
        return
    title = f"not as recorded on {since.recorded}"
    table = Table(box=box.SIMPLE, title=title, title_justify="left")
    for column in ("runtime", "what", "recorded", "now"):
        table.add_column(column, overflow="fold")
    for change in since.changes:
        for number, words in enumerate(differences(change)):
            table.add_row(*map(Text, ("" if number else change.runtime, *words)))
    out.print(table)
    if since.same:
        out.print(f"as recorded: {', '.join(since.same)}", soft_wrap=True)


def skipped_lines(skipped: Mapping[str, Skip]) -> list[str]:
    """A line for each that a user may not expect; the others share one, or one for each remedy."""
    optional = [
        name
        for name, skip in skipped.items()
        if skip.kind in (SkipKind.ON_REQUEST, SkipKind.NOT_READY)
    ]
    absent: dict[str, list[str]] = {}
    for name, skip in skipped.items():
        if skip.kind is SkipKind.NOT_INSTALLED:
            absent.setdefault(skip.mend, []).append(name)
    together = [(mend, names) for mend, names in absent.items() if len(names) > 1]
    alone = [name for names in absent.values() if len(names) == 1 for name in names]
    others = [name for name in skipped if name not in [*optional, *chain(*absent.values())]]
    lines = [f"skipped {name}: {skipped[name]}" for name in others]
    if optional:
        lines.append(f"left out: {', '.join(optional)} (--runtime NAME or --runtime all runs them)")
    lines += [f"not installed: {', '.join(names)} ({mend})" for mend, names in together]
    if alone:
        lines.append(f"not installed: {', '.join(alone)} (torch-sigmoid-ext doctor says how)")
    return lines

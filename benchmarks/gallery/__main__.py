"""Takes real models through the pipeline and writes docs/gallery: what `make gallery` runs.

    python -m benchmarks.gallery

Trains, exports and runs everything anew, into out/gallery; some minutes on two cores. Runtimes that
are not installed are named on the study's page. What it writes differs from run to run by dates,
versions and seconds alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import track

from . import bugs, pages, plot, study
from .entries import GALLERY, GATED, TUMOURS, WORK, Entry, collect
from .figures import Cell
from .shell import ROOT, Done, expect


class Gallery:
    """Runs what the pages show, and tells where it is."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def run(self, command: str, codes: Collection[int] = (0,)) -> Done:
        """A command, with the lines that it tells of its own progress."""
        with self._telling(command):
            return expect(command, codes, self._indented)

    def entry(self, entry: Entry) -> pages.Shown:
        done = [self.run(command, codes) for command, codes in entry.commands]
        return pages.Shown(entry, done, collect(entry.bundle, entry.name))

    def study(self) -> study.Study:
        for lowering, command in study.COMMANDS.items():
            self.run(command, (0, 1))
            collect(study.BUNDLES / lowering, f"study/{lowering}")
        measured = study.measure(self._track)
        folder = GALLERY / "study"
        figures = json.dumps(study.to_json(measured), indent=1, allow_nan=False, ensure_ascii=False)
        (folder / "study.json").write_text(f"{figures}\n", encoding="utf-8")
        plot.draw(measured.of("native"), measured.of("exact"), folder / "error.svg")
        return measured

    def bug(self, bug: bugs.Bug) -> bugs.Met:
        with self._telling(bug.command):
            return bugs.meet(bug, self._indented)

    def _track(self, cells: Iterable[Cell], count: int) -> Iterable[Cell]:
        return track(cells, "held-out rows", total=count, console=self.console)

    @contextmanager
    def _telling(self, command: str) -> Iterator[None]:
        """The command, and on a terminal a spinner until it has ended."""
        self._tell(f"$ {command}")
        with self.console.status("running"):
            yield

    def _tell(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _indented(self, line: str) -> None:
        self._tell(f"    {line}")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gallery",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    start = time.monotonic()
    console = Console(stderr=True)
    shutil.rmtree(ROOT / WORK, ignore_errors=True)
    (ROOT / WORK).mkdir(parents=True)
    gallery = Gallery(console)
    tumours, gated = gallery.entry(TUMOURS), gallery.entry(GATED)
    trained = gallery.run(study.TRAIN)
    met = [gallery.bug(bug) for bug in bugs.BUGS]
    written = pages.write(tumours, gated, met, trained, gallery.study())
    for path in written:
        console.print(str(path.relative_to(ROOT)), highlight=False)
    console.print(f"{(time.monotonic() - start) / 60:.1f} minutes", highlight=False)


if __name__ == "__main__":
    main()

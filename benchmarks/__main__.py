"""The command: measures, prints the table of targets, writes cpu.md, cpu.json and cpu.png."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from . import import_time, machine, plot, small
from .cases import LARGE, Case, all_cases, cache_cases
from .markdown import to_markdown
from .measure import Row, Run
from .peers import PEERS
from .results import Results, rows_from_json, rows_to_json, to_json

_RESULTS = Path(__file__).parent / "results"
_AVX2 = {"TORCH_SIGMOID_EXT_KERNELS": "avx2", "ATEN_CPU_CAPABILITY": "avx2"}


@dataclass(frozen=True)
class Options:
    """The command line."""

    quick: bool
    threads: tuple[int, ...]
    largest: int
    peers: tuple[str, ...]
    output: Path
    rows_to: Path | None

    @property
    def seconds(self) -> float:
        """For a cell of two; more peers get as much again each."""
        return 0.06 if self.quick else 0.6

    def run(self) -> Run:
        return Run(self.seconds, 3 if self.quick else 7, self.peers, machine.kernel_set())

    def among(self, cases: Sequence[Case]) -> list[Case]:
        return [case for case in cases if case.numel <= self.largest]

    def command(self, rows_to: Path) -> list[str]:
        """The same, in another process that measures rows alone."""
        words = ["--threads", *map(str, self.threads), "--largest", str(self.largest)]
        quick = ["--quick"] if self.quick else []
        return [sys.executable, "-m", __package__, *words, *quick, "--rows-to", str(rows_to)]


def options(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute instead of eight; noisier")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="default: 1 2")
    parser.add_argument("--largest", type=int, default=LARGE, help="leaves out larger inputs")
    parser.add_argument(
        "--peers", nargs="*", choices=list(PEERS), default=list(PEERS), help="beside torch eager"
    )
    parser.add_argument("--output", type=Path, default=_RESULTS, help="a folder for the files")
    parser.add_argument("--rows-to", type=Path, help=argparse.SUPPRESS)  # the second process
    read = parser.parse_args(arguments)
    return Options(
        read.quick,
        tuple(read.threads),
        read.largest,
        tuple(read.peers),
        read.output,
        read.rows_to,
    )


@contextmanager
def _progress(title: str, steps: int) -> Iterator[Callable[[str], None]]:
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    words = TextColumn("{task.description}")
    with Progress(*columns, words, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=steps)

        def step(description: str) -> None:
            progress.update(task, description=description, advance=1)

        yield step


def _measure(chosen: Options, run: Run, cases: Sequence[Case], title: str) -> list[Row]:
    cases = chosen.among(cases)
    with _progress(title, len(cases) * len(chosen.threads)) as step:
        return list(run.rows(cases, chosen.threads, step))


def _avx2_rows(chosen: Options, run: Run) -> list[Row]:
    """From a process of its own: both libraries read their choice when they are loaded."""
    if run.kernels == "avx2" or platform.machine().lower() not in ("x86_64", "amd64"):
        run.skipped["AVX2 alone"] = f"the main run is on {run.kernels}"
        return []
    if not chosen.among(cache_cases()):
        run.skipped["AVX2 alone"] = "it is measured in cache, on larger inputs"
        return []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        subprocess.run(
            chosen.command(file),
            cwd=Path(__file__).parent.parent,
            env=os.environ | _AVX2,
            check=True,
        )
        return rows_from_json(file.read_text())


def _small(seconds: float) -> tuple[list[small.Comparison], list[small.Stage]]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _progress("small calls", 10) as step:
            return small.comparisons(2 * seconds, step), small.stages(8 * seconds, step)
    finally:
        torch.set_num_threads(before)


def measure(chosen: Options) -> Results:
    """Everything, a part after the other."""
    head = machine.describe()  # first: the load before our own
    run = chosen.run()
    comparisons, stages = _small(chosen.seconds)
    imported = import_time.measure()
    rows = _measure(chosen, run, all_cases(), run.kernels)
    rows += _avx2_rows(chosen, run)
    return Results(head, chosen.threads, rows, comparisons, stages, imported, run.skipped)


def write(results: Results, folder: Path) -> str:
    """The three files; returns the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    text = to_markdown(results)
    (folder / "cpu.md").write_text(text)
    (folder / "cpu.json").write_text(to_json(results))
    plot.draw(results, folder / "cpu.png")
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = options(arguments)
    if chosen.rows_to:
        run = chosen.run()
        rows = _measure(chosen, run, cache_cases(), run.kernels)
        chosen.rows_to.write_text(rows_to_json(rows))
        return
    text = write(measure(chosen), chosen.output)
    console = Console()
    summary = text.split("\n## Every row")[0]
    console.print(Markdown(summary) if console.is_terminal else summary, soft_wrap=True)
    console.print(f"Written: cpu.md, cpu.json, cpu.png in {chosen.output}")


if __name__ == "__main__":
    main()

"""Latency and rows per second of a bundle in every runtime, and what one lowering costs in another.

Each runtime has the file loaded and warm in a process of its own. They are given short turns, one
after the other, forwards and backwards: what else the machine does falls on all of them.
"""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .bundle import MANIFEST, Manifest, opened
from .errors import NotInstalled, UsageError
from .findings import Skip
from .model import InputSpec, example_sizes, named_dims
from .runtimes import Array, Runtime
from .runtimes.apart import RuntimeFailure
from .runtimes.timing import Timed
from .samples import ELEMENTS
from .staging import replacing, write_whole
from .verify import choose_runtimes

BATCHES = (1, 32, 1024)
SECONDS = 1.0  # of each runtime, bundle and batch size
TURN = 0.05  # seconds; long against a call, short against what else goes on


@dataclass(frozen=True)
class Timing:
    """One bundle in one runtime at one batch size, in seconds a call."""

    bundle: str  # the folder's name
    lowering: str
    runtime: str
    version: str
    batch: int
    calls: int = 0
    median: float = 0.0
    p99: float = 0.0
    failed: str = ""  # why there is no figure

    @property
    def rows_per_second(self) -> float:
        return self.batch / self.median if self.median else 0.0


@dataclass
class Lane:
    """A bundle in a runtime, and its calls' times by batch size."""

    directory: Path
    files: Path  # the private copy, which is run
    manifest: Manifest
    runtime: Runtime
    timed: Timed | None = None
    failed: str = ""

    def __post_init__(self) -> None:
        self.taken: dict[int, list[float]] = {}

    @property
    def title(self) -> str:
        return f"{self.runtime.name} on {self.directory.name}"


def bench(
    directories: Sequence[Path],
    *,
    runtimes: Sequence[str] | None = None,  # None: every one that is ready
    batches: Sequence[int] | None = None,  # None: 1, 32 and 1024, or the batch that is fixed
    seconds: float = SECONDS,
    console: Console | None = None,
) -> tuple[list[Timing], dict[str, Skip]]:
    """A row for each bundle, runtime and batch size; and the runtimes left out, with the reason.

    Raises UsageError for a bundle that is not as it was exported, NotInstalled for a runtime asked
    for by name that is not here.
    """
    if not directories:
        raise UsageError("expected the folder of a bundle, got none; give one or several")
    with ExitStack() as stack:
        bundles = [stack.enter_context(opened(directory)) for directory in directories]
        manifests = [manifest for manifest, _ in bundles]
        copies = [files for _, files in bundles]
        lanes, skipped = _lanes(directories, manifests, copies, runtimes)
        sizes = _batches(manifests, batches)
        progress = stack.enter_context(_progress(console))
        task = progress.add_task("loading", total=len(lanes))
        for lane in lanes:
            progress.update(task, description=f"loading {lane.title}")
            _load(lane, sizes, stack)
            progress.advance(task)
        rounds = max(5, round(seconds / TURN))
        task = progress.add_task("timing", total=rounds)
        order = [(size, lane) for size in range(len(sizes)) for lane in lanes]
        for _ in range(rounds):
            for number, lane in order:
                _take_turn(lane, sizes[number], number, seconds / rounds)
            order.reverse()
            progress.advance(task)
    rows = [_row(lane, batch) for batch in sizes for lane in lanes]
    return rows, skipped


def _lanes(
    directories: Sequence[Path],
    manifests: Sequence[Manifest],
    copies: Sequence[Path],
    names: Sequence[str] | None,
) -> tuple[list[Lane], dict[str, Skip]]:
    """The pairs to time, one runtime's bundles beside each other."""
    formats = list(dict.fromkeys(f for manifest in manifests for f in manifest.formats))
    chosen, skipped = choose_runtimes(names, formats)
    for runtime in [runtime for runtime in chosen if not runtime.format and not runtime.broken]:
        if names is not None and runtime.name in names:
            raise UsageError(
                f"expected a runtime for {', '.join(formats)}, got --runtime {runtime.name}: a "
                "bundle holds no model source to run; --runtime export runs its graph as eager does"
            )
        chosen.remove(runtime)
    lanes = [
        Lane(directory, files, manifest, runtime)
        for runtime in chosen
        for directory, files, manifest in zip(directories, copies, manifests, strict=True)
        if runtime.format in manifest.formats or runtime.broken
    ]
    if not lanes:
        raise NotInstalled(
            f"no runtime for {', '.join(formats)} is here; see torch-sigmoid-ext doctor"
        )
    return lanes, skipped


def _batches(manifests: Sequence[Manifest], asked: Sequence[int] | None) -> list[int]:
    """The batch sizes that every bundle can take."""
    fixed = {
        next((int(dim) for spec in m.inputs for dim in spec.dims[:1]), 1)
        for m in manifests
        if not named_dims(m.inputs)
    }
    if not fixed:
        sizes = list(dict.fromkeys(asked or BATCHES))
    elif len(fixed) == 1 and (asked is None or set(asked) == fixed):
        sizes = list(fixed)
    else:
        raise UsageError(
            f"expected --batch {', '.join(map(str, sorted(fixed)))}, which the model is exported "
            "for; export with a name for the batch in --input to time other sizes"
        )
    for batch in sizes:
        for m in manifests:
            elements = max((math.prod(shape) for shape in _shapes(m.inputs, batch)), default=0)
            if batch < 1 or elements > ELEMENTS:
                raise UsageError(
                    f"expected --batch from 1, with inputs of at most {ELEMENTS:,} elements; got "
                    f"{batch} with {elements:,}"
                )
    return sizes


def _shapes(inputs: Sequence[InputSpec], batch: int) -> list[tuple[int, ...]]:
    return [spec.shape(_sizes(inputs, batch)) for spec in inputs]


def _sizes(inputs: Sequence[InputSpec], batch: int) -> dict[str, int]:
    return example_sizes(inputs) | dict.fromkeys(named_dims(inputs)[:1], batch)


def _inputs(manifest: Manifest, batch: int) -> list[Array]:
    """Inputs as verification draws them, the same for every bundle of the same inputs."""
    random = np.random.default_rng(batch)
    sizes = _sizes(manifest.inputs, batch)
    return [spec.sample(random, sizes) for spec in manifest.inputs]


def _load(lane: Lane, sizes: Sequence[int], stack: ExitStack) -> None:
    """Start the lane's process and run every batch in it; a failure is the lane's."""
    try:
        if lane.runtime.broken:
            raise RuntimeFailure("crashed", lane.runtime.broken)
        entry = lane.manifest.formats[lane.runtime.format]
        if why := entry.get("cannot_run", {}).get(lane.runtime.name):
            raise RuntimeFailure("crashed", why)
        lane.runtime.prepare()
        path = lane.files / entry["model"]
        batches = [_inputs(lane.manifest, batch) for batch in sizes]
        lane.timed = stack.enter_context(Timed(lane.runtime, path, batches))
        lane.timed.warm_up()
    except RuntimeFailure as failure:
        lane.failed = f"{failure.status}: {failure}"


def _take_turn(lane: Lane, batch: int, number: int, seconds: float) -> None:
    if lane.failed or lane.timed is None:
        return
    try:
        lane.taken.setdefault(batch, []).extend(lane.timed.turn(number, seconds))
    except RuntimeFailure as failure:
        lane.failed = f"{failure.status}: {failure}"


def _row(lane: Lane, batch: int) -> Timing:
    who = (lane.directory.name, lane.manifest.lowering, lane.runtime.name, lane.runtime.version())
    taken = lane.taken.get(batch, [])
    if lane.failed or not taken:
        return Timing(*who, batch, failed=lane.failed or "not timed")
    p99 = float(np.quantile(taken, 0.99, method="higher"))
    return Timing(*who, batch, len(taken), statistics.median(taken), p99)


def _progress(console: Console | None) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=console is None)


def costs(rows: Sequence[Timing]) -> Iterator[tuple[Timing, float | None]]:
    """Each row with its median over that of the first bundle, in its runtime at its batch size."""
    first: dict[tuple[str, int], float] = {}
    base = rows[0].bundle if rows else ""
    for row in rows:
        if row.bundle == base and row.median:
            first[row.runtime, row.batch] = row.median
    for row in rows:
        yardstick = first.get((row.runtime, row.batch))
        yield row, row.median / yardstick if yardstick and row.median else None


def several(rows: Sequence[Timing]) -> bool:
    """Whether there is a bundle to compare with."""
    return len({row.bundle for row in rows}) > 1


def duration(seconds: float) -> str:
    """Three digits and a unit.

    >>> duration(0.00001234), duration(0.00456), duration(1.5)
    ('12.3 µs', '4.56 ms', '1.5 s')
    """
    for unit, scale in (("s", 1.0), ("ms", 1e3)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def markdown(rows: Sequence[Timing]) -> str:
    """The table for a pull request."""
    lines = ["| batch | runtime | bundle | sigmoid | median | p99 | rows/s |"]
    lines += ["|---:|---|---|---|---:|---:|---:|"]
    for row in rows:
        figures = [duration(row.median), duration(row.p99), f"{row.rows_per_second:,.0f}"]
        cells = [str(row.batch), f"{row.runtime} {row.version}", row.bundle, row.lowering]
        cells += [row.failed.replace("|", "/"), "", ""] if row.failed else figures
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def save(
    rows: Sequence[Timing], folder: Path, draw: Callable[[Sequence[Timing], Path], None]
) -> None:
    """bench.json, bench.md and bench.png in a folder, which may exist; each whole or not at all.

    `check_output` tells before anything is timed whether they can be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fields = [{**asdict(row), "rows_per_second": row.rows_per_second} for row in rows]
    write_whole(folder / "bench.json", json.dumps(fields, indent=2) + "\n")
    write_whole(folder / "bench.md", markdown(rows))
    with replacing(folder / "bench.png") as file:
        draw(rows, file)


def check_output(folder: Path) -> None:
    """UsageError where bench's files would change a bundle, or are no files of a folder."""
    if os.path.lexists(folder / MANIFEST):
        raise UsageError(
            f"expected -o a folder for bench's own files, and {folder} is a bundle, which is never "
            "written to; give -o another name"
        )
    if os.path.lexists(folder) and not folder.is_dir():
        raise UsageError(f"expected -o a folder, and {folder} is none; give -o another name")

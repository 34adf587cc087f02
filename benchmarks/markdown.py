"""The results as Markdown: the table of targets first, then every figure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .cases import NORMAL, Case
from .import_time import LIMIT, ImportTime
from .measure import Row
from .peers import EAGER, PEERS
from .results import Results
from .small import Comparison, Stage
from .targets import COLUMNS, TARGETS, Verdict, slower
from .timing import Ratio

_HOW_TO_READ = f"""\
A ratio is a peer's time over ours in one run by turns, above 1 where ours is faster: the median
over the rounds, and in brackets the ratio of the two shortest times. Targets are judged by the
median against {EAGER}, in the worst case of the cell: over sizes, and in cache over distributions
too. For float32 exact in cache, 1.1 is the prize."""

_BUSY = """\
**The machine was busy when this began: do not rely on these figures.** A scheduler's slices hit
long calls harder than short ones, in every round, so that neither median nor minimum is spared."""

_PEERS = """\
In a row `fresh` every peer returns a new tensor (onnxruntime: session.run); in a row `out=` it
writes into one that is there (onnxruntime: a binding). torch.compile is compiled for the row's
shape. scipy is scipy.special.expit, which has one thread. `copy` is out.copy_(x), the least that
so many bytes cost; for the backward, torch.mul of the two tensors that it reads."""


def size(numel: int) -> str:
    """6, 64, 1K, 16M."""
    for unit, shift in (("M", 20), ("K", 10)):
        if numel >= 1 << shift and numel % (1 << shift) == 0:
            return f"{numel >> shift}{unit}"
    return str(numel)


def duration(seconds: float) -> str:
    """Three significant digits, in ns, µs or ms."""
    for unit, scale in (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3)):
        if abs(seconds) < 999.5 * scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds:.3g} s"


def ratio(value: Ratio | None) -> str:
    return f"{value.median:.2f} [{value.minimum:.2f}]" if value else "-"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    aligned = ["---" if n < left else "---:" for n in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, aligned, *rows))


def _where(case: Case) -> str:
    words = [size(case.numel)]
    if case.output == "out=":
        words.append("out=")
    if case.layout != "contiguous":
        words.append(case.layout)
    if case.distribution != NORMAL:
        words.append(case.distribution)
    return ", ".join(words)


def cell(verdict: Verdict | None) -> str:
    """Worst ratio, what it should be, whether it is; in cache also where, and N(0,1) alone."""
    if verdict is None:
        return ""
    if verdict.worst is None:
        return f"≥ {verdict.least:g}: not measured"
    mark = "reached" if verdict.reached else "**missed**"
    words = f"{ratio(verdict.worst.eager)} ≥ {verdict.least:g} {mark}"
    if "cache" in verdict.column:
        words += f" at {_where(verdict.worst.case)}; N(0,1) {ratio(verdict.normal)}"
    return words


def _targets(results: Results, threads: int) -> str:
    cells = {(one.target, one.column): one for one in results.verdicts if one.threads == threads}
    rows = (
        [target.name, *(cell(cells.get((target.name, column))) for column in COLUMNS)]
        for target in TARGETS
    )
    return _table(["", *COLUMNS], rows, left=len(COLUMNS) + 1)


def _details(rows: Sequence[Row]) -> str:
    named = [name for name in PEERS if any(name in row.ratios for row in rows)]
    head = ["kernel", "dtype", "input", "output", "numel", "time", EAGER, *named]
    lines = (
        [
            row.case.kernel,
            row.case.dtype,
            row.case.distribution if row.case.layout == "contiguous" else row.case.layout,
            row.case.output,
            size(row.case.numel),
            duration(row.seconds),
            *(ratio(row.ratios.get(name)) for name in (EAGER, *named)),
        ]
        for row in rows
    )
    return _table(head, lines, left=4)


def _slower(rows: Sequence[Row]) -> str:
    lost = slower(rows)
    if not lost:
        return f"Nowhere, in {len(rows)} rows."
    return _table(
        ["kernel", "dtype", "kernels", "threads", "where", EAGER],
        (
            [
                row.case.kernel,
                row.case.dtype,
                row.kernels,
                str(row.threads),
                _where(row.case),
                ratio(row.eager),
            ]
            for row in lost
        ),
        left=5,
    )


def _comparisons(comparisons: Sequence[Comparison]) -> str:
    return _table(
        ["", "ours", "torch.sigmoid", "ratio"],
        (
            [one.work, duration(one.ours), duration(one.theirs), ratio(one.ratio)]
            for one in comparisons
        ),
    )


def _stages(stages: Sequence[Stage]) -> str:
    rows = ([one.name, one.how, duration(one.seconds)] for one in stages)
    return _table(["stage", "found as", "time"], rows, left=2)


def _import_time(time: ImportTime) -> str:
    verdict = "" if time.reached else " **missed**"
    cells = [duration(time.median), duration(time.least) + verdict, str(time.modules)]
    head = [
        "import, beyond torch's own",
        "median",
        f"least, to be under {duration(LIMIT)}",
        "modules",
    ]
    return _table(head, [["torch_sigmoid_ext", *cells]])


def _sections(results: Results) -> Iterator[str]:
    machine = results.machine
    yield "# Speed on a CPU"
    yield "\n".join(f"- {name}: {value}" for name, value in machine.items())
    if float(machine["load before"]) > 0.5:
        yield _BUSY
    yield _HOW_TO_READ
    for threads in results.threads:
        yield f"## Targets, threads: {threads}"
        yield _targets(results, threads)
    yield "## Slower than torch.sigmoid"
    yield "By the median and by the minimum, the worst first."
    yield _slower(results.rows)
    yield "## GB/s"
    yield "![GB/s against the number of elements](cpu.png)"
    yield "## Small calls, one thread"
    yield "The shortest time of a call, on six floats."
    yield _comparisons(results.comparisons)
    yield "Where the time of `torch_sigmoid_ext.sigmoid(x)` goes, by subtraction:"
    yield _stages(results.stages)
    yield _import_time(results.import_time)
    yield "## Every row"
    yield _PEERS
    if results.skipped:
        yield "\n".join(f"- not measured: {name}: {why}" for name, why in results.skipped.items())
    for kernels in dict.fromkeys(row.kernels for row in results.rows):
        for threads in results.threads:
            rows = [r for r in results.rows if (r.kernels, r.threads) == (kernels, threads)]
            if rows:
                yield f"### {kernels}, threads: {threads}"
                yield _details(rows)


def to_markdown(results: Results) -> str:
    return "\n\n".join(_sections(results)) + "\n"

"""The commands of ``torch-sigmoid-ext``: what they take, and what they show."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from .errors import UsageError
from .show import show_changes, skipped_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .bench import Timing
    from .findings import Report, RuntimeFindings, Skip

# The heavy imports (onnx, scikit-learn, the pipeline) are inside the commands: --help is quick.


class _PlainHelp:
    """typer's help, without a type beside a flag and without braces around an argument."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
        return params

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]  # type: ignore[misc]


class _Group(_PlainHelp, TyperGroup):
    pass


class _Command(_PlainHelp, TyperCommand):
    pass


app = typer.Typer(
    cls=_Group,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Export a model with a correctly rounded sigmoid, and show in ULP what each runtime makes "
    "of it. Exit codes: 0 within the gate, 1 a runtime is outside it, 2 wrong usage or bad input, "
    "3 something asked for by name is not installed.",
)

Runtimes = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        metavar="NAME,...",
        help="eager, compile, export, aoti, aoti-cpp, torchscript, torchscript-cpp, onnxruntime, "
        "onnxruntime-web, reference, openvino, openvino-default, tract, opencv, ncnn, mnn, tvm, "
        "jax, litert, executorch, executorch-portable or a "
        "plug-in's own (doctor lists them); default: those that are ready; all: every one here.",
    ),
]
Gate = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What a runtime must keep to: exact (the same bits), strict (4 ULP and no premature "
        "zeros; the default), portable (8 ULP, subnormals may be flushed) or absolute (1e-6). "
        "RUNTIME=NAME,... for some; more in \\[tool.torch-sigmoid-ext] of pyproject.toml.",
    ),
]
Samples = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Rows of your own: .npz with an array an input, or .csv with a header. Shows what "
        "becomes of order, decisions and log-losses.",
    ),
]
Label = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The labels among the samples; default: what is named label, labels or target.",
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(metavar="P", help="Where the samples are decided upon, beside 0.5."),
]
Details = Annotated[
    bool,
    typer.Option("--details", help="Also print every band, special value and the worst inputs."),
]
Junit = Annotated[
    Path | None,
    typer.Option("--junit", metavar="FILE", help="Also write JUnit XML, for a CI server."),
]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="The folder to write.")]


@app.command(cls=_Command)
def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="SimpleNN, package.module:factory or path/file.py:factory."
        ),
    ],
    output: Output,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="torchscript, onnx, pt2 (torch.export), aoti (compiled by AOTInductor); default: "
            "the first three.",
        ),
    ] = None,
    sigmoid: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="What it becomes in ONNX: exact (float64 inside, the operator's bits), stable "
            "(float32, keeps the tails), native (one Sigmoid node, whatever the runtime makes of "
            "it) or function (exact, as a function that a runtime may replace by its kernel).",
        ),
    ] = "exact",
    input: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DTYPE[DIMS]",
            help="Each argument of forward: 'x=float32\\[batch,3]'; a named dimension is dynamic.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A state dict, in a file of torch.save or of safetensors."
        ),
    ] = None,
    opset: Annotated[
        int | None, typer.Option(metavar="N", help="ONNX opset from 13 on, checked in the file.")
    ] = None,
    convert: Annotated[
        bool,
        typer.Option(
            "--convert",
            help="Replace torch's own sigmoid in the model by ours, and in ONNX give SiLU and GLU "
            "its lowering.",
        ),
    ] = False,
    external_data: Annotated[
        bool,
        typer.Option(
            "--external-data", help="ONNX weights in a file beside; else above 1.5 GB only."
        ),
    ] = False,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Write the files only.")] = False,
    intermediate: Annotated[
        bool,
        typer.Option(
            "--intermediate",
            help="Also verify each sigmoid inside of the model: its input, its result, and what it "
            "makes of the one to the other.",
        ),
    ] = False,
    runtime: Runtimes = None,
    gate: Gate = None,
    samples: Samples = None,
    label: Label = None,
    threshold: Threshold = None,
    details: Details = False,
    junit: Junit = None,
) -> None:
    """Export MODEL, run the files in every runtime, compare with the float64 truth, and report."""
    from .bundle import check_free
    from .model import load_model, parse_inputs
    from .pipeline import export_bundle
    from .settings import choose_gates
    from .user_samples import rows_of

    check_free(output)
    gates = choose_gates(gate)
    _check_junit(junit, output)
    loaded = load_model(model, weights, convert=convert)
    inputs = parse_inputs(input or [], model)
    rows = rows_of(samples, inputs, label, threshold=threshold)
    report = export_bundle(
        loaded.module,
        model,
        inputs,
        output,
        formats=_names("--format", format),
        lowering=sigmoid,
        gate=gates,
        runtimes=_names("--runtime", runtime),
        opset=opset,
        convert=convert,
        external_data=external_data,
        verify=not no_verify,
        intermediate=intermediate,
        samples=rows,
        translations=loaded.translations,
        console=_stderr(),
    )
    _write_junit(report, junit)
    _show(report, details)
    _stdout().print(f"report: {output / 'report.html'}", soft_wrap=True, highlight=False)
    raise typer.Exit(0 if report.passed else 1)


@app.command(cls=_Command)
def verify(
    directory: Annotated[Path, typer.Argument(help="A bundle that export wrote.", metavar="DIR")],
    runtime: Runtimes = None,
    gate: Gate = None,
    samples: Samples = None,
    label: Label = None,
    threshold: Threshold = None,
    details: Details = False,
    pages: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--report",
            metavar="DIR",
            help="A folder to write report.html, report.md, report.json and junit.xml to.",
        ),
    ] = None,
    junit: Junit = None,
) -> None:
    """Verify a bundle again, anywhere, later, and show what is not as it was when it was exported.

    Nothing in the bundle is written. Without --gate it is judged by the gates of the export.
    """
    from .pipeline import verify_again

    _check_junit(junit, directory)
    report = verify_again(
        directory,
        gate=gate,
        runtimes=_names("--runtime", runtime),
        samples=samples,
        label=label,
        threshold=threshold,
        pages=pages,
        console=_stderr(),
    )
    _write_junit(report, junit)
    _show(report, details)
    if pages is not None:
        _stdout().print(f"report: {pages / 'report.html'}", soft_wrap=True, highlight=False)
    raise typer.Exit(0 if report.passed else 1)


@app.command(cls=_Command)
def bench(
    directories: Annotated[
        list[Path],
        typer.Argument(
            help="Bundles that export wrote; the others are set against the first.",
            metavar="DIR...",
        ),
    ],
    runtime: Runtimes = None,
    batch: Annotated[
        str | None, typer.Option(metavar="N,...", help="Batch sizes; default: 1,32,1024.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(metavar="S", help="For each runtime, bundle and batch size.", min=0.01)
    ] = 1.0,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="DIR", help="A folder for bench.json, bench.md and bench.png."
        ),
    ] = None,
) -> None:
    """Time bundles in every runtime, by turns: median and 99th percentile, rows a second."""
    from .bench import bench as run_bench
    from .bench import check_output, save

    if output is not None:
        check_output(output)
    numbers = _names("--batch", batch)
    if numbers and not all(number.isdecimal() for number in numbers):
        raise UsageError(f"expected --batch N,... as whole numbers, got {batch!r}")
    rows, skipped = run_bench(
        directories,
        runtimes=_names("--runtime", runtime),
        batches=[int(number) for number in numbers] if numbers else None,
        seconds=seconds,
        console=_stderr(),
    )
    _show_bench(rows, skipped)
    if output is not None:
        from .bench_plot import draw

        save(rows, output, draw)
        _stdout().print(f"plot: {output / 'bench.png'}", soft_wrap=True, highlight=False)
    raise typer.Exit(1 if any(row.failed for row in rows) else 0)


@app.command(cls=_Command)
def demo(output: Output) -> None:
    """Train SimpleNN on real data, export it, verify it, and show what a lowering costs."""
    from .demo import run_demo

    report = run_demo(output, _stderr())
    _show(report)
    raise typer.Exit(0 if report.passed else 1)


@app.command(cls=_Command)
def doctor() -> None:
    """Show what works here, and how to mend what does not."""
    from .doctor import examine
    from .pipeline import steps

    table = Table(box=box.SIMPLE)
    for column in ("part", "state", "detail"):
        table.add_column(column, overflow="fold")
    with steps(_stderr())("examining the runtimes"):
        checks = examine()
    for check in checks:
        table.add_row(
            check.part, Text(check.state, _STYLES.get(check.state, "")), Text(check.detail)
        )
    _stdout().print(table)
    if not all(check.state == "ok" for check in checks if check.core):
        raise typer.Exit(1)


_STYLES = {"ok": "green", "within": "green", "missing": "yellow", "broken": "red", "OUTSIDE": "red"}


def _show(report: Report, details: bool = False) -> None:
    """A row a runtime, then every failure with its mend, then what was left out."""
    from .terminal import detail_tables, gates_said, sample_tables

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # all is written: the listing may end anywhere
    out = _stdout()
    table = Table(box=box.SIMPLE, title=f"gate {gates_said(report)}", title_justify="left")
    table.add_column("runtime")
    table.add_column("max ULP", justify="right")
    table.add_column("against the truth", justify="right")
    table.add_column("zeros", justify="right")
    table.add_column("model, max ULP", justify="right")
    table.add_column("eager's", justify="right")
    table.add_column("verdict")
    for found in report.runtimes:
        table.add_row(Text(f"{found.runtime} {found.version}"), *_figures(found), _verdict(found))
    if report.runtimes:
        out.print(table)
    for each in [*sample_tables(report), *(detail_tables(report) if details else [])]:
        out.print(each)
    if report.since_export:
        show_changes(out, report, report.since_export)
    lines = []
    for found in report.runtimes:
        for failure in found.failures:
            lines.append(f"{found.runtime}: {failure.what}")
        for mend in dict.fromkeys(failure.mend for failure in found.failures if failure.mend):
            lines.append(f"    to mend: {mend}")
    lines += skipped_lines(report.skipped)
    lines += [f"note: {note}" for note in report.notes]
    for line in lines:
        out.print(line, soft_wrap=True, highlight=False, markup=False)


def _check_junit(path: Path | None, directory: Path) -> None:
    if path is not None:
        from .junit import check_junit
        from .record import check_outside

        check_outside(path, directory)
        check_junit(path)


def _write_junit(report: Report, path: Path | None) -> None:
    if path is not None:
        from .junit import write_junit

        write_junit(report, path)


def _show_bench(rows: Sequence[Timing], skipped: Mapping[str, Skip]) -> None:
    """A row a batch size, runtime and bundle, with a bar of its median among its batch size's."""
    from .bench import costs, duration, several

    out = _stdout()
    table = Table(box=box.SIMPLE)
    titles = ["batch", "runtime", "bundle", "median", "p99", "rows/s", "calls", ""]
    if several(rows):
        titles.insert(4, f"× {rows[0].bundle}")
    right = {"batch", "median", "p99", "rows/s", "calls", f"× {rows[0].bundle}"}
    for title in titles:
        table.add_column(title, justify="right" if title in right else "left")
    longest = {row.batch: max(r.median for r in rows if r.batch == row.batch) for row in rows}
    for row, cost in costs(rows):
        start: list[str | Text] = [
            str(row.batch),
            Text(f"{row.runtime} {row.version}"),
            f"{row.bundle} ({row.lowering})",
        ]
        if row.failed:
            table.add_row(*start, Text(row.failed.partition(":")[0], "red"))
            continue
        figures = [duration(row.median), duration(row.p99), f"{row.rows_per_second:,.0f}"]
        if several(rows):
            figures.insert(1, "-" if cost is None else f"{cost:.2f}")
        bar = "█" * max(1, round(20 * row.median / longest[row.batch]))
        table.add_row(*start, *figures, str(row.calls), Text(bar, "blue"))
    out.print(table)
    failed = {f"{row.runtime} on {row.bundle}: {row.failed}": None for row in rows if row.failed}
    for line in [*failed, *skipped_lines(skipped)]:
        out.print(line, soft_wrap=True, highlight=False, markup=False)


def _figures(found: RuntimeFindings) -> list[str]:
    operator, cases = found.operator, found.cases
    return [
        f"{operator.max_ulp:.4g}" if operator else "-",
        f"{operator.differing} differing bits of {operator.points}" if operator else "-",
        f"{operator.premature_zeros}" if operator else "-",
        f"{max(case.max_ulp for case in cases):.4g}" if cases else "-",
        f"{max(case.eager_ulp for case in cases):.4g}" if cases else "-",
    ]


def _verdict(found: RuntimeFindings) -> Text:
    verdict = "within" if found.passed else "OUTSIDE"
    return Text(verdict if found.status == "ran" else found.status, _STYLES[verdict])


def _names(option: str, text: str | None) -> list[str] | None:
    """The names of a comma-separated list, each once."""
    if text is None:
        return None
    names = list(dict.fromkeys(name for name in map(str.strip, text.split(",")) if name))
    if not names:
        raise UsageError(f"expected {option} NAME,..., got {text!r}; name one, or leave it away")
    return names


def _stdout() -> Console:
    # Without a terminal lines are for grep: no number is wrapped.
    return Console(width=None if sys.stdout.isatty() else 160)


def _stderr() -> Console:
    return Console(stderr=True, width=None if sys.stderr.isatty() else 160)

"""The way of a model: files, a run in each runtime, the truth beside it, a report, a bundle."""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

import torch_sigmoid_ext

from .bundle import SAMPLES, Manifest, check_free, opened, seal, staged
from .choices import check_choice
from .errors import NotInstalled, UsageError
from .findings import Report, RuntimeFindings, Skip, SkipKind
from .formats import FORMATS, LOWERINGS, TORCHS, Format, Program
from .gates import DEFAULT_GATE, GATES
from .given import sample_by_graph
from .inner_errors import InnerSigmoid
from .junit import JUNIT, write_junit
from .missing_library import LIBRARY
from .model import InputSpec
from .record import check_outside, compare, read_record
from .report import write_report
from .runtimes import RUNTIMES, Array, Runtime
from .runtimes.worker import run_apart
from .samples import check_model, make_samples
from .settings import DEFAULT, OPTION, GateChoice, recorded_gates
from .stored import save_samples
from .user_samples import Given, Rows, rows_of
from .verify import choose_runtimes, verify_bundle, verify_operator

if TYPE_CHECKING:  # a bundle is verified without torch
    from torch import nn


def export_bundle(
    model: nn.Module,
    source: str,
    inputs: Sequence[InputSpec],
    directory: Path,
    *,
    formats: Sequence[str] | None = None,  # None: torchscript, onnx and pt2, as installed
    lowering: str = "exact",
    gate: str | GateChoice = DEFAULT_GATE,
    runtimes: Sequence[str] | None = None,  # None: every runtime that is installed
    opset: int | None = None,
    convert: bool = False,  # ONNX: lower torch's own sigmoid, SiLU and GLU as well
    external_data: bool = False,  # ONNX: weights in a file beside, however small
    verify: bool = True,
    intermediate: bool = False,  # also verify each sigmoid inside of the model
    samples: Rows | None = None,  # the user's own, to take the batches from and to tell of
    translations: Mapping[Any, Callable[..., Any]] | None = None,  # ONNX: the user's own operators
    annotate: Callable[[Report, Path], None] | None = None,
    console: Console | None = None,
) -> Report:
    """Write the bundle ``directory`` and return what its report says.

    ``annotate(report, staging)`` is called after verification and before the report is written: it
    may fill ``report.training`` and the like, and add files to the staging folder.
    """
    from .calls import sigmoid_of

    check_free(directory)
    gates = _gates(gate)
    check_choice("--sigmoid", lowering, LOWERINGS)
    chosen, notes = _choose_formats(formats)
    names = [format.name for format in chosen]
    engines: list[Runtime] = []
    skipped: dict[str, Skip] = {}
    if verify:
        engines, skipped = choose_runtimes(runtimes, names)
    step = steps(console)
    model = model.eval()
    with staged(directory) as staging:
        outputs = _output_names(inputs, check_model(model, inputs))
        program = Program(
            model,
            inputs,
            outputs,
            lowering,
            opset,
            translations or {},
            convert,
            external_data,
            source,
            gates.name,
        )
        dtype = _operator_dtype(model, inputs)
        swept, remarks = sigmoid_of(program)
        operator = _operator_program(program, dtype, swept)
        entries = {}
        for format in chosen:
            with step(f"exporting to {format.name}"):
                files = {role: role + format.suffix for role in ("model", "operator")}
                facts = format.export(program, staging / files["model"])
                bare = format.export(operator, staging / files["operator"])
                entries[format.name] = {**files, **facts}
            if "library" in facts or "library" in bare:
                shutil.copy(torch_sigmoid_ext.library_path(), staging / LIBRARY)
        engines, unable = _able(engines, entries, runtimes)
        with step("computing the float64 truth"):
            batches, doubts = make_samples(model, inputs, samples)
            save_samples(staging / SAMPLES, batches)
        inner: list[InnerSigmoid] = []
        if intermediate:
            from .inner import export_inner

            with step("exporting the sigmoids inside"):
                inner, missed = export_inner(program, chosen, entries, batches, staging)
                remarks += missed
        manifest = Manifest(
            created=_now(),
            model=source,
            lowering=lowering,
            gate=gates.name,
            gates=gates.names,
            opset=entries.get("onnx", {}).get("opset"),
            inputs=list(inputs),
            outputs=outputs,
            operator_dtype=dtype,
            swept=swept,
            formats=entries,
            inner=[asdict(sigmoid) for sigmoid in inner],
            versions=_versions(),
            notes=notes + remarks + doubts + ([] if verify else ["not verified: --no-verify"]),
        )
        found = verify_bundle(staging, manifest, engines, gates, step)
        report = _report(manifest, gates.name, found, skipped | unable)
        if annotate:
            annotate(report, staging)
        write_report(report, staging)
        seal(staging, manifest)
    return report


def verify_again(
    directory: Path,
    *,
    gate: str | None = None,  # None: the bundle's own
    runtimes: Sequence[str] | None = None,
    samples: Given | None = None,  # in place of the user's rows that are in the bundle
    label: str | None = None,
    labels: Array | None = None,
    threshold: float | None = None,
    pages: Path | None = None,  # a folder for the report of this verification
    console: Console | None = None,
) -> Report:
    """Verify a bundle as it lies there, without the model's source; nothing in it is written.

    The report tells what does not stand as the bundle's own report.json recorded it.
    """
    if pages is not None:
        check_outside(pages, directory)
        check_free(pages)
    with opened(directory) as (manifest, files):
        recorded = read_record(files, manifest)
        gates = recorded_gates(gate, manifest.gate, manifest.gates)
        engines, skipped = choose_runtimes(runtimes, list(manifest.formats))
        engines, unable = _able(engines, manifest.formats, runtimes)
        skipped |= unable
        if not engines:
            raise NotInstalled(_nothing_to_run(manifest, skipped))
        step = steps(console)
        given = None
        rows = rows_of(samples, manifest.inputs, label, labels=labels, threshold=threshold)
        if rows is not None:
            with step("computing the float64 truth"):
                given = sample_by_graph(files, manifest, rows)
            manifest.notes.extend(rows.notes)
        found = verify_bundle(files, manifest, engines, gates, step, given)
    report = _report(manifest, gates.name, found, skipped)
    if recorded:
        report.since_export = compare(recorded, report, runtimes)
    if pages is not None:
        with staged(pages) as staging:
            write_report(report, staging)
            write_junit(report, staging / JUNIT)
    return report


def _gates(gate: str | GateChoice) -> GateChoice:
    if isinstance(gate, GateChoice):
        return gate
    check_choice(OPTION, gate, GATES)
    return GateChoice(gate, DEFAULT if gate == DEFAULT_GATE else OPTION)


def _nothing_to_run(manifest: Manifest, skipped: Mapping[str, Skip]) -> str:
    mends = dict.fromkeys(skip.mend for skip in skipped.values() if skip.mend)
    known = f"; {'; or '.join(mends)}" if mends else "; see torch-sigmoid-ext doctor"
    return f"no runtime for {', '.join(manifest.formats)} is ready here{known}"


def export_file(
    module: nn.Module,
    inputs: Sequence[InputSpec],
    path: str | Path,
    *,
    format: str = "onnx",
    lowering: str = "exact",
    opset: int | None = None,
    convert: bool = False,
    external_data: bool = False,
) -> Path:
    """One file in one format, checked as a bundle's are, and nothing else; returns ``path``.

    The bare operator: ``export_file(torch_sigmoid_ext.Sigmoid(), [InputSpec.parse(
    "input=float32[n]")], path, lowering="native")``, then `measure_operator_in`.
    """
    module = module.eval()
    outputs = _output_names(inputs, check_model(module, inputs))
    program = Program(
        module, inputs, outputs, lowering, opset, convert=convert, external_data=external_data
    )
    path = Path(path)
    FORMATS[format].export(program, path)
    return path


def runtime_outputs(
    runtime: str, path: Path, batches: Sequence[Sequence[Array]]
) -> list[list[Array]]:
    """The outputs of one file in one runtime, in a process of its own: a list a batch."""
    return run_apart(RUNTIMES[runtime], path, batches)


def measure_operator_in(
    runtime: str,
    path: Path | None,
    dtype: str = "float32",
    gate: str = DEFAULT_GATE,
    lowering: str = "exact",
) -> RuntimeFindings:
    """The bare operator's file swept in one runtime, judged; ``path`` is None for eager.

    ``lowering`` is the one in the file: what mends a failure depends on it.
    """
    return verify_operator(RUNTIMES[runtime], path or Path(), dtype, gate, lowering)


def _choose_formats(names: Sequence[str] | None) -> tuple[list[Format], list[str]]:
    """The formats asked for, or the default ones that can work here, with a note on the others."""
    for name in names or ():
        check_choice("--format", name, FORMATS)
    chosen, notes = [], []
    by_default = [name for name, format in FORMATS.items() if format.default]
    for format in (FORMATS[name] for name in (by_default if names is None else names)):
        missing = format.missing()
        if not missing:
            chosen.append(format)
            continue
        lacks = f"the format {format.name} needs {missing}; run: {format.install}"
        if names is not None:
            raise NotInstalled(lacks)
        notes.append(lacks)
    return chosen, notes


def _able(
    engines: Sequence[Runtime], entries: Mapping[str, dict[str, Any]], names: Sequence[str] | None
) -> tuple[list[Runtime], dict[str, Skip]]:
    """The runtimes that can take the files, and why not the others: known before any is run."""
    cannot = {
        runtime.name: entries[runtime.format]["cannot_run"][runtime.name]
        for runtime in engines
        if runtime.name in entries.get(runtime.format, {}).get("cannot_run", {})
    }
    if cannot and names is not None:
        raise UsageError(
            "; ".join(f"{name} cannot run the file: {cannot[name]}" for name in cannot)
        )
    unable = {name: Skip(SkipKind.CANNOT_RUN, why) for name, why in cannot.items()}
    return [runtime for runtime in engines if runtime.name not in unable], unable


def _output_names(inputs: Sequence[InputSpec], count: int) -> list[str]:
    """``output``, or ``output_0`` and so on, and never the name of an input."""
    taken = {spec.name for spec in inputs}
    names = ["output"] if count == 1 else [f"output_{i}" for i in range(count)]
    while taken.intersection(names):
        names = [f"{name}_" for name in names]
    return names


def _operator_dtype(model: nn.Module, inputs: Sequence[InputSpec]) -> str:
    """The float dtype of the model's first parameter, else of its first input."""
    dtypes = [str(p.dtype).removeprefix("torch.") for p in model.parameters()]
    dtypes += [spec.dtype for spec in inputs]
    return next((d for d in dtypes if d in ("float16", "float32", "float64")), "float32")


def _operator_program(program: Program, dtype: str, swept: str) -> Program:
    """The model's sigmoid alone, which goes through the very same code as the model."""
    from torch import nn

    module = nn.Sigmoid() if swept == TORCHS else torch_sigmoid_ext.Sigmoid()
    return Program(
        module.eval(),
        [InputSpec("input", dtype, ("n",))],
        ["output"],
        program.lowering,
        program.opset,
        convert=program.convert,
        source=swept,
        gate=program.gate,
    )


def _report(
    manifest: Manifest, gate: str, found: list[RuntimeFindings], skipped: dict[str, Skip]
) -> Report:
    return Report(
        model=manifest.model,
        lowering=manifest.lowering,
        gate=gate,
        opset=manifest.opset,
        formats=list(manifest.formats),
        inputs=[str(spec) for spec in manifest.inputs],
        created=manifest.created,
        versions=manifest.versions,
        runtimes=found,
        swept=manifest.swept,
        skipped=skipped,
        notes=manifest.notes,
        verified=_now() if found else None,
        verified_with=_verified_with() if found else {},
    )


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _verified_with() -> dict[str, str]:
    """What ran the runtimes, and may change their results beside their own versions."""
    return {
        "python": platform.python_version(),
        "torch_sigmoid_ext": torch_sigmoid_ext.__version__,
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _versions() -> dict[str, str]:
    """What made the files; a runtime's version stands in its own findings."""
    import torch

    versions = {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torch_sigmoid_ext": torch_sigmoid_ext.__version__,
        "numpy": np.__version__,
    }
    for package in ("onnx", "onnxscript"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def steps(console: Console | None) -> Callable[[str], Any]:
    """Names each step: a spinner on a terminal, and everywhere a line once it is done."""

    @contextmanager
    def step(text: str) -> Iterator[None]:
        if console is None:
            yield
            return
        start = time.monotonic()
        with console.status(text):  # shows nothing where there is no terminal
            yield
        console.print(f"{text}: {time.monotonic() - start:.1f} s", highlight=False)

    return step

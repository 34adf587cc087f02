"""The way of a model: files, a run in each runtime, the truth beside it, a report, a bundle."""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import torch_sigmoid_ext

from . import formats as export_formats
from .bundle import SAMPLES, Manifest, check_free, open_bundle, seal, staged
from .choices import check_choice
from .errors import NotInstalled
from .findings import Report, RuntimeFindings
from .formats import FORMATS, LOWERINGS, OURS, SIGMOIDS, TORCHS, Format, Program
from .gates import DEFAULT_GATE, GATES
from .missing_library import LIBRARY
from .model import InputSpec
from .report import write_report
from .runtimes import RUNTIMES, Array
from .runtimes.worker import run_apart
from .samples import check_model, make_samples, save_samples
from .verify import choose_runtimes, verify_bundle, verify_operator


def export_bundle(
    model: nn.Module,
    source: str,
    inputs: Sequence[InputSpec],
    directory: Path,
    *,
    formats: Sequence[str] | None = None,  # None: every format that is installed
    lowering: str = "exact",
    gate: str = DEFAULT_GATE,
    runtimes: Sequence[str] | None = None,  # None: every runtime that is installed
    opset: int | None = None,
    verify: bool = True,
    samples: Sequence[Array] | None = None,  # real rows, one array an input, for the model level
    translations: Mapping[Any, Callable[..., Any]] | None = None,  # ONNX: the user's own operators
    annotate: Callable[[Report, Path], None] | None = None,
    console: Console | None = None,
) -> Report:
    """Write the bundle ``directory`` and return what its report says.

    ``annotate(report, staging)`` is called after verification and before the report is written: it
    may fill ``report.training`` and the like, and add files to the staging folder.
    """
    check_free(directory)
    check_choice("--gate", gate, GATES)
    check_choice("--sigmoid", lowering, LOWERINGS, export_formats.PLANNED_LOWERINGS)
    chosen, notes = _choose_formats(formats)
    names = [format.name for format in chosen]
    engines, skipped = choose_runtimes(runtimes, names) if verify else ([], {})
    step = steps(console)
    model = model.eval()
    with staged(directory) as staging:
        outputs = _output_names(inputs, check_model(model, inputs))
        program = Program(model, inputs, outputs, lowering, opset, translations or {})
        dtype = _operator_dtype(model, inputs)
        swept, remarks = _sigmoid_of(model, program)
        operator = _operator_program(dtype, lowering, opset, swept)
        entries = {}
        for format in chosen:
            with step(f"exporting to {format.name}"):
                files = {role: role + format.suffix for role in ("model", "operator")}
                facts = format.export(program, staging / files["model"])
                bare = format.export(operator, staging / files["operator"])
                entries[format.name] = {**files, **facts}
            if "library" in facts or "library" in bare:
                shutil.copy(torch_sigmoid_ext.library_path(), staging / LIBRARY)
        with step("computing the float64 truth"):
            batches, doubts = make_samples(model, inputs, samples)
            save_samples(staging / SAMPLES, batches)
        manifest = Manifest(
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            model=source,
            lowering=lowering,
            gate=gate,
            opset=entries.get("onnx", {}).get("opset"),
            inputs=list(inputs),
            outputs=outputs,
            operator_dtype=dtype,
            swept=swept,
            formats=entries,
            versions=_versions(),
            notes=notes + remarks + doubts + ([] if verify else ["not verified: --no-verify"]),
        )
        found = verify_bundle(staging, manifest, engines, gate, step)
        report = _report(manifest, gate, found, skipped)
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
    console: Console | None = None,
) -> Report:
    """Verify a bundle as it lies there, without the model's source; nothing is written."""
    manifest = open_bundle(directory)
    gate = gate or manifest.gate
    check_choice("--gate", gate, GATES)
    engines, skipped = choose_runtimes(runtimes, list(manifest.formats))
    found = verify_bundle(directory, manifest, engines, gate, steps(console))
    return _report(manifest, gate, found, skipped)


def export_file(
    module: nn.Module,
    inputs: Sequence[InputSpec],
    path: Path,
    *,
    format: str = "onnx",
    lowering: str = "exact",
    opset: int | None = None,
) -> Path:
    """One file in one format, checked as a bundle's are, and nothing else; returns ``path``.

    The bare operator: ``export_file(torch_sigmoid_ext.Sigmoid(), [InputSpec.parse(
    "input=float32[n]")], path, lowering="native")``, then `measure_operator_in`.
    """
    module = module.eval()
    outputs = _output_names(inputs, check_model(module, inputs))
    FORMATS[format].export(Program(module, inputs, outputs, lowering, opset), path)
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
    """The formats asked for, or all that can work here, with a note on the others."""
    for name in names or ():
        check_choice("--format", name, FORMATS, export_formats.PLANNED)
    chosen, notes = [], []
    for format in FORMATS.values() if names is None else (FORMATS[n] for n in names):
        missing = format.missing()
        if not missing:
            chosen.append(format)
            continue
        lacks = f"the format {format.name} needs {missing}; run: {format.install}"
        if names is not None:
            raise NotInstalled(lacks)
        notes.append(lacks)
    return chosen, notes


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


class _SigmoidCalls(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts, while entered, the calls of each sigmoid, under whatever name."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = dict.fromkeys(SIGMOIDS, 0)
        self.bfloat16 = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        namespace, _, name = func._schema.name.partition("::")
        if name in ("sigmoid", "sigmoid_") and namespace in ("aten", "torch_sigmoid_ext"):
            self.count[TORCHS if namespace == "aten" else OURS] += 1
            self.bfloat16 |= args[0].dtype == torch.bfloat16
        return func(*args, **(kwargs or {}))


def _sigmoid_of(model: nn.Module, program: Program) -> tuple[str, list[str]]:
    """Which sigmoid the model calls, torch's if both, and what the user must know of it."""
    with torch.no_grad(), _SigmoidCalls() as calls:
        model(*program.example())
    ours, torchs = calls.count[OURS], calls.count[TORCHS]
    notes = []
    if torchs:
        notes.append(
            f"the model calls torch's own sigmoid ({torchs} of {torchs + ours} calls), which "
            "--sigmoid does not touch: the operator level shows that one; export with --convert to "
            "put torch_sigmoid_ext.sigmoid in its place"
        )
    elif not ours:
        notes.append(
            "the model was not seen to call a sigmoid (one inside of an operator such as LSTM or "
            "SiLU is not seen): the operator level shows torch_sigmoid_ext.sigmoid alone"
        )
    if calls.bfloat16:
        notes.append("the model's sigmoid runs in bfloat16; the operator level sweeps float32")
    return (TORCHS if torchs else OURS), notes


def _operator_program(dtype: str, lowering: str, opset: int | None, swept: str = OURS) -> Program:
    """The model's sigmoid alone, which goes through the very same code as the model."""
    module = nn.Sigmoid() if swept == TORCHS else torch_sigmoid_ext.Sigmoid()
    spec = InputSpec("input", dtype, ("n",))
    return Program(module.eval(), [spec], ["output"], lowering, opset)


def _report(
    manifest: Manifest, gate: str, found: list[RuntimeFindings], skipped: dict[str, str]
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
    )


def _versions() -> dict[str, str]:
    """What made the files; a runtime's version stands in its own findings."""
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

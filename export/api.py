"""What the command does, as functions; and the ONNX lowerings for torch.onnx.export itself."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch_sigmoid_ext

from .bundle import Manifest, open_bundle
from .choices import check_choice
from .errors import NotInstalled, UsageError
from .findings import Report
from .formats import FORMATS, LOWERINGS
from .junit import check_junit, write_junit
from .model import InputSpec
from .pipeline import export_bundle, verify_again
from .record import check_outside
from .runtimes import RUNTIMES, Array
from .settings import choose_gates
from .user_samples import Given, rows_of

if TYPE_CHECKING:
    from torch import nn
    from torch.onnx import ONNXProgram

Inputs = str | InputSpec | Sequence[str | InputSpec]


@dataclass(frozen=True)
class Bundle:
    """A folder that :func:`export` wrote, and what it reported when it did.

    Attributes:
        directory: where it lies; it can be moved.
        report: every figure of its verification.
    """

    directory: Path
    report: Report

    @property
    def manifest(self) -> Manifest:
        """What ``manifest.json`` says, once every file was found to be what it says."""
        return open_bundle(self.directory)

    @property
    def passed(self) -> bool:
        """Whether every runtime that was tried is within the gate."""
        return self.report.passed

    def file(self, format: str) -> Path:
        """The model's file in this format.

        Raises:
            UsageError: the bundle has no such format.
        """
        formats = self.manifest.formats
        check_choice("format", format, list(formats))
        return self.directory / str(formats[format]["model"])


def export(
    model: nn.Module,
    inputs: Inputs,
    directory: str | Path,
    *,
    formats: Sequence[str] | None = None,
    sigmoid: str = "exact",
    opset: int | None = None,
    convert: bool = False,
    external_data: bool = False,
    verify: bool = True,
    intermediate: bool = False,
    runtimes: Sequence[str] | None = None,
    gate: str | None = None,
    samples: Given | None = None,
    label: str | None = None,
    labels: Array | None = None,
    threshold: float | None = None,
    translations: Mapping[Any, Callable[..., Any]] | None = None,
    junit: str | Path | None = None,
) -> Bundle:
    """Write the model to files, run each in its runtimes, and report: the command ``export``.

    Args:
        model: taken in eval mode; each of its modules is given back in the mode it came in.
        inputs: each argument of forward, as ``"x=float32[batch,3]"``: a dimension with a name is
            dynamic, a number is fixed.
        directory: the folder to write; it must not exist, and appears whole or not at all.
        formats: of torchscript, onnx, pt2 and aoti; by default the first three, as installed.
        sigmoid: what the sigmoid becomes in ONNX: exact, stable, native or function.
        opset: of the ONNX file, from 13 on; by default the exporter's own choice.
        convert: also take torch's own sigmoid for ours, and in ONNX SiLU and GLU.
        external_data: write ONNX weights to a file beside, which else happens above 1.5 GB.
        verify: run the files; without it ``report.runtimes`` is empty.
        intermediate: also write files whose outputs are those of the sigmoids inside of the model,
            and verify each of these.
        runtimes: by their names on the command line; by default all that are installed.
        gate: exact, strict, portable or absolute, or ``"strict,openvino-default=absolute"``; by
            default what the nearest pyproject.toml says, else strict.
        samples: rows of your own to verify the model on, in place of drawn ones: an .npz or .csv
            file, a dict of arrays by the inputs' names, or a list of them. Of an output that is
            probabilities the report tells what became of order, decisions and log-losses.
        label: the name of the labels among the samples; by default label, labels or target.
        labels: the labels themselves: 0 or 1 in the output's shape, or one a row.
        threshold: where to decide, beside 0.5.
        translations: ONNX lowerings of operators of your own, by their overloads.
        junit: a file to write JUnit XML to as well, outside of the folder.

    Returns:
        The bundle, also where a runtime is outside the gate: ask ``bundle.passed``.

    Raises:
        UsageError: a wrong argument, or a model that a format cannot hold; the text says why.
        NotInstalled: something asked for by name is not here; the text says what to run.

    Example:
        >>> import tempfile, torch_sigmoid_ext
        >>> from torch_sigmoid_ext.export import export
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     bundle = export(
        ...         torch_sigmoid_ext.SimpleNN(),
        ...         "x=float32[batch,3]",
        ...         folder + "/simple",
        ...         formats=["torchscript"],
        ...         runtimes=["eager"],
        ...     )
        ...     bundle.passed, bundle.file("torchscript").name
        (True, 'model.torchscript.pt')
    """
    specs = _specs(inputs)
    gates = choose_gates(gate)
    rows = rows_of(samples, specs, label, labels=labels, threshold=threshold)
    if junit is not None:
        check_outside(Path(junit), Path(directory))
        check_junit(Path(junit))
    modes = {module: module.training for module in model.modules()}
    try:
        report = export_bundle(
            torch_sigmoid_ext.convert(model) if convert else model,
            type(model).__name__,
            specs,
            Path(directory),
            formats=formats,
            lowering=sigmoid,
            gate=gates,
            runtimes=runtimes,
            opset=opset,
            convert=convert,
            external_data=external_data,
            verify=verify,
            intermediate=intermediate,
            samples=rows,
            translations=translations,
        )
    finally:
        for module, training in modes.items():
            module.training = training
    if junit is not None:
        write_junit(report, Path(junit))
    return Bundle(Path(directory), report)


def verify(
    bundle: Bundle | str | Path,
    *,
    runtimes: Sequence[str] | None = None,
    gate: str | None = None,
    samples: Given | None = None,
    label: str | None = None,
    labels: Array | None = None,
    threshold: float | None = None,
    report: str | Path | None = None,
) -> Report:
    """Verify a bundle again, anywhere, later, without the model's code: the command ``verify``.

    Args:
        bundle: what :func:`export` returned, or the folder.
        runtimes: by their names on the command line; by default all that are installed.
        gate: exact, strict, portable or absolute; by default the gates of the export.
        samples, label, labels, threshold: as of :func:`export`, in place of the rows that were
            given there. Their truth comes from model.pt2, which the bundle must have.
        report: a folder to write report.html, report.md, report.json and junit.xml to; it must not
            exist, and lies outside of the bundle, which is left as it is.

    Returns:
        The findings, runtime by runtime; ``report.passed`` is the verdict, and
        ``report.since_export`` what is not as it was when the bundle was exported.

    Raises:
        UsageError: no bundle, a file that has changed, or a wrong name.
        NotInstalled: a runtime asked for by name is not here; the text says what to run.

    Example:
        >>> import tempfile, torch_sigmoid_ext
        >>> from torch_sigmoid_ext.export import export, verify
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     bundle = export(
        ...         torch_sigmoid_ext.SimpleNN(),
        ...         "x=float32[batch,3]",
        ...         folder + "/simple",
        ...         formats=["torchscript"],
        ...         verify=False,
        ...     )
        ...     [(row.runtime, row.passed) for row in verify(bundle, runtimes=["eager"]).runtimes]
        [('eager', True)]
    """
    directory = bundle.directory if isinstance(bundle, Bundle) else Path(bundle)
    return verify_again(
        directory,
        gate=gate,
        runtimes=runtimes,
        samples=samples,
        label=label,
        labels=labels,
        threshold=threshold,
        pages=None if report is None else Path(report),
    )


def assert_parity(
    model: nn.Module,
    inputs: Inputs,
    *,
    runtimes: Sequence[str] | None = None,
    gate: str | None = None,
    sigmoid: str = "exact",
    opset: int | None = None,
    convert: bool = False,
    samples: Given | None = None,
    label: str | None = None,
    labels: Array | None = None,
    threshold: float | None = None,
    translations: Mapping[Any, Callable[..., Any]] | None = None,
) -> Report:
    """AssertionError unless every runtime gives, within the gate, what the model in float64 gives.

    For a test of your own. The files are written to a temporary folder, in the formats that the
    runtimes read. A runtime that is asked for by name and is not installed is an error, not a skip.

    Args:
        model, inputs, gate, sigmoid, opset, convert, translations: as of :func:`export`.
        samples, label, labels, threshold: as of :func:`export`.
        runtimes: by their names on the command line; by default all that are installed.

    Returns:
        The findings, where there is no error.

    Raises:
        AssertionError: a runtime is outside the gate: which input, expected, got, ULP, and what
            mends it. Or nothing shows that it is within, since the model has no float64 truth.
        UsageError, NotInstalled: as of :func:`export`.

    Example:
        >>> import torch_sigmoid_ext
        >>> from torch_sigmoid_ext.export import assert_parity
        >>> report = assert_parity(
        ...     torch_sigmoid_ext.SimpleNN(), "x=float32[batch,3]", runtimes=["torchscript"]
        ... )
        >>> [row.operator.max_ulp <= 0.5 for row in report.runtimes]
        [True]
    """
    __tracebackhide__ = True  # pytest shows the test's own line
    with tempfile.TemporaryDirectory(prefix="torch_sigmoid_ext-") as folder:
        report = export(
            model,
            inputs,
            Path(folder) / "bundle",
            formats=_formats_for(runtimes),
            sigmoid=sigmoid,
            opset=opset,
            convert=convert,
            runtimes=runtimes,
            gate=gate,
            samples=samples,
            label=label,
            labels=labels,
            threshold=threshold,
            translations=translations,
        ).report
    failed = [
        f"{row.runtime}: {failure.what}" + (f"; to mend: {failure.mend}" if failure.mend else "")
        for row in report.runtimes
        for failure in row.failures
    ]
    if failed:
        raise AssertionError("\n".join([*failed, *(f"note: {note}" for note in report.notes)]))
    if not any(case.elements for row in report.runtimes for case in row.cases):
        skipped = [f"{name} is skipped: {why}" for name, why in report.skipped.items()]
        why = "; ".join([*report.notes, *skipped]) or "no runtime was run"
        raise AssertionError(f"expected the model to be held against its truth, it was not: {why}")
    return report


def onnx_translation_table(
    sigmoid: str = "exact", *, convert: bool = False
) -> dict[Any, Callable[..., Any]]:
    """The lowering for torch.onnx.export's ``custom_translation_table``.

    Args:
        sigmoid: exact, stable, native or function. After ``function`` call
            :func:`add_onnx_functions`, which gives the file the function's body.
        convert: also lower torch's own sigmoid, SiLU and GLU, in a model that is left as it is.

    Raises:
        UsageError: no such lowering.
        NotInstalled: onnx or onnxscript is not here.

    Example:
        >>> import torch, torch_sigmoid_ext
        >>> from torch_sigmoid_ext.export import onnx_translation_table
        >>> program = torch.onnx.export(
        ...     torch.nn.SiLU().eval(),
        ...     (torch.ones(3),),
        ...     custom_translation_table=onnx_translation_table("stable", convert=True),
        ...     verbose=False,
        ... )
        >>> sorted({node.op_type for node in program.model.graph})
        ['Abs', 'Add', 'Div', 'Exp', 'Less', 'Mul', 'Neg', 'Where']
    """
    check_choice("sigmoid", sigmoid, LOWERINGS)
    if missing := FORMATS["onnx"].missing():
        raise NotInstalled(f"the ONNX lowerings need {missing}; run: {FORMATS['onnx'].install}")
    from .lowering import translation_table

    return translation_table(sigmoid, convert)


def add_onnx_functions(program: ONNXProgram) -> ONNXProgram:
    """Give an ONNX program the functions that the lowering ``function`` calls; returns it.

    To be called last: ``program.optimize()`` would write the body in place of each call.

    Raises:
        UsageError: program is not what torch.onnx.export returned.

    Example:
        >>> import torch, torch_sigmoid_ext
        >>> from torch_sigmoid_ext.export import add_onnx_functions, onnx_translation_table
        >>> program = torch.onnx.export(
        ...     torch_sigmoid_ext.Sigmoid().eval(),
        ...     (torch.ones(3),),
        ...     custom_translation_table=onnx_translation_table("function"),
        ...     verbose=False,
        ... )
        >>> [function.name for function in add_onnx_functions(program).model_proto.functions]
        ['ExactSigmoidFloat32']
    """
    import torch

    if not isinstance(program, torch.onnx.ONNXProgram):
        raise UsageError(
            "expected the torch.onnx.ONNXProgram that torch.onnx.export(..., dynamo=True) returns, "
            f"got {type(program).__name__}"
        )
    from .lowering import add_functions

    add_functions(program.model)
    return program


def _specs(inputs: Inputs) -> list[InputSpec]:
    """The inputs in order, each with a name of its own."""
    given = [inputs] if isinstance(inputs, str | InputSpec) else list(inputs)
    specs = [each if isinstance(each, InputSpec) else InputSpec.parse(each) for each in given]
    names = [spec.name for spec in specs]
    if not specs or len(set(names)) < len(names):
        raise UsageError(
            "expected inputs as 'x=float32[batch,3]', one for each argument of forward, each with "
            f"a name of its own; got {names}"
        )
    return specs


def _formats_for(runtimes: Sequence[str] | None) -> list[str] | None:
    """The formats that the runtimes read; eager alone reads none, and torchscript stands in."""
    if runtimes is None:
        return None
    read = {RUNTIMES[name].format for name in runtimes if name in RUNTIMES} - {""}
    return [name for name in FORMATS if name in read] or ["torchscript"]

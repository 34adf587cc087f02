"""Run what was exported in every runtime, and hold the results against the truth."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np

from .bundle import INNER, MANIFEST, SAMPLES, Manifest
from .choices import check_choice
from .consequences import effects, is_probability
from .errors import NotInstalled, UsageError
from .findings import (
    CaseFindings,
    Deviation,
    Effects,
    Failure,
    RuntimeFindings,
    Skip,
    SkipKind,
)
from .formats import TORCHS
from .gates import GATES, judge
from .inner_errors import InnerSigmoid, measure_inner
from .runtimes import RUNTIMES, Array, Runtime
from .runtimes.apart import RuntimeFailure
from .runtimes.eager import Eager, EagerTorch
from .runtimes.worker import run_apart
from .settings import GateChoice
from .stored import GivenSample, Sample, joined, load_samples
from .ulp import Probe, measure_operator, ulp_error

Step = Callable[[str], AbstractContextManager[None]]  # names what takes time while it takes it


def choose_runtimes(
    names: Sequence[str] | None, formats: Sequence[str]
) -> tuple[list[Runtime], dict[str, Skip]]:
    """The runtimes asked for, or all that are ready; and those skipped, each with the reason.

    ``["all"]`` asks for all that are installed, with those that are left out by default: what no
    lowering brings within strict, or what has to be built first. NotInstalled for a runtime asked
    for by name that is not here, UsageError for one whose format is not in the bundle.
    """
    named = names is not None and list(names) != [ALL]
    for name in names or () if named else ():
        check_choice("--runtime", name, [*RUNTIMES, ALL])
    chosen: list[Runtime] = []
    skipped: dict[str, Skip] = {}
    for runtime in [RUNTIMES[n] for n in names or ()] if named else RUNTIMES.values():
        if named and runtime.broken:
            chosen.append(runtime)  # its row says so
        elif runtime.broken:
            skipped[runtime.name] = Skip(SkipKind.BROKEN, runtime.broken)
        elif runtime.format and runtime.format not in formats:
            if named:
                raise UsageError(
                    f"expected a runtime for {', '.join(formats)}, got --runtime {runtime.name}, "
                    f"which runs {runtime.format}; export with --format {runtime.format}"
                )
        elif not runtime.version():
            if named:
                raise NotInstalled(
                    f"the runtime {runtime.name} is not installed; run: {runtime.install}"
                )
            mend = f"run: {runtime.install}"
            skipped[runtime.name] = Skip(SkipKind.NOT_INSTALLED, "not installed", mend)
        elif names is None and (skip := _left_out(runtime)):
            skipped[runtime.name] = skip
        else:
            chosen.append(runtime)
    return chosen, skipped


ALL = "all"  # --runtime all


def _left_out(runtime: Runtime) -> Skip | None:
    """Why a runtime that is installed is not run by default."""
    mend = f"add it with --runtime {runtime.name} or --runtime all"
    if runtime.on_request:
        return Skip(SkipKind.ON_REQUEST, "installed, and run on request", mend)
    if pending := runtime.pending():
        return Skip(SkipKind.NOT_READY, f"not ready: needs {pending}", mend)
    return None


def verify_bundle(
    directory: Path,
    manifest: Manifest,
    runtimes: Sequence[Runtime],
    gates: GateChoice,
    step: Step,
    given: GivenSample | None = None,  # in place of the user's rows that are in the bundle
) -> list[RuntimeFindings]:
    """Every runtime on the bundle's operator and model, measured and judged."""
    samples = load_samples(directory / SAMPLES, manifest.inputs)
    if given is not None:
        samples = [*(sample for sample in samples if not sample.given), given]
    found = []
    for runtime in runtimes:
        with step(
            ", then ".join([*filter(None, [runtime.pending()]), f"verifying in {runtime.name}"])
        ):
            files = manifest.formats.get(runtime.format, {"operator": "", "model": ""})
            operator, model = (directory / files[role] for role in ("operator", "model"))
            if isinstance(runtime, Eager) and manifest.swept == TORCHS:
                runtime = EagerTorch()
            findings = RuntimeFindings(runtime.name, runtime.version(), files["model"], "ran")
            empty = _fill(findings, runtime, operator, manifest.operator_dtype, model, samples)
            findings.effects = [_named(e, manifest) for e in findings.effects]
            if findings.status == "ran" and manifest.inner:
                _measure_inner(findings, runtime, directory, manifest)
            findings.gate, findings.gate_source = gates.of(runtime.name)
            gate = GATES[findings.gate]
            failures = judge(gate, findings, manifest.lowering, manifest.swept)
            findings.failures = [_mended(f, runtime, manifest) for f in failures]
            findings.failures += empty
            found.append(findings)
    return found


def _mended(failure: Failure, runtime: Runtime, manifest: Manifest) -> Failure:
    """The failure with what the adapter knows to mend it, where the model's sigmoid is ours."""
    known = runtime.mends.get(manifest.lowering, "") if manifest.swept != TORCHS else ""
    return replace(failure, mend=known) if known else failure


def verify_operator(
    runtime: Runtime, path: Path, dtype: str, gate: str, lowering: str = "exact"
) -> RuntimeFindings:
    """The bare operator's file in one runtime, measured and judged."""
    findings = RuntimeFindings(runtime.name, runtime.version(), path.name, "ran")
    _fill(findings, runtime, path, dtype)
    findings.failures = judge(GATES[gate], findings, lowering)
    return findings


def _fill(
    findings: RuntimeFindings,
    runtime: Runtime,
    operator: Path,
    dtype: str,
    model: Path | None = None,
    samples: Sequence[Sample] = (),
) -> list[Failure]:
    """Run, measure, and note in the findings how that ended; return what no gate judges.

    That is how the runtime fails on the empty batch alone: what it did on the others stands.
    """
    failures = []
    start = time.monotonic()
    try:
        if runtime.broken:
            raise RuntimeFailure("crashed", runtime.broken)
        runtime.prepare()
        probe = Probe.of(dtype)
        [outputs] = run_apart(runtime, operator, [[probe.inputs]])
        _expect_like([probe.inputs], outputs)
        findings.operator = measure_operator(probe, outputs[0])
        if model is not None:
            _measure_model(findings, runtime, model, [s for s in samples if s.batch])
            try:
                _measure_model(findings, runtime, model, [s for s in samples if not s.batch])
            except RuntimeFailure as failure:
                failures.append(_empty_batch(runtime, failure))
            findings.cases.sort(key=lambda case: (case.given, case.batch))
    except RuntimeFailure as failure:
        findings.status, findings.detail = failure.status, str(failure)
    findings.seconds = time.monotonic() - start
    return failures


def _empty_batch(runtime: Runtime, failure: RuntimeFailure) -> Failure:
    return Failure(
        f"model, batch 0: {runtime.name} cannot take an empty batch of this model: {failure}",
        f"never give {runtime.name} an empty batch of this model, or export it with a number for "
        "the batch in --input",
        "model, batch 0",
    )


def _measure_model(
    findings: RuntimeFindings, runtime: Runtime, model: Path, samples: Sequence[Sample]
) -> None:
    """Each sample in one process, measured; RuntimeFailure where one has no proper result."""
    if not samples:
        return
    results = (
        _run_samples(runtime, model, samples)
        if runtime.format
        else [sample.eager for sample in samples]
    )
    for sample, outputs in zip(samples, results, strict=True):
        _expect_like(sample.eager, outputs)
    for sample, outputs in zip(samples, results, strict=True):
        if sample.truth:
            findings.cases.append(measure_case(sample, outputs))
        if isinstance(sample, GivenSample):
            findings.effects = measure_effects(sample, outputs)


def _measure_inner(
    findings: RuntimeFindings, runtime: Runtime, directory: Path, manifest: Manifest
) -> None:
    """The sigmoids inside of the model, where the runtime's format has a file for them."""
    sample = _inner_sample(directory, manifest)
    file = manifest.formats.get(runtime.format, {}).get("inner")
    try:
        if runtime.format and not file:
            return
        outputs = (
            run_apart(runtime, directory / str(file), [sample.inputs])[0]
            if runtime.format
            else sample.eager
        )
        _expect_like(sample.eager, outputs)
    except RuntimeFailure as failure:
        manifest.notes.append(
            f"the sigmoids inside are not measured in {runtime.name} ({failure.status} on {file}, "
            f"which is there for this alone): {failure}"
        )
        return
    sigmoids = [InnerSigmoid(**one) for one in manifest.inner]
    findings.inner = measure_inner(sigmoids, sample, outputs)


def _inner_sample(directory: Path, manifest: Manifest) -> Sample:
    samples = load_samples(directory / INNER, manifest.inputs)
    if len(samples) != 1 or not (
        2 * len(manifest.inner) <= len(samples[0].eager) == len(samples[0].truth)
    ):
        raise UsageError(
            f"expected in {INNER} one batch with input and result of each of the "
            f"{len(manifest.inner)} sigmoids of {MANIFEST}, got something else; export the model "
            "again"
        )
    return samples[0]


def _run_samples(runtime: Runtime, model: Path, samples: Sequence[Sample]) -> list[list[Array]]:
    """The outputs for each sample, of all the runs that it takes."""
    runs = [sample.runs() for sample in samples]
    results = iter(run_apart(runtime, model, [inputs for some in runs for inputs in some]))
    parts = [[next(results) for _ in some] for some in runs]
    try:
        return [joined(some) for some in parts]
    except ValueError as error:
        raise RuntimeFailure("crashed", f"returned outputs that do not fit: {error}") from None


def measure_effects(sample: GivenSample, outputs: Sequence[Array]) -> list[Effects]:
    """What became of order, decisions and log-losses, for each output that is probabilities."""
    return [
        effects(
            got,
            sample.eager[i],
            sample.truth[i] if sample.truth else None,
            labels=sample.labels if i == sample.labelled else None,
            threshold=sample.threshold,
            output=str(i),
        )
        for i, got in enumerate(outputs)
        if is_probability(sample.truth[i] if sample.truth else sample.eager[i])
    ]


def _named(found: Effects, manifest: Manifest) -> Effects:
    return replace(found, output=manifest.outputs[int(found.output)])


def _expect_like(expected: Sequence[Array], got: Sequence[Array]) -> None:
    """RuntimeFailure where the outputs have not the number, shapes and dtypes that are due."""

    def described(arrays: Sequence[Array]) -> str:
        return ", ".join(f"{a.dtype}{list(a.shape)}" for a in arrays)

    if described(expected) != described(got):
        raise RuntimeFailure(
            "crashed", f"returned {described(got)} where {described(expected)} was due"
        )


def measure_case(sample: Sample, outputs: Sequence[Array]) -> CaseFindings:
    """The model's outputs on one batch against the float64 truth, beside eager's own error.

    Where eager itself leaves the truth for NaN or an infinity (float32 overflows where float64 does
    not), there is no error to measure, and the runtime must do the same as eager.
    """
    elements = differing = nan_mismatches = 0
    max_ulp = eager_ulp = max_abs_error = 0.0
    worst: Deviation | None = None
    compared = zip(outputs, sample.eager, sample.truth, strict=True)
    for number, (got, eager, truth) in enumerate(compared):
        own = ulp_error(eager, truth, eager.dtype)
        due = np.where(np.isfinite(own), truth, eager)
        own = np.where(np.isfinite(own), own, 0)
        ulp = ulp_error(got, due, eager.dtype)
        same = (got == eager) | (_isnan(got) & _isnan(eager))
        with np.errstate(invalid="ignore"):
            apart = np.where(ulp == 0, 0, np.abs(got.astype(np.float64) - due))
        elements += got.size
        differing += int((~same).sum())
        nan_mismatches += int((_isnan(got) != _isnan(due)).sum())
        eager_ulp = max(eager_ulp, float(own.max(initial=0)))
        max_abs_error = max(max_abs_error, float(np.fmax.reduce(apart, axis=None, initial=0)))
        if ulp.max(initial=0) > max_ulp:
            at = np.unravel_index(int(ulp.argmax()), ulp.shape)
            max_ulp = float(ulp[at])
            worst = Deviation(
                input=np.nan,
                expected=float(due[at].astype(eager.dtype)),
                got=float(got[at]),
                ulp=max_ulp,
                where=f"output {number}, element {[int(i) for i in at]}",
            )
    return CaseFindings(
        batch=sample.batch,
        elements=elements,
        max_ulp=max_ulp,
        eager_ulp=eager_ulp,
        differing_from_eager=differing,
        nan_mismatches=nan_mismatches,
        max_abs_error=max_abs_error,
        worst=worst,
        given=sample.given,
    )


def _isnan(array: Array) -> Array:
    nan: Array = array != array
    return nan

"""Every tolerance of the project, each with its reason, and the judgement by them.

A gate is chosen with ``--gate``. It judges the sigmoid alone in ULP of the truth (spacings of the
output dtype), and the whole model by what eager PyTorch itself loses: a Linear amplifies rounding
without bound, so no fixed number of ULP is fair to a model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .findings import (
    CaseFindings,
    Deviation,
    Failure,
    InnerFindings,
    OperatorFindings,
    RuntimeFindings,
)
from .formats import OURS, TORCHS
from .ulp import edges


@dataclass(frozen=True)
class Gate:
    """What one ``--gate`` allows."""

    name: str
    meaning: str  # one line for the user
    operator_ulp: float = math.inf  # the operator's error, and its drop between sorted inputs
    model_ulp: float = math.inf  # a model's error, where eager's own is small
    model_eager_factor: float = 0.0  # a model's error, in multiples of eager's own
    absolute: float = math.inf  # |got - truth|, operator and model
    same_bits: bool = False  # operator: the correctly rounded truth; model: eager's bits
    flushed_subnormals: bool = False  # true results that are subnormal may come back as 0
    symmetry_ulp: float = math.inf  # |σ(x) + σ(-x) - 1|, in spacings of the floats just below 1
    range_and_order: bool = True  # no premature zeros, nothing outside [0, 1], no order lost


# e^-x, 1 + e^-x and the quotient, each within 1 ULP, come to about 2.5, as torch.sigmoid and other
# careful kernels do. 4 leaves room for another e^x (numpy's makes it 3.2), none for a lost tail.
STRICT_ULP = 4.0

# Runtimes with a polynomial e^x and an approximate reciprocal measure up to 7.7 (MNN).
PORTABLE_ULP = 8.0

# σ(x) + σ(-x) is 1, the probabilities of yes and of no. Two results that are each E ULP off may
# leave it by 1.5 E spacings of the floats just below 1, if both are off to the same side: a bias,
# which a calibration inherits. Their sum is one result, and gets the allowance of one, E.
# (Correctly rounded it is off by 0.5 at most, by torch.sigmoid and numpy by 1.5.) Under `exact` the
# bits of both are fixed, and nothing is left to ask; under `absolute` each may be off by itself.
SYMMETRY_ULP = {"strict": STRICT_ULP, "portable": PORTABLE_ULP}

# Eager's own error is the yardstick of a model: another order of summation, another e^x may double
# it, and both may fall the other way. Four times is past that and far below what a broken sigmoid
# does (10^7 times). Where eager happens to be exact, 8 ULP stand for the same allowance.
# The yardstick is eager's largest error on any of the batches drawn: its error on the one row of a
# batch of 1 is a matter of luck, which refuses one SimpleNN in twenty for the order of its sums
# (tests/test_gates.py draws a hundred).
MODEL_EAGER_FACTOR = 4.0
MODEL_ULP = 8.0

# A usual tolerance for probabilities, 17 spacings of float32 below 1. It passes over a tail that is
# all zero, so it is there for those who know that their logits never reach the tails.
ABSOLUTE = 1e-6

GATES = {
    gate.name: gate
    for gate in (
        Gate(
            "exact",
            "the bits of the correctly rounded truth, and for the model eager's bits",
            same_bits=True,
        ),
        Gate(
            "strict",
            "4 ULP in every band, subnormal results included, and no premature zeros",
            operator_ulp=STRICT_ULP,
            symmetry_ulp=SYMMETRY_ULP["strict"],
            model_ulp=MODEL_ULP,
            model_eager_factor=MODEL_EAGER_FACTOR,
        ),
        Gate(
            "portable",
            "8 ULP where the result is normal; subnormal results may be flushed to 0",
            operator_ulp=PORTABLE_ULP,
            symmetry_ulp=SYMMETRY_ULP["portable"],
            model_ulp=MODEL_ULP,
            model_eager_factor=MODEL_EAGER_FACTOR,
            flushed_subnormals=True,
        ),
        Gate(
            "absolute",
            "|got - truth| <= 1e-6, NaN where it is due, and nothing else",
            absolute=ABSOLUTE,
            range_and_order=False,
        ),
    )
}
DEFAULT_GATE = "strict"


def judge(
    gate: Gate, findings: RuntimeFindings, lowering: str = "exact", swept: str = OURS
) -> list[Failure]:
    """How a runtime is outside the gate: premature zeros first, then the worst first."""
    if findings.status != "ran":
        verb = {"timeout": "did not answer"}.get(findings.status, findings.status)
        return [Failure(f"{findings.runtime} {verb}: {findings.detail}", "")]
    operator = findings.operator
    found = list(_operator(gate, operator)) if operator else []
    mend = CONVERT if swept == TORCHS else _operator_mend(gate, findings, lowering)
    failures = [Failure(what, mend) for _, what in sorted(found, key=lambda f: -f[0])]
    if departing := first_departure(gate, findings):
        failures.append(Failure(departing, mend))
    yardstick = max((case.eager_ulp for case in findings.cases if not case.given), default=0.0)
    cases = [
        (*entry, case.name) for case in findings.cases for entry in _case(gate, case, yardstick)
    ]
    mend = mend if found or swept == TORCHS else _model_mend(gate, findings, lowering)
    cases.sort(key=lambda f: -f[0])
    return failures + [Failure(what, mend, subject) for _, what, subject in cases]


def _operator(gate: Gate, found: OperatorFindings) -> Iterable[tuple[float, str]]:
    """Each failure of the operator with its rank, which is its ULP where it has one."""
    subnormal = edges(found.dtype).subnormal
    zero = found.worst_zero
    flushed = gate.flushed_subnormals and zero is not None and zero.input < subnormal
    if gate.range_and_order and zero and found.zero_band and not flushed:
        low, high = found.zero_band
        yield (
            math.inf,
            f"premature zeros for x in [{low:.6g}, {high:.6g}]: sigmoid({zero.input:.6g}) "
            f"is {zero.expected:.3g}, got 0 ({zero.ulp:.3g} ULP)",
        )
    for special in found.special_values:
        apart = abs(special.got - special.expected)  # NaN for a missing or spurious NaN
        within = special.ok or apart <= gate.absolute < math.inf
        if not within and (not math.isfinite(special.input) or gate.same_bits):
            yield (
                1e300,  # above every finite error: no tolerance applies
                f"sigmoid({special.input:.6g}) is {special.expected:.6g}, got {special.got:.9g}",
            )
    if gate.range_and_order and found.out_of_range:
        yield (
            1e299,
            f"{found.out_of_range:,} finite inputs give a result outside [0, 1]; "
            f"the largest is {found.largest_result:.9g}",
        )
    if gate.range_and_order and found.largest_drop_ulp > gate.operator_ulp:
        yield (
            found.largest_drop_ulp,
            f"order is lost: {found.decreasing_pairs:,} pairs of neighbouring inputs come back "
            f"reversed, by up to {found.largest_drop_ulp:.3g} ULP where {gate.operator_ulp:g} is "
            "allowed",
        )
    uneven = found.symmetry and found.symmetry.worst
    if uneven and uneven.ulp > gate.symmetry_ulp:
        yield (
            uneven.ulp,
            f"σ(x) + σ(-x) leaves 1 by {uneven.ulp:.3g} spacings of the floats below it where "
            f"{gate.symmetry_ulp:g} is allowed: x = {uneven.input:.9g}, {uneven.where}",
        )
    for band in found.bands:
        worst = band.worst_kept  # premature zeros have been told
        if worst and worst.ulp > gate.operator_ulp:
            yield worst.ulp, f"x in {band.name}: {_ulp(worst, gate.operator_ulp)}"
    if gate.same_bits and found.differing:
        at = f"; the worst: {_at(found.worst)}" if found.worst else ""
        yield (
            0.0,
            f"{found.differing:,} of {found.points:,} results differ from the correctly rounded "
            f"truth{at}",
        )
    off = found.worst_absolute
    if off and math.isnan(off.got):
        yield math.inf, f"NaN for a finite input: {_at(off)}"
    elif off and abs(off.got - off.expected) > gate.absolute:
        yield abs(off.got - off.expected), f"off by more than {gate.absolute:g}: {_at(off)}"


def first_departure(gate: Gate, findings: RuntimeFindings) -> str:
    """Which of the model's sigmoids is the first to leave the gate by itself, and how; "" if none.

    By itself: against σ of the input that the runtime gave it. The operator's bounds hold for it,
    since it is the operator, where the model puts it.
    """
    for inner in findings.inner:
        if said := _departure(gate, inner):
            where = f"{inner.module} ({inner.name})" if inner.module else inner.name
            return f"the model's sigmoid {where} is the first to leave the gate: {said}"
    return ""


def _departure(gate: Gate, inner: InnerFindings) -> str:
    zero, kept = inner.worst_zero, inner.worst_kept
    subnormal = edges(inner.dtype).subnormal
    flushed = gate.flushed_subnormals and zero is not None and zero.input < subnormal
    if gate.range_and_order and zero and not flushed:
        return f"{inner.premature_zeros:,} premature zeros, the worst: {_at(zero)}"
    if kept and kept.ulp > gate.operator_ulp:
        return _ulp(kept, gate.operator_ulp)
    if gate.same_bits and inner.differing:
        at = f"; the worst: {_at(kept)}" if kept else ""
        return f"{inner.differing:,} of {inner.elements:,} results are not correctly rounded{at}"
    if inner.max_abs_error > gate.absolute:
        return f"off by {inner.max_abs_error:.3g} where {gate.absolute:g} is allowed"
    return ""


def _case(gate: Gate, case: CaseFindings, yardstick: float) -> Iterable[tuple[float, str]]:
    """Each failure of the whole model on one batch, with its rank."""
    where = case.name
    if case.nan_mismatches:
        yield (
            math.inf,
            f"{where}: {case.nan_mismatches} of {case.elements} elements are NaN in one of "
            "runtime and truth and a number in the other",
        )
    if gate.same_bits and case.differing_from_eager:
        yield (
            case.max_ulp,
            f"{where}: {case.differing_from_eager:,} of {case.elements:,} elements have other bits "
            "than eager's",
        )
    eager = max(case.eager_ulp, yardstick)
    allowed = max(gate.model_eager_factor * eager, gate.model_ulp)
    if case.worst and case.max_ulp > allowed:
        yield case.max_ulp, f"{where}: {_ulp(case.worst, allowed)} (eager: {eager:.3g})"
    if not case.max_abs_error <= gate.absolute:
        yield (
            case.max_abs_error,
            f"{where}: off by {case.max_abs_error:.3g} where {gate.absolute:g} is allowed",
        )


def _ulp(worst: Deviation, allowed: float) -> str:
    return f"{worst.ulp:.4g} ULP where {allowed:.4g} is allowed: {_at(worst)}"


def _at(worst: Deviation) -> str:
    """What came where what was due; a model's element has no single input."""
    place = worst.where if math.isnan(worst.input) else f"x = {worst.input:.9g}"
    return f"{place and place + ', '}expected {worst.expected:.9g}, got {worst.got:.9g}"


def _operator_mend(gate: Gate, findings: RuntimeFindings, lowering: str) -> str:
    """The flag that mends an operator outside the gate, where there is one."""
    if not findings.file.endswith(".onnx"):
        return "use --gate strict" if gate.same_bits else ""
    if lowering in ("exact", "function"):
        return "" if gate.name == "portable" else "use --gate portable"
    if gate.same_bits or lowering == "stable":
        return "export with --sigmoid exact (same bits as the operator)"
    return "export with --sigmoid exact (same bits as the operator) or --sigmoid stable"


CONVERT = "export with --convert: the model calls torch's own sigmoid, which --sigmoid leaves alone"


def _model_mend(gate: Gate, findings: RuntimeFindings, lowering: str) -> str:
    """The flag that mends a model whose sigmoid alone is within the gate."""
    if gate.same_bits:
        return "use --gate strict: a Linear in another runtime may sum in another order"
    return ""

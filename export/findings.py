"""What a verification found, as plain data.

verify.py fills it, gates.py judges it, report.py shows it.

Every figure is against the float64 truth (at operator level: a truth with at least eleven bits to
spare), never against another float32 result. ULP means |got - truth| / (spacing of the output dtype
at the truth); a missing or spurious NaN counts as infinitely many.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Deviation:
    """One element where a runtime left the truth."""

    input: (
        float  # the sigmoid's input; at model level NaN, since an element there has no single one
    )
    expected: float  # the truth, rounded to the output dtype
    got: float
    ulp: float
    where: str = ""  # at model level: which element of which output


@dataclass(frozen=True)
class Band:
    """Errors over the sweep's inputs with low <= input < high (the last band includes high)."""

    name: str  # e.g. "-87.3 .. -18"
    low: float
    high: float
    points: int
    differing: int  # results whose bits are not those of the correctly rounded truth
    max_ulp: float
    premature_zeros: int  # results that are 0 where the correctly rounded truth is not
    worst: Deviation | None  # None when max_ulp is 0
    worst_kept: Deviation | None = None  # the worst among results that are not premature zeros


@dataclass(frozen=True)
class SpecialValue:
    """One of ±inf, NaN, ±0, the smallest subnormals: what must come out, and what did."""

    input: float
    expected: float
    got: float
    ok: bool


@dataclass(frozen=True)
class Ladder:
    """What becomes of 1000 sorted logits in [-18, -12]: order kept, order reversed, order lost."""

    rungs: int
    inversions: int  # neighbours that come back in the opposite order
    ties: int  # neighbours that come back equal although their true float32 results differ
    infinite_log_losses: int  # rungs whose -log(p) is inf


@dataclass(frozen=True)
class OperatorFindings:
    """The sigmoid alone, swept over every binade of its input dtype."""

    dtype: str
    points: int
    differing: int
    max_ulp: float
    worst: Deviation | None
    bands: list[Band]
    special_values: list[SpecialValue]
    out_of_range: int  # finite inputs whose result is below 0 or above 1
    largest_result: float
    premature_zeros: int
    zero_band: tuple[float, float] | None  # lowest and highest input with a premature zero
    worst_zero: Deviation | None  # the premature zero that hides the largest true value
    decreasing_pairs: int  # neighbours of the sorted sweep whose results decrease
    largest_drop_ulp: float
    ladder: Ladder
    curve: list[tuple[float, float]]  # (input, largest ULP in its bin) over [-110, 110], for plots
    worst_absolute: Deviation | None = None  # the largest |got - truth|; None where all is exact


@dataclass(frozen=True)
class CaseFindings:
    """The whole model on one batch of stored inputs."""

    batch: int
    elements: int
    max_ulp: float
    eager_ulp: float  # eager PyTorch's own largest error on the same batch
    differing_from_eager: int  # elements whose bits are not eager's
    nan_mismatches: int
    max_abs_error: float
    worst: Deviation | None


@dataclass(frozen=True)
class Failure:
    """One way in which a runtime is outside the gate, and what mends it."""

    what: str  # a whole sentence: band, input, expected, got, ULP
    mend: str  # what the user can do about it; "" where nothing is known


@dataclass
class RuntimeFindings:
    """One runtime on one file."""

    runtime: str  # the names of the command line: eager, torchscript, onnxruntime, reference
    version: str
    file: str  # the bundle's file it ran; "" for eager
    status: str  # "ran", "crashed", "timeout" or "not installed"
    detail: str = ""  # the error's last line where it did not run
    seconds: float = 0.0
    operator: OperatorFindings | None = None
    cases: list[CaseFindings] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return self.status == "ran" and not self.failures


@dataclass(frozen=True)
class Training:
    """How the demo's SimpleNN came about."""

    dataset: str
    features: list[str]
    outputs: list[str]
    train_rows: int
    test_rows: int
    losses: list[float]  # mean binary cross-entropy on the training split, one an epoch
    accuracy: float  # on the held-out split
    roc_auc: float  # on the held-out split
    roc_curve: list[tuple[float, float]]  # (false positive rate, true positive rate)


@dataclass(frozen=True)
class Consequences:
    """What one ONNX lowering does, in onnxruntime, to decisions on real held-out rows."""

    lowering: str
    rows: int
    assert_close_passes: bool  # torch.testing.assert_close against eager, with its defaults
    differing_from_eager: int  # elements whose bits are not eager's
    rank_inversions: int  # pairs of rows neighbouring in eager's order that come back reversed
    rank_ties: int  # such pairs that come back equal
    decisions_changed: int  # rows whose side of 0.5 changed
    zeros: int  # probabilities of exactly 0 where eager's are not
    log_loss: float  # mean -log(p of the true output), every output taken as its own question
    eager_log_loss: float
    worst_surprise: float  # the largest -log(p) over all elements, what an anomaly score would be
    eager_worst_surprise: float
    differing_on_same_logits: int  # elements whose bits are not eager's when fed eager's own logits
    points: list[tuple[float, float]]  # (logit, ULP of the sigmoid alone) an element, for plots


@dataclass(frozen=True)
class RealRow:
    """One probability on one held-out row, as each lowering gives it."""

    why: str  # what befell it, a whole sentence
    row: int  # its number in the data set, from 0
    features: list[float]
    output: str
    logit: float
    eager: float
    results: dict[str, float]  # lowering -> probability in onnxruntime


@dataclass
class Report:
    """Everything that report.html, report.md and report.json show."""

    model: str  # MODEL as the user wrote it
    lowering: str
    gate: str
    opset: int | None
    formats: list[str]
    inputs: list[str]  # as on the command line: "input=float32[batch,3]"
    created: str  # ISO 8601, UTC
    versions: dict[str, str]
    runtimes: list[RuntimeFindings]
    swept: str = (
        "torch_sigmoid_ext.sigmoid"  # the model's sigmoid; "torch.sigmoid" is its other one
    )
    skipped: dict[str, str] = field(default_factory=dict)  # runtime -> why, and how to install it
    training: Training | None = None
    contrast: list[RuntimeFindings] = field(default_factory=list)  # the demo: the native lowering
    consequences: list[Consequences] = field(default_factory=list)
    real_rows: list[RealRow] = field(default_factory=list)  # where those lowerings part the most
    notes: list[str] = field(default_factory=list)  # what was not verified, and why

    @property
    def passed(self) -> bool:
        return all(r.passed for r in self.runtimes)


def to_json(value: Any) -> Any:
    """The value as json.dump takes it: dataclasses as objects, "inf", "-inf", "nan" as strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
        if isinstance(value, RuntimeFindings | Report):
            fields["passed"] = value.passed
        return fields
    if isinstance(value, dict):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value

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
from enum import Enum
from typing import Any

# The JSON schema that report.json keeps to (export/schemas); the number grows where a reader must
# change.
REPORT_SCHEMA = "urn:torch-sigmoid-ext:schema:report:1"


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
class Symmetry:
    """σ(x) + σ(-x), which is 1, over the sweep's inputs x >= 0 whose negative is in it as well.

    Errors are in spacings of the floats just below 1: 2^-24 for float32. Correctly rounded results
    are never off by more than half of one.
    """

    pairs: int  # of an input and its negative
    differing: int  # pairs off by more than that half
    max_ulp: float
    correctly_rounded_ulp: float  # the same of the correctly rounded results
    worst: Deviation | None  # input: x; got: the sum; None where no pair differs


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
    symmetry: Symmetry | None = None  # σ(x) + σ(-x); null where it was not measured


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
    given: bool = False  # the user's own rows, all of them

    @property
    def name(self) -> str:
        rows = f"the {self.batch:,} given rows" if self.given else f"batch {self.batch}"
        return f"model, {rows}"


@dataclass(frozen=True)
class InnerFindings:
    """One sigmoid inside of the model, on one batch: what it was given, and what it made of it.

    Errors of input and result are against the model in float64, eager's own beside them; ``own`` is
    against σ of the very input that the runtime gave it, and no doing of what comes before.
    """

    name: str  # of its node in the model's graph
    module: str  # the path of the module that calls it
    dtype: str
    elements: int
    input_ulp: float  # the input's largest error
    eager_input_ulp: float
    result_ulp: float  # the result's largest error
    eager_result_ulp: float
    own_ulp: float  # the largest error of the result against σ of the very input
    differing: int  # results that are not the float nearest to σ of the input
    premature_zeros: int
    max_abs_error: float  # of the result, against σ of its input
    worst_kept: Deviation | None  # the worst result that is no premature zero
    worst_zero: Deviation | None  # the premature zero that hides the largest true value


@dataclass(frozen=True, kw_only=True)
class Effects:
    """What becomes of order, decisions and log-losses in one output on real rows.

    The yardstick is the truth rounded to the output's dtype, which a perfect runtime returns; where
    the model has no float64 truth, eager. Figures of a runtime stand beside eager's own.
    """

    output: str = ""
    rows: int
    pairs: int = 0  # of rows whose true values differ, in each column of the output
    rank_inversions: int  # such pairs that come back in the opposite order
    eager_rank_inversions: int = 0
    rank_ties: int  # such pairs that come back equal
    eager_rank_ties: int = 0
    decisions_changed: int  # elements that come out on the other side of 0.5
    eager_decisions_changed: int = 0
    threshold: float = 0.5  # the user's own
    changed_at_threshold: int = 0  # elements that come out on its other side
    eager_changed_at_threshold: int = 0
    zeros: int  # elements with an infinite -log(p), where the true one is finite
    eager_zeros: int = 0
    labels: str = "given"  # or "eager's own decisions", where none were given
    log_loss: float  # mean -log of the probability given to the label, an element its own question
    eager_log_loss: float
    true_log_loss: float = 0.0  # log_loss of the truth
    worst_surprise: float  # the largest -log(p), what an anomaly score would be
    eager_worst_surprise: float


@dataclass(frozen=True)
class Failure:
    """One way in which a runtime is outside the gate, and what mends it."""

    what: str  # a whole sentence: band, input, expected, got, ULP
    mend: str  # what the user can do about it; "" where nothing is known
    subject: str = "operator"  # or the model's batch, as "model, batch 4"


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
    effects: list[Effects] = field(default_factory=list)  # on the user's rows, by output
    inner: list[InnerFindings] = field(default_factory=list)  # in the order of the graph
    gate: str = ""  # the one that judged it
    gate_source: str = ""  # who said so: "--gate", "pyproject.toml", "the bundle", "default"

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


@dataclass(frozen=True, kw_only=True)
class Consequences(Effects):
    """The same of one ONNX lowering, in onnxruntime, on the demo's held-out rows."""

    lowering: str
    assert_close_passes: bool  # torch.testing.assert_close against eager, with its defaults
    differing_from_eager: int  # elements whose bits are not eager's
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


class SkipKind(str, Enum):
    """Why a runtime was not run."""

    NOT_INSTALLED = "not installed"
    BROKEN = "broken"  # a plug-in that cannot be used
    ON_REQUEST = "on request"  # no lowering brings it within strict
    NOT_READY = "not ready"  # something has to be built first
    CANNOT_RUN = "cannot run"  # not this file


@dataclass(frozen=True)
class Skip:
    """A runtime that was not run."""

    kind: SkipKind  # for programs
    reason: str  # in words
    mend: str = ""  # what the user can do about it; "" where the reason says it, or nothing helps

    def __str__(self) -> str:
        return "; ".join(filter(None, [self.reason, self.mend]))


@dataclass(frozen=True)
class Standing:
    """What one verification found of one runtime, in short."""

    version: str  # the runtime's
    verdict: str  # "within" or "outside" the gate, "crashed" or "timeout"
    max_ulp: float | None  # the sigmoid alone, largest error in ULP; None where there is none
    differing: int | None  # the sigmoid alone, results that are not correctly rounded
    model_max_ulp: float | None  # the whole model, largest error in ULP over all batches
    model_differing: int | None  # the whole model, elements whose bits are not eager's


@dataclass(frozen=True)
class Change:
    """One runtime that does not stand as it did."""

    runtime: str  # as on the command line
    then: Standing | None  # when the bundle was exported; None: the runtime was not run
    now: Standing | None  # None: it is gone
    why: str = ""  # why it is gone


@dataclass(frozen=True)
class Comparison:
    """A verification beside the one that the bundle holds, its own report.json."""

    recorded: str  # when the bundle was exported, ISO 8601, UTC
    gate: str  # by which it was judged then
    changes: list[Change]  # what does not stand as it did, in the order of the runtimes
    same: list[str]  # runtimes of which everything is as recorded


@dataclass
class Report:
    """Everything that report.html, report.md and report.json show."""

    model: str  # MODEL as the user wrote it
    lowering: str
    gate: str  # of every runtime that has none of its own
    opset: int | None
    formats: list[str]
    inputs: list[str]  # as on the command line: "input=float32[batch,3]"
    created: str  # ISO 8601, UTC
    versions: dict[str, str]
    runtimes: list[RuntimeFindings]
    swept: str = (
        "torch_sigmoid_ext.sigmoid"  # the model's sigmoid; "torch.sigmoid" is its other one
    )
    skipped: dict[str, Skip] = field(default_factory=dict)  # runtime -> why, and how to install it
    training: Training | None = None
    contrast: list[RuntimeFindings] = field(default_factory=list)  # the demo: the native lowering
    consequences: list[Consequences] = field(default_factory=list)
    real_rows: list[RealRow] = field(default_factory=list)  # where those lowerings part the most
    notes: list[str] = field(default_factory=list)  # what was not verified, and why
    verified: str | None = None  # when the runtimes were run, ISO 8601, UTC; None: they were not
    verified_with: dict[str, str] = field(default_factory=dict)  # on what: name -> version
    since_export: Comparison | None = None  # a later verification beside the first one

    @property
    def passed(self) -> bool:
        return all(r.passed for r in self.runtimes)


def to_json(value: Any) -> Any:
    """The value as json.dump takes it: dataclasses as objects, "inf", "-inf", "nan" as strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
        if isinstance(value, RuntimeFindings | Report):
            fields["passed"] = value.passed
        if isinstance(value, Report):
            fields = {"schema": REPORT_SCHEMA, **fields}
        return fields
    if isinstance(value, dict):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value

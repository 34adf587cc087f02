"""What each gate lets through and what it stops, and how it says so."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from torch_sigmoid_ext import SimpleNN, sigmoid
from torch_sigmoid_ext.export import ulp
from torch_sigmoid_ext.export.findings import CaseFindings, Deviation, Failure, RuntimeFindings
from torch_sigmoid_ext.export.formats import TORCHS
from torch_sigmoid_ext.export.gates import GATES, judge
from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.samples import make_samples
from torch_sigmoid_ext.export.verify import measure_case

WHOLE = ulp.Probe.of("float32")
SWEPT = np.union1d(WHOLE.sweep[::40], -WHOLE.sweep[::40])  # enough to judge by, in pairs x and -x
PROBE = replace(WHOLE, sweep=SWEPT, truth=ulp.true_sigmoid(SWEPT))
SWEEP = slice(-len(PROBE.sweep), None)


def right() -> np.ndarray:
    return ulp.rounded(ulp.true_sigmoid(PROBE.inputs), "float32")


def findings(outputs: np.ndarray, file: str = "model.onnx") -> RuntimeFindings:
    measured = ulp.measure_operator(PROBE, outputs)
    return RuntimeFindings("onnxruntime", "1", file, "ran", operator=measured)


def failures(gate: str, outputs: np.ndarray, lowering: str = "native") -> list[Failure]:
    return judge(GATES[gate], findings(outputs), lowering)


def zero_below(x: float) -> np.ndarray:
    outputs = right()
    outputs[SWEEP][PROBE.sweep < x] = 0
    return outputs


@pytest.mark.parametrize("gate", GATES)
def test_correctly_rounded_results_pass(gate: str) -> None:
    assert failures(gate, right()) == []


@pytest.mark.parametrize(
    ("gate", "passes"), [("exact", False), ("strict", True), ("portable", True), ("absolute", True)]
)
def test_one_ulp_passes_all_but_exact(gate: str, passes: bool) -> None:
    outputs = right()
    inner = np.abs(PROBE.sweep) < 10
    outputs[SWEEP][inner] = np.nextafter(outputs[SWEEP][inner], np.float32(0))
    assert (failures(gate, outputs) == []) is passes


@pytest.mark.parametrize(
    ("steps", "gate", "passes"),
    [(3, "strict", True), (5, "strict", False), (7, "portable", True), (9, "portable", False)],
)
def test_ulp_bound_is_where_it_is_said_to_be(steps: int, gate: str, passes: bool) -> None:
    outputs = right()
    low = PROBE.sweep < -1  # the spacing doubles at σ = 1/2
    for _ in range(steps):
        outputs[SWEEP][low] = np.nextafter(outputs[SWEEP][low], np.float32(1))
    found = failures(gate, outputs)
    assert (found == []) is passes
    if not passes:
        assert f"ULP where {4 if gate == 'strict' else 8} is allowed: x = -" in found[0].what


def test_flushed_subnormals_pass_portable_and_fail_strict() -> None:
    outputs = zero_below(-87.34)
    assert failures("portable", outputs) == []
    assert "premature zeros" in failures("strict", outputs)[0].what


def test_zeros_of_normal_results_fail_portable() -> None:
    assert "premature zeros" in failures("portable", zero_below(-80))[0].what


def test_floor_under_the_tail_fails_portable() -> None:
    outputs = right()
    outputs[SWEEP][PROBE.sweep < -89] = 4e-39  # as a runtime that clamps its input returns
    first = failures("portable", outputs)[0]
    assert "x in -inf .. -103.97: " in first.what and "expected 0, got 3.9999" in first.what


def test_premature_zeros_come_first_with_band_expected_and_the_flag_that_mends() -> None:
    outputs = zero_below(-16.2)
    outputs[SWEEP][(PROBE.sweep > -15) & (PROBE.sweep < -14)] = 0.7  # far more ULP than the zeros
    first, *others = failures("strict", outputs)
    assert first.what.startswith("premature zeros for x in [-103.9")
    assert "-16.2" in first.what and "is 9.0" in first.what and "got 0" in first.what
    assert "--sigmoid exact" in first.mend and "--sigmoid stable" in first.mend
    assert others


@pytest.mark.parametrize("gate", GATES)
def test_nan_for_a_finite_input_fails_and_is_called_that(gate: str) -> None:
    outputs = right()
    outputs[SWEEP][0] = np.nan
    said = [failure.what for failure in failures(gate, outputs)]
    assert any("NaN for a finite input" in what for what in said), said
    assert not any("more than inf" in what for what in said), said


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize(("x", "wrong"), [(math.nan, 1.0), (math.inf, math.nan), (-math.inf, 0.5)])
def test_wrong_special_value_fails_every_gate(gate: str, x: float, wrong: float) -> None:
    outputs = right()
    outputs[: len(PROBE.special)][
        np.isnan(PROBE.special) if math.isnan(x) else PROBE.special == x
    ] = wrong
    assert any(f.what.startswith(f"sigmoid({x:g}) is ") for f in failures(gate, outputs))


@pytest.mark.parametrize("gate", ["strict", "portable"])
def test_result_above_one_and_lost_order_fail(gate: str) -> None:
    outputs = right()
    outputs[SWEEP][np.flatnonzero(PROBE.sweep > 30)[5]] = 1.0000001
    assert any("outside [0, 1]" in f.what for f in failures(gate, outputs))
    outputs = right()
    outputs[SWEEP][np.flatnonzero(PROBE.sweep > 3)[5]] -= np.float32(1e-2)
    assert any("order is lost" in f.what for f in failures(gate, outputs))


def test_absolute_passes_a_lost_tail_and_stops_two_millionths() -> None:
    assert failures("absolute", zero_below(-16)) == []
    outputs = right()
    outputs[SWEEP][np.abs(PROBE.sweep).argmin()] += np.float32(2e-6)
    [failure] = failures("absolute", outputs)
    assert "off by more than 1e-06: x = " in failure.what


CASE = CaseFindings(
    batch=4,
    elements=8,
    max_ulp=0,
    eager_ulp=0,
    differing_from_eager=0,
    nan_mismatches=0,
    max_abs_error=0,
    worst=Deviation(math.nan, 0.25, 0.26, 1.0),
)


def model(**measured: float) -> RuntimeFindings:
    return replace(findings(right()), cases=[replace(CASE, **measured)])


@pytest.mark.parametrize(
    ("error", "eager", "passes"), [(7.9, 0, True), (8.1, 0, False), (39, 10, True), (41, 10, False)]
)
def test_model_may_err_four_times_as_much_as_eager_or_8_ulp(
    error: float, eager: float, passes: bool
) -> None:
    found = judge(GATES["strict"], model(max_ulp=error, eager_ulp=eager), "exact")
    assert (found == []) is passes
    if not passes:
        assert "batch 4" in found[0].what and "expected 0.25, got 0.26" in found[0].what
        torchs = judge(GATES["strict"], model(max_ulp=error, eager_ulp=eager), swept=TORCHS)
        assert "--convert" in torchs[0].mend and found[0].mend == ""


@pytest.mark.parametrize(("given", "passes"), [(False, True), (True, False)])
def test_one_lucky_row_of_eager_is_no_yardstick(given: bool, passes: bool) -> None:
    """Another batch shows what the model's Linear amplifies; the user's own rows do not."""
    large = replace(CASE, batch=1024, max_ulp=99, eager_ulp=140, given=given)
    one = replace(CASE, batch=1, max_ulp=22.7, eager_ulp=5.3)
    found = judge(GATES["strict"], replace(findings(right()), cases=[one, large]))
    assert (found == []) is passes
    one = replace(one, max_ulp=561)
    [failure] = judge(
        GATES["strict"], replace(findings(right()), cases=[one, replace(large, given=False)])
    )
    assert "batch 1" in failure.what and "560 is allowed" in failure.what
    assert "(eager: 140)" in failure.what


def test_models_summed_in_another_order_pass_strict_whatever_their_weights() -> None:
    """A Linear sums in an order of the runtime's own; the sigmoid is the same."""
    inputs = [InputSpec.parse("input=float32[batch,3]")]
    lucky = 0
    for seed in range(100):
        torch.manual_seed(seed)
        model = SimpleNN()
        weight, bias = (parameter.detach() for parameter in model.parameters())
        cases = []
        for sample in make_samples(model, inputs)[0]:
            [x] = (torch.from_numpy(array)[:, None] for array in sample.inputs)
            last_first = ((x * weight)[..., 2] + (x * weight)[..., 1]) + (x * weight)[..., 0] + bias
            cases.append(measure_case(sample, [sigmoid(last_first).numpy()]))
        assert judge(GATES["strict"], replace(findings(right()), cases=cases)) == [], seed
        lucky += any(case.max_ulp > max(4 * case.eager_ulp, 8) for case in cases)
    assert lucky, "eager's own error on a single row would have refused none: the test is too weak"


@pytest.mark.parametrize("gate", GATES)
def test_model_nan_fails_every_gate(gate: str) -> None:
    assert judge(GATES[gate], model(nan_mismatches=1), "exact")


def test_exact_asks_for_eagers_bits_in_the_model() -> None:
    [failure] = judge(GATES["exact"], model(differing_from_eager=3), "exact")
    assert "3 of 8 elements have other bits than eager's" in failure.what
    assert judge(GATES["strict"], model(differing_from_eager=3), "exact") == []


@pytest.mark.parametrize("status", ["crashed", "timeout"])
def test_runtime_that_did_not_run_is_a_failure(status: str) -> None:
    [failure] = judge(GATES["absolute"], RuntimeFindings("r", "1", "f", status, detail="SIGSEGV"))
    assert failure.what.startswith("r ") and failure.what.endswith(": SIGSEGV")


def biased(steps: int) -> np.ndarray:
    """Results so many spacings too large: within the ULP gate as long as steps are few."""
    outputs = right()
    inner = (np.abs(PROBE.sweep) < 0.5) & (np.abs(PROBE.sweep) > 1e-6)  # the spacing doubles at 0
    for _ in range(steps):
        outputs[SWEEP][inner] = np.nextafter(outputs[SWEEP][inner], np.float32(1))
    return outputs


@pytest.mark.parametrize(
    ("steps", "gate", "passes"),
    [
        *((2, "strict", True), (3, "strict", False), (3, "portable", True)),
        *((5, "portable", True), (6, "portable", False), (6, "absolute", True)),
    ],
)
def test_bias_that_each_result_may_have_leaves_their_sum_outside(
    steps: int, gate: str, passes: bool
) -> None:
    found = failures(gate, biased(steps))
    assert (found == []) is passes
    if not passes:  # 1.5 spacings a step, or 0.5 less; and no other check says anything
        [failure] = found
        assert "σ(x) + σ(-x) leaves 1 by" in failure.what and "σ(-x) = " in failure.what
        assert f"where {4 if gate == 'strict' else 8} is allowed" in failure.what
        assert failure.mend


def test_given_rows_are_named_in_what_fails() -> None:
    case = replace(CASE, max_ulp=9.0, batch=569, given=True)
    [failure] = judge(GATES["strict"], replace(model(), cases=[case]))
    assert failure.what.startswith("model, the 569 given rows: 1 ULP where 8 is allowed")

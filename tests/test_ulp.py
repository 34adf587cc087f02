"""The yardstick: the truth, the spacing, the error and the sweep, against mpmath."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
import truth as mpmath_truth

from torch_sigmoid_ext.export import ulp

TORCH = {name: getattr(torch, name) for name in ulp.DTYPES}


def some_inputs(dtype: str) -> np.ndarray:
    """The hardest inputs, near-ties and some of the sweep, where the result is not 0 or 1."""
    random = np.random.default_rng(1)
    ties = np.arange(-200, 200, 7) * 2.0 ** -(np.finfo(dtype).nmant + 1)
    drawn = random.choice(ulp.sweep(dtype), 100)
    spread = random.uniform(ulp.edges(dtype).vanish, ulp.edges(dtype).saturate, 300)
    inputs = np.concatenate([np.array(ulp.HARDEST), ties, drawn, spread]).astype(dtype)
    return inputs[(inputs > ulp.edges(dtype).vanish) & (inputs < 40)]


@pytest.mark.parametrize("dtype", ulp.DTYPES)
def test_truth_rounds_as_mpmath_does(dtype: str) -> None:
    x = some_inputs(dtype)
    if dtype == "float64":  # long double has eleven bits to spare: enough but for near-ties
        x = x[np.abs(x) > 2.0**-20]
    true = [mpmath_truth.true_sigmoid(float(v)) for v in x]
    expected = [mpmath_truth.rounded(value, TORCH[dtype]) for value in true]
    got = ulp.rounded(ulp.true_sigmoid(x), dtype)
    wrong = [(float(v).hex(), e, g) for v, e, g in zip(x, expected, got, strict=True) if e != g]
    assert not wrong, f"x, expected, got: {wrong[:3]}"


@pytest.mark.parametrize("dtype", ulp.DTYPES)
def test_error_is_mpmaths(dtype: str) -> None:
    x = some_inputs(dtype)
    x = x[np.abs(x) > 1e-40]  # nearer to 0 even 200 bits see nothing but 1/2
    truth = ulp.true_sigmoid(x)
    got = (ulp.rounded(truth, dtype) * np.dtype(dtype).type(1.02)).astype(dtype)
    expected = [
        mpmath_truth.ulp_error(float(g), mpmath_truth.true_sigmoid(float(v)), TORCH[dtype])
        for v, g in zip(x, got, strict=True)
    ]
    np.testing.assert_allclose(ulp.ulp_error(got, truth, dtype), expected, rtol=1e-3, atol=2e-3)


def test_error_of_what_is_not_finite() -> None:
    inf, nan = math.inf, math.nan
    got = np.array([nan, nan, 1.0, inf, inf, -inf, inf], np.float32)
    true = np.array([nan, 1.0, nan, inf, 1.0, inf, nan])
    np.testing.assert_array_equal(
        ulp.ulp_error(got, true, "float32"), [0, inf, inf, 0, inf, inf, inf]
    )


@pytest.mark.parametrize("dtype", ulp.DTYPES)
def test_spacing_is_constant_among_subnormals_and_doubles_at_powers_of_two(dtype: str) -> None:
    info = np.finfo(dtype)
    tiny, normal = float(info.smallest_subnormal), float(info.smallest_normal)
    below_one = float(np.nextafter(np.dtype(dtype).type(1), np.dtype(dtype).type(0)))
    at = np.array([0, tiny, normal / 2, normal, 2 * normal, below_one, 1], np.longdouble)
    eps = float(info.eps)
    expected = [tiny, tiny, tiny, tiny, 2 * tiny, eps / 2, eps]
    assert [float(s) for s in ulp.spacing_at(at, dtype)] == expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sweep_meets_every_binade_of_both_signs(dtype: str) -> None:
    info, x = np.finfo(dtype), ulp.sweep(dtype)
    smallest = info.minexp - info.nmant
    for sign in (1, -1):
        magnitudes = sign * x[sign * x > 0]
        binades = set(np.frexp(magnitudes)[1] - 1)
        assert binades == set(range(smallest, info.maxexp))


@pytest.mark.parametrize("dtype", ulp.DTYPES)
def test_sweep_is_ascending_finite_and_the_same_every_time(dtype: str) -> None:
    x = ulp.sweep(dtype)
    assert (
        x.dtype == dtype and np.isfinite(x).all() and (np.diff(x.astype(np.longdouble)) > 0).all()
    )
    np.testing.assert_array_equal(x, ulp.sweep(dtype))
    if dtype == "float16":
        assert len(x) == 2 * 31 * 1024 - 1  # all finite values, the zeros as one
    else:
        assert 300_000 < len(x) < 500_000


def test_edges_of_float32_are_those_of_the_literature() -> None:
    edge = ulp.edges("float32")
    assert round(edge.vanish, 2) == -103.97  # half the smallest subnormal: 150 ln 2
    assert round(edge.subnormal, 2) == -87.34  # 126 ln 2
    assert (edge.saturate, edge.reach) == (18, 110)


@pytest.fixture(scope="module")
def probe() -> ulp.Probe:
    return ulp.Probe.of("float32")


@pytest.fixture
def right(probe: ulp.Probe) -> np.ndarray:
    """The correctly rounded outputs, for a test to spoil."""
    return ulp.rounded(ulp.true_sigmoid(probe.inputs), "float32")


def spoil(probe: ulp.Probe, outputs: np.ndarray, where: np.ndarray, by: object) -> np.ndarray:
    """The outputs with those of the sweep's inputs in ``where`` replaced."""
    outputs[-len(probe.sweep) :][where] = by
    return outputs


def test_right_outputs_are_found_to_be_right(probe: ulp.Probe, right: np.ndarray) -> None:
    found = ulp.measure_operator(probe, right)
    assert found.differing == found.premature_zeros == found.out_of_range == 0
    assert found.decreasing_pairs == found.ladder.inversions == found.ladder.ties == 0
    assert found.max_ulp <= 0.5 and all(special.ok for special in found.special_values)
    assert sum(band.points for band in found.bands) == found.points == len(probe.sweep)
    assert all(a.high == b.low for a, b in itertools.pairwise(found.bands))


def test_zero_band_is_found_with_its_worst_zero(probe: ulp.Probe, right: np.ndarray) -> None:
    lost = (probe.sweep < -16) & (probe.sweep > -50)
    found = ulp.measure_operator(probe, spoil(probe, right, lost, 0))
    assert found.premature_zeros == lost.sum()
    assert found.zero_band == (probe.sweep[lost][0], probe.sweep[lost][-1])
    assert found.worst_zero is not None and found.worst_zero.input == probe.sweep[lost][-1]
    assert found.worst_zero.expected == pytest.approx(math.exp(found.worst_zero.input), rel=1e-6)


def test_band_names_its_worst_input_and_that_beside_the_zeros(
    probe: ulp.Probe, right: np.ndarray
) -> None:
    middle = (probe.sweep < -2) & (probe.sweep > -3)
    at = np.flatnonzero(middle)[:2]
    outputs = spoil(probe, right, at[:1], 0)
    outputs = spoil(probe, outputs, at[1:], outputs[-len(probe.sweep) :][at[1]] * 1.5)
    [band] = [b for b in ulp.measure_operator(probe, outputs).bands if b.low == -18]
    assert band.differing == 2 and band.premature_zeros == 1
    assert band.worst is not None and band.worst.input == probe.sweep[at[0]]
    assert band.worst_kept is not None and band.worst_kept.input == probe.sweep[at[1]]


def test_values_above_one_and_lost_nans_are_found(probe: ulp.Probe, right: np.ndarray) -> None:
    outputs = spoil(probe, right, np.flatnonzero(probe.sweep > 20)[:20], 1.0000001)
    outputs[np.flatnonzero(np.isnan(probe.special))] = 1
    found = ulp.measure_operator(probe, outputs)
    assert found.out_of_range == 20 and found.largest_result == np.float32(1.0000001)
    assert [math.isnan(s.input) for s in found.special_values if not s.ok] == [True]


def test_spurious_nan_is_infinitely_wrong(probe: ulp.Probe, right: np.ndarray) -> None:
    found = ulp.measure_operator(probe, spoil(probe, right, np.array([1000]), math.nan))
    assert found.max_ulp == math.inf and found.worst is not None
    assert found.worst.input == probe.sweep[1000] and math.isnan(found.worst.got)


def test_lost_order_is_found_in_sweep_and_ladder(probe: ulp.Probe, right: np.ndarray) -> None:
    outputs = right.copy()
    ladder = slice(len(probe.special), len(probe.special) + len(probe.ladder))
    outputs[ladder][10:12] = outputs[ladder][11], outputs[ladder][10]
    outputs[ladder][500] = outputs[ladder][501]
    outputs[ladder][0] = 0
    falling = np.flatnonzero((probe.sweep > 3) & (probe.sweep < 4))[:1]
    found = ulp.measure_operator(probe, spoil(probe, outputs, falling, 0.5))
    assert found.ladder.inversions == 1 and found.ladder.ties == 1
    assert found.ladder.infinite_log_losses == 1
    assert found.decreasing_pairs == 1 and found.largest_drop_ulp > 1e6


@pytest.mark.parametrize("dtype", ulp.DTYPES)
def test_correctly_rounded_sums_leave_1_by_half_a_spacing_at_most(dtype: str) -> None:
    probe = ulp.Probe.of(dtype)
    found = ulp.measure_operator(probe, ulp.rounded(ulp.true_sigmoid(probe.inputs), dtype))
    assert found.symmetry is not None
    assert found.symmetry.differing == 0 and found.symmetry.worst is None
    assert found.symmetry.max_ulp == found.symmetry.correctly_rounded_ulp
    # float64's truth, in long double, misses its nearest float by up to 2^-10 ULP
    assert found.symmetry.max_ulp <= 0.5 + (2.0**-10 if dtype == "float64" else 0)
    negatives = set((-probe.sweep[probe.sweep <= 0]).tolist())
    assert found.symmetry.pairs == len(negatives & set(probe.sweep[probe.sweep >= 0].tolist()))


def test_symmetry_is_what_exact_fractions_make_of_it(probe: ulp.Probe) -> None:
    sigmoid = torch.sigmoid(torch.from_numpy(probe.inputs)).numpy()
    paired = np.intersect1d(probe.sweep, -probe.sweep)
    at = paired[np.searchsorted(paired, 2.5)]
    sigmoid[-len(probe.sweep) :][np.searchsorted(probe.sweep, at)] += np.float32(3e-6)
    y = dict(zip(probe.sweep.tolist(), sigmoid[-len(probe.sweep) :].tolist(), strict=True))
    off = {x: abs(Fraction(y[x]) + Fraction(y[-x]) - 1) * 2**24 for x in y if x >= 0 and -x in y}
    worst = max(off, key=lambda x: off[x])
    found = ulp.measure_operator(probe, sigmoid).symmetry
    assert found is not None and found.worst is not None
    assert found.max_ulp == pytest.approx(float(off[worst]), rel=1e-12) and found.max_ulp > 40
    assert found.worst.input == worst == at
    assert found.differing == sum(one > 0.5 for one in off.values())


def test_nan_on_one_side_is_no_symmetry(probe: ulp.Probe, right: np.ndarray) -> None:
    paired = np.intersect1d(probe.sweep, -probe.sweep)
    at = np.searchsorted(probe.sweep, paired[-1000:-999])
    found = ulp.measure_operator(probe, spoil(probe, right, at, math.nan)).symmetry
    assert found is not None and found.max_ulp == math.inf and found.differing == 1

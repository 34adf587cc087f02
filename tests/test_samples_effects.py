"""Order, decisions and log-losses on real rows, against definitions written out pair by pair."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import kendalltau
from sklearn.metrics import log_loss

from torch_sigmoid_ext.export.consequences import effects, is_probability

FEW = np.float32([0.0, 0.25, 0.5, 0.75, 1.0])


def by_hand(due: np.ndarray, got: np.ndarray) -> tuple[int, int, int]:
    pairs = inversions = ties = 0
    for column in range(due.shape[1]):
        for i, j in itertools.combinations(range(len(due)), 2):
            low, high = (i, j) if due[i, column] < due[j, column] else (j, i)
            if due[low, column] < due[high, column]:
                pairs += 1
                inversions += got[low, column] > got[high, column]
                ties += got[low, column] == got[high, column]
    return pairs, inversions, ties


columns = arrays(
    np.float32, st.tuples(st.integers(1, 12), st.just(2)), elements=st.sampled_from(FEW)
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(columns, st.randoms(use_true_random=False))
def test_pairs_are_counted_as_their_definition_says(due: np.ndarray, random) -> None:
    got = np.array([[random.choice(FEW.tolist()) for _ in row] for row in due], np.float32)
    found = effects(got, due, due.astype(np.float64))
    assert (found.pairs, found.rank_inversions, found.rank_ties) == by_hand(due, got)
    assert (found.eager_rank_inversions, found.eager_rank_ties) == (0, 0)


def test_large_ranking_agrees_with_kendalls_tau() -> None:
    random = np.random.default_rng(5)
    due = random.permutation(20_000).astype(np.float64) / 20_000
    got = (due + random.normal(0, 0.01, due.shape)).astype(np.float32)
    found = effects(np.clip(got, 0, 1), due.astype(np.float32), due)
    clipped = np.clip(got, 0, 1)
    tau = kendalltau(due, clipped, variant="c").statistic  # (concordant - discordant) / all, n = m
    assert found.pairs == 20_000 * 19_999 // 2
    discordant = found.rank_inversions
    concordant = found.pairs - discordant - found.rank_ties
    distinct = len(np.unique(clipped))
    scale = 2 * distinct / ((distinct - 1) * 20_000**2)
    assert tau == pytest.approx((concordant - discordant) * scale, rel=1e-9)


def test_pairs_that_float32_cannot_tell_apart_are_no_pairs() -> None:
    truth = np.array([0.5, 0.5 + 1e-12, 0.75])
    got = np.float32([0.5, 0.5, 0.75])
    found = effects(got, got, truth)
    assert (found.pairs, found.rank_inversions, found.rank_ties) == (2, 0, 0)


def test_decisions_are_those_of_the_truth_at_both_thresholds() -> None:
    truth = np.array([0.5 + 1e-12, 0.49, 0.9, 0.2])
    eager = np.float32([0.5, 0.51, 0.9, 0.2])
    got = np.float32([0.5, 0.49, 0.05, np.nan])
    found = effects(got, eager, truth, threshold=0.1)
    assert (found.decisions_changed, found.eager_decisions_changed) == (2, 1)  # 0.05 and NaN
    assert (found.changed_at_threshold, found.eager_changed_at_threshold) == (2, 0)


def test_infinite_surprise_counts_zeros_that_are_none_in_the_truth() -> None:
    truth = np.array([1e-20, 1e-60, 0.5])  # the second one is 0 in float32, and rightly so
    got, eager = np.float32([0, 0, 0.5]), np.float32([1e-20, 0, 0.5])
    found = effects(got, eager, truth)
    assert (found.zeros, found.eager_zeros) == (1, 0)
    assert found.worst_surprise == math.inf


def test_log_loss_is_scikit_learns_with_labels() -> None:
    random = np.random.default_rng(1)
    truth = random.random(50)
    labels = (random.random(50) < truth).astype(np.float64)
    got = (truth * 0.9).astype(np.float32)
    found = effects(got, truth.astype(np.float32), truth, labels=labels)
    assert found.labels == "given"
    assert found.log_loss == pytest.approx(log_loss(labels, got.astype(np.float64)), rel=1e-12)
    assert found.true_log_loss == pytest.approx(log_loss(labels, truth), rel=1e-12)
    assert found.eager_log_loss == pytest.approx(found.true_log_loss, rel=1e-6)


def test_log_loss_without_labels_is_of_eagers_decisions() -> None:
    eager = np.float32([0.9, 0.2, 0.6])
    got = np.float32([0.8, 0.3, 0.4])
    found = effects(got, eager, None)
    assert found.labels == "eager's own decisions"
    assert found.log_loss == pytest.approx(-np.log([0.8, 0.7, 0.4]).mean(), rel=1e-6)
    assert found.eager_log_loss == pytest.approx(-np.log([0.9, 0.8, 0.6]).mean(), rel=1e-6)


def test_soft_labels_and_certain_ones_need_no_logarithm_of_nothing() -> None:
    found = effects(np.float32([1, 0]), np.float32([1, 0]), None, labels=np.array([1.0, 0.0]))
    assert found.log_loss == 0.0
    found = effects(np.float32([0.5]), np.float32([0.5]), None, labels=np.array([0.25]))
    assert found.log_loss == pytest.approx(math.log(2))


def test_result_above_one_counts_as_one() -> None:
    found = effects(np.float32([1.0000001]), np.float32([1]), None, labels=np.array([1.0]))
    assert found.log_loss == 0.0 and found.worst_surprise >= 0


def test_images_are_ranked_as_a_whole() -> None:
    truth = np.linspace(0.1, 0.9, 2 * 40 * 40).reshape(2, 40, 40)
    found = effects(truth.astype(np.float32), truth.astype(np.float32), truth)
    assert found.pairs == 3200 * 3199 // 2 and found.rows == 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 1, 0.5], True), ([0.5, np.nan], True), ([np.nan], False), ([-0.1], False), ([2], False)],
)
def test_probabilities_are_floats_from_0_to_1(values: list[float], expected: bool) -> None:
    assert is_probability(np.float32(values)) is expected
    assert not is_probability(np.ones(3, int))

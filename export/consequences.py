"""What a runtime, or a lowering, does to decisions, order and log-losses on real rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .findings import Consequences, Effects
from .ulp import rounded, true_sigmoid, ulp_error

Array = NDArray[Any]

GIVEN, DECIDED = "given", "eager's own decisions"
HALF = 0.5
COLUMNS = 1024  # of an output: with more, as an image has, all its elements are ranked together
RANKED = 1 << 20  # rows of a column whose order is looked at, from the first on


def is_probability(output: Array) -> bool:
    """Whether every element is a float in [0, 1]; a NaN says nothing either way."""
    numbers = output[~np.isnan(output)] if output.dtype.kind == "f" else output[:0]
    return bool(numbers.size) and bool(((numbers >= 0) & (numbers <= 1)).all())


def effects(
    got: Array,
    eager: Array,
    truth: Array | None,
    *,
    labels: Array | None = None,
    threshold: float = HALF,
    output: str = "",
) -> Effects:
    """What became of one output's probabilities.

    Args:
        got: the runtime's, of shape [rows, ...].
        eager: eager PyTorch's, of the same shape.
        truth: the same in float64; None where there is none, and eager is the yardstick.
        labels: of the same shape, 0 or 1 or between; None for eager's own decisions at 0.5.
        threshold: a second one to decide at.
        output: its name.
    """
    due = eager if truth is None else rounded(truth, eager.dtype)
    pairs, inversions, ties = _rank_changes(due, got)
    _, own_inversions, own_ties = _rank_changes(due, eager)
    told = (eager > HALF).astype(np.float64) if labels is None else labels
    zero = due == 0
    return Effects(
        output=output,
        rows=len(got),
        pairs=pairs,
        rank_inversions=inversions,
        eager_rank_inversions=own_inversions,
        rank_ties=ties,
        eager_rank_ties=own_ties,
        decisions_changed=_flips(got, due, HALF),
        eager_decisions_changed=_flips(eager, due, HALF),
        threshold=threshold,
        changed_at_threshold=_flips(got, due, threshold),
        eager_changed_at_threshold=_flips(eager, due, threshold),
        zeros=int(((got <= 0) & ~zero).sum()),
        eager_zeros=int(((eager <= 0) & ~zero).sum()),
        labels=DECIDED if labels is None else GIVEN,
        log_loss=_log_loss(got, told),
        eager_log_loss=_log_loss(eager, told),
        true_log_loss=_log_loss(due if truth is None else truth, told),
        worst_surprise=_worst_surprise(got),
        eager_worst_surprise=_worst_surprise(eager),
    )


@dataclass(frozen=True)
class Eager:
    """What eager PyTorch makes of the held-out rows, and what is true of them."""

    logits: Array  # float32 [rows, outputs]
    probabilities: Array
    labels: Array  # 0 or 1
    truth: Array | None = None  # the probabilities in float64


def consequences(lowering: str, eager: Eager, got: Array, alone: Array) -> Consequences:
    """What a lowering does to decisions, order and log-losses.

    Args:
        lowering: its name.
        eager: what eager PyTorch gives.
        got: the exported model's probabilities for the same rows.
        alone: the exported sigmoid's results for eager's own logits.
    """
    errors = ulp_error(alone, true_sigmoid(eager.logits), alone.dtype)
    found = effects(got, eager.probabilities, eager.truth, labels=eager.labels)
    return Consequences(
        **asdict(found),
        lowering=lowering,
        assert_close_passes=_close(got, eager.probabilities),
        differing_from_eager=_differing(got, eager.probabilities),
        differing_on_same_logits=_differing(alone, eager.probabilities),
        points=[(float(x), float(e)) for x, e in zip(eager.logits.flat, errors.flat, strict=True)],
    )


def reversed_neighbours(expected: Array, got: Array) -> list[Array]:
    """Neighbours in the expected order that come back reversed, for one column after another.

    Each an array [pairs, 2] of row indices, the one that should be smaller first; rows that are
    expected to be equal are no pair.
    """
    found = []
    for column in range(got.shape[1]):
        order = np.argsort(expected[:, column], kind="stable")
        pairs = np.stack([order[:-1], order[1:]], axis=1)
        low, high = expected[pairs, column].T
        pairs = pairs[low < high]
        low, high = got[pairs, column].T
        found.append(pairs[low > high])
    return found


def _rank_changes(due: Array, got: Array) -> tuple[int, int, int]:
    """Pairs of rows that are due in an order; those that come back reversed, and equal."""
    counted = [
        _column_changes(*columns) for columns in zip(_ranked(due), _ranked(got), strict=True)
    ]
    pairs, inversions, ties = (sum(column) for column in zip(*counted, strict=True))
    return pairs, inversions, ties


def _ranked(output: Array) -> Sequence[Array]:
    """The lists of elements that an output ranks: each column, or all of them."""
    rows = output.reshape(len(output), -1)
    lists: Array = rows.T if rows.shape[1] <= COLUMNS else output.reshape(1, -1)
    return list(lists[:, :RANKED])


def _column_changes(due: Array, got: Array) -> tuple[int, int, int]:
    """Among all pairs, in O(n log² n): those due in an order, reversed ones, and equal ones."""
    kept = ~(np.isnan(due) | np.isnan(got))
    due, got = (np.unique(x[kept], return_inverse=True)[1].astype(np.int64) for x in (due, got))
    order = np.lexsort((got, due))  # equal in due: got ascends, which is no inversion
    every = len(due) * (len(due) - 1) // 2
    both = due * (len(due) + 1) + got
    pairs = every - _equal_pairs(due)
    return pairs, _inversions(got[order]), _equal_pairs(got) - _equal_pairs(both)


def _equal_pairs(values: Array) -> int:
    counts = np.unique(values, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def _inversions(ranks: Array) -> int:
    """Pairs i < j with ranks[i] > ranks[j].

    The highest bit in which the two ranks differ is 1 in the first: for each bit, the ones that
    stand before each zero are counted among the ranks that share all the bits above it.
    """
    total = 0
    for bit in range(int(ranks.max(initial=0)).bit_length()):
        above = ranks >> (bit + 1)
        order = np.argsort(above, kind="stable")
        ones = (ranks[order] >> bit) & 1
        before = np.cumsum(ones) - ones
        starts = np.searchsorted(above[order], above[order])
        total += int((before - before[starts])[ones == 0].sum())
    return total


def _flips(got: Array, due: Array, threshold: float) -> int:
    """Elements on the other side of the threshold than is due, a spurious NaN among them."""
    with np.errstate(invalid="ignore"):
        changed = (got.astype(np.float64) > threshold) != (due.astype(np.float64) > threshold)
    return int((changed | (np.isnan(got) & ~np.isnan(due))).sum())


def _surprise(probabilities: Array) -> Array:
    """-log(p) in float64; infinite where p is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.log(np.maximum(probabilities.astype(np.float64), 0))


def _worst_surprise(probabilities: Array) -> float:
    return float(np.fmax.reduce(_surprise(probabilities), axis=None, initial=0.0))


def _log_loss(probabilities: Array, labels: Array) -> float:
    """Mean -log of the probability given to the label, every element its own question."""
    # ONNX Runtime's native sigmoid can exceed 1
    wide = np.minimum(probabilities.astype(np.float64), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        yes = np.where(labels > 0, labels * _surprise(wide), 0)
        no = np.where(labels < 1, (1 - labels) * -np.log1p(-wide), 0)
    return float((yes + no).mean())


def _differing(got: Array, expected: Array) -> int:
    bits = np.dtype(f"u{expected.dtype.itemsize}")
    return int((got.astype(expected.dtype).view(bits) != expected.view(bits)).sum())


def _close(got: Array, expected: Array) -> bool:
    """The verdict of torch.testing.assert_close with its defaults."""
    import torch  # the rest is for those too who verify without it

    try:
        torch.testing.assert_close(torch.from_numpy(got), torch.from_numpy(expected))
    except AssertionError:
        return False
    return True

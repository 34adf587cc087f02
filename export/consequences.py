"""What a lowering does to decisions, order and log-losses on real rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .findings import Consequences
from .ulp import true_sigmoid, ulp_error

Array = NDArray[Any]


@dataclass(frozen=True)
class Eager:
    """What eager PyTorch makes of the held-out rows, and what is true of them."""

    logits: Array  # float32 [rows, outputs]
    probabilities: Array
    labels: Array  # 0 or 1


def consequences(lowering: str, eager: Eager, got: Array, alone: Array) -> Consequences:
    """What a lowering does to decisions, order and log-losses.

    Args:
        lowering: its name.
        eager: what eager PyTorch gives.
        got: the exported model's probabilities for the same rows.
        alone: the exported sigmoid's results for eager's own logits.
    """
    reversed_pairs, tied_pairs = (sum(map(len, pairs)) for pairs in rank_changes(eager, got))
    errors = ulp_error(alone, true_sigmoid(eager.logits), alone.dtype)
    return Consequences(
        lowering=lowering,
        rows=len(got),
        assert_close_passes=_close(got, eager.probabilities),
        differing_from_eager=_differing(got, eager.probabilities),
        rank_inversions=reversed_pairs,
        rank_ties=tied_pairs,
        decisions_changed=int(((got > 0.5) != (eager.probabilities > 0.5)).any(axis=1).sum()),
        zeros=int(((got == 0) & (eager.probabilities != 0)).sum()),
        log_loss=_log_loss(got, eager.labels),
        eager_log_loss=_log_loss(eager.probabilities, eager.labels),
        worst_surprise=float(_surprise(got).max()),
        eager_worst_surprise=float(_surprise(eager.probabilities).max()),
        differing_on_same_logits=_differing(alone, eager.probabilities),
        points=[(float(x), float(e)) for x, e in zip(eager.logits.flat, errors.flat, strict=True)],
    )


def rank_changes(eager: Eager, got: Array) -> tuple[list[Array], list[Array]]:
    """Neighbours in eager's order that come back reversed, and that come back equal.

    For each output an array [pairs, 2] of row indices, the smaller probability first; rows that
    eager itself holds to be equal are no pair.
    """
    inversions, ties = [], []
    for output in range(got.shape[1]):
        order = np.argsort(eager.probabilities[:, output], kind="stable")
        pairs = np.stack([order[:-1], order[1:]], axis=1)
        low, high = eager.probabilities[pairs, output].T
        pairs = pairs[low < high]
        low, high = got[pairs, output].T
        inversions.append(pairs[low > high])
        ties.append(pairs[low == high])
    return inversions, ties


def _surprise(probabilities: Array) -> Array:
    """-log(p) in float64; infinite where p is 0."""
    with np.errstate(divide="ignore"):
        return -np.log(probabilities.astype(np.float64))


def _log_loss(probabilities: Array, labels: Array) -> float:
    """Mean -log of the probability given to what was true, every output its own question."""
    probabilities = np.minimum(probabilities, 1)  # ONNX Runtime's native sigmoid can exceed it
    with np.errstate(divide="ignore"):
        otherwise = -np.log1p(-probabilities.astype(np.float64))
    return float(np.where(labels > 0.5, _surprise(probabilities), otherwise).mean())


def _differing(got: Array, expected: Array) -> int:
    bits = np.dtype(f"u{expected.dtype.itemsize}")
    return int((got.astype(expected.dtype).view(bits) != expected.view(bits)).sum())


def _close(got: Array, expected: Array) -> bool:
    """The verdict of torch.testing.assert_close with its defaults."""
    try:
        torch.testing.assert_close(torch.from_numpy(got), torch.from_numpy(expected))
    except AssertionError:
        return False
    return True

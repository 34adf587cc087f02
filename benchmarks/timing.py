"""Timing by turns: what else the machine does falls on all that are compared."""

from __future__ import annotations

import math
import statistics
import time
import timeit
from collections.abc import Mapping
from dataclasses import dataclass

BATCH = 200e-6  # seconds; a shorter stretch would measure the clock
MOST_ROUNDS = 500


@dataclass(frozen=True)
class Call:
    """A statement and the names in it. timeit writes it out in its loop, so that no lambda's call
    is measured with it."""

    statement: str
    names: Mapping[str, object]

    def timer(self) -> timeit.Timer:
        return timeit.Timer(self.statement, globals=dict(self.names))


@dataclass(frozen=True)
class Times:
    """Seconds a call, one figure a round."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def minimum(self) -> float:
        return min(self.rounds)


@dataclass(frozen=True)
class Ratio:
    """A peer's time over ours, above 1 where ours is faster."""

    median: float  # of the rounds' ratios: the two were neighbours in time
    minimum: float  # of the two shortest times

    @classmethod
    def of(cls, theirs: Times, ours: Times) -> Ratio:
        pairs = zip(theirs.rounds, ours.rounds, strict=True)
        return cls(statistics.median(a / b for a, b in pairs), theirs.minimum / ours.minimum)


def _calls_a_batch(timer: timeit.Timer) -> int:
    """How many calls take BATCH seconds; warms up on the way."""
    timer.timeit(1)
    number = 1
    while (taken := timer.timeit(number)) < BATCH / 4:
        number *= 4
    return max(1, math.ceil(number * BATCH / taken))


def by_turns(calls: Mapping[str, Call], seconds: float, least_rounds: int = 5) -> dict[str, Times]:
    """Times of each call; a round runs a batch of each, forwards and backwards by turns.

    Rounds go on for `seconds`, but there are at least `least_rounds`.
    """
    timers = {name: call.timer() for name, call in calls.items()}
    batches = {name: _calls_a_batch(timer) for name, timer in timers.items()}
    rounds: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    end = time.perf_counter() + seconds
    for round_ in range(MOST_ROUNDS):
        if round_ >= least_rounds and time.perf_counter() > end:
            break
        for name in order:
            rounds[name].append(timers[name].timeit(batches[name]) / batches[name])
        order.reverse()
    return {name: Times(tuple(taken)) for name, taken in rounds.items()}

"""From cases to rows of figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from . import peers
from .cases import Case, Tensors, tensors
from .timing import Call, Ratio, by_turns


@dataclass(frozen=True)
class Row:
    """A case as it was measured."""

    case: Case
    threads: int
    kernels: str  # the instruction set that ours ran on: "scalar", "avx2", "avx512"
    seconds: float  # ours, the median
    least_seconds: float
    rounds: int
    ratios: dict[str, Ratio]  # of each peer's time to ours

    @property
    def eager(self) -> Ratio:
        return self.ratios[peers.EAGER]

    @property
    def bytes(self) -> int:
        """Read and written by a call."""
        tensors_touched = 3 if self.case.kernel == "backward" else 2
        dtype: torch.dtype = getattr(torch, self.case.dtype)
        return tensors_touched * dtype.itemsize * self.case.numel


@dataclass
class Run:
    """How long to measure, beside whom; notes who was not there."""

    seconds: float  # a pair of peers and a cell
    least_rounds: int
    wanted: Sequence[str]  # names of peers.PEERS
    kernels: str
    skipped: dict[str, str] = field(default_factory=dict)

    def rows(
        self, cases: Iterable[Case], threads: Sequence[int], step: Callable[[str], None]
    ) -> Iterator[Row]:
        """Every case on each number of threads; `step` is told what comes next."""
        cases, before = list(cases), torch.get_num_threads()
        try:
            for count in threads:
                torch.set_num_threads(count)
                for case in cases:
                    step(f"{case.kernel} {case.dtype}, {case.numel:,} elements, threads {count}")
                    row = self._row(case, count)
                    if row:
                        yield row
        finally:
            torch.set_num_threads(before)

    @torch.no_grad()
    def _row(self, case: Case, threads: int) -> Row | None:
        data = tensors(case)
        try:
            ours = peers.ours(case, data)
        except peers.NoPeer as reason:
            self.skipped[f"{case.kernel} {case.output}"] = str(reason)
            return None
        calls = {peers.OURS: ours, peers.EAGER: peers.eager(case, data)}
        if case.peers:
            for name in self._beside(case):
                call = self._peer(name, case, data)
                if call:
                    calls[name] = call
        times = by_turns(calls, self.seconds * len(calls) / 2, self.least_rounds)
        own = times.pop(peers.OURS)
        return Row(
            case,
            threads,
            self.kernels,
            own.median,
            own.minimum,
            len(own.rounds),
            {name: Ratio.of(theirs, own) for name, theirs in times.items()},
        )

    def _beside(self, case: Case) -> Sequence[str]:
        if case.kernel == "backward":
            return [name for name in self.wanted if name == peers.LIMIT]
        return self.wanted

    def _peer(self, name: str, case: Case, data: Tensors) -> Call | None:
        if name in self.skipped:
            return None
        try:
            return peers.PEERS[name](case, data)
        except peers.NotInstalled as reason:
            self.skipped[name] = str(reason)
        except peers.NoPeer:
            pass
        return None

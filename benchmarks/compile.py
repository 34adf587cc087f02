"""The operator beside its decompositions and torch.sigmoid, compiled by Inductor: prints Markdown.

    python -m benchmarks.compile > benchmarks/results/compile.md

Every cell is the time over that of torch.sigmoid, which Inductor fuses with its neighbours, by
turns in one run: the median over the rounds, and in brackets the ratio of the two shortest times.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import torch_sigmoid_ext

from .machine import describe
from .markdown import duration, size
from .timing import Call, Ratio, by_turns

Sigmoid = Callable[[Tensor], Tensor]
Work = Callable[[Sigmoid], Callable[[Tensor], Tensor]]

FUSED = "torch.sigmoid"
# Who computes σ, and by which backend.
VARIANTS: Mapping[str, tuple[Sigmoid, Callable[[], object]]] = {
    FUSED: (torch.sigmoid, lambda: "inductor"),
    "operator": (torch_sigmoid_ext.sigmoid, lambda: "inductor"),
    "`exact`": (torch_sigmoid_ext.sigmoid, lambda: torch_sigmoid_ext.inductor("exact")),
    "`fast`": (torch_sigmoid_ext.sigmoid, lambda: torch_sigmoid_ext.inductor("fast")),
}


def _alone(sigmoid: Sigmoid) -> Sigmoid:
    return lambda x: sigmoid(x)


def _gate(sigmoid: Sigmoid) -> Sigmoid:
    return lambda x: x * sigmoid(x)


def _chain(sigmoid: Sigmoid) -> Sigmoid:
    return lambda x: ((x * 2 + 1).relu() - sigmoid(x * 0.5 - 1) * x).clamp(-3, 3) + x


def _linear(sigmoid: Sigmoid) -> Sigmoid:
    torch.manual_seed(0)
    layer = nn.Linear(256, 256)
    return lambda x: sigmoid(layer(x)) * x


@dataclass(frozen=True)
class Case:
    """A row of the table."""

    name: str
    work: Work
    shape: tuple[int, ...]
    training: bool = False
    dtype: torch.dtype = torch.float32

    def __str__(self) -> str:
        dtype = "" if self.dtype == torch.float32 else f", {str(self.dtype)[6:]}"
        both = ", forward and backward" if self.training else ""
        return f"{self.name}, {size(torch.Size(self.shape).numel())}{dtype}{both}"


def cases() -> list[Case]:
    gates = [Case("x σ(x)", _gate, (n,)) for n in (1 << 12, 1 << 16, 1 << 20, 1 << 24)]
    return [
        Case("σ(x)", _alone, (1 << 20,)),
        *gates,
        Case("x σ(x)", _gate, (1 << 20,), dtype=torch.bfloat16),
        Case("eight operations", _chain, (1 << 16,)),
        Case("eight operations", _chain, (1 << 20,)),
        Case("Linear(256, 256), σ, product", _linear, (1024, 256)),
        Case("x σ(x)", _gate, (1 << 20,), training=True),
        Case("eight operations", _chain, (1 << 20,), training=True),
    ]


def _call(case: Case, sigmoid: Sigmoid, backend: object) -> Call:
    torch._dynamo.reset()
    x = torch.randn(case.shape, generator=torch.Generator().manual_seed(0)).to(case.dtype)
    compiled = torch.compile(case.work(sigmoid), backend=backend, fullgraph=True)  # type: ignore[call-overload]
    if case.training:
        x.requires_grad_()
        names = {"f": compiled, "x": x, "grad": torch.autograd.grad, "g": torch.ones_like(x)}
        call = Call("grad(f(x), x, g)", names)
    else:
        call = Call("f(x)", {"f": torch.no_grad()(compiled), "x": x})
    call.timer().timeit(3)
    return call


def row(case: Case, seconds: float) -> str:
    calls = {name: _call(case, sigmoid, make()) for name, (sigmoid, make) in VARIANTS.items()}
    times = by_turns(calls, seconds, least_rounds=9)
    fused = times[FUSED]
    ratios = [Ratio.of(times[name], fused) for name in VARIANTS if name != FUSED]
    cells = [f"{ratio.median:.2f} [{ratio.minimum:.2f}]" for ratio in ratios]
    return f"| {case} | {duration(fused.median)} | {' | '.join(cells)} |"


def lines(threads: int, seconds: float) -> Iterator[str]:
    """The page, line by line, as it is measured."""
    machine = describe()
    packages = f"torch {torch.__version__}, Python {machine['python']}"
    yield "# Compiled: the operator and its decompositions beside torch.sigmoid"
    yield ""
    yield f"{machine['date']}, commit {machine['commit']}, {machine['cpu']}, {packages}."
    yield f"Threads: {threads}. Load before the start: {machine['load before']}"
    yield "(above 0.5 the figures are those of a busy machine: trust the brackets more)."
    yield ""
    yield "Time over that of torch.sigmoid in the same place, fused by Inductor: above 1 is slower."
    yield ""
    yield f"| work | {' | '.join(VARIANTS)} |"
    yield f"|---|{'---:|' * len(VARIANTS)}"
    torch.set_num_threads(threads)
    for case in cases():
        yield row(case, seconds)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compile", description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each row; default 2")
    chosen = parser.parse_args(arguments)
    for line in lines(chosen.threads, chosen.seconds):
        print(line, flush=True)


if __name__ == "__main__":
    main()

"""Calls on a handful of floats, where the arithmetic is the least of the cost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import torch_sigmoid_ext

from .timing import Call, Ratio, Times, by_turns

_Mode = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Comparison:
    """The same work by ours and by torch.sigmoid."""

    work: str
    ours: float  # seconds, the least
    theirs: float
    ratio: Ratio


@dataclass(frozen=True)
class Stage:
    """A share of one call on six floats: the time of more work, less that of less."""

    name: str
    how: str
    seconds: float


class TorchNN(nn.Module):
    """SimpleNN with torch.sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.fc1(x))


def _compare(
    work: str, ours: Call, theirs: Call, mode: AbstractContextManager[object], seconds: float
) -> Comparison:
    with mode:
        times = by_turns({"ours": ours, "theirs": theirs}, seconds)
    ratio = Ratio.of(times["theirs"], times["ours"])
    return Comparison(work, times["ours"].minimum, times["theirs"].minimum, ratio)


def comparisons(seconds: float, step: Callable[[str], None]) -> list[Comparison]:
    """Functions on six floats, then SimpleNN on one row; `seconds` for each."""
    torch.manual_seed(0)
    x = torch.randn(6)
    leaf = torch.randn(6, requires_grad=True)
    operator = torch.ops.torch_sigmoid_ext.sigmoid
    function = torch_sigmoid_ext.sigmoid
    row, net, torch_net = torch.randn(1, 3), torch_sigmoid_ext.SimpleNN(), TorchNN()
    forward, both = "f(x)", "f(x).sum().backward()"
    no_grad, grad = torch.no_grad, torch.enable_grad
    plan: list[tuple[str, object, object, Tensor, str, _Mode]] = [
        ("sigmoid, no_grad", function, torch.sigmoid, x, forward, no_grad),
        ("sigmoid, input without requires_grad", function, torch.sigmoid, x, forward, grad),
        ("sigmoid, input with requires_grad", function, torch.sigmoid, leaf, forward, grad),
        ("sigmoid, forward and backward", function, torch.sigmoid, leaf, both, grad),
        ("torch.ops, no_grad", operator, torch.sigmoid, x, forward, no_grad),
        ("torch.ops, input with requires_grad", operator, torch.sigmoid, leaf, forward, grad),
        ("SimpleNN on one row, no_grad", net, torch_net, row, forward, no_grad),
        ("SimpleNN on one row, forward", net, torch_net, row, forward, grad),
        ("SimpleNN on one row, forward and backward", net, torch_net, row, both, grad),
    ]
    result = []
    for work, mine, peer, input, statement, mode in plan:
        step(work)
        ours, theirs = (Call(statement, {"f": f, "x": input}) for f in (mine, peer))
        result.append(_compare(work, ours, theirs, mode(), seconds))
    return result


def _stage_times(seconds: float) -> dict[str, Times]:
    """What the stages are differences of, measured by turns."""
    sigmoid, sigmoid_ = torch_sigmoid_ext.sigmoid, torch_sigmoid_ext.sigmoid_
    with torch.inference_mode():  # its tensors pass Autograd by and count no versions
        none, six = torch.randn(0), torch.randn(6)
        times = by_turns(
            {
                "nothing": Call("x", {"x": six}),
                "builtin": Call("f(x)", {"f": id, "x": six}),
                "in place, 0": Call("f(x)", {"f": sigmoid_, "x": none}),
                "in place, 6": Call("f(x)", {"f": sigmoid_, "x": six}),
                "fresh, 0": Call("f(x)", {"f": sigmoid, "x": none}),
                "fresh, 6": Call("f(x)", {"f": sigmoid, "x": six}),
            },
            seconds,
        )
    tensors = {"past": six, "plain": torch.randn(6), "leaf": torch.randn(6, requires_grad=True)}
    calls = {name: Call("f(x)", {"f": sigmoid, "x": x}) for name, x in tensors.items()}
    return times | by_turns(calls, seconds / 2)


def stages(seconds: float, step: Callable[[str], None]) -> list[Stage]:
    """Where the time of torch_sigmoid_ext.sigmoid(x) goes for six floats."""
    step("stages of a small call")
    least = {name: times.minimum for name, times in _stage_times(seconds).items()}

    def stage(name: str, how: str, more: str, less: str, other: float = 0.0) -> Stage:
        return Stage(name, how, least[more] - least[less] - other)

    call = stage("Python calls a builtin", "id(x), less an empty loop", "builtin", "nothing")
    entry = stage(
        "entry and dispatcher", "sigmoid_ of no floats, less id(x)", "in place, 0", "builtin"
    )
    kernel = stage("kernel", "sigmoid_ of six floats, less of none", "in place, 6", "in place, 0")
    tensor = stage(
        "an output tensor", "sigmoid of no floats, less sigmoid_", "fresh, 0", "in place, 0"
    )
    memory = stage(
        "its memory",
        "sigmoid of six floats, less of none, less the kernel",
        "fresh, 6",
        "fresh, 0",
        kernel.seconds,
    )
    autograd = stage(
        "autograd, nothing to record", "a tensor made outside inference_mode", "plain", "past"
    )
    node = stage("autograd, a node", "a leaf that requires grad", "leaf", "plain")
    return [call, entry, kernel, tensor, memory, autograd, node]

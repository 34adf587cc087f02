"""What one forward of a model calls: every sigmoid, by whoever computes it, and how often."""

from __future__ import annotations

import copy
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import FrameType
from typing import Any

import torch
from torch import fx, nn
from torch.overrides import TorchFunctionMode

from ._rewrite import Rerouting, is_converted_sigmoid, is_rerouting, ours
from ._sigmoids import CONVERT, FUNCTIONS, NAMES, OUTSIDE
from ._uses import SigmoidUse, fused_kernel, fused_use, short_path


def observe(model: nn.Module, example_inputs: Sequence[Any]) -> Counter[SigmoidUse]:
    """The uses that one forward of a copy of the model makes, with how many calls of each."""
    copied = copy.deepcopy(model)
    observing = _Observing(copied)
    with torch.random.fork_rng(), _uncompiled(), observing:
        copied(*example_inputs)
    return observing.uses


def _uncompiled() -> AbstractContextManager[Any]:
    """Within it a compiled model runs as Python: who calls is read from the stack."""
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


_OUR_OPERATORS = frozenset(
    [ours.sigmoid, ours.sigmoid.default, ours.sigmoid.out, ours.sigmoid_, ours.sigmoid_.default]
)


class _Observing(TorchFunctionMode):
    """While entered, counts sigmoids by whoever computes them; outermost of the modes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.uses: Counter[SigmoidUse] = Counter()
        self._names = {id(module): name for name, module in model.named_modules()}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in NAMES or func in FUNCTIONS or func in _OUR_OPERATORS:
            use = self._use(func, list(_frames(sys._getframe(1))))
            if use is not None:
                self.uses[use] += 1
        return func(*args, **(kwargs or {}))

    def _use(self, func: Callable[..., Any], frames: list[FrameType]) -> SigmoidUse | None:
        selves = [frame.f_locals.get("self") for frame in frames]
        inner = next((m for m in selves if id(m) in self._names), None)
        module = self._names.get(id(inner), "")
        if isinstance(inner, fx.GraphModule):
            return None  # its nodes are counted by themselves
        if func in FUNCTIONS:
            known, remedy = FUNCTIONS[func]
            if isinstance(inner, nn.Module) and (cls := fused_kernel(inner)):
                return fused_use(cls, module)
            return SigmoidUse(known, module, _place(frames), None, remedy)
        if func in NAMES:
            if type(inner) is nn.Sigmoid:
                return SigmoidUse("nn.Sigmoid", module, remedy=CONVERT)
            converted = any(isinstance(m, nn.Module) and is_rerouting(m) for m in selves)
            remedy = OUTSIDE if converted else CONVERT
            return SigmoidUse(_called(func, frames), module, _place(frames), None, remedy)
        if isinstance(inner, nn.Module) and is_converted_sigmoid(inner):
            return SigmoidUse("nn.Sigmoid", module)
        for frame, owner in zip(frames, selves, strict=True):
            if isinstance(owner, Rerouting):
                return SigmoidUse(_called(frame.f_locals["func"], frames), module, _place(frames))
        return None  # our own sigmoid, written in the model's code


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _called(func: Callable[..., Any], frames: list[FrameType]) -> str:
    """The name that the code uses: F.sigmoid is a Python function that calls Tensor.sigmoid."""
    through = any(frame.f_code is nn.functional.sigmoid.__code__ for frame in frames)
    return NAMES[nn.functional.sigmoid if through else func]


def _place(frames: list[FrameType]) -> str:
    """The innermost line that is neither torch's nor ours."""
    for frame in frames:
        if frame.f_globals.get("__name__", "").split(".")[0] not in ("torch", __package__):
            name = getattr(frame.f_code, "co_qualname", frame.f_code.co_name)
            return f"{short_path(frame.f_code.co_filename)}:{frame.f_lineno} in {name}"
    return ""

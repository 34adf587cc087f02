"""Which sigmoid a model calls, seen while it runs once."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from .formats import OURS, SIGMOIDS, TORCHS, Program


class _SigmoidCalls(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts, while entered, the calls of each sigmoid, under whatever name."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = dict.fromkeys(SIGMOIDS, 0)
        self.inside = 0  # of an operator that ONNX spells out with a sigmoid
        self.bfloat16 = self.float64 = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        namespace, _, name = func._schema.name.partition("::")
        if name in ("sigmoid", "sigmoid_") and namespace in ("aten", "torch_sigmoid_ext"):
            self.count[TORCHS if namespace == "aten" else OURS] += 1
            self.bfloat16 |= args[0].dtype == torch.bfloat16
            self.float64 |= args[0].dtype == torch.float64
        self.inside += namespace == "aten" and name in ("silu", "silu_", "glu")
        return func(*args, **(kwargs or {}))


def sigmoid_of(program: Program) -> tuple[str, list[str]]:
    """Which sigmoid the model calls, torch's if both, and what the user must know of it."""
    with torch.no_grad(), _SigmoidCalls() as calls:
        program.module(*program.example())
    ours, torchs = calls.count[OURS], calls.count[TORCHS]
    notes = []
    if torchs and not program.convert:
        notes.append(
            f"the model calls torch's own sigmoid ({torchs} of {torchs + ours} calls), which "
            "--sigmoid does not touch: the operator level shows that one; export with --convert to "
            "put torch_sigmoid_ext.sigmoid in its place"
        )
    elif not ours + torchs + calls.inside:
        notes.append(
            "the model was not seen to call a sigmoid (one inside of an operator such as LSTM "
            "is not seen): the operator level shows torch_sigmoid_ext.sigmoid alone"
        )
    if calls.inside:
        notes.append(
            f"the model calls SiLU or GLU ({calls.inside} calls), which hold a sigmoid: in ONNX "
            + (
                f"it has the lowering {program.lowering}, in the other formats it is torch's own"
                if program.convert
                else "it is the runtime's own, whatever that makes of it; export with --convert to "
                f"give it the lowering {program.lowering}"
            )
        )
    if calls.float64 and program.lowering in ("exact", "function"):
        notes.append(
            f"the model's sigmoid runs in float64, and ONNX has nothing wider: there the lowering "
            f"{program.lowering} is within 3 ULP and not correctly rounded, which the gate strict "
            "takes and the gate exact does not"
        )
    if calls.bfloat16:
        notes.append("the model's sigmoid runs in bfloat16; the operator level sweeps float32")
    return (TORCHS if torchs else OURS), notes

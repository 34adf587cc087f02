"""The names under which a model may compute a sigmoid: what convert() takes, and what it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

_FUSED_CELL = (
    "its gates are inside of one kernel; write the cell with torch_sigmoid_ext.sigmoid "
    "(docs/convert.md has one)"
)
_SILU = "write x * torch_sigmoid_ext.sigmoid(x)"
_GLU = "write a, b = x.chunk(2, dim); a * torch_sigmoid_ext.sigmoid(b)"
_LOG = "nothing to mend: it computes log σ(x) from x directly, which is more accurate than log(σ)"
SCRIPT = "TorchScript is compiled; convert the module before torch.jit.script or torch.jit.trace"
UNFLATTENED = "convert the ExportedProgram before torch.export.unflatten"
_CHECKPOINT = (
    "a function that it recomputes in the backward pass is torch's there; pass it a module instead"
)
CONVERT = "pass the model to torch_sigmoid_ext.convert"
OUTSIDE = "it runs outside of the modules' forward; write torch_sigmoid_ext.sigmoid there"
FORWARD = "not rerouted, whatever it calls; define it in a class, or call ours in it"
NAME_OF_CHECKPOINT = "torch.utils.checkpoint.checkpoint"

# Modules that compute a sigmoid which convert() cannot reach, and what to do about it.
MODULES: dict[type[nn.Module], str] = {
    nn.LSTM: _FUSED_CELL,
    nn.GRU: _FUSED_CELL,
    nn.LSTMCell: _FUSED_CELL,
    nn.GRUCell: _FUSED_CELL,
    nn.SiLU: _SILU,
    nn.GLU: _GLU,
    nn.LogSigmoid: _LOG,
    nn.BCEWithLogitsLoss: _LOG,
    nn.MultiLabelSoftMarginLoss: _LOG,
}

# Functions of that kind.
FUNCTIONS: dict[Callable[..., Any], tuple[str, str]] = {
    functional.silu: ("F.silu", _SILU),
    torch.ops.aten.silu.default: ("aten.silu", _SILU),
    functional.glu: ("F.glu", _GLU),
    torch.ops.aten.glu.default: ("aten.glu", _GLU),
    functional.logsigmoid: ("F.logsigmoid", _LOG),
    functional.binary_cross_entropy_with_logits: ("F.binary_cross_entropy_with_logits", _LOG),
    torch.lstm: ("torch.lstm", _FUSED_CELL),
    torch.gru: ("torch.gru", _FUSED_CELL),
    torch.lstm_cell: ("torch.lstm_cell", _FUSED_CELL),
    torch.gru_cell: ("torch.gru_cell", _FUSED_CELL),
    checkpoint: (NAME_OF_CHECKPOINT, _CHECKPOINT),
}

# What convert() takes, as its users write it.
NAMES: dict[Callable[..., Any], str] = {
    torch.sigmoid: "torch.sigmoid",
    torch.special.expit: "torch.special.expit",
    functional.sigmoid: "F.sigmoid",
    Tensor.sigmoid: "Tensor.sigmoid",
    torch.sigmoid_: "torch.sigmoid_",
    Tensor.sigmoid_: "Tensor.sigmoid_",
    torch.ops.aten.sigmoid: "aten.sigmoid",
    torch.ops.aten.sigmoid_: "aten.sigmoid_",
    torch.ops.aten.special_expit: "aten.special_expit",
    torch.ops.aten.sigmoid.default: "aten.sigmoid",
    torch.ops.aten.sigmoid_.default: "aten.sigmoid_",
    torch.ops.aten.sigmoid.out: "aten.sigmoid.out",
    torch.ops.aten.special_expit.default: "aten.special_expit",
    torch.ops.aten.special_expit.out: "aten.special_expit.out",
}
METHODS = {"sigmoid": "Tensor.sigmoid", "sigmoid_": "Tensor.sigmoid_"}

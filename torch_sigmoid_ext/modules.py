"""The modules: Sigmoid, and SimpleNN, the tutorial's one Linear and a sigmoid."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from .functional import sigmoid, sigmoid_


class Sigmoid(nn.Module):
    """Applies :func:`torch_sigmoid_ext.sigmoid` elementwise; takes the place of ``nn.Sigmoid``.

    Args:
        fast: allows a quicker kernel for float32, within 1.98 ULP and with the whole tail.
        inplace: writes over the input.

    Shape:
        input ``(*)``, output ``(*)``: any number of dimensions.

    Example:
        >>> import torch
        >>> from torch_sigmoid_ext import Sigmoid
        >>> Sigmoid()(torch.tensor([0.0, 2.0]))
        tensor([0.5000, 0.8808])
    """

    __constants__: ClassVar[list[str]] = ["fast", "inplace"]

    def __init__(self, fast: bool = False, inplace: bool = False) -> None:
        super().__init__()
        self.fast = fast
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        if self.inplace:
            return sigmoid_(input, fast=self.fast)
        return sigmoid(input, fast=self.fast)

    def extra_repr(self) -> str:
        options = {"fast": self.fast, "inplace": self.inplace}
        return ", ".join(f"{name}=True" for name, on in options.items() if on)


class SimpleNN(nn.Module):
    """One Linear, then our sigmoid: ``sigmoid(input @ fc1.weight.T + fc1.bias)``.

    Its state dict has the keys of the well-known tutorial's class, ``fc1.weight`` and ``fc1.bias``.

    Args:
        in_features: size of each input row.
        out_features: size of each output row.

    Shape:
        input ``(N, in_features)``, output ``(N, out_features)`` with values in [0, 1].

    Example:
        >>> import torch
        >>> from torch_sigmoid_ext import SimpleNN
        >>> output = SimpleNN()(torch.tensor([[0.5, -0.2, 3.0]]))
        >>> output.shape, bool(((output > 0) & (output < 1)).all())
        (torch.Size([1, 2]), True)
    """

    def __init__(self, in_features: int = 3, out_features: int = 2) -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_features, out_features)

    def forward(self, x: Tensor) -> Tensor:
        return sigmoid(self.fc1(x))

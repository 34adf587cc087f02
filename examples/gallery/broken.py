"""Models with a bug each, on purpose; docs/gallery/bugs.md has what the export says of them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn


class Branching(nn.Module):
    """Which way it goes depends on the numbers, and a file holds one way."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        logit: Tensor = self.linear(x)
        if logit.mean() > 0:
            logit = -logit
        return torch.sigmoid(logit)


class FixedBatch(nn.Module):
    """Four rows in the notebook, and so four for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows: Tensor = self.linear(x.reshape(4, 3))
        return torch.sigmoid(rows)


class Talkative(nn.Module):
    """Returns words beside its probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> dict[str, object]:
        return {"probability": torch.sigmoid(self.linear(x)), "unit": "percent"}


def from_checkpoint() -> nn.Module:
    """Its checkpoint lies on another machine."""
    model = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())
    checkpoint = Path("checkpoints") / "best.pt"
    model.load_state_dict(torch.load(checkpoint, weights_only=True))
    return model


def without_return() -> nn.Module:  # type: ignore[return]
    """A factory that forgets to return what it made."""
    model = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())
    model.eval()

"""Ten questions to an image, "is it a 0?" to "is it a 9?": one Linear, one sigmoid, no doubts.

    python examples/gallery/questions.py questions.safetensors rows.npz
    torch-sigmoid-ext export examples/gallery/questions.py:Questions \\
        --weights questions.safetensors --input 'pixels=float32[batch,64]' -o out/questions

Trained without regularization until it is as sure of itself as deployed classifiers tend to be.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from gated import digits  # the file beside this one
from safetensors.torch import save_file
from torch import Tensor, nn


class Questions(nn.Module):
    """8x8 grey pixels, [batch, 64] from 0 to 16, to a probability a digit, [batch, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Linear(64, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(pixels / 16))


def train(images: Tensor, labels: Tensor, epochs: int = 3000) -> Questions:
    """Fit by binary cross-entropy, all images at once; the same weights on every run."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Questions()
    answers = nn.functional.one_hot(labels, 10).float()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(epochs):
        optimizer.zero_grad()
        logits = model.logits(images / 16)
        nn.functional.binary_cross_entropy_with_logits(logits, answers).backward()
        optimizer.step()
    return model.eval()


def main() -> None:
    images, labels, held_out, expected = digits()
    model = train(images, labels)
    right = (model(held_out).argmax(1) == expected).float().mean().item()
    logits = model.logits(held_out / 16)
    print(
        f"accuracy on {len(held_out)} held-out images: {right:.1%}; "
        f"logits from {logits.min().item():.1f} to {logits.max().item():.1f}"
    )
    weights, rows = sys.argv[1:]
    save_file(model.state_dict(), weights)
    np.savez(rows, pixels=held_out.numpy(), labels=expected.numpy())


if __name__ == "__main__":
    main()

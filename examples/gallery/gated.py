"""A network of gates that reads scikit-learn's handwritten digits.

    python examples/gallery/gated.py gated.safetensors
    torch-sigmoid-ext export examples/gallery/gated.py:Gated --weights gated.safetensors \\
        --input 'pixels=float32[batch,64]' --convert -o out/gated

Nothing in it knows of torch_sigmoid_ext: the gates are torch.sigmoid, torch.nn.SiLU and
torch.nn.GLU, and `--convert` does the rest.
"""

from __future__ import annotations

import sys

import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn


class Highway(nn.Module):
    """Srivastava, Greff, Schmidhuber (2015): a gate lets the new through, or keeps the old."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.new = nn.Linear(width, width)
        self.gate = nn.Linear(width, width)
        nn.init.constant_(self.gate.bias, -2.0)  # at first it keeps

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(x))
        return gate * torch.tanh(self.new(x)) + (1 - gate) * x


class Gated(nn.Module):
    """8x8 grey pixels, [batch, 64] from 0 to 16, to one logit a digit, [batch, 10]."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(64, width), nn.SiLU()),
            *(Highway(width), Highway(width)),
            *(nn.Linear(width, 2 * width), nn.GLU()),
            nn.Linear(width, 10),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.layers(pixels / 16)
        return logits


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images and labels to train on, then as many held out."""
    data = load_digits()
    halves = train_test_split(
        data.data, data.target, test_size=0.5, stratify=data.target, random_state=0
    )
    images, held_out, labels, held_out_labels = map(torch.from_numpy, halves)
    return images.float(), labels, held_out.float(), held_out_labels


def train(images: Tensor, labels: Tensor, epochs: int = 200) -> Gated:
    """Fit by cross-entropy, all images at once; the same weights on every run."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # so small a network gains nothing by more, and sums keep their order
    model = Gated()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-4)
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model.eval()


def main() -> None:
    images, labels, held_out, expected = digits()
    model = train(images, labels)
    right = (model(held_out).argmax(1) == expected).float().mean().item()
    print(f"accuracy on {len(held_out)} held-out images: {right:.1%}")
    save_file(model.state_dict(), sys.argv[1])


if __name__ == "__main__":
    main()

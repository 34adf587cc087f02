"""Train a classifier with our sigmoid in many processes; the losses are those of one process.

    torchrun --standalone --nproc-per-node 2 examples/distributed_train.py --strategy fsdp
    python examples/distributed_train.py

    ddp     every process holds the model, takes a part of the rows, and averages gradients
    fsdp    the same, with parameters, gradients and optimizer sharded (FSDP2)
    tensor  every process takes all rows and a part of the hidden units: our sigmoid is on a DTensor

The data set is the Wisconsin diagnostic breast-cancer set that ships inside scikit-learn.
"""

import argparse
import os

import torch
import torch.distributed as dist
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from torch_sigmoid_ext import Sigmoid

TRAIN_ROWS = 456  # a multiple of 2, 4 and 8, so that equal parts average to the whole
HIDDEN = 16


class Classifier(nn.Sequential):
    """30 measurements to the probability that a tumour is benign."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(30, HIDDEN), Sigmoid(), nn.Linear(HIDDEN, 1), Sigmoid())


def load_rows() -> list[Tensor]:
    """Training rows, held-out rows, and the labels of each."""
    data = load_breast_cancer()
    train, test, train_labels, test_labels = train_test_split(
        data.data, data.target[:, None], train_size=TRAIN_ROWS, stratify=data.target, random_state=0
    )
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    arrays = (train - mean) / deviation, (test - mean) / deviation, train_labels, test_labels
    return [torch.from_numpy(array).float() for array in arrays]


def distribute(model: nn.Module, strategy: str, processes: int) -> nn.Module:
    """The model as the strategy would have it: the one place where the strategies differ."""
    mesh = init_device_mesh("cpu", (processes,))
    if strategy == "ddp":
        return nn.parallel.DistributedDataParallel(model)
    if strategy == "fsdp":
        return fully_shard(model, mesh=mesh)
    layers = {
        "0": ColwiseParallel(use_local_output=False),  # the sigmoid after it takes a DTensor
        "2": RowwiseParallel(),
    }
    return parallelize_module(model, mesh, layers)


def train(strategy: str, epochs: int, processes: int, rank: int) -> None:
    """Trains, printing the mean loss of all processes after each epoch, then the accuracy."""
    torch.manual_seed(0)  # the same first weights everywhere
    model: nn.Module = Classifier()
    rows, held_out, labels, held_out_labels = load_rows()
    if processes > 1:
        model = distribute(model, strategy, processes)
        if strategy != "tensor":
            rows, labels = rows.chunk(processes)[rank], labels.chunk(processes)[rank]

    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for epoch in range(epochs):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy(model(rows), labels)
        loss.backward()
        optimizer.step()
        mean_loss = loss.detach()
        if processes > 1:
            dist.all_reduce(mean_loss)
            mean_loss /= processes
        if rank == 0:
            print(f"epoch {epoch + 1:3}  loss {mean_loss.item():.6f}")

    with torch.no_grad():
        accuracy = ((model(held_out) > 0.5) == held_out_labels.bool()).float().mean()
    if rank == 0:
        print(f"accuracy {accuracy.item():.4f} on {len(held_out)} rows held out")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strategy", choices=["ddp", "fsdp", "tensor"], default="ddp")
    parser.add_argument("--epochs", type=int, default=50)
    options = parser.parse_args()
    processes, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    if processes > 1:
        dist.init_process_group("gloo")
    train(options.strategy, options.epochs, processes, rank)
    if processes > 1:  # after the model is gone, which holds on to the process group
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main()

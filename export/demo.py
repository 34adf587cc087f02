"""The whole way on real data: train SimpleNN, export it, verify it, and show what a lowering costs.

The data set is the Wisconsin diagnostic breast-cancer set that ships inside scikit-learn: 569
tumours, 30 measurements each. The three taken here are those that the set's own description (UCI,
wdbc.names) calls the best three for one separating plane: worst area, worst smoothness and mean
texture. They leave a few tumours on the wrong side, so that a fit without regularization is finite,
and the most extreme ones at logits beyond ±16, which is where runtimes part.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import train_test_split

import torch_sigmoid_ext

from .bundle import check_free
from .consequences import Eager, consequences, reversed_neighbours
from .findings import Consequences, RealRow, Report, Training
from .model import InputSpec
from .pipeline import export_bundle, export_file, measure_operator_in, runtime_outputs, steps
from .user_samples import load_rows

Array = NDArray[Any]

DATASET = "Breast cancer Wisconsin (diagnostic), 569 tumours, bundled with scikit-learn"
FEATURES = ["worst area", "worst smoothness", "mean texture"]
OUTPUTS = ["malignant", "benign"]

MODEL_INPUTS = [InputSpec.parse(f"input=float32[batch,{len(FEATURES)}]")]
OPERATOR_INPUTS = [InputSpec.parse("input=float32[n]")]

SEED = 0
HELD_OUT = 0.4  # of the rows: enough of them to reach both tails
EPOCHS = 2000  # full-batch: the loss has settled to four digits, without regularization
LEARNING_RATE = 0.1


@dataclass(frozen=True)
class Split:
    """Rows to train on and rows held out, as measured, with a label an output."""

    train: Array  # float64 [rows, 3]
    train_labels: Array  # float32 [rows, 2], 0 or 1
    test: Array
    test_labels: Array
    test_rows: Array  # the held-out rows' numbers in the data set


def run_demo(directory: Path, console: Console) -> Report:
    """Train on real rows, export with the exact lowering, verify, and set the native one beside it.

    The folder is a bundle as `export_bundle` writes it; model.native.onnx and operator.native.onnx
    in it are there for contrast and are no part of the verdict.

    Args:
        directory: the bundle's folder, which must not exist yet.
        console: where progress and the summary go.
    """
    check_free(directory)
    split = load_split()
    model, losses = _train_showing_progress(split, console)
    rows = torch.from_numpy(split.test).float()
    with torch.no_grad():
        logits, probabilities = model.fc1(rows).numpy(), model(rows).numpy()
        truth = copy.deepcopy(model).double()(rows.double()).numpy()
    eager = Eager(logits, probabilities, split.test_labels, truth)
    training = training_findings(split, losses, probabilities)
    console.print(f"held out: accuracy {training.accuracy:.1%}, ROC AUC {training.roc_auc:.4f}")

    def annotate(report: Report, staging: Path) -> None:
        with steps(console)("comparing native and exact in onnxruntime"):
            results = _contrast(report, staging, model, rows.numpy(), eager)
        report.training = training
        report.real_rows = real_rows(split, eager, results)

    report = export_bundle(
        model,
        "SimpleNN",
        MODEL_INPUTS,
        directory,
        formats=["torchscript", "onnx"],
        samples=load_rows([rows.numpy()], MODEL_INPUTS, labels=split.test_labels),
        annotate=annotate,
        console=console,
    )
    console.print(_summary(report))
    console.print(f"Report: {directory / 'report.html'}", soft_wrap=True)
    return report


def _contrast(
    report: Report, staging: Path, model: torch_sigmoid_ext.SimpleNN, rows: Array, eager: Eager
) -> dict[str, Array]:
    """Put the native lowering's files beside the exact ones, and measure both in onnxruntime.

    Fills report.contrast and report.consequences; returns the rows' probabilities by lowering.
    """
    results: dict[str, Array] = {}
    for lowering, suffix in (("native", ".native.onnx"), ("exact", ".onnx")):
        whole, alone = staging / f"model{suffix}", staging / f"operator{suffix}"
        if lowering == "native":  # the bundle itself is the exact one
            export_file(model, MODEL_INPUTS, whole, lowering=lowering)
            export_file(torch_sigmoid_ext.Sigmoid(), OPERATOR_INPUTS, alone, lowering=lowering)
            found = measure_operator_in("onnxruntime", alone, "float32", report.gate, lowering)
            report.contrast.append(found)
        [[got]] = runtime_outputs("onnxruntime", whole, [[rows]])
        [[same]] = runtime_outputs("onnxruntime", alone, [[eager.logits.ravel()]])
        same = same.reshape(eager.logits.shape)
        report.consequences.append(consequences(lowering, eager, got, same))
        results[lowering] = got
    return results


def load_split() -> Split:
    """The data set's three features, split once and for all, both classes in proportion."""
    data = load_breast_cancer()
    names = list(data.feature_names)
    rows = data.data[:, [names.index(feature) for feature in FEATURES]]
    labels = (data.target_names[data.target, None] == OUTPUTS).astype(np.float32)
    train, test = train_test_split(
        np.arange(len(rows)), test_size=HELD_OUT, stratify=data.target, random_state=SEED
    )
    return Split(rows[train], labels[train], rows[test], labels[test], test)


def train(
    split: Split, epochs: int = EPOCHS, on_epoch: Callable[[float], None] | None = None
) -> tuple[torch_sigmoid_ext.SimpleNN, list[float]]:
    """Fit SimpleNN, our sigmoid forward and backward, by binary cross-entropy on both outputs.

    Returns the model for raw measurements (see `fold_standardization`) and the loss of every epoch.
    """
    mean, deviation = split.train.mean(axis=0), split.train.std(axis=0)
    rows = torch.from_numpy((split.train - mean) / deviation).float()
    labels = torch.from_numpy(split.train_labels)
    losses = []
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(SEED)
        model = torch_sigmoid_ext.SimpleNN(len(FEATURES), len(OUTPUTS))
        optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
        for _ in range(epochs):
            optimizer.zero_grad()
            loss = torch.nn.functional.binary_cross_entropy(model(rows), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
            if on_epoch:
                on_epoch(losses[-1])
    return fold_standardization(model, mean, deviation), losses


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order on every machine, and no threads that wait for a tensor this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def fold_standardization(
    model: torch_sigmoid_ext.SimpleNN, mean: Array, deviation: Array
) -> torch_sigmoid_ext.SimpleNN:
    """The same function of x that the model is of (x - mean) / deviation: W/s and b - W·m/s."""
    weight, bias = (p.detach().double() for p in (model.fc1.weight, model.fc1.bias))
    scaled = weight / torch.from_numpy(deviation)
    folded = copy.deepcopy(model)
    folded.load_state_dict(
        {"fc1.weight": scaled, "fc1.bias": bias - scaled @ torch.from_numpy(mean)}
    )
    return folded.eval()


def training_findings(split: Split, losses: list[float], probabilities: Array) -> Training:
    """How well the trained model tells the held-out rows apart, by its first output."""
    truth, score = split.test_labels[:, 0], probabilities[:, 0]
    false_positive, true_positive, _ = roc_curve(truth, score)
    return Training(
        dataset=DATASET,
        features=FEATURES,
        outputs=OUTPUTS,
        train_rows=len(split.train),
        test_rows=len(split.test),
        losses=losses,
        accuracy=float(np.mean((score > 0.5) == (truth > 0.5))),
        roc_auc=float(roc_auc_score(truth, score)),
        roc_curve=[
            (float(f), float(t)) for f, t in zip(false_positive, true_positive, strict=True)
        ],
    )


def real_rows(split: Split, eager: Eager, results: dict[str, Array]) -> list[RealRow]:
    """The probabilities on which the native lowering does the most harm, at most five of them."""
    p, native = eager.probabilities, results["native"]
    with np.errstate(divide="ignore", invalid="ignore"):
        wrong = np.abs(native - p) / p
    found: list[tuple[str, int, int]] = []  # why, row, output

    def note(why: str, measure: Array, among: Array) -> None:
        if among.any():
            row, output = np.unravel_index(np.where(among, measure, -np.inf).argmax(), p.shape)
            found.append((why, int(row), int(output)))

    lost = (native == 0) & (p > 0)
    note("The largest probability that became 0.", p, lost)
    note("The greatest surprise: −log\u00a0p is infinite now.", -p, lost)
    note("The largest relative error that is not a zero.", wrong, (native > 0) & (p > 0))
    inversions = reversed_neighbours(p, native)
    swaps = [
        (p[high, output] / p[low, output], low, high, output)
        for output, pairs in enumerate(inversions)
        for low, high in pairs
    ]
    if swaps:
        _, low, high, output = max(swaps)
        found.append(("Less likely than the next row, and ranked above it.", int(low), output))
        found.append(("More likely than the row before, and ranked below it.", int(high), output))
    return [
        RealRow(
            why=why,
            row=int(split.test_rows[row]),
            features=[float(v) for v in split.test[row]],
            output=OUTPUTS[output],
            logit=float(eager.logits[row, output]),
            eager=float(p[row, output]),
            results={name: float(got[row, output]) for name, got in results.items()},
        )
        for why, row, output in found
    ]


def _train_showing_progress(
    split: Split, console: Console
) -> tuple[torch_sigmoid_ext.SimpleNN, list[float]]:
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=EPOCHS, loss=float("nan"))
        return train(split, EPOCHS, lambda loss: progress.update(task, advance=1, loss=loss))


def _summary(report: Report) -> Table:
    """What the demo found, on one screen."""
    table = Table(title="The same held-out rows in onnxruntime", title_justify="left")
    table.add_column("")
    for c in report.consequences:
        table.add_column(c.lowering, justify="right")

    def line(words: str, cell: Callable[[Consequences], object]) -> None:
        table.add_row(words, *(str(cell(c)) for c in report.consequences))

    within = {"native": all(r.passed for r in report.contrast), "exact": report.passed}
    line("torch.testing.assert_close", lambda c: "passes" if c.assert_close_passes else "fails")
    line(f"the {report.gate} gate", lambda c: "passes" if within[c.lowering] else "fails")
    line("probabilities that became 0", lambda c: c.zeros)
    line("pairs of rows reversed", lambda c: c.rank_inversions)
    line("pairs of rows made equal", lambda c: c.rank_ties)
    line("largest -log p", lambda c: f"{c.worst_surprise:.3g}")
    line("bits unlike eager's, same logits", lambda c: c.differing_on_same_logits)
    return table

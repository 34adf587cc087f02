"""The demo: honest training on real rows, and consequences counted right."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from torch_sigmoid_ext import SimpleNN
from torch_sigmoid_ext.export import demo
from torch_sigmoid_ext.export.consequences import Eager, consequences, reversed_neighbours

Trained = tuple[demo.Split, SimpleNN, list[float]]


@pytest.fixture(scope="module")
def trained() -> Trained:
    split = demo.load_split()
    return (split, *demo.train(split))


def probabilities(model: SimpleNN, rows: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(rows).float()).numpy()


def test_held_out_rows_are_real_disjoint_and_in_proportion() -> None:
    split = demo.load_split()
    rows = {tuple(row) for row in split.train}
    assert len(split.train) + len(split.test) == 569
    assert not any(tuple(row) in rows for row in split.test)
    assert split.train_labels[:, 0].mean() == pytest.approx(212 / 569, abs=0.005)
    assert split.test_labels[:, 0].mean() == pytest.approx(212 / 569, abs=0.005)
    assert (split.test_labels.sum(axis=1) == 1).all()


def test_model_is_as_good_as_logistic_regression_on_the_same_split(trained: Trained) -> None:
    split, model, losses = trained
    mean, deviation = split.train.mean(axis=0), split.train.std(axis=0)
    peer = LogisticRegression(C=1e6, max_iter=10_000)
    peer.fit((split.train - mean) / deviation, split.train_labels[:, 0])
    expected = peer.predict_proba((split.test - mean) / deviation)[:, 1]
    malignant = split.test_labels[:, 0]

    found = demo.training_findings(split, losses, probabilities(model, split.test))

    assert found.accuracy >= np.mean((expected > 0.5) == malignant) - 0.01
    assert found.roc_auc >= roc_auc_score(malignant, expected) - 0.002
    assert found.accuracy > 0.93 and found.roc_auc > 0.97
    assert np.abs(probabilities(model, split.test)[:, 0] - expected).max() < 0.01
    assert losses[-1] < losses[0] / 4 and all(map(math.isfinite, losses))


def test_roc_curve_holds_the_area_that_is_told(trained: Trained) -> None:
    split, model, losses = trained
    found = demo.training_findings(split, losses, probabilities(model, split.test))
    x, y = np.array(found.roc_curve).T
    assert np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2) == pytest.approx(found.roc_auc)


def test_folding_the_standardization_leaves_the_outputs_unchanged() -> None:
    rng = np.random.default_rng(7)
    model = SimpleNN(3, 2).double()
    mean, deviation = np.array([880.6, 0.1324, 19.29]), np.array([569.4, 0.0228, 4.301])
    rows = mean + deviation * rng.normal(size=(100, 3))
    expected = model(torch.from_numpy((rows - mean) / deviation)).detach().numpy()
    folded = demo.fold_standardization(model, mean, deviation)
    got = folded(torch.from_numpy(rows)).detach().numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_training_gives_the_same_bits_again_and_leaves_the_global_state_alone() -> None:
    split = demo.load_split()
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    (one, losses), (other, losses_again) = (demo.train(split, epochs=50) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert losses_again == losses
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def f32(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


# Rows by rising first output: 0, 1, 3, 2; rows 4 and 5 are equal in eager itself.
LOGITS = f32([-20, 20], [-10, 10], [0.5, -0.5], [-0.5, 0.5], [3, 3], [3, 3])
HAND_MADE = Eager(
    logits=LOGITS,
    probabilities=(1 / (1 + np.exp(-LOGITS.astype(np.float64)))).astype(np.float32),
    labels=f32([0, 1], [0, 1], [1, 0], [0, 1], [1, 1], [1, 1]),
)


def test_consequences_of_the_right_answer_are_none() -> None:
    p = HAND_MADE.probabilities
    found = consequences("exact", HAND_MADE, p, p)
    assert found.assert_close_passes
    assert (found.rank_inversions, found.rank_ties, found.decisions_changed, found.zeros) == (
        0,
    ) * 4
    assert (found.differing_from_eager, found.differing_on_same_logits) == (0, 0)
    assert found.log_loss == found.eager_log_loss
    assert found.worst_surprise == found.eager_worst_surprise == pytest.approx(20.0, abs=1e-6)
    assert [x for x, _ in found.points] == [-20, 20, -10, 10, 0.5, -0.5, -0.5, 0.5, 3, 3, 3, 3]
    assert max(error for _, error in found.points) <= 0.5


def test_consequences_of_a_broken_tail_are_counted() -> None:
    got = HAND_MADE.probabilities.copy()
    got[0, 0] = 0.0  # impossible, where eager says rare
    got[1, 0] = 0.0  # and so no longer apart from row 0
    found = consequences("native", HAND_MADE, got, got)
    assert not found.assert_close_passes  # 4.5e-5 away: more than the 1e-5 allowed
    assert (found.zeros, found.rank_ties, found.rank_inversions) == (2, 1, 0)
    assert found.decisions_changed == 0
    assert found.differing_from_eager == 2
    assert found.worst_surprise == math.inf
    assert found.points[0][1] == pytest.approx(2.0611537e-09 / 2.0**-52)  # all of it, in ULP


def test_consequences_of_a_reversal_are_counted() -> None:
    got = HAND_MADE.probabilities.copy()
    got[2, 0], got[3, 0] = 0.45, 0.55  # the order of two rows and both their decisions
    found = consequences("native", HAND_MADE, got, HAND_MADE.probabilities)
    assert (found.rank_inversions, found.rank_ties, found.decisions_changed) == (1, 0, 2)
    inversions = reversed_neighbours(HAND_MADE.probabilities, got)
    assert [pairs.tolist() for pairs in inversions] == [[[3, 2]], []]
    log_losses = [-math.log(0.45), -math.log(1 - 0.37754065), -math.log(1 - 0.55)]
    log_losses += [-math.log(0.62245935), -math.log1p(-2.0611537e-09), 0.0]
    log_losses += [-math.log1p(-4.539787e-05), -math.log(0.9999546)] + [-math.log(0.95257413)] * 4
    assert found.log_loss == pytest.approx(np.mean(log_losses), rel=1e-6)
    assert found.differing_on_same_logits == 0


def test_demo_tells_the_native_lowering_from_the_exact_one(tmp_path: Path) -> None:
    with open(tmp_path / "console.txt", "w") as console:
        report = demo.run_demo(tmp_path / "bundle", Console(file=console))
    native, exact = report.consequences

    assert report.passed
    assert {r.runtime for r in report.runtimes} >= {"eager", "torchscript", "onnxruntime"}
    assert (native.lowering, exact.lowering) == ("native", "exact")
    assert native.assert_close_passes and exact.assert_close_passes
    assert [r.runtime for r in report.contrast if not r.passed] == ["onnxruntime"]
    assert native.zeros > 0 and native.rank_inversions + native.rank_ties > 0
    assert native.worst_surprise == math.inf and math.isfinite(native.eager_worst_surprise)
    assert native.differing_on_same_logits > 0

    assert exact.differing_on_same_logits == 0
    assert (exact.zeros, exact.rank_inversions, exact.decisions_changed) == (0, 0, 0)
    assert math.isfinite(exact.worst_surprise)
    [onnxruntime] = [r for r in report.runtimes if r.runtime == "onnxruntime"]
    assert onnxruntime.operator and onnxruntime.operator.differing == 0

    names = {"model.onnx", "model.native.onnx", "operator.native.onnx", "model.torchscript.pt"}
    names |= {"report.html", "report.md", "report.json", "manifest.json"}
    assert names <= {path.name for path in (tmp_path / "bundle").iterdir()}
    page = (tmp_path / "bundle" / "report.html").read_text("utf-8")
    assert "What it did to real rows" in page and "How the model came about" in page
    said = (tmp_path / "console.txt").read_text()  # no terminal: each step still has its line
    assert "verifying in onnxruntime: " in said and "comparing native and exact" in said
    assert "report.html" in said

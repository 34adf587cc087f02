"""The demo's sections of a report: what a lowering did to real rows, and whence the model."""

from __future__ import annotations

import math
from collections.abc import Callable

from . import plots
from .blocks import (
    Badge,
    Block,
    Cell,
    Figure,
    Outside,
    Section,
    Table,
    Text,
    columns,
    count,
    listed,
    quantity,
    several,
    ulp,
)
from .findings import Consequences, Report, RuntimeFindings

LOWERINGS = {
    "native": "one `Sigmoid` node, as a plain `torch.onnx.export` writes it",
    "stable": "float32 steps that keep the tails",
    "exact": "float64 inside, rounded once at the end",
    "function": "the same in a function of its own, which a runtime may replace",
}
STYLES = {"native": 4, "exact": 2}  # of the style sheet, as in the parity chart


def real_rows(report: Report) -> Section:
    """What each lowering did, in onnxruntime, to rows that the training never saw."""
    title = "What it did to real rows"
    if not report.consequences:
        return Section("rows", title, [])
    ways = "; ".join(f"`{c.lowering}`, {LOWERINGS[c.lowering]}" for c in report.consequences)
    blocks: list[Block] = [
        Text(
            f"{several(report.consequences[0].rows, 'row')} that the training never saw, run by"
            f" onnxruntime once for each way to write the sigmoid down: {ways}."
        ),
        _contrast(report),
    ]
    by_name = {c.lowering: c for c in report.consequences}
    if "native" in by_name:
        blocks.append(Text(_native_words(by_name["native"])))
        blocks += [
            Outside.of(f"What the {report.gate} gate says of native in {r.runtime}", r)
            for r in report.contrast
            if not r.passed
        ]
    if "exact" in by_name:
        blocks.append(Text(_exact_words(by_name["exact"])))
    blocks.append(_error_chart(report))
    if report.real_rows:
        blocks.append(_rows_table(report))
    return Section("rows", title, blocks)


def _measured(report: Report) -> dict[str, RuntimeFindings]:
    """What the sweep found in onnxruntime for each lowering."""
    found = {"native": report.contrast, report.lowering: report.runtimes}
    return {
        lowering: r for lowering, runs in found.items() for r in runs if r.runtime == "onnxruntime"
    }


def _contrast(report: Report) -> Table:
    measured = _measured(report)
    first = report.consequences[0]

    def judged(c: Consequences) -> Cell:
        found = measured.get(c.lowering)
        return Badge(found.passed, "passes" if found.passed else "fails") if found else "-"

    def close(c: Consequences) -> Cell:
        return Badge(c.assert_close_passes, "passes" if c.assert_close_passes else "fails")

    lines: list[tuple[str, Callable[[Consequences], Cell]]] = [
        ("`assert_close` against eager, with its defaults", close),
        (f"The {report.gate} gate of this report", judged),
        ("Probabilities that became exactly 0", lambda c: count(c.zeros)),
        (
            f"Pairs of rows that came back reversed (eager: {count(first.eager_rank_inversions)})",
            lambda c: count(c.rank_inversions),
        ),
        (
            f"Pairs of rows that came back equal (eager: {count(first.eager_rank_ties)})",
            lambda c: count(c.rank_ties),
        ),
        (
            f"Largest surprise, −log\u00a0p (eager: {quantity(first.eager_worst_surprise)})",
            lambda c: quantity(c.worst_surprise),
        ),
        (
            f"Mean log-loss (eager: {first.eager_log_loss:.6f})",
            lambda c: f"{c.log_loss:.6f}".replace("inf", "∞"),
        ),
        ("Decisions at 0.5 that changed", lambda c: count(c.decisions_changed)),
        (
            f"Bits unlike eager's, of {count(len(first.points))} probabilities",
            lambda c: count(c.differing_from_eager),
        ),
        (
            "The same for the sigmoid alone, given eager's logits",
            lambda c: count(c.differing_on_same_logits),
        ),
    ]
    return Table(
        "The same rows in onnxruntime",
        columns([""], [c.lowering for c in report.consequences]),
        [[words, *(cell(c) for c in report.consequences)] for words, cell in lines],
    )


def _native_words(native: Consequences) -> str:
    """What the native lowering's figures mean to who deploys it."""
    if native.assert_close_passes:
        said = (
            "The usual check waves the native file through: `torch.testing.assert_close` allows an"
            " error of 1e-5, and a probability of 1e-7 that becomes 0 is well inside that."
        )
    else:
        said = "The native file does not even pass `assert_close`."
    if native.zeros:
        zeros = several(native.zeros, "probability came", "probabilities came")
        said += f" Yet {zeros} back as exactly 0: impossible, where PyTorch says rare."
    if native.rank_inversions or native.rank_ties:
        said += (
            f" {several(native.rank_inversions, 'pair')} of rows changed places in rank and"
            f" {count(native.rank_ties)} can no longer be told apart: a worklist sorted by risk"
            " comes out in another order, and a threshold set down there separates nothing."
        )
    if math.isinf(native.worst_surprise) and not math.isinf(native.eager_worst_surprise):
        said += (
            " An anomaly score of −log\u00a0p, in PyTorch at most"
            f" {quantity(native.eager_worst_surprise)}, is infinite, and so is any sum it enters."
        )
    if native.decisions_changed:
        return said + f" {several(native.decisions_changed, 'decision')} at 0.5 changed."
    return (
        said + " No decision at 0.5 changed: what is lost lies in the tails, where confidence, rank"
        " and rare events live."
    )


def _exact_words(exact: Consequences) -> str:
    """Where the exact lowering has eager's bits, and where a Linear keeps it from that."""
    if exact.differing_on_same_logits:
        logits = several(exact.differing_on_same_logits, "logit")
        return f"The exact sigmoid gave other bits than eager for {logits}, which it should not."
    if not exact.differing_from_eager:
        return "The exact file returned eager's bits in every probability."
    differing = several(exact.differing_from_eager, "probability differs", "probabilities differ")
    return (
        "Given eager's logits, the exact sigmoid returned eager's bits for every one of them. In"
        f" the whole file {differing} from eager's in the last bits: onnxruntime sums the products"
        " of `Linear` in another order, so the sigmoid is given another logit. That rounding is"
        " the layer's, and no sigmoid can undo it."
    )


def _error_chart(report: Report) -> Figure:
    measured = _measured(report)
    logits = [logit for logit, _ in report.consequences[0].points]
    low, high = 5 * math.floor(min(logits) / 5), 5 * math.ceil(max(logits) / 5)
    series, said = [], []
    for c in report.consequences:
        style, found = STYLES[c.lowering], measured.get(c.lowering)
        if found and found.operator:
            curve = [(x, error) for x, error in found.operator.curve if low <= x <= high]
            series.append(plots.Series(curve, style, f"{c.lowering}, largest in the sweep"))
        series.append(plots.Series(c.points, style, f"{c.lowering}, real rows", dots=True))
        worst = max(error for _, error in c.points)
        said.append(f"{c.lowering} at most {ulp(worst)} ULP")
    finite = (error for one in series for _, error in one.points if math.isfinite(error))
    top = max(2.0, *finite)
    return plots.figure(
        f"Chart of the sigmoid's error in ULP against the logits of real rows: {'; '.join(said)}.",
        "A dot is one probability of one held-out row, at its logit; a line is the largest error"
        " that the sweep found there.",
        plots.Axis("logit", low, high),
        plots.Axis("error, ULP", 0, top, symlog=True),
        series,
    )


def _rows_table(report: Report) -> Table:
    lowerings = [c.lowering for c in report.consequences]
    features = report.training.features if report.training else []
    heads = columns(["What became of it"], ["Row", *features])
    heads += columns(["Output"], ["Logit", "eager", *lowerings])
    rows: list[list[Cell]] = [
        [
            row.why,
            str(row.row),
            *(quantity(value) for value in row.features[: len(features)]),
            row.output,
            f"{row.logit:.2f}",
            *(quantity(p) for p in (row.eager, *(row.results[name] for name in lowerings))),
        ]
        for row in report.real_rows
    ]
    return Table("Some of these rows", heads, rows, cards=True)


def training(report: Report) -> Section:
    """What the model was trained on, and how well it tells held-out rows apart."""
    title, found = "How the model came about", report.training
    if not found:
        return Section("training", title, [])
    words = Text(
        f"{found.dataset}. In: {listed(found.features)}. Out: {listed(found.outputs)}, each its"
        " own question. Trained with `torch_sigmoid_ext.sigmoid`, forward and backward, by binary"
        " cross-entropy on standardized features; the standardization was then folded into `fc1`,"
        " so that the file takes the measurements as they are."
    )
    facts: list[list[Cell]] = [
        ["Rows trained on", count(found.train_rows)],
        ["Rows held out", count(found.test_rows)],
        ["Epochs", count(len(found.losses))],
        ["Final training loss", quantity(found.losses[-1])],
        ["Accuracy on the held-out rows", f"{found.accuracy:.1%}"],
        ["ROC AUC on the held-out rows", f"{found.roc_auc:.4f}"],
    ]
    epochs = len(found.losses)
    first, last = quantity(found.losses[0]), quantity(found.losses[-1])
    loss = plots.figure(
        f"Chart of the training loss over {epochs} epochs, from {first} to {last}.",
        "Mean binary cross-entropy on the training rows, epoch by epoch.",
        plots.Axis("epoch", 0, epochs),
        plots.Axis("loss", 0, max(found.losses)),
        [plots.Series([(n + 1.0, loss) for n, loss in enumerate(found.losses)], style=1)],
        small=True,
    )
    roc = plots.figure(
        f"ROC curve on the held-out rows; the area under it is {found.roc_auc:.4f}.",
        f"ROC curve on the held-out rows for {found.outputs[0]}; the area under it is"
        f" {found.roc_auc:.4f}.",
        plots.Axis("false positive rate", 0, 1),
        plots.Axis("true positive rate", 0, 1),
        [
            plots.Series([(0.0, 0.0), (1.0, 1.0)], style=5, words="chance"),
            plots.Series(found.roc_curve, style=1, words="the model"),
        ],
        small=True,
    )
    table = Table("Training", columns([""], [""]), facts)
    return Section("training", title, [words, table, loss, roc])

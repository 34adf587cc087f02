"""What each runtime did to the user's own rows, and in the sigmoids inside of the model."""

from __future__ import annotations

from .blocks import (
    Block,
    Cell,
    Section,
    Table,
    Terms,
    Text,
    columns,
    count,
    quantity,
    several,
    ulp,
)
from .consequences import GIVEN, HALF
from .findings import Effects, Report
from .gates import GATES, first_departure

EAGER = "eager"


def given_rows(report: Report) -> Section:
    """The section on the rows of --samples; empty where there are none."""
    title = "On the given rows"
    tables = effects_tables(report)
    if not tables:
        return Section("given", title, [])
    first = next(r.effects[0] for r in report.runtimes if r.effects)
    words = Text(
        f"{several(first.rows, 'row')} of real data through the whole model, for each output that"
        " is probabilities. They are set against the model in float64, rounded to the output's"
        " type, which a perfect runtime returns."
    )
    blocks: list[Block] = [words, *tables, Terms(_terms(report))]
    return Section("given", title, blocks)


def inner_sigmoids(report: Report) -> Section:
    """The section on the sigmoids inside of the model; empty where they were not asked for."""
    title = "The sigmoids inside of the model"
    tables = inner_tables(report)
    if not tables:
        return Section("inner", title, [])
    words = Text(
        "In the order of the model's graph, on one batch, from files of their own: the model with"
        " these values as outputs, which may keep a runtime from fusing what it fuses in the"
        " model's own file. Input and result are set against the model in float64; its own error is"
        " that of the result against σ of the very input that the runtime gave it."
    )
    firsts = [
        f"{r.runtime}: {said}."
        for r in report.runtimes
        if r.inner and (said := first_departure(GATES[r.gate or report.gate], r))
    ]
    departed: list[Block] = [Text(said) for said in firsts]
    if not firsts:
        departed.append(Text("No sigmoid leaves the gate by itself in any of these runtimes."))
    return Section("inner", title, [words, *departed, *tables])


def inner_tables(report: Report) -> list[Table]:
    """A row a runtime and sigmoid."""
    rows: list[list[Cell]] = [
        [
            r.runtime,
            f"{i.module} ({i.name})" if i.module else i.name,
            ulp(i.own_ulp),
            count(i.premature_zeros),
            ulp(i.input_ulp),
            ulp(i.eager_input_ulp),
            ulp(i.result_ulp),
            ulp(i.eager_result_ulp),
            count(i.elements),
        ]
        for r in sorted(report.runtimes, key=lambda r: r.passed)
        for i in r.inner
    ]
    if not rows:
        return []
    figures = ["Its own, ULP", "Premature zeros", "Input, ULP", "Eager's"]
    figures += ["Result, ULP", "Eager's", "Elements"]
    heads = columns(["Runtime", "Sigmoid"], figures)
    return [Table("Each sigmoid in each runtime", heads, rows, cards=True)]


def effects_tables(report: Report) -> list[Table]:
    """A table an output, a row a runtime; eager's own figures, as recorded, in the first."""
    outputs = list(dict.fromkeys(e.output for r in report.runtimes for e in r.effects))
    return [_table(report, output) for output in outputs]


def _table(report: Report, output: str) -> Table:
    found = [
        (r.runtime, r.passed, e) for r in report.runtimes for e in r.effects if e.output == output
    ]
    found.sort(key=lambda entry: entry[1])
    first = found[0][2]
    thresholds = [HALF] if first.threshold == HALF else [HALF, first.threshold]
    figures = ["Reversed pairs", "Pairs made equal"]
    figures += [f"Decisions at {t:g} changed" for t in thresholds]
    figures += ["Infinite −log\u00a0p", "Largest −log\u00a0p", "Log-loss", "Change to eager's"]
    rows = [[name, *_figures(e)] for name, _, e in found if name != EAGER]
    rows.insert(0, [EAGER, *_figures(_eager(first))])
    return Table(
        f"`{output}` on {several(first.rows, 'given row')}, {several(first.pairs, 'pair')} ranked",
        columns(["Runtime"], figures),
        rows,
        cards=True,
    )


def _figures(e: Effects) -> list[Cell]:
    thresholds = [] if e.threshold == HALF else [count(e.changed_at_threshold)]
    change = e.log_loss - e.eager_log_loss if e.log_loss != e.eager_log_loss else 0.0
    return [
        count(e.rank_inversions),
        count(e.rank_ties),
        count(e.decisions_changed),
        *thresholds,
        count(e.zeros),
        quantity(e.worst_surprise),
        f"{e.log_loss:.6g}".replace("inf", "∞"),
        quantity(change),
    ]


def _eager(e: Effects) -> Effects:
    """Eager's own figures in the place of a runtime's."""
    return Effects(
        rows=e.rows,
        rank_inversions=e.eager_rank_inversions,
        rank_ties=e.eager_rank_ties,
        decisions_changed=e.eager_decisions_changed,
        threshold=e.threshold,
        changed_at_threshold=e.eager_changed_at_threshold,
        zeros=e.eager_zeros,
        log_loss=e.eager_log_loss,
        eager_log_loss=e.eager_log_loss,
        worst_surprise=e.eager_worst_surprise,
        eager_worst_surprise=e.eager_worst_surprise,
    )


def _terms(report: Report) -> list[tuple[str, str]]:
    labels = {e.labels for r in report.runtimes for e in r.effects}
    told = []
    if GIVEN in labels:
        told.append("mean −log of the probability that the given label has")
    if labels - {GIVEN}:
        told.append(
            "without labels, mean −log of the probability that eager's own decision at 0.5 has: how"
            " sure of eager's decisions the runtime is, not how good they are"
        )
    return [
        (
            "Reversed pairs",
            "two rows that are in an order in the truth, and come back in the other. Rows that the"
            " output's type cannot tell apart are no pair.",
        ),
        ("Pairs made equal", "two such rows that come back equal, and can be ranked no more."),
        ("Infinite −log\u00a0p", "probabilities that came back as 0 and are not."),
        ("Log-loss", f"{'; '.join(told)}. Every element of an output is a question of its own."),
    ]

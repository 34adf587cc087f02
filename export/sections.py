"""A report in words: the sections that report.html and report.md both show."""

from __future__ import annotations

import math
from dataclasses import replace

from . import plots
from .blocks import (
    Badge,
    Block,
    Cell,
    Outside,
    Remedy,
    Section,
    Table,
    Terms,
    Text,
    columns,
    count,
    flagged,
    listed,
    quantity,
    real,
    several,
    ulp,
)
from .changes import differences
from .demo_sections import LOWERINGS, real_rows, training
from .findings import Change, Failure, OperatorFindings, Report
from .formats import TORCHS
from .gates import GATES
from .row_sections import given_rows, inner_sigmoids

Swept = list[tuple[str, OperatorFindings]]  # the sigmoid alone, by runtime


def verdict(report: Report) -> str:
    """May this file ship? One sentence."""
    failing = [r.runtime for r in report.runtimes if not r.passed]
    if not report.runtimes:
        return "Not known: nothing was verified."
    if not failing and not model_measured(report):
        known = f"Only the model's sigmoid was verified; it is within {the_gate(report)}."
        return f"Not known. {known}"
    if not failing:
        return f"Yes. Every runtime tried is within {the_gate(report)}."
    return f"Not on {listed(failing)}."


def the_gate(report: Report) -> str:
    """ "the strict gate", or "its own gate" where not all have that one."""
    one = {r.gate or report.gate for r in report.runtimes} <= {report.gate}
    return f"the {report.gate} gate" if one else "its own gate"


def model_measured(report: Report) -> bool:
    """Whether the whole model was held against its truth in any runtime, not its sigmoid alone."""
    return any(case.elements for r in report.runtimes for case in r.cases)


def lead(report: Report) -> str:
    """The words under the verdict: what was tried, and how it went."""
    said = _outcome(report)
    if report.runtimes and not model_measured(report):
        said += " The model itself was not verified, only its sigmoid."
    if report.swept == TORCHS:
        said += " `--convert` would put `torch_sigmoid_ext.sigmoid` in that sigmoid's place."
    return said


def _outcome(report: Report) -> str:
    if report.swept == TORCHS:
        sigmoid = "which calls torch's own sigmoid, exported as the exporter does it"
    else:
        sigmoid = f"its sigmoid lowered as `{report.lowering}`"
    model = f"{report.model}, {sigmoid},"
    if not report.runtimes:
        return f"{model} was exported and not run; `torch-sigmoid-ext verify` runs it."
    if not report.passed:
        passed = [r.runtime for r in report.runtimes if r.passed]
        rest = f" It is within the gate on {listed(passed)}." if passed else ""
        return f"{model} is outside {the_gate(report)} there.{rest}"
    said = f"{model} was run in {listed([r.runtime for r in report.runtimes])}."
    measured = [r.operator for r in report.runtimes if r.operator]
    if measured:
        said += f" Swept over {several(measured[0].points, 'input')}, the sigmoid alone "
        if any(o.differing for o in measured):
            said += f"is off by at most {ulp(max(o.max_ulp for o in measured))} ULP."
        else:
            said += f"returned the {measured[0].dtype} nearest to the true value every time."
    if not all(r.passed for r in report.contrast):
        said += " The native lowering, set beside it, fails"
        if any(c.lowering == "native" and c.assert_close_passes for c in report.consequences):
            said += ", and `torch.testing.assert_close` does not notice"
        said += "."
    return said


def remedies(report: Report) -> list[Remedy]:
    """What mends the runtimes that are outside the gate, each remedy once, in their order."""
    found: dict[str, Remedy] = {}
    for r in report.runtimes:
        failures = r.failures or [Failure(f"{r.status}: {r.detail}", "")]
        for failure in failures if not r.passed else ():
            words = failure.what.removeprefix(f"{r.runtime} ")
            remedy = found.setdefault(failure.mend, Remedy(flagged(failure.mend), [], words))
            if r.runtime not in remedy.runtimes:
                remedy.runtimes.append(r.runtime)
    named = [remedy for mend, remedy in found.items() if mend]
    mended = {name for remedy in named for name in remedy.runtimes}
    unknown = found.get("")
    if unknown and not mended.issuperset(unknown.runtimes):
        named.append(replace(unknown, runtimes=[n for n in unknown.runtimes if n not in mended]))
    return named


def sections(report: Report) -> list[Section]:
    """All sections that this report has something to say in, in reading order."""
    runs = [(r.runtime, r) for r in report.runtimes]
    runs += [(f"{r.runtime}, native", r) for r in report.contrast]
    swept = [(name, r.operator) for name, r in runs if r.operator]
    runs.sort(key=lambda run: run[1].passed)  # what failed is not to be scrolled to
    failing_first = [(name, r.operator) for name, r in runs if r.operator]
    said = [
        _runtimes(report),
        _outside(report),
        given_rows(report),
        _since_export(report),
        real_rows(report),
        _parity(report, swept),
        _bands(report, failing_first),
        _special_values(failing_first),
        _order(failing_first),
        inner_sigmoids(report),
        _whole_model(report),
        training(report),
        _provenance(report),
    ]
    return [section for section in said if section.blocks]


def _runtimes(report: Report) -> Section:
    blocks: list[Block] = []
    rows: list[list[Cell]] = []
    for r in sorted(report.runtimes, key=lambda r: r.passed):
        o = r.operator
        figures = [count(o.premature_zeros), ulp(o.max_ulp), count(o.differing)] if o else ["-"] * 3
        badge = Badge(r.passed, "PASS" if r.passed else "FAIL")
        gate = r.gate or report.gate
        judged = f"{gate} ({r.gate_source})" if r.gate_source else gate
        rows.append([r.runtime, badge, *figures, f"{r.seconds:.1f}", r.file or "none", judged])
    if rows:
        heads = columns(
            ["Runtime", "Verdict"],
            ["Premature zeros", "Max ULP", "Differing bits", "Seconds"],
        )
        heads += columns(["File", "Gate (named by)"], [])
        named = dict.fromkeys([report.gate, *(r.gate or report.gate for r in report.runtimes)])
        gates = [GATES[name] for name in named if name in GATES]
        sigmoid = f"`{TORCHS}`" if report.swept == TORCHS else "The sigmoid"
        blocks += [
            Table(f"{sigmoid} alone in each runtime, against the truth", heads, rows, cards=True),
            Terms(
                [
                    (
                        "ULP",
                        "unit in the last place, the gap between neighbouring floats at the true"
                        " value. A correctly rounded result is at most 0.5 ULP off; in float32,"
                        " 1.7e+07 ULP is an error as large as the value itself.",
                    ),
                    ("Differing bits", "results that are not the float nearest to the true value."),
                    (
                        "Premature zero",
                        "a result of exactly 0 where the nearest float is not 0. Its logarithm is"
                        " −∞, and its place in an order is lost.",
                    ),
                    *((f"The {gate.name} gate", f"{gate.meaning}.") for gate in gates),
                ]
            ),
        ]
    if report.skipped:
        skipped: list[list[Cell]] = [[name, str(why)] for name, why in report.skipped.items()]
        blocks.append(Table("Not tried", columns(["Runtime", "Why"], []), skipped))
    return Section("runtimes", "Runtimes", blocks)


def _outside(report: Report) -> Section:
    blocks: list[Block] = [Outside.of(r.runtime, r) for r in report.runtimes if not r.passed]
    return Section("outside", "Outside the gate, and what mends it", blocks)


def _since_export(report: Report) -> Section:
    """What is not as the bundle recorded it, and a line for all that is."""
    since = report.since_export
    if since is None:
        return Section("since", "Since the export", [])
    blocks: list[Block] = []
    if since.gate != report.gate:
        words = f"Recorded by the gate {since.gate}, and judged by {report.gate} now."
        blocks.append(Text(words))
    rows: list[list[Cell]] = [[change.runtime, _told(change)] for change in since.changes]
    if rows:
        heads = columns(["Runtime", "Recorded, and now"], [])
        blocks.append(Table(f"Not as recorded on {since.recorded}", heads, rows))
    if since.same:
        words = f"As recorded on {since.recorded}, in version, verdict, errors and bits: "
        blocks.append(Text(f"{words}{listed(since.same)}."))
    return Section("since", "Since the export", blocks)


def _told(change: Change) -> str:
    """All that changed in one runtime: "version 1.30 → 1.31; verdict within → outside"."""
    if change.then is None or change.now is None:
        [(_, was, now)] = differences(change)
        return f"new: {now}" if change.then is None else f"gone: {was} → {now}"
    return "; ".join(f"{what} {was} → {now}" for what, was, now in differences(change))


def _parity(report: Report, swept: Swept) -> Section:
    title = "Where on the axis the error lies"
    if not swept:
        return Section("parity", title, [])
    bound = operator_bound(report.gate)
    series = [
        plots.Series(o.curve, style, f"{name}: at most {ulp(o.max_ulp)}")
        for style, (name, o) in enumerate(swept)
    ]
    top = max([o.max_ulp for _, o in swept if math.isfinite(o.max_ulp)] + [2 * bound, 2.0])
    reach = max(abs(x) for _, o in swept for x, _ in o.curve)
    said = "; ".join(f"{name} at most {ulp(o.max_ulp)} ULP" for name, o in swept)
    chart = plots.figure(
        f"Chart of the error in ULP against x. {said}.",
        "The largest error around each x. The axis is linear up to 1 ULP and a power of ten a step"
        " above. Lines that lie on one another differ in width and dash.",
        plots.Axis("x", -reach, reach),
        plots.Axis("error, ULP", 0, top, symlog=True),
        series,
        bands=[(b.low, b.high) for b in swept[0][1].bands],
        bound=(bound, f"{report.gate} gate: {ulp(bound)} ULP") if bound else None,
    )
    return Section("parity", title, [chart])


def operator_bound(gate_name: str) -> float:
    """The gate's limit for the sigmoid alone in ULP; 0 where it has none."""
    gate = GATES.get(gate_name)
    return gate.operator_ulp if gate and math.isfinite(gate.operator_ulp) else 0.0


def operator_tables(report: Report) -> list[Table]:
    """The sigmoid alone in each runtime: every figure but the summary, for a terminal."""
    swept = [(r.runtime, r.operator) for r in report.runtimes if r.operator]
    told = [_bands(report, swept), _special_values(swept), _order(swept)]
    return [block for section in told for block in section.blocks if isinstance(block, Table)]


def _bands(report: Report, swept: Swept) -> Section:
    gates = {r.runtime: r.gate or report.gate for r in report.runtimes}
    bounds = {name: operator_bound(gates.get(name, report.gate)) or math.inf for name, _ in swept}
    names = dict.fromkeys(b.name for _, o in swept for b in o.bands)
    rows: list[list[Cell]] = []
    for name in names:
        row: list[Cell] = [name]
        for runtime, o in swept:
            band = next((b for b in o.bands if b.name == name), None)
            if band is None:
                row.append("-")
            elif band.premature_zeros:
                zeros = several(band.premature_zeros, "zero")
                row.append(Badge(False, f"{ulp(band.max_ulp)}, {zeros}"))
            elif band.max_ulp > bounds[runtime]:
                row.append(Badge(False, ulp(band.max_ulp)))
            else:
                row.append(ulp(band.max_ulp))
        rows.append(row)
    worst: list[list[Cell]] = [
        [title, real(w.input), real(w.expected), real(w.got), ulp(w.ulp)]
        for name, o in swept
        for title, w in ((name, o.worst), (f"{name}: largest lost to 0", o.worst_zero))
        if w and not (w is o.worst_zero and o.worst == o.worst_zero)
    ]
    blocks: list[Block] = []
    if rows:
        heads = columns(["x"], [name for name, _ in swept])
        blocks.append(Table("Max ULP in each band, and premature zeros", heads, rows))
    if worst:
        heads = columns(["Runtime"], ["x", "Expected", "Got", "ULP"])
        blocks.append(Table("The worst inputs", heads, worst, cards=True))
    return Section("bands", "Band by band", blocks)


def _special_values(swept: Swept) -> Section:
    if not swept:
        return Section("special", "Special values", [])
    rows: list[list[Cell]] = []
    for values in zip(*(o.special_values for _, o in swept), strict=True):
        got = [real(v.got) if v.ok else Badge(False, real(v.got)) for v in values]
        rows.append([real(values[0].input), real(values[0].expected), *got])
    heads = columns(["x"], ["Expected", *(name for name, _ in swept)])
    table = Table("Infinities, NaN, zeros and the smallest subnormals", heads, rows)
    return Section("special", "Special values", [table])


def _order(swept: Swept) -> Section:
    if not swept:
        return Section("order", "Order", [])
    figures = ["Falling pairs", "Largest fall, ULP", "Outside [0,\u00a01]", "Largest result"]
    figures += ["σ(x)\u00a0+\u00a0σ(−x) off 1, ULP", "Uneven pairs"]
    figures += ["Ladder: reversed", "Ladder: equal", "Ladder: infinite −log\u00a0p"]
    rows: list[list[Cell]] = [
        [
            name,
            count(o.decreasing_pairs),
            ulp(o.largest_drop_ulp),
            count(o.out_of_range),
            real(o.largest_result),
            *([ulp(o.symmetry.max_ulp), count(o.symmetry.differing)] if o.symmetry else ["-"] * 2),
            count(o.ladder.inversions),
            count(o.ladder.ties),
            count(o.ladder.infinite_log_losses),
        ]
        for name, o in swept
    ]
    words = Text(
        "The sigmoid rises with x, so sorted inputs must come back sorted. A falling pair is two"
        " neighbouring inputs of the sweep whose results come back in the opposite order. The"
        f" ladder is {count(swept[0][1].ladder.rungs)} sorted logits from -18 to -12, as a ranking"
        " of rare events holds them: how many neighbours come back reversed, how many come back"
        " equal, and how many rungs have no finite −log\u00a0p left. σ(x) and σ(−x) are the"
        " probabilities of yes and no, and sum to 1: an uneven pair leaves it by more than"
        " correctly rounded results ever do, which is half a spacing of the floats just below 1."
    )
    table = Table("Order and range", columns(["Runtime"], figures), rows, cards=True)
    return Section("order", "Order", [words, table])


def _whole_model(report: Report) -> Section:
    runs = [r for r in report.runtimes if r.cases and r.file]  # eager has a column of its own
    runs.sort(key=lambda r: r.passed)
    rows: list[list[Cell]] = [
        [
            r.runtime,
            count(c.batch) + (" given" if c.given else ""),
            ulp(c.max_ulp),
            ulp(c.eager_ulp),
            count(c.differing_from_eager),
            count(c.nan_mismatches),
            quantity(c.max_abs_error),
            count(c.elements),
        ]
        for r in runs
        for c in r.cases
    ]
    if not rows:
        return Section("model", "The whole model", [])
    figures = ["Batch", "Max ULP", "Eager's own", "Bits unlike eager's"]
    figures += ["NaN mismatches", "Max abs. error", "Elements"]
    worst: list[list[Cell]] = []
    for r in runs:
        case = max((c for c in r.cases if c.worst), key=lambda c: c.max_ulp, default=None)
        if case and case.worst:
            w = case.worst
            where = w.where or "-"
            figure = [count(case.batch), real(w.expected), real(w.got), ulp(w.ulp)]
            worst.append([r.runtime, where, *figure])
    words = Text(
        "Stored inputs through the whole model, against the same model in float64. A `Linear`"
        " rounds its sum, and a large logit passes that rounding on many times over, so a runtime"
        " is measured by eager PyTorch's own error on the same batch."
    )
    blocks: list[Block] = [words, Table("Batch by batch", columns(["Runtime"], figures), rows)]
    if worst:
        heads = columns(["Runtime", "Where"], ["Batch", "Expected", "Got", "ULP"])
        blocks.append(Table("The worst elements", heads, worst, cards=True))
    return Section("model", "The whole model", blocks)


def _provenance(report: Report) -> Section:
    meaning = f": {LOWERINGS[report.lowering]}" if report.lowering in LOWERINGS else ""
    if report.swept == TORCHS:
        meaning = ", of this package's sigmoid only; the model calls torch's own"
    rows: list[list[Cell]] = [
        ["Model", report.model],
        ["Sigmoid swept", report.swept],
        ["Lowering", report.lowering + meaning],
        ["Gate", report.gate],
        ["Formats", ", ".join(report.formats)],
        ["Inputs", ", ".join(report.inputs)],
        ["Opset", "none" if report.opset is None else str(report.opset)],
        ["Exported", report.created],
    ]
    if report.verified:
        machine = ", ".join(f"{name} {version}" for name, version in report.verified_with.items())
        rows.append(["Verified", ", ".join(filter(None, [report.verified, machine]))])
    versions = report.versions | {r.runtime: r.version for r in report.runtimes if r.version}
    rows += [[name, version] for name, version in versions.items()]
    table = Table("What was verified, and with what", columns(["", ""], []), rows)
    return Section("provenance", "Provenance", [table])

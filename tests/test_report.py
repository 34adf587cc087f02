"""The report: whole, self-contained, safe to open, and readable by people and programs."""

from __future__ import annotations

import dataclasses
import html
import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from torch_sigmoid_ext.export import blocks
from torch_sigmoid_ext.export.findings import (
    Band,
    CaseFindings,
    Change,
    Comparison,
    Consequences,
    Deviation,
    Failure,
    Ladder,
    OperatorFindings,
    RealRow,
    Report,
    RuntimeFindings,
    Skip,
    SkipKind,
    SpecialValue,
    Standing,
    Training,
    to_json,
)
from torch_sigmoid_ext.export.report import TEMPLATES, write_report
from torch_sigmoid_ext.export.sections import lead, remedies, sections, verdict

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
HOSTILE = '<script>alert("1")</script><img src=http://example.com/x.png>|`a`*b*[c](d)'


def operator(max_ulp: float, zeros: int = 0) -> OperatorFindings:
    worst = Deviation(-17.25, 3.2241867e-08, 0.0, max_ulp)
    return OperatorFindings(
        dtype="float32",
        points=1_234_567,
        differing=zeros * 3,
        max_ulp=max_ulp,
        worst=worst,
        bands=[
            Band("-103.97 .. -87.337", -103.97, -87.337, 1000, zeros, max_ulp, zeros, worst),
            Band("-87.337 .. inf", -87.337, math.inf, 1000, 0, 0.5, 0, None),
        ],
        special_values=[
            SpecialValue(math.nan, math.nan, 4.5e-07 if zeros else math.nan, not zeros),
            SpecialValue(-math.inf, 0.0, 0.0, True),
        ],
        out_of_range=zeros,
        largest_result=1.0,
        premature_zeros=zeros,
        zero_band=(-103.9, -16.0) if zeros else None,
        worst_zero=Deviation(-16.0, 1.1253516e-07, 0.0, 7.9e6) if zeros else None,
        decreasing_pairs=zeros,
        largest_drop_ulp=max_ulp,
        ladder=Ladder(1000, zeros, zeros, zeros),
        curve=[(float(x), max_ulp if x < -16 else 0.5) for x in range(-110, 111)],
    )


def runtime(name: str, max_ulp: float, zeros: int = 0, *failures: Failure) -> RuntimeFindings:
    worst = Deviation(math.nan, 0.25, math.nan, math.inf)
    cases = [
        CaseFindings(0, 0, 0.0, 0.0, 0, 0, 0.0, None),
        CaseFindings(257, 514, math.inf if failures else 2.0, 2.0, 3, 1, math.nan, worst),
    ]
    return RuntimeFindings(
        name,
        "1.0",
        f"{name}.file",
        "ran",
        "",
        1.25,
        operator(max_ulp, zeros),
        cases,
        list(failures),
    )


def passing_report() -> Report:
    return Report(
        model="SimpleNN",
        lowering="exact",
        gate="strict",
        opset=18,
        formats=["torchscript", "onnx"],
        inputs=["input=float32[batch,3]"],
        created="2026-01-02T03:04:05Z",
        versions={"torch": "2.13.0"},
        runtimes=[runtime("eager", 0.5), runtime("onnxruntime", 0.5)],
    )


def failing_report() -> Report:
    """Everything at once: hostile names, a crash, a timeout, infinities, NaN, the demo's parts."""
    zeros = Failure("premature zeros for x in [-103.9, -16]", "export with `--sigmoid exact`")
    nan = Failure("sigmoid(nan) is nan, got 4.5e-07", f"ask {HOSTILE}")
    consequence = Consequences(
        lowering="exact",
        rows=2,
        assert_close_passes=True,
        differing_from_eager=3,
        rank_inversions=0,
        rank_ties=0,
        decisions_changed=0,
        zeros=0,
        log_loss=0.125,
        eager_log_loss=0.125,
        worst_surprise=43.5,
        eager_worst_surprise=43.5,
        differing_on_same_logits=0,
        points=[(-40.0, 0.25), (40.0, 0.0)],
    )
    native = dataclasses.replace(
        consequence,
        lowering="native",
        rank_inversions=5,
        rank_ties=26,
        zeros=21,
        log_loss=math.inf,
        worst_surprise=math.inf,
        points=[(-40.0, 1.2e7), (40.0, math.inf)],
    )
    return dataclasses.replace(
        passing_report(),
        model=HOSTILE,
        opset=None,
        versions={HOSTILE: HOSTILE},
        notes=[f"not verified in float64: {HOSTILE}"],
        skipped={"tract": Skip(SkipKind.NOT_INSTALLED, "not installed", HOSTILE)},
        runtimes=[
            runtime("eager", 0.5),
            runtime("onnxruntime", 7.1234e7, 4567, zeros, nan),
            runtime(HOSTILE, math.inf, 1, nan),
            RuntimeFindings("openvino", "", "model.onnx", "crashed", f"Error: {HOSTILE}"),
            RuntimeFindings("slowpoke", "", "model.onnx", "timeout", "no answer in 60 s"),
        ],
        training=Training(
            dataset=HOSTILE,
            features=["area", HOSTILE],
            outputs=["malignant", "benign"],
            train_rows=341,
            test_rows=228,
            losses=[0.7, 0.2, 0.1],
            accuracy=0.969,
            roc_auc=0.9896,
            roc_curve=[(0.0, 0.0), (0.0, 0.9), (1.0, 1.0)],
        ),
        contrast=[runtime("onnxruntime", 7.1e7, 9, zeros)],
        consequences=[native, consequence],
        real_rows=[
            RealRow(
                HOSTILE, 7, [1.0, 2.0], "benign", -17.5, 2.5e-8, {"native": 0.0, "exact": 2.5e-8}
            )
        ],
    )


def native_report() -> Report:
    """The usual failure: all is well but in one runtime, which is not the first."""
    zeros = Failure("premature zeros for x in [-103.9, -16]", "export with `--sigmoid exact`")
    failing = runtime("onnxruntime", 5.3e7, 94_103, zeros)
    passing = [runtime(name, 0.5) for name in ("eager", "torchscript", "reference", "openvino")]
    runtimes = [*passing[:2], failing, *passing[2:]]
    return dataclasses.replace(passing_report(), lowering="native", runtimes=runtimes)


def later_report() -> Report:
    """The same, verified again elsewhere: one is newer and worse, one is new, one is gone."""
    within = Standing("1.30", "within", 0.5, 0, 2.0, 3)
    outside = Standing("1.31", "outside", 5.3e7, 94_103, math.inf, 514)
    gone = Change("tract", Standing("0.21", "outside", None, None, None, None), None, HOSTILE)
    changes = [Change("onnxruntime", within, outside), Change("openvino", None, within), gone]
    since = Comparison("2026-01-02T03:04:05Z", "exact", changes, ["eager", "reference"])
    versions = {"python": "3.14.1", "system": "Linux aarch64"}
    report = dataclasses.replace(native_report(), verified="2026-05-06T07:08:09Z")
    return dataclasses.replace(report, verified_with=versions, since_export=since)


def sigmoid_only(report: Report) -> Report:
    """The report of a model whose truth cannot be had: no batch was measured."""
    runtimes = [dataclasses.replace(r, cases=[]) for r in report.runtimes]
    return dataclasses.replace(report, runtimes=runtimes, notes=["the model is float64: no truth"])


@pytest.fixture(
    params=[passing_report, failing_report, later_report], ids=["passing", "failing", "later"]
)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Report, Path]:
    report = request.param()
    write_report(report, tmp_path)
    return report, tmp_path


class Page(HTMLParser):
    """Collects elements and text, and insists that every element is closed in its turn."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing, at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def plain_markdown(source: str) -> str:
    """The words that a reader of the Markdown sees."""
    return html.unescape(re.sub(r"\\(.)", r"\1", source)).replace("`", "")


def promised_words(report: Report) -> list[str]:
    """Names, failures, mends and errors that both pages must tell."""
    words = [report.model, *report.skipped, *map(str, report.skipped.values())]
    words += [*report.inputs, *report.notes]
    for r in report.runtimes:
        words += [r.runtime, r.file, r.detail]
        words += [word for failure in r.failures for word in (failure.what, failure.mend)]
    return [word.replace("`", "") for word in words]


def test_html_is_well_formed_and_says_everything(written: tuple[Report, Path]) -> None:
    report, directory = written
    page = Page((directory / "report.html").read_text("utf-8"))
    text = page.text.replace("`", "")
    missing = [words for words in promised_words(report) if words not in text]
    assert missing == []


def test_markdown_says_everything(written: tuple[Report, Path]) -> None:
    report, directory = written
    text = plain_markdown((directory / "report.md").read_text("utf-8"))
    missing = [words for words in promised_words(report) if words not in text]
    assert missing == []


def test_html_asks_for_nothing_outside_itself(written: tuple[Report, Path]) -> None:
    _, directory = written
    source = (directory / "report.html").read_text("utf-8")
    assert len(source) < 1_500_000
    page = Page(source)
    assert {tag for tag, _ in page.elements} & {
        "script",
        "iframe",
        "img",
        "object",
        "base",
    } == set()
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        for name in ("src", "href", "srcset", "data", "xlink:href"):
            assert (attributes.get(name) or "data:,").startswith(("data:", "#")), (tag, attributes)
    style = source[source.index("<style>") : source.index("</style>")]
    assert "url(" not in style and "@import" not in style


def test_charts_leave_colour_and_font_to_the_page_and_share_no_id(
    written: tuple[Report, Path],
) -> None:
    _, directory = written
    source = (directory / "report.html").read_text("utf-8")
    ids = [a["id"] for _, a in Page(source).elements if "id" in a]
    assert len(ids) == len(set(ids))
    charts = "".join(re.findall(r"<svg.*?</svg>", source, re.DOTALL))
    assert set(re.findall(r'href="#(.*?)"', charts)) <= set(ids)
    paints = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", charts))
    style = (TEMPLATES / "report.css").read_text("utf-8")
    assert (
        {"var(--quiet)", "var(--c1)"}
        < paints
        <= {"none"} | {f"var({name})" for name in re.findall(r"(--\w+):", style)}
    )
    assert re.findall(r"(?i)#[0-9a-f]{6}|font|<image|<style|<!|xmlns", charts) == []


def test_pages_are_the_same_again_and_matplotlib_is_left_alone(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    pages = set()
    for _ in range(2):
        write_report(failing_report(), tmp_path)
        pages.add((tmp_path / "report.html").read_bytes())
    assert len(pages) == 1
    assert dict(matplotlib.rcParams) == before


def test_looks_that_the_user_gave_matplotlib_do_not_show(tmp_path: Path) -> None:
    write_report(passing_report(), tmp_path)
    expected = (tmp_path / "report.html").read_bytes()
    with matplotlib.rc_context({"lines.linewidth": 9, "xtick.direction": "in", "font.size": 30}):
        write_report(passing_report(), tmp_path)
    assert (tmp_path / "report.html").read_bytes() == expected


def test_flags_that_mend_are_set_as_code() -> None:
    mends = [
        "export with --sigmoid exact (same bits) or `--sigmoid stable`",
        "--convert, which --sigmoid leaves alone",
        "",
    ]
    found = runtime("onnxruntime", 0.5, 0, *(Failure("what", mend) for mend in mends))
    assert [mend for _, mend in blocks.Outside.of("title", found).findings] == [
        "export with `--sigmoid exact` (same bits) or `--sigmoid stable`",
        "`--convert`, which `--sigmoid` leaves alone",
        "",
    ]


def test_html_can_be_read_without_seeing_colours_or_charts(written: tuple[Report, Path]) -> None:
    report, directory = written
    page = Page((directory / "report.html").read_text("utf-8"))
    pictures = [a for _, a in page.elements if a.get("role") == "img"]
    assert pictures and all(len(a["aria-label"] or "") > 40 for a in pictures)
    assert all(a.get("aria-hidden") == "true" for tag, a in page.elements if tag == "svg")
    assert all(a.get("scope") in ("row", "col") for tag, a in page.elements if tag == "th")
    tables = [tag for tag, _ in page.elements].count("table")
    assert tables == [tag for tag, _ in page.elements].count("caption")
    passed = sum(r.passed for r in report.runtimes)
    assert len(re.findall(r"✓ PASS", page.text)) == passed
    assert len(re.findall(r"✗ FAIL", page.text)) == len(report.runtimes) - passed


def test_markdown_tables_keep_their_columns(written: tuple[Report, Path]) -> None:
    _, directory = written
    lines = (directory / "report.md").read_text("utf-8").splitlines()
    bars = [len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0 for line in lines]
    ragged = [
        line
        for before, after, line in zip(bars, bars[1:], lines[1:], strict=False)
        if before and after and before != after
    ]
    assert max(bars) > 3 and ragged == []
    assert "<script" not in "".join(lines)


def test_json_round_trips(written: tuple[Report, Path]) -> None:
    report, directory = written

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    values = json.loads((directory / "report.json").read_text("utf-8"), parse_constant=refuse)
    assert values == json.loads(json.dumps(to_json(report)))
    assert values["passed"] is report.passed
    assert [r["runtime"] for r in values["runtimes"]] == [r.runtime for r in report.runtimes]
    told = [str(r["operator"]["max_ulp"]) for r in values["runtimes"] if r["operator"]]
    assert told == [str(r.operator.max_ulp) for r in report.runtimes if r.operator]


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (passing_report(), "Yes. Every runtime tried is within the strict gate."),
        (dataclasses.replace(passing_report(), runtimes=[]), "Not known: nothing was verified."),
        (
            dataclasses.replace(
                passing_report(),
                runtimes=[runtime("eager", 0.5), runtime("onnxruntime", 7e7, 1, Failure("a", "b"))],
            ),
            "Not on onnxruntime.",
        ),
        (
            sigmoid_only(passing_report()),
            "Not known. Only the model's sigmoid was verified; it is within the strict gate.",
        ),
        (sigmoid_only(native_report()), "Not on onnxruntime."),
    ],
)
def test_first_line_is_the_verdict(report: Report, sentence: str, tmp_path: Path) -> None:
    write_report(report, tmp_path)
    assert (tmp_path / "report.md").read_text("utf-8").splitlines()[0] == f"# {sentence}"
    page = html.unescape((tmp_path / "report.html").read_text("utf-8"))
    assert f"{sentence}</h1>" in page


def test_green_is_for_a_model_that_was_verified(tmp_path: Path) -> None:
    write_report(passing_report(), tmp_path)
    assert '<h1 class="ok">' in (tmp_path / "report.html").read_text("utf-8")
    write_report(sigmoid_only(passing_report()), tmp_path)
    assert '<h1 class="bad">' in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.parametrize("report", [passing_report(), native_report()], ids=["passing", "failing"])
def test_lead_says_when_the_model_itself_was_not_verified(report: Report) -> None:
    words = "The model itself was not verified, only its sigmoid."
    assert words in lead(sigmoid_only(report))
    assert words not in lead(report)


@pytest.mark.parametrize("report", [passing_report(), native_report()], ids=["passing", "failing"])
def test_torchs_own_sigmoid_is_not_said_to_be_lowered(report: Report, tmp_path: Path) -> None:
    assert f"lowered as `{report.lowering}`" in lead(report)
    report = dataclasses.replace(report, swept="torch.sigmoid")
    assert "lowered as" not in lead(report)
    assert "calls torch's own sigmoid, exported as the exporter does it" in lead(report)
    assert "`--convert` would put `torch_sigmoid_ext.sigmoid`" in lead(report)
    write_report(report, tmp_path)
    text = (tmp_path / "report.md").read_text("utf-8")
    assert "`torch.sigmoid` alone in each runtime" in text
    assert f"| Lowering | {report.lowering}, of this package's sigmoid only;" in text


def test_notes_stand_above_the_first_section(tmp_path: Path) -> None:
    notes = ["a note of what was not verified", "and another"]
    write_report(dataclasses.replace(passing_report(), notes=notes), tmp_path)
    above_in_html = (tmp_path / "report.html").read_text("utf-8").split("<h2")[0]
    above_in_markdown = (tmp_path / "report.md").read_text("utf-8").split("\n## ")[0]
    assert all(note in above_in_html and note in above_in_markdown for note in notes)


def test_failing_runtimes_come_first_in_every_table() -> None:
    tables = {
        block.caption: block
        for section in sections(native_report())
        for block in section.blocks
        if isinstance(block, blocks.Table)
    }
    across = [[c.title for c in t.columns[1:] if c.title != "Expected"] for t in tables.values()]
    named = [titles[0] for titles in across if "onnxruntime" in titles]
    down = [t.rows[0][0] for t in tables.values() if t.columns[0].title == "Runtime"]
    assert named == ["onnxruntime"] * 2  # band by band, special values
    assert down == ["onnxruntime"] * 5  # summary, worst inputs, order, the model and its worst


def test_worst_element_of_the_model_is_shown_with_its_place(tmp_path: Path) -> None:
    worst = Deviation(math.nan, 2.5e-8, 0.0, 1.9e7, where="output 0, element [17, 1]")
    mild = Deviation(math.nan, 0.5, 0.5000001, 2.0, where="output 0, element [0, 0]")
    case = runtime("onnxruntime", 0.5).cases[1]
    cases = [
        dataclasses.replace(case, batch=4, max_ulp=1.9e7, worst=worst),
        dataclasses.replace(case, batch=257, max_ulp=2.0, worst=mild),
    ]
    found = dataclasses.replace(runtime("onnxruntime", 0.5), cases=cases)
    write_report(dataclasses.replace(passing_report(), runtimes=[found]), tmp_path)
    text = plain_markdown((tmp_path / "report.md").read_text("utf-8"))
    assert "| onnxruntime | output 0, element [17, 1] | 4 | 2.5e-08 | 0 | 1.9e+07 |" in text
    assert "element [0, 0]" not in text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (0.5, "0.5"),
        (2.4796, "2.48"),
        (31.0, "31"),
        (1234.4, "1,234"),
        (99_999.0, "99,999"),
        (7.1234e7, "7.1e+07"),
        (math.inf, "∞"),
    ],
)
def test_ulp_is_written_for_people(value: float, shown: str) -> None:
    assert blocks.ulp(value) == shown


def test_inputs_are_written_so_that_they_can_be_tried_again() -> None:
    assert float(blocks.real(-17.328679513998633)) == pytest.approx(-17.328679513998633, rel=1e-8)
    assert [blocks.real(x) for x in (-0.0, math.nan, math.inf, -math.inf)] == [
        "-0",
        "NaN",
        "∞",
        "-∞",
    ]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, contrast of two colours, each #rrggbb."""
    low, high = sorted(map(relative_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def relative_luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance of #rrggbb."""
    channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_colours_keep_their_contrast(mode: str) -> None:
    palettes = re.findall(r":root \{(.*?)\}", (TEMPLATES / "report.css").read_text(), re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", palettes[mode == "dark"]))

    def between(one: str, other: str) -> float:
        return contrast(colours[one], colours[other])

    words = [("ink", "paper"), ("quiet", "paper"), ("quiet", "shade"), ("ink", "raised")]
    words += [("ok", "ok-back"), ("bad", "bad-back"), ("ok", "paper"), ("bad", "shade")]
    lines = [(f"c{n}", back) for n in range(6) for back in ("paper", "shade")]
    assert {pair: between(*pair) for pair in words if between(*pair) < 4.5} == {}
    assert {pair: between(*pair) for pair in lines if between(*pair) < 2.6} == {}


PHONE, DESK = (390, 844), (1280, 800)


def shown(
    page: str,
    script: str,
    directory: Path,
    *,
    size: tuple[int, int] = PHONE,
    dark: bool = False,
) -> Any:
    """What the script's `measure(window, document)` returns inside of a page of this size."""
    source = json.dumps(page).replace("<", "\\u003c")
    framed = directory / "phone.html"  # a frame: Chromium's own windows are never below 500 pixels
    framed.write_text(
        f"""<!doctype html><title></title><body><script>
        const measure = (window, document) => {{ {script} }}
        const phone = document.createElement("iframe")
        phone.width = {size[0]}; phone.height = {size[1]}; phone.style.border = "none"
        phone.srcdoc = {source}
        phone.onload = () => {{
            const measured = measure(phone.contentWindow, phone.contentDocument)
            document.title = JSON.stringify(measured)
        }}
        document.body.append(phone)</script>""",
        "utf-8",
    )
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    flags += [f"--user-data-dir={directory / 'profile'}", "--window-size=1400,900", "--dump-dom"]
    flags += ["--hide-scrollbars"]  # a phone's take no room
    flags += [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    command = [str(CHROMIUM), *flags, framed.as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    title = re.search(r"<title>(.*?)</title>", ran.stdout)
    assert title and title[1], ran.stderr
    return json.loads(html.unescape(title[1]))


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_page_fits_a_phone_and_loads_nothing(written: tuple[Report, Path], tmp_path: Path) -> None:
    _, directory = written
    inner_width, scroll_width, loaded = shown(
        (directory / "report.html").read_text("utf-8"),
        """
        const loaded = window.performance.getEntriesByType("resource").map(entry => entry.name)
        return [window.innerWidth, document.scrollingElement.scrollWidth, loaded]
        """,
        tmp_path,
    )
    assert (inner_width, loaded) == (390, [])
    assert scroll_width <= inner_width


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_phone_shows_what_failed_and_hints_at_what_it_hides(tmp_path: Path) -> None:
    write_report(native_report(), tmp_path)
    found = shown(
        (tmp_path / "report.html").read_text("utf-8"),
        """
        const right = element => element.getBoundingClientRect().right
        const left = element => element.getBoundingClientRect().left
        const cells = [...document.querySelectorAll(".cards td, .badge.bad")]
        const wide = [...document.querySelectorAll(".scroll")].filter(
            region => region.scrollWidth > region.clientWidth)
        wide.forEach(region => region.scrollLeft = 0)
        const hidden = cells.filter(cell => right(cell) > right(cell.closest(".scroll")))
        const hints = wide.map(region => window.getComputedStyle(region).backgroundImage)
        wide.forEach(region => region.scrollLeft = 60)
        const heads = wide.map(region => left(region.querySelector("tbody th")) - left(region))
        return [hidden.map(cell => cell.textContent), hints, heads, cells.length]
        """,
        tmp_path,
    )
    hidden, hints, heads, cells = found
    assert hidden == [] and cells > 20
    assert hints and all("gradient" in hint for hint in hints)
    assert heads == [0] * len(hints)


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("report", [passing_report(), later_report()], ids=["passing", "failing"])
def test_first_screen_is_the_verdict_and_the_remedy_alone(
    report: Report, size: tuple[int, int], tmp_path: Path
) -> None:
    write_report(report, tmp_path)
    words, ends, begins, height = shown(
        (tmp_path / "report.html").read_text("utf-8"),
        """
        const box = element => element.getBoundingClientRect()
        const first = document.querySelector(".first")
        const others = [...document.querySelectorAll("main > :not(.first)")]
        return [
            first.innerText, box(first.lastElementChild).bottom,
            Math.min(...others.map(other => box(other).top)), window.innerHeight]
        """,
        tmp_path,
        size=size,
    )
    assert height == size[1] and ends <= height <= begins
    told = [verdict(report), lead(report)]
    for remedy in remedies(report):
        told += [f"Mend {', '.join(remedy.runtimes)}: {remedy.mend}.", remedy.worst]
    expected = " ".join(["May this file ship?", *told]).replace("`", "")
    assert " ".join(words.split()) == expected


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_word_can_be_read_as_it_is_drawn(dark: bool, tmp_path: Path) -> None:
    write_report(failing_report(), tmp_path)
    drawn = shown(
        (tmp_path / "report.html").read_text("utf-8"),
        """
        const hex = colour => "#" + colour.match(/\\d+/g).slice(0, 3).map(
            channel => Number(channel).toString(16).padStart(2, "0")).join("")
        const back = element => {
            const colour = window.getComputedStyle(element).backgroundColor
            return colour === "rgba(0, 0, 0, 0)" ? back(element.parentElement) : hex(colour)
        }
        const drawn = new Set()
        for (const element of document.body.querySelectorAll("*")) {
            const words = [...element.childNodes].some(
                node => node.nodeType === Node.TEXT_NODE && node.textContent.trim())
            if (!words) continue
            const style = window.getComputedStyle(element)
            const ink = element.closest("svg") ? style.fill : style.color
            drawn.add([element.tagName.toLowerCase(), hex(ink), back(element)].join(" "))
        }
        return [...drawn]
        """,
        tmp_path,
        dark=dark,
    )
    pairs = [line.split() for line in drawn]
    assert {"h1", "p", "td", "th", "text", "span", "code"} <= {tag for tag, _, _ in pairs}
    papers = [relative_luminance(back) for _, _, back in pairs]
    assert all(paper < 0.1 if dark else paper > 0.7 for paper in papers)
    assert [line for line in pairs if contrast(line[1], line[2]) < 4.5] == []


def test_remedy_is_told_once_and_its_absence_too() -> None:
    mend = Failure("premature zeros", "export with --sigmoid exact")
    unknown = Failure("sigmoid(nan) is 0.5", "")
    found = [
        runtime("a", 1.0, 0, mend, unknown),
        runtime("b", 1.0, 0, mend),
        runtime("c", 1.0, 0, unknown),
        RuntimeFindings("d", "", "model.onnx", "timeout", "no answer"),
        runtime("e", 0.5),
    ]
    report = dataclasses.replace(passing_report(), runtimes=found)
    assert [(r.mend, r.runtimes, r.worst) for r in remedies(report)] == [
        ("export with `--sigmoid exact`", ["a", "b"], "premature zeros"),
        ("", ["c", "d"], "sigmoid(nan) is 0.5"),
    ]
    assert remedies(passing_report()) == []


def test_pull_request_shows_the_verdict_and_unfolds_the_figures(tmp_path: Path) -> None:
    write_report(later_report(), tmp_path)
    text = (tmp_path / "report.md").read_text("utf-8")
    at_once, folded = text.split("<details>")
    assert [line[3:] for line in at_once.splitlines() if line.startswith("## ")] == [
        *("Runtimes", "Outside the gate, and what mends it", "Since the export"),
    ]
    assert "- **Mend onnxruntime:** export with `--sigmoid exact`" in at_once
    assert folded.startswith("\n<summary>") and folded.rstrip().endswith("</details>")
    assert "</summary>\n\n## Where on the axis" in folded, "GitHub needs the empty line"
    assert len(text) < 65_536, "the longest comment that GitHub takes"


@pytest.mark.parametrize("report", [failing_report(), later_report()], ids=["failing", "later"])
def test_changes_since_the_export_are_in_both_pages_or_in_none(
    report: Report, tmp_path: Path
) -> None:
    write_report(report, tmp_path)
    for page in ("report.html", "report.md"):
        text = (tmp_path / page).read_text("utf-8")
        assert ("Since the export" in text) is (report.since_export is not None)
        assert ("version 1.30 → 1.31; verdict within → outside" in text) is (
            report.since_export is not None
        )

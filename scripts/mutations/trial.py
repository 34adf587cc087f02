"""Whether the tests that a mutation names notice it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..environments import Failed
from .catalogue import Mutation
from .tree import Tree

TIMEOUT = 300  # seconds for the tests of one mutation

# Of code that cannot be run: its tests have noticed nothing of what it computes.
_BROKEN = re.compile(
    r"(?:ImportError|ModuleNotFoundError|SyntaxError|IndentationError|NameError)\b"
)


@dataclass
class Counts:
    """How the cases of one test ended."""

    passed: int = 0
    failed: int = 0  # in the test itself
    errors: int = 0  # in its set-up, or of code that cannot be run
    skipped: int = 0

    @property
    def cases(self) -> int:
        return self.passed + self.failed + self.errors + self.skipped


@dataclass(frozen=True)
class Run:
    """One run of pytest."""

    counts: Mapping[str, Counts]  # by the test's name as it was asked for
    ended: str  # "", "crash" or "hang"
    said: str  # its last words


@dataclass(frozen=True)
class Verdict:
    word: str  # "killed", or what went wrong
    noticed: str  # which tests, and how many of their cases

    @property
    def good(self) -> bool:
        return self.word in ("killed", UNTRIED)


UNTRIED = "cannot run here"  # a test that is skipped on the unspoiled copy already


def run_tests(tree: Tree, tests: Sequence[str], timeout: float | None = None) -> Run:
    with tempfile.TemporaryDirectory(prefix="torch-sigmoid-ext-") as folder:
        report = Path(folder) / "report.xml"
        options = ("-q", "-p", "no:cacheprovider", "--strict-markers", f"--junitxml={report}")
        said, ended = _pytest(tree, [*options, *tests], timeout or TIMEOUT)
        counts = _counted(report, tests) if report.exists() else {test: Counts() for test in tests}
    return Run(counts, ended, said)


def _pytest(tree: Tree, arguments: Sequence[str], timeout: float) -> tuple[str, str]:
    """What it said, and whether it crashed or hung; whatever it started ends with it."""
    process = subprocess.Popen(
        [tree.python, "-m", "pytest", *arguments],
        cwd=tree.folder,
        env=tree.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=timeout)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        return said[-2000:], "hang"
    return said[-2000:], "crash" if process.returncode < 0 else ""


def _counted(report: Path, tests: Iterable[str]) -> dict[str, Counts]:
    counts = {test: Counts() for test in tests}
    for case in ET.parse(report).getroot().iter("testcase"):
        module = f"{case.get('classname', '')}::".replace(".", "/").replace("::", ".py::")
        name = module + case.get("name", "")
        for test in {name, name.split("[")[0]} & counts.keys():
            _add(counts[test], case)
    return counts


def _add(counts: Counts, case: ET.Element) -> None:
    failure = case.find("failure")
    if failure is not None and not _BROKEN.match(failure.get("message", "")):
        counts.failed += 1
    elif failure is not None or case.find("error") is not None:
        counts.errors += 1
    elif case.find("skipped") is not None:
        counts.skipped += 1
    else:
        counts.passed += 1


def unfit(mutation: Mutation, unspoiled: Run) -> Verdict | None:
    """Why the tests of a mutation say nothing, by how they end without it; None where they do."""
    counts = {_short(test): unspoiled.counts[test] for test in mutation.named}
    for test, count in counts.items():
        if count.failed or count.errors:
            return Verdict("says nothing", f"{test} fails on the unspoiled copy")
    if skipped := [test for test, count in counts.items() if not count.passed]:
        return Verdict(UNTRIED, f"{', '.join(skipped)} is skipped")
    return None


def attempt(tree: Tree, mutation: Mutation) -> tuple[Verdict, str]:
    """The verdict on a mutation, and the last words of the build or of the tests."""
    try:
        with tree.spoiled(mutation):
            try:
                tree.build()
            except Failed as error:
                return Verdict("does not build", ""), str(error)
            done = run_tests(tree, mutation.tests)
    except ValueError as error:
        return Verdict("stale", ""), str(error)
    return judge(mutation, done), done.said


def judge(mutation: Mutation, done: Run) -> Verdict:
    """Killed, if every test that was named has failed, or ended as the mutation declares."""
    if done.ended:
        word = {"crash": "crashes", "hang": "hangs"}[done.ended]
        return Verdict("killed", f"it {word}") if mutation.ends == done.ended else Verdict(word, "")
    counts = {_short(test): done.counts[test] for test in mutation.tests}
    if alive := [n for n, count in counts.items() if count.passed == count.cases > 0]:
        return Verdict("SURVIVED", f"{', '.join(alive)} passed")
    if mutation.ends != "error" and (
        broken := [name for name, count in counts.items() if not count.failed]
    ):
        return Verdict("broken", f"{', '.join(broken)} cannot be run")
    noticed = (
        f"{n} ({c.failed + c.errors} of {c.cases})" if c.cases else f"{n} (not run)"
        for n, c in counts.items()
    )
    return Verdict("killed", ", ".join(noticed))


def _short(test: str) -> str:
    return test.removeprefix("tests/").replace(".py::", "::")

"""docs/tutorial.md: each of its commands and snippets, in order, prints what stands there."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

FENCE = re.compile(r"(?P<before>[^\n]*)\n\n```(?P<language>\w+)\n(?P<text>.*?)^```$", re.S | re.M)
SAVED = re.compile(r"[Ss]ave this as `([\w.]+)`:$")


def blocks() -> list[tuple[str, str, str]]:
    """Each fence as the line before it, its language and its text."""
    page = PAGE.read_text(encoding="utf-8")
    return [(match["before"], match["language"], match["text"]) for match in FENCE.finditer(page)]


def commands(text: str) -> list[tuple[str, str]]:
    """Each command of a console with what it has to print."""
    entries = re.split(r"^\$ ", text.replace("\\\n> ", ""), flags=re.M)[1:]
    return [(entry.split("\n", 1)[0], entry.split("\n", 1)[1]) for entry in entries]


def check(command: str, expected: str, got: str) -> None:
    checker = doctest.OutputChecker()
    assert checker.check_output(expected, got, OPTIONS), (
        f"$ {command}\nexpected:\n{expected}\ngot:\n{got}"
    )


class Console:
    """A shell for one command at a time that remembers the last exit code, as $? does."""

    def __init__(self) -> None:
        self.code = 0
        own = str(Path(sys.executable).parent)
        self.environment = {**os.environ, "PATH": os.pathsep.join([own, os.environ["PATH"]])}

    def run(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command.replace("$?", str(self.code))],
            env={**self.environment, "COLUMNS": "200"},
            capture_output=True,
            text=True,
        )
        self.code = done.returncode
        progress = re.compile(r"^(exporting|computing|verifying) .*\n", re.M)
        return done.stdout + progress.sub("", done.stderr)


def test_every_fence_is_run() -> None:
    languages = [language for _, language, _ in blocks()]
    assert set(languages) == {"python", "console"} and len(languages) >= 9
    assert len(languages) == PAGE.read_text(encoding="utf-8").count("\n```") // 2


def test_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    console = Console()
    names: dict[str, object] = {}
    for before, language, text in blocks():
        if language == "console":
            for command, expected in commands(text):
                check(command, expected, console.run(command))
        elif saved := SAVED.search(before):
            (tmp_path / saved[1]).write_text(text)
        else:
            session = doctest.DocTestParser().get_doctest(text, names, "tutorial", str(PAGE), 0)
            assert session.examples, text
            runner = doctest.DocTestRunner(optionflags=OPTIONS)
            assert runner.run(session, clear_globs=False).failed == 0
            names.update(session.globs)

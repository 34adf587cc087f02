"""Commands as a user types them, run from the tree's root; what they print, without its paths."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_PROGRAMS = {
    "torch-sigmoid-ext": [sys.executable, "-m", "torch_sigmoid_ext.export"],
    "python": [sys.executable],
}

# What differs from machine to machine, and what stands for it on a page.
_PATHS = (
    (re.escape(sys.executable), "python"),
    (rf"{re.escape(str(ROOT))}/", ""),
    (r"/[\w./+~-]*/(?=(?:site|dist)-packages/)", ""),
    (r"/[\w./+~-]*/torch_sigmoid_ext-\w+", "(temporary folder)"),
)


@dataclass(frozen=True)
class Done:
    """A command and how it ended."""

    command: str
    code: int
    stdout: str
    stderr: str


def run(command: str, tell: Callable[[str], None] | None = None) -> Done:
    r"""Run it to its end; a line of its stderr is told as it comes.

    Args:
        command: a program with its arguments, on one line or on several that end with ``\``.
        tell: is given each line.
    """
    program, *arguments = shlex.split(command.replace("\\\n", " "))
    with tempfile.TemporaryFile("w+") as stdout:
        process = subprocess.Popen(
            [*_PROGRAMS.get(program, [program]), *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        lines = []
        with process.stderr:
            for line in process.stderr:
                lines.append(line)
                if tell:
                    tell(line.rstrip())
        code = process.wait()
        stdout.seek(0)
        return Done(command, code, portable(stdout.read()), portable("".join(lines)))


def expect(
    command: str, codes: Collection[int] = (0,), tell: Callable[[str], None] | None = None
) -> Done:
    """The same; SystemExit, with what it said, where it ends with another exit code."""
    done = run(command, tell)
    if done.code not in codes:
        due = " or ".join(map(str, codes))
        raise SystemExit(
            f"expected exit code {due}, got {done.code}, of: {command}\n{done.stderr}{done.stdout}"
        )
    return done


def portable(text: str) -> str:
    """The text without this machine's paths, and without spaces that nobody sees."""
    for path, instead in _PATHS:
        text = re.sub(path, instead, text)
    return "\n".join(line.rstrip() for line in text.strip("\n").split("\n"))

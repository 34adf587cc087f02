"""A command in a process group of its own: ended whole, its words kept to the last few."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

TAIL = 16_384  # bytes of the output that are kept
LINE = 300  # characters of its last line


class RuntimeFailure(Exception):
    """A runtime did not answer; ``status`` is "crashed" or "timeout"."""

    def __init__(self, status: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status


@dataclass(frozen=True)
class Ended:
    """How a command ended, and the end of what it wrote to stderr."""

    code: int | None  # None: it was still running at the time limit; -n: killed by signal n
    stderr: str

    @property
    def manner(self) -> str:
        """ "killed by SIGSEGV", "exit code 7"."""
        if self.code is not None and self.code < 0:
            with suppress(ValueError):
                return f"killed by {signal.Signals(-self.code).name}"
            return f"killed by signal {-self.code}"
        return f"exit code {self.code}"

    @property
    def last_line(self) -> str:
        return printable(next(reversed(self.stderr.strip().splitlines()), ""))


def printable(line: str) -> str:
    """The line without colours and control characters, and no longer than a report can bear."""
    plain = re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]", "", line)
    words = " ".join("".join(c if c.isprintable() else " " for c in plain).split())
    return words if len(words) <= LINE else f"{words[:LINE]}..."


class Child:
    """A process that leads a group, so that what it starts ends with it.

    stdout is thrown away and of stderr the end is kept, however much a runtime writes.
    """

    def __init__(
        self,
        command: Sequence[str],
        cwd: Path | str,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=pass_fds,
            start_new_session=True,
        )
        self._tail = b""
        assert self._process.stderr is not None
        arguments = (self._process.stderr,)
        self._reader = threading.Thread(target=self._read, args=arguments, daemon=True)
        self._reader.start()

    def _read(self, stderr: IO[bytes]) -> None:
        with stderr:
            while chunk := os.read(stderr.fileno(), 1 << 16):
                self._tail = (self._tail + chunk)[-TAIL:]

    def wait(self, seconds: float) -> Ended:
        """Wait for its end; after the time limit, or any exception, the whole group is killed."""
        code = None
        try:
            with suppress(subprocess.TimeoutExpired):
                code = self._process.wait(seconds)
        finally:
            self.kill()
        self._reader.join(1.0)
        return Ended(code, self._tail.decode(errors="replace"))

    def kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def run_command(
    command: Sequence[str],
    cwd: Path | str,
    seconds: float,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """The command, run to its end or to the time limit."""
    return Child(command, cwd, environment).wait(seconds)


def python_module(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]

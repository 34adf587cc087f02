"""One runtime, one file, kept loaded in a process of its own and timed in turns.

The parent holds a `Timed` for each runtime and gives them turns, so that whatever else the machine
does falls on all alike. The child is ``python -m torch_sigmoid_ext.export.runtimes.timing FOLDER
IN OUT``: a line of JSON comes in for each turn, a line goes out.
"""

from __future__ import annotations

import json
import os
import select
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ..trust import Untrusted
from ..trust.text import parse_json
from .apart import Child, RuntimeFailure, python_module
from .runtime import Array, Run, Runtime
from .worker import (
    DOING,
    checked,
    confine,
    described_shapes,
    environment,
    expect_success,
    read_inputs,
    read_request,
    telling,
    write_request,
)

LOAD_LIMIT = 600.0  # seconds, for an import, the file and the first call of every batch
TURN_LIMIT = 60.0  # seconds beyond those that the turn is to take
MOST_CALLS = 2000  # recorded in a turn
MOST_SAID = 1 << 20  # bytes of an answer, which is a number a call


class Timed:
    """The parent's side; a context, at whose end the process is gone."""

    def __init__(self, runtime: Runtime, path: Path, batches: Sequence[Sequence[Array]]) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="torch_sigmoid_ext-")
        self._folder = Path(self._temporary.name)
        write_request(self._folder, runtime, path, batches)
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        self._child = Child(
            python_module(
                f"{__package__}.timing", str(self._folder), *map(str, (theirs_in, theirs_out))
            ),
            self._folder,
            environment(runtime, self._folder),
            (theirs_in, theirs_out),
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._received = b""

    def __enter__(self) -> Timed:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._child.kill()
        os.close(self._out)
        os.close(self._in)
        self._temporary.cleanup()

    def warm_up(self) -> None:
        """Wait until the file is loaded and every batch was run; RuntimeFailure if it fails."""
        self._answer(LOAD_LIMIT)

    def turn(self, batch: int, seconds: float) -> list[float]:
        """Seconds of each call with batch number `batch`, for so long and at least one call."""
        try:
            os.write(self._out, f"{json.dumps({'batch': batch, 'seconds': seconds})}\n".encode())
        except BrokenPipeError:
            pass  # the child has ended: its answer says how
        return [float(taken) for taken in self._answer(seconds + TURN_LIMIT)]

    def _answer(self, limit: float) -> Any:
        end = time.monotonic() + limit
        while b"\n" not in self._received:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            chunk = os.read(self._in, 1 << 16) if ready else b""
            if not chunk:  # the time limit, or the child's end
                expect_success(self._folder, self._child.wait(1.0 if ready else 0.0), limit)
                raise RuntimeFailure("crashed", "ended before its time")
            self._received += chunk
            if len(self._received) > MOST_SAID:
                raise RuntimeFailure("crashed", "says more than the times of its calls")
        line, _, self._received = self._received.partition(b"\n")
        try:
            return parse_json(line)
        except Untrusted as error:
            raise RuntimeFailure("crashed", f"gave no times: {error}") from None


def _serve(folder: Path, request_in: int, answer_out: int) -> None:
    """The child's side: load the file, run every batch, then turn by turn until there is none."""
    doing = folder / DOING
    with (
        telling(folder),
        os.fdopen(request_in) as turns,
        os.fdopen(answer_out, "w", buffering=1) as answers,
    ):
        doing.write_text("importing the adapter")
        runtime, request = read_request(folder)
        doing.write_text("loading the file")
        confine(runtime, folder)
        run = runtime.load(Path(request["path"]))
        batches = [read_inputs(folder, number) for number in range(request["batches"])]
        for inputs in batches:
            doing.write_text(f"running {described_shapes(inputs)}")
            checked(run(inputs))
            run(inputs)  # several runtimes choose their kernels on the second call
        answers.write("[]\n")
        for line in turns:
            turn = json.loads(line)
            inputs = batches[turn["batch"]]
            doing.write_text(f"running {described_shapes(inputs)}")
            answers.write(f"{json.dumps(seconds_a_call(run, inputs, turn['seconds']))}\n")


def seconds_a_call(run: Run, inputs: list[Array], seconds: float) -> list[float]:
    """Seconds of each call; those of a program in another process by that program's own clock."""
    if timed := getattr(run, "timed", None):
        own: list[float] = timed(inputs, seconds).tolist()[:MOST_CALLS]
        return own
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < MOST_CALLS:
        before = time.perf_counter()
        run(inputs)
        after = time.perf_counter()
        taken.append(after - before)
        if after >= end:
            break
    return taken


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

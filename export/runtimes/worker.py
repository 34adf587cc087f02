"""One runtime, one file, some batches, in a process of its own.

What a runtime does to its process (a crash, a hang, a library that cannot live beside another) then
ends as a sentence about that runtime. The parent calls `run_apart` or `describe_apart`; the child
is ``python -m torch_sigmoid_ext.export.runtimes.worker FOLDER``, and everything passes through
FOLDER.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..missing_library import explain
from ..trust import Untrusted
from ..trust.arrays import read_arrays
from ..trust.files import read_small
from ..trust.text import parse_json
from .apart import Ended, RuntimeFailure, printable, python_module, run_command
from .confine import limit_memory, write_only_in
from .runtime import Array, Run, Runtime

# What serves requests answers in far less, and a runtime that hangs must not hold the report.
TIME_LIMIT = 600.0  # seconds
DESCRIBE_LIMIT = 60.0  # seconds, for an import and a version

REQUEST = "request.json"  # in FOLDER
DOING, ERROR = "doing.txt", "error.txt"  # what the child is at, and its exception
DESCRIPTION = "description.json"

Adapter = tuple[str, str]  # module and qualified name of an adapter's class


def adapter_of(runtime: Runtime) -> Adapter:
    """Where the child finds the adapter's class; a plug-in tells it without being imported."""
    named = getattr(runtime, "adapter", None)
    return named or (type(runtime).__module__, type(runtime).__qualname__)


def run_apart(
    runtime: Runtime, path: Path, batches: Sequence[Sequence[Array]]
) -> list[list[Array]]:
    """The outputs of the file for each batch of inputs; RuntimeFailure where there are none."""
    with tempfile.TemporaryDirectory(prefix="torch_sigmoid_ext-") as name:
        folder = Path(name)
        write_request(folder, runtime, path, batches)
        done = run_command(
            python_module(f"{__package__}.worker", name),
            folder,  # the user's folder may hold an onnx.py
            TIME_LIMIT,
            environment(runtime, folder),
        )
        expect_success(folder, done, TIME_LIMIT)
        outputs = [folder / f"outputs{number}.npz" for number in range(len(batches))]
        try:
            return [_load(path) for path in outputs]
        except (Untrusted, KeyError) as error:
            raise RuntimeFailure("crashed", f"left no outputs that can be read: {error}") from None


def describe_apart(adapter: Adapter) -> dict[str, Any]:
    """What an adapter says of itself once its package is imported; RuntimeFailure where it fails.

    name, format, install, precision, on_request, version, features; all strings but on_request.
    """
    with tempfile.TemporaryDirectory(prefix="torch_sigmoid_ext-") as name:
        folder = Path(name)
        (folder / REQUEST).write_text(json.dumps({"adapter": adapter, "describe": True}))
        command = python_module(f"{__package__}.worker", name)
        done = run_command(command, folder, DESCRIBE_LIMIT)
        expect_success(folder, done, DESCRIBE_LIMIT)
        try:
            described: dict[str, Any] = parse_json(read_small(folder, DESCRIPTION, _WORDS))
        except Untrusted as error:
            raise RuntimeFailure("crashed", f"said nothing of itself: {error}") from None
        return described


def environment(runtime: Runtime, folder: Path) -> dict[str, str]:
    """The runtime's own, with what it writes by the way put into its folder."""
    return {
        "TMPDIR": str(folder),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        **runtime.environment(),
    }


def confine(runtime: Runtime, folder: Path) -> None:
    """The child's side, before it opens the file: the rest of its life is bounded."""
    limit_memory()
    if getattr(runtime, "confined", False):  # a plug-in may not say
        write_only_in(folder)


def write_request(
    folder: Path, runtime: Runtime, path: Path, batches: Sequence[Sequence[Array]]
) -> None:
    """What the child is to run, and its inputs."""
    request = {
        "adapter": adapter_of(runtime),
        "path": str(path.resolve()),
        "batches": len(batches),
    }
    (folder / REQUEST).write_text(json.dumps(request))
    for number, batch in enumerate(batches):
        _save(folder / f"inputs{number}.npz", batch)


def read_request(folder: Path) -> tuple[Runtime, Mapping[str, Any]]:
    """The child's side of `write_request`: the adapter, made, and the request."""
    request = json.loads((folder / REQUEST).read_text())
    module, name = request["adapter"]
    runtime: Runtime = getattr(importlib.import_module(module), name)()
    return runtime, request


def read_inputs(folder: Path, number: int) -> list[Array]:
    return _load(folder / f"inputs{number}.npz")


def expect_success(folder: Path, done: Ended, limit: float) -> None:
    """RuntimeFailure, with what the child was at and the last that it said, where it failed."""
    if done.code is None:
        raise RuntimeFailure("timeout", f"no answer within {limit:g} s{_during(folder)}")
    if done.code != 0:
        raise RuntimeFailure("crashed", _last_words(folder, done))


def _last_words(folder: Path, done: Ended) -> str:
    """How the child ended, at what, and the last that it said."""
    doing, error = _left(folder, DOING), _left(folder, ERROR)
    if error:
        return f"{doing}: {error}"
    return ": ".join([done.manner + _during(folder), *filter(None, [done.last_line])])


def _during(folder: Path) -> str:
    """ " while running float32[1, 3]", or nothing if the child never came that far."""
    doing = _left(folder, DOING)
    return f" while {doing}" if doing else ""


_WORDS = 1 << 16  # bytes that a child may say of itself


def _left(folder: Path, name: str) -> str:
    """What the child wrote there, which may be anything; "" where it wrote nothing."""
    try:
        return printable(read_small(folder, name, _WORDS).decode(errors="replace"))
    except Untrusted:
        return ""


def _save(path: Path, arrays: Sequence[Array]) -> None:
    np.savez(path, **{str(i): array for i, array in enumerate(arrays)})  # type: ignore[arg-type]


def _load(path: Path) -> list[Array]:
    arrays = read_arrays(path)
    return [arrays[str(i)] for i in range(len(arrays))]


def described_shapes(arrays: Sequence[Array]) -> str:
    return ", ".join(f"{x.dtype}{list(x.shape)}" for x in arrays)


def checked(outputs: Any) -> list[Array]:
    """The outputs, once they are a list of arrays of numbers; TypeError otherwise."""
    if not isinstance(outputs, list | tuple):
        raise TypeError(f"expected a list of arrays from the runtime, got {_shown(outputs)}")
    for output in outputs:
        if not isinstance(output, np.ndarray) or output.dtype.kind not in "biufc":
            raise TypeError(f"expected arrays of numbers from the runtime, got {_shown(output)}")
    return list(outputs)


def _shown(value: object) -> str:
    kind = f"{value.dtype} array" if isinstance(value, np.ndarray) else type(value).__name__
    return f"{kind} {str(value)[:40]!r}"


@contextmanager
def telling(folder: Path) -> Iterator[None]:
    """The child's exceptions, as one line for the parent."""
    try:
        yield
    except Exception as error:
        (folder / ERROR).write_text(f"{type(error).__name__}: {explain(error) or _said(error)}")
        raise


def _said(error: Exception) -> str:
    """Its last line, or the first of torch.compile's errors, whose last lines are advice."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    advice = any("TORCHDYNAMO_VERBOSE" in line for line in lines)
    return printable((lines or [""])[0 if advice else -1])


def _serve(folder: Path) -> None:
    """The child's side: load the file once, run every batch, leave outputs or the error's line."""
    doing = folder / DOING
    with telling(folder):
        doing.write_text("importing the adapter")
        runtime, request = read_request(folder)
        if request.get("describe"):
            _describe(folder, runtime)
            return
        doing.write_text("loading the file")
        confine(runtime, folder)
        run: Run = runtime.load(Path(request["path"]))
        for number in range(request["batches"]):
            inputs = read_inputs(folder, number)
            doing.write_text(f"running {described_shapes(inputs)}")
            _save(folder / f"outputs{number}.npz", checked(run(inputs)))


def _describe(folder: Path, runtime: Runtime) -> None:
    doing = folder / DOING
    facts: dict[str, Any] = {}
    doing.write_text("asking for its version")
    for key in ("name", "format", "install", "precision"):
        facts[key] = printable(str(getattr(runtime, key, "")))
    facts["on_request"] = bool(getattr(runtime, "on_request", False))
    facts["version"] = printable(str(runtime.version()))
    facts["features"] = ""
    if facts["version"]:
        if package := getattr(runtime, "imports", ""):
            doing.write_text(f"importing {package}")
            importlib.import_module(package)
        features = getattr(runtime, "features", None)
        facts["features"] = printable(str(features())) if features else ""
    (folder / DESCRIPTION).write_text(json.dumps(facts))


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))

"""Thousands of forged bundles: each opens, or is one clear line, in time and within memory."""

from __future__ import annotations

import io
import os
import signal
import sys
import tempfile
import traceback
import warnings
import zipfile
from pathlib import Path

import pytest
from fuzz_bundles import Fuzzer, fuzz, outcome
from trust_bundles import copied, reseal, rezip, run

from torch_sigmoid_ext.export.cli import main

COUNT = int(os.environ.get("TORCH_SIGMOID_EXT_FUZZ", "2000"))
MEMORY = Path("/dev/shm")


@pytest.fixture
def folder(tmp_path: Path):
    """In memory where there is such a place: each mutation is written and copied."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY) as name:
        yield Path(name)


def test_mutations_open_or_are_refused_in_one_line(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of a name that is written twice
        found = fuzz(folder, COUNT, seed=0)
    assert found["refused"] > COUNT / 2 and found["opens"] > COUNT / 20, found


def command(*arguments: str) -> tuple[int, str, str]:
    """The command in a process of its own: exit code, stdout, stderr."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:  # what it imports is here already, which spares it seconds
            code = 99
            try:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", 0), write_through=True)
                sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", 0), write_through=True)
                sys.argv = ["torch-sigmoid-ext", *arguments]
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(120)
                main()
            except SystemExit as end:
                code = int(end.code or 0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        out.seek(0)
        err.seek(0)
        return os.waitstatus_to_exitcode(status), out.read().decode(), err.read().decode()


def test_command_line_ends_with_2_and_one_line(folder: Path) -> None:
    fuzzer, tried = Fuzzer(folder, seed=1), 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while tried < 40:
            with fuzzer.mutated() as mutation:
                if outcome(fuzzer.bundle) == "opens":
                    continue
                tried += 1
                verb = ("verify", "bench")[tried % 2]
                code, out, err = command(verb, str(fuzzer.bundle))
                assert (code, out) == (2, ""), (mutation, err)
                line = err.removesuffix("\n")
                assert "\n" not in line, (mutation, err)
                assert line.startswith("torch-sigmoid-ext: ") and line.isprintable(), mutation


FLIPS = {
    "onnxruntime": ("model.onnx", b"Gemm", b"Gexm"),
    "torchscript": ("model.torchscript.pt", b"def forward", b"def fxrward"),
    "export": ("model.pt2", b"aten.linear", b"aten.lixear"),
}


@pytest.mark.parametrize("runtime", FLIPS)
def test_file_that_only_its_runtime_can_judge_is_a_row_and_not_the_end(tmp_path, runtime) -> None:
    """Well formed as far as we look, and no model for the runtime: exit code 1, and why."""
    bundle = copied(tmp_path)
    name, honest, forged = FLIPS[runtime]
    data = (bundle / name).read_bytes()
    assert data.count(honest)
    if name.endswith(".onnx"):
        (bundle / name).write_bytes(data.replace(honest, forged))
    else:
        with zipfile.ZipFile(bundle / name) as archive:
            changes = {
                member: archive.read(member).replace(honest, forged)
                for member in archive.namelist()
                if member.endswith((".py", ".json"))
            }
        (bundle / name).write_bytes(rezip(data, changes))
    reseal(bundle)
    done = run("verify", "bundle", "--runtime", f"eager,{runtime}", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "within" in rows["eager"] and "crashed" in rows[runtime]
    assert f"{runtime} crashed: loading the file: " in done.stdout

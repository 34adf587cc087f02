"""The operator under sanitizers, from Python to the kernels: `make test-sanitized-operator`.

The package is built in build/sanitized with -fsanitize=address,undefined, then with
-fsanitize=thread; the sanitizer's library is loaded before the interpreter's. torch and Python stay
as they are: watched is what this package's code does, templates of torch's headers among it, and
the borders of all memory that malloc gave. Each sanitizer first has to see a wrong call, so that
its silence means something.

Left to others: leaks (tests/test_memory.py), because LeakSanitizer loses its way through torch's
frames, or makes the tests fifteen times slower; OpenMP's threads (tests/kernels/test_runs.cpp),
because ThreadSanitizer does not see the barriers of a libgomp that was built without it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .environments import ROOT, Failed, run
from .instrumented import Copy

BUILD = ROOT / "build" / "sanitized"
TESTS = (
    "test_autograd.py",
    "test_errors.py",
    "test_fuzzed_views.py",
    "test_layouts.py",
    "test_operator.py",
    "test_threads.py",
    "test_transforms.py",
)

# A tensor of a hundred numbers in a block of two.
BEYOND = """
import ctypes, numpy, torch, torch_sigmoid_ext
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
block = ctypes.cast(libc.malloc(8), ctypes.POINTER(ctypes.c_float))
torch_sigmoid_ext.sigmoid(torch.from_numpy(numpy.ctypeslib.as_array(block, (100,))))
"""

THREADS = """
import threading, torch
from torch_sigmoid_ext import sigmoid, sigmoid_

def at_once(work):
    start = threading.Barrier(4)
    def begin():
        start.wait()
        work()
    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""
RACE = f"""{THREADS}
x = torch.linspace(-9, 9, 1_000_001)
shared = torch.empty_like(x)
at_once(lambda: [sigmoid(x, out=shared) for _ in range(5)])
"""
NO_RACE = f"""{THREADS}
flat = torch.linspace(-100, 30, 200_001)
square = flat[:40_000].view(200, 200)
inputs = [flat, square.t(), flat[::2], flat.bfloat16(), flat.double(), flat[:5],
          torch.complex(flat[:9_000], flat[9_000:18_000]), (flat[:40_000] * 9).int()]
leaf = flat.clone().requires_grad_()
outputs = sigmoid(leaf)

def work():
    for x in inputs:
        for fast in (False, True):
            y = sigmoid(x, fast=fast)
            sigmoid(x, fast=fast, out=torch.empty_like(y))
            sigmoid_(y.clone(), fast=fast)
        torch.ops.torch_sigmoid_ext.sigmoid_backward(y, y)
    torch.func.vmap(sigmoid)(square)
    torch.autograd.grad(outputs.sum(), leaf, retain_graph=True)
    # Of a leaf that is shared, torch's own node notes without a lock that it has a parent (node.h).
    own = leaf.detach().clone().requires_grad_()
    (first,) = torch.autograd.grad(sigmoid(own).sum(), own, create_graph=True)
    torch.autograd.grad(first.sum(), own)

at_once(lambda: [work() for _ in range(3)])
"""


@dataclass(frozen=True)
class Sanitizer:
    name: str
    flags: tuple[str, ...]
    runtime: str  # the library that is loaded first
    handler: str  # a function of it that our libraries must call, or they are not watched
    options: dict[str, str]
    wrong: str  # a program, and what is reported of it
    report: str


ADDRESS = Sanitizer(
    "address",
    (
        *("-O1", "-g1", "-fno-omit-frame-pointer"),
        *("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"),
    ),
    "libasan.so",
    "__ubsan_handle_",
    {
        # torch's own code fills vectors and does not tell where they end.
        "ASAN_OPTIONS": "detect_leaks=0:detect_container_overflow=0:log_path={log}",
        "UBSAN_OPTIONS": "print_stacktrace=1:log_path={log}",
        "PYTHONMALLOC": "malloc",
    },
    BEYOND,
    "heap-buffer-overflow",
)
THREAD = Sanitizer(
    "thread",
    ("-O1", "-g1", "-fsanitize=thread"),
    "libtsan.so",
    "__tsan_write",
    {"TSAN_OPTIONS": "halt_on_error=1:log_path={log}", "OMP_NUM_THREADS": "1"},
    RACE,
    "data race",
)


class Watched:
    """The package built for a sanitizer, and what is run with it."""

    def __init__(self, sanitizer: Sanitizer) -> None:
        self.sanitizer = sanitizer
        self.folder = BUILD / sanitizer.name
        self.copy = Copy(self.folder / "tree")
        self.copy.build(sanitizer.flags)
        for library in (self.copy.folder / "torch_sigmoid_ext").glob("*.so"):
            if sanitizer.handler.encode() not in library.read_bytes():
                raise Failed(f"expected {library.name} to call {sanitizer.handler}*, found none")

    def call(self, *words: str | Path) -> tuple[int, str]:
        """The interpreter's exit status with these words, and the sanitizer's reports."""
        logs = self.folder / "reports"
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir()
        options = {k: v.format(log=logs / "report") for k, v in self.sanitizer.options.items()}
        # The C++ library too: what stands in for its __cxa_throw is found before torch asks for it.
        names = (self.sanitizer.runtime, "libstdc++.so")
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=self.copy.folder,
            env={
                **os.environ,
                **self.copy.environment,
                **options,
                "LD_PRELOAD": " ".join(library(name) for name in names),
            },
        )
        return done.returncode, "\n".join(p.read_text() for p in sorted(logs.iterdir()))

    def expect_reports(self) -> None:
        _, said = self.call("-c", self.sanitizer.wrong)
        if self.sanitizer.report not in said or "csrc/kernels" not in said:
            raise Failed(
                f"{self.sanitizer.name}: expected a {self.sanitizer.report} in csrc/kernels to be "
                f"reported of a wrong program, got {said[:2000] or 'nothing'}"
            )

    def expect_silence(self, *words: str | Path) -> None:
        status, said = self.call(*words)
        if status or said:
            raise Failed(f"{self.sanitizer.name}: exit status {status}\n{said[:8000]}")
        print(f"{self.sanitizer.name}: a wrong program is reported, and this package is not")


def library(name: str) -> str:
    """Where the compiler has the library of that name."""
    compiler = shlex.split(os.environ.get("CXX", "g++"))
    found = Path(run(*compiler, f"-print-file-name={name}", cwd=ROOT).strip())
    if not found.is_absolute():
        raise Failed(f"expected {compiler[-1]} to have {name}; install its sanitizers, or use g++")
    return str(found.resolve())


def main(chosen: Sequence[str]) -> int:
    try:
        if "address" in chosen:
            address = Watched(ADDRESS)
            address.expect_reports()
            tests = [ROOT / "tests" / name for name in TESTS]
            address.expect_silence("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
        if "thread" in chosen:
            thread = Watched(THREAD)
            thread.expect_reports()
            thread.expect_silence("-c", NO_RACE)
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["address", "thread"]))

"""Memory: over a million calls of every form, the process does not grow; and a leak would be seen.

Three things are counted: the resident set, which holds all memory, but has room that a small leak
fills unseen; the bytes that malloc has lent; the blocks that Python has. The largest growth counts.
Each form is called alone, once it is warm. `python tests/test_memory.py` prints the growth of each.
"""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch.func import grad, vmap

from torch_sigmoid_ext import sigmoid, sigmoid_

STATM = Path("/proc/self/statm")
BOUND = 256 * 1024  # bytes; a leak of 64 bytes a call is twice as much at least
WARM_UP = 2_000  # calls: the first ones fill the allocators' caches
MANY, FEWER = 65_536, 8_192  # the latter of forms that take ten microseconds and more
LOST = 64  # bytes a call, of the leaks; and what a block of Python's counts

operators = torch.ops.torch_sigmoid_ext
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]


class Mallinfo(ctypes.Structure):
    """struct mallinfo2 of glibc."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
        ).split()
    )


HAS_MALLINFO = hasattr(libc, "mallinfo2")  # from glibc 2.33 on
if HAS_MALLINFO:
    libc.mallinfo2.restype = Mallinfo

X = torch.linspace(-9, 9, 6)
Y = sigmoid(X)
LEAF = X.clone().requires_grad_()
WRITTEN, OUT = X.clone(), torch.empty(6)
HALF, BFLOAT16, DOUBLE = X.half(), X.bfloat16(), X.double()
COMPLEX = torch.complex(X, Y)
INTEGERS, NONE = torch.arange(3), torch.empty(2, 0)
EVERY_OTHER, ROWS = torch.linspace(-9, 9, 12)[::2], X.view(2, 3)


def first_derivative() -> None:
    torch.autograd.grad(sigmoid(LEAF), LEAF, Y)


def second_derivative() -> None:
    (first,) = torch.autograd.grad(sigmoid(LEAF), LEAF, Y, create_graph=True)
    torch.autograd.grad(first, LEAF, Y)


def tangent() -> None:
    with forward_ad.dual_level():
        sigmoid(forward_ad.make_dual(X, Y))


def refused() -> None:
    try:
        sigmoid(X, out=INTEGERS)
    except RuntimeError:
        return
    raise AssertionError("an out of integers was taken")


def lost_tensor() -> None:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(sigmoid(X)))


QUICK: dict[str, Callable[[], object]] = {
    "sigmoid": lambda: sigmoid(X),
    "fast": lambda: sigmoid(X, fast=True),
    "float64": lambda: sigmoid(DOUBLE),
    "float16": lambda: sigmoid(HALF),
    "bfloat16": lambda: sigmoid(BFLOAT16),
    "complex": lambda: sigmoid(COMPLEX),
    "integers": lambda: sigmoid(INTEGERS),
    "0 elements": lambda: sigmoid(NONE),
    "strided": lambda: sigmoid(EVERY_OTHER),
    "out=": lambda: sigmoid(X, out=OUT),
    "out=, resized": lambda: sigmoid(X, out=torch.empty(0)),
    "sigmoid_": lambda: sigmoid_(WRITTEN),
    "torch.ops": lambda: operators.sigmoid(X),
    "sigmoid_backward": lambda: operators.sigmoid_backward(Y, Y),
    "a graph": lambda: sigmoid(LEAF),
}
SLOW: dict[str, Callable[[], object]] = {
    "a graph, in place": lambda: sigmoid_(LEAF * 1),
    "first derivative": first_derivative,
    "second derivative": second_derivative,
    "forward mode": tangent,
    "vmap": lambda: vmap(sigmoid)(ROWS),
    "torch.func.grad": lambda: grad(lambda x: sigmoid(x).sum())(X),
    "an error": refused,
}
CALLS = {**dict.fromkeys(QUICK, MANY), **dict.fromkeys(SLOW, FEWER)}
KEPT: list[bytes] = []
LEAKS: dict[str, Callable[[], object]] = {
    "64 bytes of malloc": lambda: libc.malloc(LOST),
    "an object of 64 bytes": lambda: KEPT.append(bytes(LOST - sys.getsizeof(b""))),
    "a tensor's reference": lost_tensor,
}


def taken() -> tuple[int, int, int]:
    """Bytes: resident, lent by malloc, and in blocks of Python."""
    gc.collect()
    resident = int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    info = libc.mallinfo2()
    return resident, info.uordblks + info.hblkhd, sys.getallocatedblocks() * LOST


def growth(call: Callable[[], object], calls: int) -> int:
    """Bytes by which the process grows over so many calls, those before the first left out."""
    for _ in range(WARM_UP):
        call()
    before = taken()
    for _ in range(calls):
        call()
    return max(now - then for now, then in zip(taken(), before, strict=True))


def main() -> None:
    torch.set_num_threads(1)
    for name, call in {**QUICK, **SLOW}.items():
        print(f"{growth(call, CALLS[name]):9,} bytes over {CALLS[name]:6,} calls: {name}")
    for name, call in LEAKS.items():  # last: what they take is not given back
        print(f"{growth(call, FEWER):9,} bytes over {FEWER:6,} calls: {name}")


@pytest.fixture(scope="module")
def grown() -> dict[str, int]:
    """Bytes by the form."""
    if not (STATM.exists() and HAS_MALLINFO):
        pytest.skip("this system has no /proc/self/statm, or a C library without mallinfo2")
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.split(" calls: ") for line in done.stdout.splitlines()]
    return {name: int(words.split()[0].replace(",", "")) for words, name in lines}


def test_a_million_calls_are_made() -> None:
    assert sum(CALLS.values()) > 1_000_000


@pytest.mark.parametrize("form", CALLS)
def test_form_leaves_no_memory_behind(form: str, grown: dict[str, int]) -> None:
    assert grown[form] < BOUND, f"{grown[form]:,} bytes over {CALLS[form]:,} calls"


@pytest.mark.parametrize("leak", LEAKS)
def test_leak_of_64_bytes_a_call_is_seen(leak: str, grown: dict[str, int]) -> None:
    assert grown[leak] >= LOST * FEWER >= 2 * BOUND


if __name__ == "__main__":
    main()

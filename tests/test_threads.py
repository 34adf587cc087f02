"""Threads: many Python threads at once, a changing number of OpenMP's, and a fork after them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from torch_sigmoid_ext import sigmoid, sigmoid_

backward = torch.ops.torch_sigmoid_ext.sigmoid_backward

# A few, and more than one thread takes, of each way through the CPU backend.
INPUTS = {
    "6": torch.linspace(-9, 9, 6),
    "flat": torch.linspace(-100, 30, 200_001),
    "transposed": torch.linspace(-30, 30, 90_000).view(300, 300).t(),
    "every other": torch.linspace(-30, 30, 100_000)[::2],
    "bfloat16": torch.linspace(-30, 30, 100_000).bfloat16(),
    "complex": torch.complex(torch.linspace(-30, 30, 9_000), torch.linspace(-9, 2, 9_000)),
    "integers": torch.arange(-40_000, 40_000) % 50,
}


def in_place(x: Tensor) -> Tensor:
    return sigmoid_(x.clone()) if x.is_floating_point() or x.is_complex() else sigmoid(x)


def out(x: Tensor) -> Tensor:
    dtype = x.dtype if x.is_floating_point() or x.is_complex() else torch.float32
    return sigmoid(x, out=torch.empty(0, dtype=dtype))


def gradient(x: Tensor) -> Tensor:
    if not (x.is_floating_point() or x.is_complex()):
        return sigmoid(x)
    leaf = x.detach().requires_grad_()
    y = sigmoid(leaf)
    return torch.autograd.grad(y, leaf, y.detach())[0]


FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": sigmoid,
    "fast": lambda x: sigmoid(x, fast=True),
    "sigmoid_": in_place,
    "out=": out,
    "gradient": gradient,
}


@pytest.fixture
def alone() -> Iterator[None]:
    """One OpenMP thread to compute what is expected, and the number of before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def results() -> dict[tuple[str, str], Tensor]:
    return {(form, name): FORMS[form](x) for form in FORMS for name, x in INPUTS.items()}


def assert_same(
    got: dict[tuple[str, str], Tensor], expected: dict[tuple[str, str], Tensor]
) -> None:
    wrong = [key for key, value in expected.items() if not torch.equal(got[key], value)]
    assert not wrong, f"other bits than on one thread: {wrong}"


def test_any_number_of_threads_gives_the_same_bits(alone: None) -> None:
    expected = results()
    for number in (2, 4, 1, 3, 8, 2):
        torch.set_num_threads(number)
        assert_same(results(), expected)


def test_many_python_threads_at_once_give_the_same_bits(alone: None) -> None:
    expected = results()
    torch.set_num_threads(2)
    workers = 8
    start = threading.Barrier(workers)

    def work(index: int) -> list[dict[tuple[str, str], Tensor]]:
        torch.set_num_threads(1 + index % 3)
        start.wait(timeout=60)
        return [results() for _ in range(3)]

    with ThreadPoolExecutor(workers) as pool:
        for rounds in pool.map(work, range(workers)):
            for got in rounds:
                assert_same(got, expected)


def test_threads_may_share_a_graph_and_a_leaf() -> None:
    leaf = torch.linspace(-9, 9, 40_000, dtype=torch.float64).requires_grad_()
    y = sigmoid(leaf)
    (once,) = torch.autograd.grad(y.sum(), leaf, retain_graph=True)
    workers = 8
    start = threading.Barrier(workers)

    def work(_: int) -> Tensor:
        start.wait(timeout=60)
        (first,) = torch.autograd.grad(y.sum(), leaf, retain_graph=True, create_graph=True)
        return torch.autograd.grad(first.sum(), leaf, retain_graph=True)[0]

    with ThreadPoolExecutor(workers) as pool:
        seconds = list(pool.map(work, range(workers)))
    s = torch.sigmoid(leaf.detach())
    for second in seconds:
        torch.testing.assert_close(second, s * (1 - s) * (1 - 2 * s))

    def accumulate(_: int) -> None:
        sigmoid(leaf).sum().backward()

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(accumulate, range(workers)))
    torch.testing.assert_close(leaf.grad, workers * once)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_first_call_may_be_many_at_once() -> None:
    code = """
import threading, torch
from concurrent.futures import ThreadPoolExecutor
from torch_sigmoid_ext import sigmoid
x, start = torch.linspace(-9, 9, 50_000), threading.Barrier(8)
def work(_):
    start.wait()
    return sigmoid(x)
with ThreadPoolExecutor(8) as pool:
    first, *others = pool.map(work, range(8))
print(all(torch.equal(first, other) for other in others))
"""
    assert run(code) == "True"


# torch.sigmoid itself never comes back in such a child: GNU's OpenMP waits for threads that the
# fork did not copy. The children compare in NumPy, because torch's own loops would wait so too.
FORK = """
import multiprocessing, os, signal, threading, torch
from torch_sigmoid_ext import sigmoid
torch.set_num_threads(4)
x = torch.linspace(-30, 30, 300_000)
leaf = x.clone().requires_grad_()
transposed, pairs = x.view(500, 600).t(), x.view(torch.complex64)
forms = [
    lambda: sigmoid(x), lambda: sigmoid(x, fast=True), lambda: sigmoid(transposed),
    lambda: sigmoid(pairs), lambda: sigmoid(x[::2]), lambda: sigmoid(x, out=torch.empty_like(x)),
    lambda: torch.autograd.grad(sigmoid(leaf), leaf, x)[0],
]
expected = [form().numpy().tobytes() for form in forms]
def check():
    signal.alarm(60)
    assert [form().numpy().tobytes() for form in forms] == expected
    others = []
    thread = threading.Thread(target=lambda: others.append(sigmoid(x).numpy().tobytes()))
    thread.start(); thread.join()
    assert others == expected[:1]
pid = os.fork()
if pid == 0:
    check()
    os._exit(7)
exits = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]
check()
context = multiprocessing.get_context("fork")
children = [context.Process(target=check) for _ in range(3)]
for child in children: child.start()
for child in children: child.join()
print(exits + [child.exitcode for child in children])
"""


def test_processes_forked_after_parallel_use_compute_on() -> None:
    assert run(FORK) == "[7, 0, 0, 0]"

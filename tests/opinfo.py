"""OpInfos of our operators: torch.sigmoid's entry in PyTorch's test suite, with our functions."""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import scipy.special
import torch
from torch import Tensor
from torch.testing import make_tensor
from torch.testing._internal.common_dtype import floating_and_complex_types_and
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_utils import TestCase
from torch.testing._internal.opinfo.core import (
    BinaryUfuncInfo,
    ErrorInput,
    OpInfo,
    SampleInput,
    UnaryUfuncInfo,
    sample_inputs_elementwise_unary,
)

from torch_sigmoid_ext import sigmoid, sigmoid_

operators = torch.ops.torch_sigmoid_ext
(THEIRS,) = (info for info in op_db if info.name == "sigmoid")


def reference_sigmoid(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """SciPy's; for complex numbers the formula, on the side where it cannot overflow."""
    if x.dtype.kind != "c":
        return scipy.special.expit(x)
    with np.errstate(all="ignore"):
        small = np.exp(np.where(x.real < 0, x, -x))
        return np.where(x.real < 0, small, 1) / (1 + small)


def reference_backward(
    grad_output: np.ndarray[Any, Any], output: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    return grad_output * np.conj(output * (1 - output))


def wrong_calls(info: OpInfo, device: str, **kwargs: Any) -> Iterator[ErrorInput]:
    """What torch.sigmoid refuses too, each with the words of the remedy."""
    zeros = functools.partial(torch.zeros, 3, device=device)

    def wrong(input: Any, remedy: str, error: type = RuntimeError, **options: Any) -> ErrorInput:
        return ErrorInput(SampleInput(input, kwargs=options), error_type=error, error_regex=remedy)

    yield wrong(zeros(), "torch.empty_like", out=zeros(dtype=torch.int64))
    yield wrong(zeros(), "torch.empty_like", out=zeros(dtype=torch.bool))
    yield wrong(zeros(dtype=torch.complex64), "torch.empty_like", out=zeros())
    yield wrong(zeros(), "same device", out=torch.zeros(3, device="meta"))
    yield wrong(zeros(), "clone", out=torch.zeros(1, device=device).expand(3))
    base = torch.zeros(5, device=device)
    yield wrong(base[:3], "clone", out=base[2:])
    yield wrong(zeros().to(torch.float8_e5m2), "input.float", NotImplementedError)
    yield wrong(zeros().to_sparse(), "to_dense", NotImplementedError)
    yield wrong(zeros().requires_grad_(), "leave out= away", out=zeros())


def unary_info(
    name: str, op: Callable[..., Tensor], inplace: Callable[..., Tensor], fast: bool
) -> UnaryUfuncInfo:
    options = {"fast": True} if fast else {}
    info = copy.copy(THEIRS)
    info.name = name
    info.variant_test_name = "fast" if fast else ""
    info.op, info.inplace_variant = op, inplace
    info.method_variant = info.operator_variant = info.inplace_operator_variant = None
    info.aliases, info.decorators, info.skips = (), (), ()
    info.ref = reference_sigmoid
    info.error_inputs_func = wrong_calls
    info.sample_inputs_func = functools.partial(sample_inputs_elementwise_unary, op_kwargs=options)
    info.sample_kwargs = lambda device, dtype, input: (options, {})
    return info


FUNCTION = unary_info("torch_sigmoid_ext.sigmoid", sigmoid, sigmoid_, fast=False)
OPERATOR = unary_info(
    "torch.ops.torch_sigmoid_ext.sigmoid", operators.sigmoid, operators.sigmoid_, fast=False
)
FAST = unary_info("torch_sigmoid_ext.sigmoid", sigmoid, sigmoid_, fast=True)
SIGMOIDS = [FUNCTION, OPERATOR]
EVERY_SIGMOID = [*SIGMOIDS, FAST]


def sample_inputs_backward(
    info: OpInfo, device: str, dtype: torch.dtype, requires_grad: bool, **kwargs: Any
) -> Iterator[SampleInput]:
    """(grad_output, output) of one shape, broadcast one way and the other, 0-d and empty."""
    make = functools.partial(make_tensor, device=device, dtype=dtype, requires_grad=requires_grad)
    for left, right in [
        ((5,), (5,)),
        ((), ()),
        ((3, 1), (4,)),
        ((4,), (3, 1)),
        ((), (2, 3)),
        ((2, 3), ()),
        ((2, 0), (1,)),
    ]:
        yield SampleInput(
            make(left),
            args=(make(right, low=0, high=1),),
            broadcasts_input=left != torch.broadcast_shapes(left, right),
        )


BACKWARD = BinaryUfuncInfo(
    "torch.ops.torch_sigmoid_ext.sigmoid_backward",
    op=operators.sigmoid_backward,
    ref=reference_backward,
    dtypes=floating_and_complex_types_and(torch.float16, torch.bfloat16),
    sample_inputs_func=sample_inputs_backward,
    supports_out=False,
    supports_forward_ad=True,
    supports_fwgrad_bwgrad=True,
    check_batched_forward_grad=True,
    supports_rhs_python_scalar=False,
    supports_one_python_scalar=False,
)


# Samples that a check has gone through, by the check's name.
counts: Counter[str] = Counter()


class CountsAtTheEnd:
    """A plugin of pytest that prints `counts` below the results."""

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.section(f"OpInfo: {counts.total()} samples")
        for check, count in sorted(counts.items()):
            terminalreporter.write_line(f"{count:6}  {check}")


class CountedTest(TestCase):
    """A test on OpInfos that counts the samples it goes through."""

    @pytest.fixture(autouse=True)
    def _print_counts(self, pytestconfig: pytest.Config) -> None:
        plugins = pytestconfig.pluginmanager
        if not plugins.has_plugin("opinfo-counts"):
            plugins.register(CountsAtTheEnd(), "opinfo-counts")

    def count(self, number: int = 1) -> None:
        check, _, _ = self._testMethodName.partition("_torch_")
        counts[check.removeprefix("test_").replace("_", " ")] += number

    def samples(self, info: OpInfo, device: str, dtype: torch.dtype, **kw: Any) -> Any:
        return self.each(info.sample_inputs(device, dtype, **kw))

    def each(self, samples: Any) -> Iterator[Any]:
        for sample in samples:
            self.count()
            yield sample

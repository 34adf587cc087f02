"""Derivatives of every order and mode, by PyTorch's machinery and against torch.sigmoid's."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from opinfo import BACKWARD, EVERY_SIGMOID, CountedTest, operators
from torch import Tensor
from torch.autograd import grad
from torch.func import jvp, vjp, vmap
from torch.testing import make_tensor
from torch.testing._internal.common_device_type import instantiate_device_type_tests, ops
from torch.testing._internal.common_utils import TestGradients

EVERY = [*EVERY_SIGMOID, BACKWARD]
PRECISE = (torch.float64, torch.complex128)

Function = Callable[[Tensor], Tensor]


class TestFiniteDifferences(CountedTest, TestGradients):
    """PyTorch's own gradient tests, all variants."""

    def check(self, device: str, dtype: torch.dtype, op: Any, check: str, **options: Any) -> None:
        for variant in (op.op, op.get_inplace()):
            if variant is None:
                continue
            if variant is op.get_inplace():
                variant = self._get_safe_inplace(variant)
            self.count(len(list(op.sample_inputs(device, dtype))))
            self._check_helper(device, dtype, op, variant, check, **options)

    @ops(EVERY, allowed_dtypes=PRECISE)
    def test_reverse_and_forward_mode(self, device: str, dtype: torch.dtype, op: Any) -> None:
        self.check(
            device,
            dtype,
            op,
            "gradcheck",
            check_forward_ad=True,
            check_batched_grad=True,
            check_batched_forward_grad=True,
        )

    @ops(EVERY, allowed_dtypes=PRECISE)
    def test_reverse_over_reverse(self, device: str, dtype: torch.dtype, op: Any) -> None:
        self.check(device, dtype, op, "bwgrad_bwgrad")

    @ops(EVERY, allowed_dtypes=PRECISE)
    def test_forward_over_reverse(self, device: str, dtype: torch.dtype, op: Any) -> None:
        self.check(device, dtype, op, "fwgrad_bwgrad")


def weights(x: Tensor) -> Tensor:
    """A direction of x's shape, with no zeros and no symmetry."""
    direction = torch.linspace(0.5, 1.7, max(x.numel(), 1), dtype=torch.float64)[: x.numel()]
    return (direction.reshape(x.shape) * (1 + 0.3j if x.is_complex() else 1)).to(x.dtype)


def pulled_back(function: Function) -> Function:
    return lambda x: vjp(function, x)[1](weights(x))[0]


def pushed_forward(function: Function) -> Function:
    return lambda x: jvp(function, (x,), (weights(x),))[1]


def batched(dim: int, function: Function) -> Function:
    def transformed(x: Tensor) -> Tensor:
        return vmap(function, in_dims=dim, out_dims=dim)(torch.stack([x, -x / 2], dim)).sum(dim)

    return transformed


def by_formula(grad_output: Tensor, output: Tensor) -> Tensor:
    """What sigmoid_backward computes, in operators that torch differentiates itself.

    aten::sigmoid_backward is no measure here: its own gradient raises where one argument is real
    and the other complex.
    """
    return grad_output * (output * (1 - output)).conj()


TRANSFORMS: dict[str, Callable[[Function], Function]] = {
    "vjp": pulled_back,
    "jvp": pushed_forward,
    "vmap": functools.partial(batched, 0),
    "vmap of the last": functools.partial(batched, -1),
}
CHAINS = [chain for length in (1, 2, 3) for chain in itertools.product(TRANSFORMS, repeat=length)]


class TestTransforms(CountedTest):
    """Every chain of up to three of vjp, jvp and vmap, against the same of torch's operators."""

    def check_chains(
        self, ours: Function, theirs: Function, x: Tensor, most_refused: int = 0
    ) -> None:
        refused = []
        for chain in CHAINS:
            functions = [ours, theirs]
            for name in chain:
                functions = [TRANSFORMS[name](function) for function in functions]
            try:
                expected = functions[1](x)
            except (
                RuntimeError
            ):  # limits of torch's vmap: a batched tangent written over one that is not
                refused.append(chain)
                continue
            self.count()
            self.assertEqual(functions[0](x), expected, msg=" of ".join(chain))
        self.assertLessEqual(len(refused), most_refused, msg=f"{refused}")

    @pytest.mark.filterwarnings("error:There is a performance drop")
    @ops(EVERY_SIGMOID, allowed_dtypes=PRECISE)
    def test_chains_of_transforms(self, device: str, dtype: torch.dtype, op: Any) -> None:
        x = make_tensor((2, 3), device=device, dtype=dtype)
        options = op.sample_kwargs(device, dtype, x)[0]
        self.check_chains(functools.partial(op.op, **options), torch.sigmoid, x)

    @pytest.mark.filterwarnings("error:There is a performance drop")
    @ops(EVERY_SIGMOID, allowed_dtypes=PRECISE)
    def test_chains_of_transforms_in_place(self, device: str, dtype: torch.dtype, op: Any) -> None:
        x = make_tensor((2, 3), device=device, dtype=dtype)
        options = op.sample_kwargs(device, dtype, x)[0]
        inplace = op.get_inplace()

        def ours(t: Tensor) -> Tensor:
            return inplace(t.clone(), **options)

        def theirs(t: Tensor) -> Tensor:
            return torch.sigmoid_(t.clone())

        self.check_chains(ours, theirs, x, most_refused=10)

    @pytest.mark.filterwarnings("error:There is a performance drop")
    @ops([BACKWARD], allowed_dtypes=PRECISE)
    def test_chains_of_transforms_of_backward(
        self, device: str, dtype: torch.dtype, op: Any
    ) -> None:
        x, other = (
            make_tensor((2, 3), device=device, dtype=dtype, low=0, high=1) for _ in range(2)
        )
        self.check_chains(
            lambda g: op.op(g, other), lambda g: by_formula(g, other), x, most_refused=10
        )
        self.check_chains(
            lambda y: op.op(other, y), lambda y: by_formula(other, y), x, most_refused=10
        )
        self.check_chains(lambda y: op.op(y, y), lambda y: by_formula(y, y), x)

    @ops(EVERY_SIGMOID, allowed_dtypes=(torch.float32, torch.complex64, torch.bfloat16))
    def test_vmap_of_any_dimension_gives_the_bits_of_a_loop(
        self, device: str, dtype: torch.dtype, op: Any
    ) -> None:
        for shape in [(2,), (2, 3), (2, 3, 4)]:
            x = make_tensor(shape, device=device, dtype=dtype)
            function = functools.partial(op.op, **op.sample_kwargs(device, dtype, x)[0])
            dims = range(-x.dim(), x.dim())
            for in_dim, out_dim in self.each(itertools.product(dims, dims)):
                result = vmap(function, in_dims=in_dim, out_dims=out_dim)(x)
                looped = torch.stack([function(part) for part in x.unbind(in_dim)], out_dim)
                self.assertEqual(result, looped, rtol=0, atol=0)

    @pytest.mark.filterwarnings("error:There is a performance drop")
    @ops([BACKWARD], allowed_dtypes=(torch.float32, torch.complex64))
    def test_vmap_of_backward_gives_the_bits_of_a_loop(
        self, device: str, dtype: torch.dtype, op: Any
    ) -> None:
        for left, right in itertools.product([(3,), (3, 3), (3, 3, 3)], repeat=2):
            g = make_tensor(left, device=device, dtype=dtype)
            y = make_tensor(right, device=device, dtype=dtype, low=0, high=1)
            for in_dims in itertools.product([None, *range(g.dim())], [None, *range(y.dim())]):
                if in_dims == (None, None):
                    continue
                self.count()
                result = vmap(op.op, in_dims=in_dims)(g, y)
                parts = [
                    [t] * 3 if dim is None else t.unbind(dim)
                    for t, dim in zip((g, y), in_dims, strict=True)
                ]
                looped = torch.stack([op.op(*pair) for pair in zip(*parts, strict=True)])
                self.assertEqual(result, looped, rtol=0, atol=0)
        rows = make_tensor((3, 5), device=device, dtype=dtype, low=0, high=1)
        pairs = vmap(vmap(op.op, in_dims=(0, None)), in_dims=(None, 0))(rows, rows)
        self.assertEqual(pairs, op.op(rows[None], rows[:, None]), rtol=0, atol=0)


SHAPES = [((2, 3), (2, 3)), ((3, 1), (4,)), ((4,), (3, 1)), ((), (3,)), ((3,), ()), ((2, 0), (1,))]


class TestBackwardOperator(CountedTest):
    """sigmoid_backward with real and complex arguments, broadcast."""

    def arguments(self) -> Any:
        for shapes, dtypes in itertools.product(SHAPES, itertools.product(PRECISE, repeat=2)):
            self.count()
            yield [
                make_tensor(shape, device="cpu", dtype=dtype, requires_grad=True)
                for shape, dtype in zip(shapes, dtypes, strict=True)
            ]

    def test_reverse_mode_twice(self) -> None:
        for pair in self.arguments():
            results = []
            for op in (operators.sigmoid_backward, by_formula):
                value = op(*pair)
                first = grad(value, pair, weights(value).detach(), create_graph=True)
                second = grad(first, pair, [weights(g).detach() for g in first], allow_unused=True)
                results.append((value, first, second))
            self.assertEqual(*results)

    def test_forward_mode_and_over_reverse(self) -> None:
        for pair in self.arguments():
            pair = tuple(t.detach() for t in pair)
            tangents = tuple(weights(t) for t in pair)
            results = []
            for op in (operators.sigmoid_backward, by_formula):

                def pull(*arguments: Tensor, op: Any = op) -> Any:
                    value, back = vjp(op, *arguments)
                    return back(weights(value))

                results.append((jvp(op, pair, tangents), jvp(pull, pair, tangents)))
            self.assertEqual(*results)


for case in (TestFiniteDifferences, TestTransforms):
    instantiate_device_type_tests(case, globals(), only_for="cpu")
del case

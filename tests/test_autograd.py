"""Derivatives: right by finite differences, and behaving as torch.sigmoid's do."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

from torch_sigmoid_ext import SimpleNN, sigmoid, sigmoid_

backward_op = torch.ops.torch_sigmoid_ext.sigmoid_backward


def in_place(x: Tensor) -> Tensor:
    return sigmoid_(x.clone())


def in_place_on_a_view(x: Tensor) -> Tensor:
    y = x.clone()
    sigmoid_(y[1:])
    return y


FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": sigmoid,
    "fast": lambda x: sigmoid(x, fast=True),
    "sigmoid_": in_place,
    "sigmoid_ on a view": in_place_on_a_view,
    "torch.ops": torch.ops.torch_sigmoid_ext.sigmoid.default,
}


def points(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, dtype=dtype, generator=generator).mul(3).requires_grad_()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("transposed", [False, True])
def test_first_and_second_derivative_agree_with_finite_differences(
    form: str, transposed: bool
) -> None:
    x = points(3, 4)

    def function(x: Tensor) -> Tensor:
        return FORMS[form](x.t() if transposed else x)

    assert gradcheck(function, (x,), check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(function, (x,), check_fwd_over_rev=True, check_rev_over_rev=True)


def test_gradient_operator_is_differentiable_in_both_arguments() -> None:
    arguments = (points(5), torch.rand(5, dtype=torch.float64, requires_grad=True))
    assert gradcheck(backward_op, arguments, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(backward_op, arguments, check_fwd_over_rev=True)
    broadcast = (points(3, 1), torch.rand(4, dtype=torch.float64, requires_grad=True))
    assert gradcheck(backward_op, broadcast)


def test_third_derivative_is_torch_s() -> None:
    def third(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        value = function(x)
        for _ in range(3):
            (value,) = torch.autograd.grad(value.sum(), x, create_graph=True)
        return value

    x = points(7)
    torch.testing.assert_close(third(sigmoid, x), third(torch.sigmoid, x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_gradient_keeps_the_dtype(dtype: torch.dtype) -> None:
    x = points(9).detach().to(dtype).requires_grad_()
    (ours,) = torch.autograd.grad(sigmoid(x).sum(), x)
    y = sigmoid(x.detach()).double()
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, (y * (1 - y)).to(dtype))


@pytest.mark.parametrize("transform", [grad, jacrev, jacfwd, hessian])
def test_functional_transforms_agree_with_torch_sigmoid(transform: Callable[..., object]) -> None:
    x = points(4).detach()

    def through(function: Callable[[Tensor], Tensor]) -> object:
        return transform(lambda z: function(z).pow(2).sum())(x)

    torch.testing.assert_close(through(sigmoid), through(torch.sigmoid))
    torch.testing.assert_close(through(in_place), through(torch.sigmoid))


@pytest.mark.parametrize("form", FORMS)
def test_derivatives_of_derivatives_nest_in_every_order(form: str) -> None:
    def torchs(x: Tensor) -> Tensor:
        first = x[:1] if form == "sigmoid_ on a view" else torch.sigmoid(x[:1])
        return torch.cat([first, torch.sigmoid(x[1:])])

    x = points(3).detach()
    for outer in (jacrev, jacfwd):
        for inner in (jacrev, jacfwd):
            torch.testing.assert_close(outer(inner(FORMS[form]))(x), outer(inner(torchs))(x))


def test_jvp_and_vjp_are_not_silently_zero() -> None:
    x, v = points(4).detach(), torch.ones(4, dtype=torch.float64)
    slope = torch.sigmoid(x) * (1 - torch.sigmoid(x))
    torch.testing.assert_close(jvp(sigmoid, (x,), (v,))[1], slope)
    torch.testing.assert_close(vjp(sigmoid, x)[1](v)[0], slope)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x.clone(), v)
        torch.testing.assert_close(forward_ad.unpack_dual(sigmoid(dual)).tangent, slope)
        torch.testing.assert_close(forward_ad.unpack_dual(sigmoid_(dual)).tangent, slope)


@pytest.mark.filterwarnings("error:There is a performance drop")
def test_vmap_has_a_rule_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    x = points(2, 3, 4).detach()
    for dim in range(-1, 3):
        assert torch.equal(vmap(sigmoid, in_dims=dim, out_dims=dim)(x), sigmoid(x))
    assert torch.equal(vmap(vmap(sigmoid))(x), sigmoid(x))
    assert torch.equal(vmap(in_place)(x), sigmoid(x))
    y = torch.rand(3, dtype=torch.float64)
    expected = torch.stack([backward_op(row, y) for row in x.reshape(8, 3)])
    assert torch.equal(vmap(backward_op, in_dims=(0, None))(x.reshape(8, 3), y), expected)
    mixed = vmap(backward_op, in_dims=(1, 0))(x, torch.rand(3, 4, dtype=torch.float64))
    assert mixed.shape == (3, 2, 4)
    # Where torch.ops is called, PyTorch's warning of a missing rule is no Python warning.
    assert "performance drop" not in capfd.readouterr().err


def test_per_sample_gradients() -> None:
    model, rows = SimpleNN(), torch.randn(5, 3)

    def loss(parameters: dict[str, Tensor], row: Tensor) -> Tensor:
        return functional_call(model, parameters, (row[None],)).sum()

    parameters = {name: value.detach() for name, value in model.named_parameters()}
    per_sample = vmap(grad(loss), in_dims=(None, 0))(parameters, rows)
    for i, row in enumerate(rows):
        single = grad(loss)(parameters, row)
        torch.testing.assert_close(per_sample["fc1.weight"][i], single["fc1.weight"])


def test_overwriting_the_result_is_noticed() -> None:
    y = sigmoid(points(3))
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_second_backward_without_retain_graph_is_refused() -> None:
    loss = sigmoid(points(3)).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_no_grad_detach_and_inference_mode() -> None:
    x = points(3)
    with torch.no_grad():
        assert not sigmoid(x).requires_grad
        out = torch.empty(3, dtype=torch.float64)
        assert sigmoid(x, out=out) is out
        sigmoid_(x)
    with torch.inference_mode():
        assert sigmoid(x).is_inference()
    assert sigmoid(points(3)).grad_fn.name() == "SigmoidExtBackward"


def test_checkpoint_and_saved_tensor_hooks() -> None:
    x = points(5)
    (expected,) = torch.autograd.grad(sigmoid(x).sum(), x)
    checkpointed = torch.utils.checkpoint.checkpoint(sigmoid, x, use_reentrant=False)
    assert torch.equal(torch.autograd.grad(checkpointed.sum(), x)[0], expected)
    packed: list[bytes] = []

    def pack(saved: Tensor) -> int:
        packed.append(pickle.dumps(saved.detach()))
        return len(packed) - 1

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda i: pickle.loads(packed[i])):
        y = sigmoid(x)
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], expected) and len(packed) == 1

"""torch.func, autograd's machinery and modes: on ours as on torch.sigmoid, with no warning.

The expected value is always torch's own, on aten::sigmoid in float64.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import (
    functional_call,
    functionalize,
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    stack_module_state,
    vjp,
    vmap,
)
from torch.testing import assert_close
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import torch_sigmoid_ext
from torch_sigmoid_ext import SimpleNN, sigmoid, sigmoid_

# A slow fallback says so in a UserWarning.
no_warning = pytest.mark.filterwarnings("error::UserWarning")

operators = torch.ops.torch_sigmoid_ext
Function = Callable[..., Any]

# Ours, and what torch has in its place.
PAIRS: dict[str, tuple[Function, Function]] = {
    "sigmoid": (sigmoid, torch.sigmoid),
    "torch.ops": (operators.sigmoid.default, torch.sigmoid),
    "in place": (lambda x: sigmoid_(x.clone()), lambda x: torch.sigmoid_(x.clone())),
    "on a view": (
        lambda x: (y := x.clone(), sigmoid_(y[..., 1:]))[0],
        lambda x: (y := x.clone(), torch.sigmoid_(y[..., 1:]))[0],
    ),
}
pairs = pytest.mark.parametrize("form", PAIRS)


def points(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator) * 3


def loss(function: Function) -> Function:
    return lambda x: function(x).pow(2).sum()


TRANSFORMS: dict[str, Function] = {
    "grad": lambda f, x: grad(loss(f))(x),
    "grad_and_value": lambda f, x: grad_and_value(loss(f))(x),
    "vjp": lambda f, x: vjp(f, x)[1](torch.ones_like(x)),
    "jvp": lambda f, x: jvp(f, (x,), (x.cos(),)),
    "jacrev": lambda f, x: jacrev(f)(x),
    "jacfwd": lambda f, x: jacfwd(f)(x),
    "hessian": lambda f, x: hessian(loss(f))(x),
    "jacrev of jacrev": lambda f, x: jacrev(jacrev(f))(x),
    "jacfwd of jacrev": lambda f, x: jacfwd(jacrev(f))(x),
    "jvp of jvp": lambda f, x: jvp(lambda z: jvp(f, (z,), (z,))[1], (x,), (x,)),
    "grad of grad of grad": lambda f, x: grad(
        lambda z: grad(lambda y: grad(loss(f))(y).sum())(z).sum()
    )(x),
    "vmap of grad": lambda f, x: vmap(grad(loss(f)))(x),
    "grad of vmap": lambda f, x: grad(lambda z: loss(vmap(f))(z))(x),
    "vmap of hessian": lambda f, x: vmap(hessian(loss(f)), in_dims=1)(x),
    "vmap of jvp": lambda f, x: vmap(lambda z: jvp(f, (z,), (z,)))(x),
    "jvp of vmap": lambda f, x: jvp(vmap(f, in_dims=1), (x,), (x,)),
    "functionalize": lambda f, x: functionalize(f)(x),
    "grad of functionalize": lambda f, x: grad(loss(functionalize(f)))(x),
    "functionalize of vmap": lambda f, x: functionalize(vmap(f))(x),
    "autograd.functional.jacobian": lambda f, x: torch.autograd.functional.jacobian(
        f, x, vectorize=True
    ),
    "autograd.functional.hessian": lambda f, x: torch.autograd.functional.hessian(loss(f), x),
}


@no_warning
@pairs
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transforms_give_torch_s_derivatives(form: str, transform: str) -> None:
    ours, torchs = PAIRS[form]
    x = points(2, 3)
    assert_close(TRANSFORMS[transform](ours, x), TRANSFORMS[transform](torchs, x))


def test_linearize() -> None:
    x = points(4)
    (value, linear), (expected, torchs) = (linearize(f, x) for f in (sigmoid, torch.sigmoid))
    assert_close((value, linear(x)), (expected, torchs(x)))


@no_warning
@pairs
def test_vmap_takes_any_dimensions(form: str) -> None:
    ours, torchs = PAIRS[form]
    x = points(2, 3, 4)
    for in_dim, out_dim in itertools.product(range(-3, 3), repeat=2):
        assert_close(vmap(ours, in_dim, out_dim)(x), vmap(torchs, in_dim, out_dim)(x))
    for inner, outer in itertools.product(range(2), range(3)):
        nested = [vmap(vmap(f, inner, 1), outer, 2)(x) for f in (ours, torchs)]
        assert_close(*nested)
    assert_close(vmap(ours, chunk_size=2)(x), vmap(torchs, chunk_size=2)(x))


@no_warning
@pairs
def test_vmap_takes_a_tensor_of_an_outer_vmap_or_of_none(form: str) -> None:
    ours, torchs = PAIRS[form]
    x, z = points(2, 3), points(4)

    def nested(function: Function) -> Tensor:
        return vmap(lambda a: vmap(lambda b: function(a) * b + function(z[:2]).sum())(z))(x)

    def through_grad(function: Function) -> Tensor:
        return vmap(
            lambda a: grad(lambda c: vmap(lambda b: function(a).sum() * c * b)(z).sum())(a)
        )(x.reshape(6))

    assert_close(nested(ours), nested(torchs))
    if form != "on a view":  # a number has no such view
        assert_close(through_grad(ours), through_grad(torchs))


# The shapes and in_dims of grad_output and output.
BACKWARD_CASES: list[tuple[tuple[int, ...], int | None, tuple[int, ...], int | None]] = [
    ((5, 3), 0, (5, 3), 0),
    ((5, 3), 0, (3, 5), 1),
    ((3, 5), -1, (5, 3), 0),
    ((5, 3), 0, (3,), None),
    ((3,), None, (3, 5), 1),
    ((5, 3), 0, (2, 3), None),
    ((5, 2, 3), 0, (3, 5), 1),
    ((5,), 0, (2, 3, 5), 2),
    ((2, 3, 5), 2, (5,), 0),
    ((), None, (5, 3), 0),
]


@no_warning
@pytest.mark.parametrize("case", BACKWARD_CASES, ids=str)
def test_vmap_of_the_gradient_takes_mixed_dimensions(case: Any) -> None:
    shape, dim, other_shape, other_dim = case
    g, y = points(*shape), torch.sigmoid(points(*other_shape, seed=1))
    dims = (dim, other_dim)
    expected = vmap(torch.ops.aten.sigmoid_backward.default, in_dims=dims)(g, y)
    assert_close(vmap(operators.sigmoid_backward.default, in_dims=dims)(g, y), expected)


def test_vmap_refuses_out_as_torch_does() -> None:
    x = points(2, 3)

    def message(function: Function) -> str:
        with pytest.raises(RuntimeError) as raised:
            vmap(lambda a, out: function(a, out=out))(x, torch.empty_like(x))
        return str(raised.value)

    expected = message(torch.sigmoid).replace("aten::", "torch_sigmoid_ext::")
    assert message(sigmoid) == expected


def test_a_tensor_that_escaped_from_vmap_is_refused() -> None:
    escaped: list[Tensor] = []
    vmap(lambda a: (escaped.append(a), a)[1])(points(2))
    for function in (torch.sigmoid, sigmoid, sigmoid_):
        with pytest.raises(RuntimeError, match="escaped"):
            function(escaped[0])
    with pytest.raises(RuntimeError, match="escaped"):
        operators.sigmoid_backward(escaped[0], points(2))


def test_vmap_needs_the_library_alone() -> None:
    code = (
        "import warnings, torch; warnings.simplefilter('error');"
        f"torch.ops.load_library({torch_sigmoid_ext.library_path()!r});"
        "op = torch.ops.torch_sigmoid_ext.sigmoid; x = torch.zeros(2, 3);"
        "print(torch.vmap(op, 1)(x).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "torch.Size([3, 2])", done.stderr


@no_warning
def test_ensembles_and_per_sample_gradients_of_a_module() -> None:
    torch.manual_seed(0)
    models = [SimpleNN().double() for _ in range(4)]
    parameters, buffers = stack_module_state(models)
    x = points(5, 3)

    def call(p: Any, b: Any, row: Tensor) -> Tensor:
        return functional_call(models[0], (p, b), (row,))

    together = vmap(call, in_dims=(0, 0, None))(parameters, buffers, x)
    assert_close(together, torch.stack([torch.sigmoid(m.fc1(x)) for m in models]))
    single = {name: p.detach() for name, p in models[0].named_parameters()}
    samples = vmap(grad(lambda p, row: call(p, {}, row).sum()), in_dims=(None, 0))(single, x)
    for row, gradient in zip(x, samples["fc1.weight"], strict=True):
        expected = torch.autograd.grad(
            torch.sigmoid(models[0].fc1(row)).sum(), models[0].fc1.weight
        )
        assert_close(gradient, expected[0])


def leaf(*shape: int) -> Tensor:
    return points(*shape).requires_grad_()


def backward_of(function: Function, x: Tensor) -> Tensor:
    function(x).pow(2).sum().backward()
    assert x.grad is not None
    return x.grad


@pairs
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoint(form: str, reentrant: bool) -> None:
    def twice(function: Function) -> Function:
        def block(x: Tensor) -> Tensor:
            return function(function(x) * 2)

        return lambda x: checkpoint(block, x * 1, use_reentrant=reentrant)

    ours, torchs = PAIRS[form]
    assert_close(backward_of(twice(ours), leaf(4)), backward_of(twice(torchs), leaf(4)))


@pairs
def test_saved_tensors_can_be_kept_elsewhere(form: str) -> None:
    def saved(function: Function) -> tuple[Tensor, int]:
        count = 0

        def pack(tensor: Tensor) -> Any:
            nonlocal count
            count += 1
            return tensor.numpy(force=True).copy()

        x = leaf(4)
        with torch.autograd.graph.saved_tensors_hooks(pack, torch.from_numpy):
            y = function(x)
        return torch.autograd.grad(y.sum(), x)[0], count

    ours, torchs = PAIRS[form]
    assert_close(saved(ours), saved(torchs))
    with torch.autograd.graph.save_on_cpu():
        y = ours(x := leaf(4))
    y.pow(2).sum().backward()
    assert_close(x.grad, backward_of(torchs, leaf(4)))


@pytest.mark.parametrize("order", [1, 2])
def test_anomaly_mode_names_the_line_that_computed_forward(order: int) -> None:
    x = torch.tensor([float("nan")], requires_grad=True)

    def the_line_at_fault() -> Tensor:
        return sigmoid(x)

    with torch.autograd.detect_anomaly(check_nan=order == 1):
        y = the_line_at_fault()
        if order == 2:
            (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        name = "SigmoidExtBackward" if order == 1 else "SigmoidExtDoubleBackward"
        with (
            torch.autograd.detect_anomaly(),
            pytest.warns(UserWarning) as warned,
            pytest.raises(RuntimeError, match=f"{name}' returned nan values"),
        ):
            y.sum().backward()
    text = "".join(str(warning.message) for warning in warned)
    assert f"Error detected in {name}" in text and "the_line_at_fault" in text


def test_hooks_see_and_change_gradients() -> None:
    def hooked(function: Function) -> list[Any]:
        seen: list[Any] = []
        x = leaf(3)
        x.register_hook(lambda g: g * 2)
        y = function(x)
        y.retain_grad()
        y.register_hook(lambda g: g + 1)
        y.grad_fn.register_prehook(lambda grads: (grads[0] * 3,))
        y.grad_fn.register_hook(lambda into, out: seen.extend([into[0].clone(), out[0].clone()]))
        x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.clone()))
        y.pow(2).sum().backward()
        return [*seen, x.grad, y.grad]

    assert_close(hooked(sigmoid), hooked(torch.sigmoid))


def error_of(function: Callable[[], object]) -> type[BaseException]:
    with pytest.raises(Exception) as raised:
        function()
    return raised.type


def second_backward(function: Function, _: Function) -> None:
    y = function(leaf(3)).sum()
    y.backward()
    y.backward()


def overwritten_result(function: Function, _: Function) -> None:
    y = function(leaf(3))
    y.mul_(2)
    y.sum().backward()


def overwritten_by_ours(_: Function, overwrite: Function) -> None:
    y = leaf(3).exp()
    overwrite(y)
    y.sum().backward()


def overwritten_by_out(function: Function, _: Function) -> None:
    y = leaf(3).exp()
    with torch.no_grad():
        function(points(3), out=y)
    y.sum().backward()


def overwritten_leaf(_: Function, overwrite: Function) -> None:
    overwrite(leaf(3))


def overwritten_view_of_a_leaf(_: Function, overwrite: Function) -> None:
    overwrite(leaf(3)[1:])


def overwritten_one_of_many_views(_: Function, overwrite: Function) -> None:
    overwrite((leaf(3) * 1).unbind()[0])


def overwritten_view_from_no_grad(_: Function, overwrite: Function) -> None:
    with torch.no_grad():
        view = (leaf(3) * 1)[1:]
    overwrite(view.requires_grad_()[:1])


def overwritten_inference_tensor(_: Function, overwrite: Function) -> None:
    with torch.inference_mode():
        y = points(3)
    overwrite(y)


def saved_inference_tensor(function: Function, _: Function) -> None:
    with torch.inference_mode():
        y = points(3)
    (function(y) * leaf(3)).sum().backward()
    (leaf(3) * y).sum().backward()


@pytest.mark.parametrize(
    "misuse",
    [
        second_backward,
        overwritten_result,
        overwritten_by_ours,
        overwritten_by_out,
        overwritten_leaf,
        overwritten_view_of_a_leaf,
        overwritten_one_of_many_views,
        overwritten_view_from_no_grad,
        overwritten_inference_tensor,
        saved_inference_tensor,
    ],
)
def test_misuse_is_refused_where_torch_refuses_it(misuse: Function) -> None:
    assert error_of(lambda: misuse(sigmoid, sigmoid_)) is error_of(
        lambda: misuse(torch.sigmoid, torch.sigmoid_)
    )


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "slice": lambda x: x[1:, ::2],
    "transpose": lambda x: x.t(),
    "diagonal": lambda x: x.diagonal(),
    "view": lambda x: x.view(-1),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "view of a view": lambda x: x.t()[1:].unsqueeze(0),
    "select": lambda x: x.select(0, 1),
}


@pytest.mark.parametrize("view", VIEWS)
def test_gradients_through_views_written_over(view: str) -> None:
    def through(overwrite: Function) -> Tensor:
        x = leaf(4, 4)
        y = x * 2
        overwrite(VIEWS[view](y))
        (first,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
        return torch.autograd.grad(first.pow(2).sum(), x)[0]

    assert_close(through(sigmoid_), through(torch.sigmoid_))


def test_gradients_reach_an_expanded_and_a_viewed_input() -> None:
    for view in (lambda x: x.expand(3, 4), lambda x: x.unfold(0, 2, 1), lambda x: x.flip(0)):
        expected = backward_of(lambda x, v=view: torch.sigmoid(v(x)), leaf(4))
        assert_close(backward_of(lambda x, v=view: sigmoid(v(x)), leaf(4)), expected)


class Wrapper(Tensor):
    """The least subclass with a __torch_dispatch__: a tensor inside, a list of calls."""

    called: list[Any]
    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor, called: list[Any]) -> Wrapper:
        wrapper = Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
        wrapper.inner, wrapper.called = inner, called
        return wrapper

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        called: list[Any] = next(a.called for a in args if isinstance(a, Wrapper))
        called.append(func)
        plain = [a.inner if isinstance(a, Wrapper) else a for a in args]
        result = func(*plain, **(kwargs or {}))
        return cls(result, called) if isinstance(result, Tensor) else result


def test_wrapper_subclasses_get_each_operator_and_keep_their_type() -> None:
    called: list[Any] = []
    x = Wrapper(points(3), called).requires_grad_()
    y = sigmoid(x)
    assert type(y) is Wrapper
    (gradient,) = torch.autograd.grad(y, x, Wrapper(torch.ones(3, dtype=torch.float64), called))
    assert type(gradient) is Wrapper
    assert [f for f in called if f.namespace == "torch_sigmoid_ext"] == [
        operators.sigmoid.default,
        operators.sigmoid_backward.default,
    ]
    assert_close(gradient.inner, backward_of(lambda z: torch.sigmoid(z).sqrt(), leaf(3)))


def test_two_tensor_trains() -> None:
    def trained(function: Function) -> list[Tensor]:
        x = TwoTensor(points(3), points(3, seed=1)).requires_grad_()
        function(x).sum().backward()
        assert type(x.grad) is TwoTensor
        return [x.grad.a, x.grad.b]

    assert_close(trained(sigmoid), trained(torch.sigmoid))


def test_parameters_and_buffers_give_plain_tensors() -> None:
    for input in (nn.Parameter(points(3)), nn.Buffer(points(3))):
        assert type(sigmoid(input)) is type(torch.sigmoid(input)) is Tensor


def test_functional_tensors_take_every_form() -> None:
    def written(x: Tensor) -> list[Tensor]:
        view = x.clone()
        sigmoid_(view[1:])
        return [sigmoid(x), view, sigmoid(x, out=torch.empty_like(x))]

    x = points(4)
    assert_close(functionalize(written)(x), written(x))
    plain = torch._from_functional_tensor(sigmoid(torch._to_functional_tensor(x)))
    assert_close(plain, torch.sigmoid(x))


def test_flops_and_the_debug_mode_s_trace_are_torch_s() -> None:
    from torch.utils._debug_mode import DebugMode

    def seen(function: Function) -> tuple[int, str]:
        x = leaf(3)
        with FlopCounterMode(display=False) as flops, DebugMode() as trace:
            function(x).sum().backward()
        return flops.get_total_flops(), trace.debug_string()

    (flops, trace), (expected_flops, expected) = seen(sigmoid), seen(torch.sigmoid)
    assert flops == expected_flops
    assert trace.replace("torch_sigmoid_ext::", "aten::") == expected

"""torch.compile, compiled autograd, and the decompositions that can be chosen at compile time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import mpmath
import pytest
import torch
import torch._dynamo
from hard_cases import HARD_CASES
from torch import Tensor, nn
from torch._dynamo import compiled_autograd
from torch._dynamo.testing import CompileCounterWithBackend
from torch._functorch.aot_autograd import aot_function
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing import assert_close
from truth import every_16_bit_input, float32_of_every_binade, rounded, true_sigmoid, ulp_error

from torch_sigmoid_ext import (
    Sigmoid,
    SimpleNN,
    decompositions,
    inductor,
    sigmoid,
    sigmoid_,
)

operators = torch.ops.torch_sigmoid_ext
KINDS = ("exact", "fast")


@pytest.fixture(autouse=True)
def _no_graph_of_another_test() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def write_to_out(x: Tensor) -> Tensor:
    out = torch.empty_like(x)
    return sigmoid(x, out=out) + out


def write_over_a_view(x: Tensor) -> Tensor:
    y = x * 2
    sigmoid_(y[1:])
    return y


FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": sigmoid,
    "fast": lambda x: sigmoid(x, fast=True),
    "sigmoid_": lambda x: sigmoid_(x * 2),
    "sigmoid_ of a view": write_over_a_view,
    "out=": write_to_out,
    "out=None": lambda x: sigmoid(x, out=None),
    "input=": lambda x: sigmoid(input=x),
    "Sigmoid": Sigmoid(),
    "Sigmoid(inplace=True)": lambda x: Sigmoid(inplace=True)(x + 1),
    "torch.ops": operators.sigmoid,
    "torch.ops, overload": operators.sigmoid.default,
    "torch.ops, in place": lambda x: operators.sigmoid_(x * 2),
    "torch.ops, out": lambda x: operators.sigmoid.out(x, out=torch.empty_like(x)),
    "torch.ops, gradient": lambda x: operators.sigmoid_backward(x, x),
    "vmap": torch.vmap(sigmoid, in_dims=1),
    "vmap of a lambda": torch.vmap(lambda x: sigmoid(x)),
    "vmap of sigmoid_": lambda x: torch.vmap(sigmoid_)(x * 2),
    "grad": torch.func.grad(lambda x: sigmoid(x).sum()),
    "vjp": lambda x: torch.func.vjp(sigmoid, x)[1](x)[0],
    "partial": functools.partial(sigmoid, fast=True),
    "compared": lambda x: x if sigmoid == torch.tanh else sigmoid(x),
    "jvp": lambda x: torch.func.jvp(sigmoid, (x,), (x,))[1],
}


@pytest.mark.parametrize("form", FORMS)
def test_no_form_breaks_the_graph_or_compiles_twice_for_other_sizes(form: str) -> None:
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(FORMS[form], backend=counter, fullgraph=True, dynamic=True)
    for rows in (3, 5, 64, 17):
        x = torch.randn(rows, 7)
        assert_close(compiled(x), FORMS[form](x), rtol=0, atol=0)
    assert counter.frame_count == 1


@pytest.mark.parametrize("form", ["sigmoid", "sigmoid_ of a view", "out=", "Sigmoid"])
def test_explain_counts_one_graph_and_no_break(form: str) -> None:
    explained = torch._dynamo.explain(FORMS[form])(torch.randn(3, 4))
    assert (explained.graph_count, explained.graph_break_count) == (1, 0), explained


def test_training_compiles_once_for_every_marked_size() -> None:
    torch.manual_seed(0)
    counter = CompileCounterWithBackend("aot_eager")
    model = SimpleNN()
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for rows in (4, 9, 33):
        x = torch.randn(rows, 3)
        torch._dynamo.mark_dynamic(x, 0)
        gradients = [
            torch.autograd.grad(m(x).pow(2).sum(), list(model.parameters()))
            for m in (compiled, model)
        ]
        assert_close(*gradients)
    assert counter.frame_count == 1


def test_inductor_trains_and_serves_with_the_operator_s_own_bits() -> None:
    torch.manual_seed(0)
    x = torch.randn(40, 8, requires_grad=True)

    def function(x: Tensor) -> Tensor:
        gated = sigmoid(x * 2) * x
        return sigmoid_(gated + 1) + sigmoid(x, out=None)

    compiled = torch.compile(function, fullgraph=True, dynamic=True)
    for rows in (40, 23):
        part = x[:rows]
        assert torch.equal(compiled(part), function(part))
        results = [torch.autograd.grad(f(part).sum(), x)[0] for f in (compiled, function)]
        assert_close(*results)
        with torch.no_grad():
            assert torch.equal(compiled(part), function(part))


def test_inductor_compiles_one_call_of_fixed_size() -> None:
    x = torch.randn(3, 4)
    compiled = torch.compile(sigmoid, fullgraph=True, dynamic=False)
    assert torch.equal(compiled(x), sigmoid(x))


@pytest.mark.parametrize("kind", ["exact", "fast"])
def test_a_decomposition_writes_into_no_type_that_the_operator_refuses(kind: Any) -> None:
    whole, table = torch.ones(2, dtype=torch.int64), decompositions(kind)
    with pytest.raises(RuntimeError, match=r"can be cast to, got torch\.int64"):
        table[operators.sigmoid_.default](whole)
    with pytest.raises(RuntimeError, match=r"can be cast to, got torch\.int64"):
        table[operators.sigmoid.out](torch.ones(2), out=whole)


# Sizes that the data decide, as of x[mask]: strides are found without asking for them.
BY_DATA: dict[str, Callable[..., Tensor]] = {
    "rows": lambda x, f: f(x[x[:, 0] > 0]),
    "columns": lambda x, f: f(x[x[:, 0] > 0].t()),
    "broadcast": lambda x, f: f(x[x[:, 0] > 0][:, None] * x[x[:, 1] > 0]),
    "in place": lambda x, f: sigmoid_(x[x[:, 0] > 0]) if f is sigmoid else f(x[x[:, 0] > 0]),
}


@pytest.mark.parametrize("shape", BY_DATA)
def test_sizes_that_the_data_decide_are_compiled(shape: str) -> None:
    torch.manual_seed(0)
    function, x = BY_DATA[shape], torch.randn(9, 4)
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        compiled = torch.compile(
            lambda x: function(x, sigmoid), fullgraph=True, backend="aot_eager"
        )
        result, expected = compiled(x), function(x, lambda t: torch.sigmoid(t))
    assert_close(result, expected)
    assert result.stride() == expected.stride()


# Compiled autograd: the backward pass as one graph.


def compile_whole(graph: Any) -> Any:
    return torch.compile(graph, backend="eager", fullgraph=True, dynamic=True)


def derivatives(function: Callable[[Tensor], Tensor], enabled: bool) -> list[Tensor]:
    """Of the first and second order, each by a backward of its own."""
    context = compiled_autograd._enable if enabled else lambda _: torch.enable_grad()
    result = []
    for rows in (3, 5):
        x = torch.linspace(-3, 3, rows, dtype=torch.float64, requires_grad=True)
        first = torch.autograd.grad(function(x).pow(2).sum(), x, create_graph=True)[0]
        with context(compile_whole):
            function(x).pow(2).sum().backward()
            assert x.grad is not None
            once, x.grad = x.grad.clone(), None
            first.pow(2).sum().backward()
        result += [once, x.grad]
    return result


@pytest.mark.parametrize("form", ["sigmoid", "sigmoid_", "sigmoid_ of a view"])
def test_compiled_autograd_gives_eager_s_derivatives(form: str) -> None:
    compiled = derivatives(FORMS[form], enabled=True)
    assert_close(compiled, derivatives(FORMS[form], enabled=False))


def test_compiled_autograd_captures_a_backward_once_and_holds_the_operator() -> None:
    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    def compiler(graph: Any) -> Any:
        return torch.compile(graph, backend=keep, fullgraph=True, dynamic=True)

    torch._dynamo.utils.counters.clear()
    model = SimpleNN()
    with compiled_autograd._enable(compiler):
        for rows in (4, 6, 8):
            model.zero_grad()
            model(torch.randn(rows, 3)).sum().backward()
    assert torch._dynamo.utils.counters["compiled_autograd"]["captures"] == 1
    assert len(graphs) == 1
    assert "SigmoidExtBackward" in graphs[0].print_readable(print_output=False)


def test_compiled_autograd_keeps_hooks_and_saved_tensor_hooks() -> None:
    def trained(function: Callable[[Tensor], Tensor]) -> list[Tensor]:
        x = torch.linspace(-3, 3, 4, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t * 2, lambda t: t / 2):
            y = function(x)
        y.register_hook(lambda g: g * 3)
        with compiled_autograd._enable(compile_whole):
            y.sum().backward()
        assert x.grad is not None
        return [x.grad]

    assert_close(trained(sigmoid), trained(torch.sigmoid))


def test_a_compiled_training_step_takes_compiled_autograd() -> None:
    def step(function: Callable[[Tensor], Tensor]) -> tuple[Tensor | None, ...]:
        torch.manual_seed(0)
        layer = nn.Linear(3, 2)

        def train(x: Tensor) -> None:
            function(layer(x)).pow(2).sum().backward()

        with torch._dynamo.config.patch(compiled_autograd=True):
            torch.compile(train, backend="aot_eager")(torch.ones(4, 3))
        return layer.weight.grad, layer.bias.grad

    assert_close(step(sigmoid), step(torch.sigmoid))


# The decompositions.


def traced(
    kind: Any, function: Callable[..., Any], *inputs: Tensor, mode: str = "real"
) -> torch.fx.GraphModule:
    graph = make_fx(function, decomposition_table=decompositions(kind), tracing_mode=mode)(*inputs)
    left = [n for n in graph.graph.nodes if "torch_sigmoid_ext" in str(n.target)]
    assert not left, f"still there: {left}"
    return graph


def as_chain(kind: Any, x: Tensor) -> Tensor:
    """σ of x by the decomposition, each operation by itself."""
    return traced(kind, sigmoid, x)(x)


DTYPES = [
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.complex128,
    torch.int64,
    torch.bool,
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_every_overload_decomposes_for_every_dtype(
    kind: str, dtype: torch.dtype, mode: str
) -> None:
    x = (torch.randn(4, 3, generator=torch.Generator().manual_seed(0)) * 3).to(dtype)

    def everything(x: Tensor) -> list[Tensor]:
        y = sigmoid(x)
        results = [y, operators.sigmoid_backward(y, y), sigmoid(x, out=y.new_empty(0))]
        if x.dtype == y.dtype:
            results.append(sigmoid_(x.clone()))
        return results

    graph = traced(kind, everything, x, mode=mode)
    for input in (x, torch.cat([x, x])) if mode == "symbolic" else (x,):
        for got, expected in zip(graph(input), everything(input), strict=True):
            assert got.dtype == expected.dtype and got.shape == expected.shape
            assert_close(got, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_exact_rounds_every_16_bit_input_correctly(dtype: torch.dtype) -> None:
    x = every_16_bit_input(dtype)
    got = as_chain("exact", x)
    # A float64 is decisive but for the ties' neighbours, which hard_cases holds.
    wide = x.double()
    wide = torch.where(wide > 0, 1 / (1 + torch.exp(-wide)), wide.exp() / (1 + wide.exp()))
    assert_close(got, wide.to(dtype), equal_nan=True)
    for text in HARD_CASES[dtype]:
        value = float.fromhex(text)
        expected = rounded(true_sigmoid(value), dtype)
        assert as_chain("exact", torch.tensor([value], dtype=dtype)).item() == expected, text


def misrounded(kind: str, x: Tensor) -> list[str]:
    return [
        f"σ({a.hex()}): expected {expected.hex()}, got {b.hex()}"
        for a, b in zip(x.tolist(), as_chain(kind, x).tolist(), strict=True)
        if b != (expected := rounded(true_sigmoid(a), x.dtype))
    ]


def hard_float32() -> Tensor:
    """The nearest to a tie, and ties' neighbours at small |x|; the tail down to zero."""
    nearest = torch.tensor([float.fromhex(text) for text in HARD_CASES[torch.float32]])
    small = torch.arange(-300, 301, dtype=torch.float32) * 2.0**-24
    return torch.cat([nearest, small, small * 32, torch.linspace(-104.5, -86, 500)])


def test_exact_rounds_float32_correctly() -> None:
    x = torch.cat([hard_float32(), float32_of_every_binade(4)])
    assert not misrounded("exact", x)


@pytest.mark.parametrize(
    ("kind", "dtype", "bound"),
    [("fast", torch.float32, 2.5), ("fast", torch.float64, 3.0), ("exact", torch.float64, 3.0)],
)
def test_error_stays_within_the_documented_ulp(kind: str, dtype: torch.dtype, bound: float) -> None:
    generator = torch.Generator().manual_seed(0)
    spread = torch.rand(3000, generator=generator, dtype=torch.float64)
    least = -745 if dtype == torch.float64 else -104
    x = torch.cat([torch.randn(3000, generator=generator).double() * 4, spread * (least - 20) + 20])
    if dtype == torch.float32:
        x = torch.cat([x, hard_float32().double()])
    x = x.to(dtype)
    got = as_chain(kind, x).tolist()
    errors = [
        (ulp_error(b, true_sigmoid(a), dtype), a) for a, b in zip(x.tolist(), got, strict=True)
    ]
    assert max(errors)[0] <= bound, max(errors)


@pytest.mark.parametrize("kind", KINDS)
def test_limits(kind: str) -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        x = torch.tensor([-torch.inf, torch.inf, torch.nan, 0.0, -0.0], dtype=dtype)
        expected = torch.tensor([0, 1, torch.nan, 0.5, 0.5], dtype=dtype)
        assert_close(as_chain(kind, x), expected, equal_nan=True, rtol=0, atol=0)
        assert not as_chain(kind, x)[0].signbit()


@pytest.mark.parametrize(("kind", "epsilon"), [("exact", 2.0**-23), ("fast", 2.0**-20)])
def test_complex_error_stays_small_next_to_the_poles(kind: str, epsilon: float) -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(400, generator=generator, dtype=torch.complex64) * 6
    near = torch.complex(torch.randn(100, generator=generator) * 1e-3, torch.full((100,), torch.pi))
    z = torch.cat(
        [z, near, near.conj().resolve_conj(), torch.tensor([90j - 95, 3j - 1000, 700 + 1j])]
    )
    for value, got in zip(z.tolist(), as_chain(kind, z).tolist(), strict=True):
        with mpmath.workprec(200):
            truth = 1 / (1 + mpmath.exp(-mpmath.mpc(value)))
            assert abs(mpmath.mpc(got) - truth) <= epsilon * abs(truth) + 2.0**-149, value


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_good_to_the_last_bits(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    g = torch.randn(4000, generator=generator)
    y = torch.sigmoid(torch.randn(4000, generator=generator).mul(12).double()).float()
    graph = traced(kind, operators.sigmoid_backward.default, g, y)
    truths = [
        mpmath.mpf(a) * mpmath.mpf(b) * (1 - mpmath.mpf(b))
        for a, b in zip(g.tolist(), y.tolist(), strict=True)
    ]
    errors = [
        ulp_error(abs(got), abs(truth), torch.float32)
        for got, truth in zip(graph(g, y).tolist(), truths, strict=True)
        if truth
    ]
    assert max(errors) <= (0.5 + 2.0**-20 if kind == "exact" else 2.5)


@pytest.mark.parametrize("kind", KINDS)
def test_aot_autograd_decomposes_both_passes(kind: Any) -> None:
    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    x = torch.linspace(-5, 5, 11, requires_grad=True)
    compiled = aot_function(
        lambda x: sigmoid_(sigmoid(x) * 2), keep, keep, decompositions=decompositions(kind)
    )
    (gradient,) = torch.autograd.grad(compiled(x).sum(), x)
    assert_close(gradient, torch.autograd.grad(torch.sigmoid(torch.sigmoid(x) * 2).sum(), x)[0])
    assert len(graphs) == 2
    assert not [n for g in graphs for n in g.graph.nodes if "torch_sigmoid_ext" in str(n.target)]


def gate(x: Tensor) -> Tensor:
    return sigmoid(x) * 2 + sigmoid_(x * 0.5)


def test_inductor_takes_the_kind_that_was_asked_for_whatever_its_caches_hold() -> None:
    x = torch.linspace(-20, 20, 4001)
    results = {}
    # Twice round: the second time every cache is warm.
    for backend in ("inductor", inductor("exact"), inductor("fast")) * 2:
        torch._dynamo.reset()
        result = torch.compile(sigmoid, backend=backend, fullgraph=True)(x)
        name = getattr(backend, "__name__", "operator")
        assert torch.equal(results.setdefault(name, result), result), name
    assert torch.equal(results["operator"], sigmoid(x))
    assert torch.equal(results["torch_sigmoid_ext_exact"], sigmoid(x))
    assert not torch.equal(results["torch_sigmoid_ext_fast"], sigmoid(x))
    assert_close(results["torch_sigmoid_ext_fast"], sigmoid(x), rtol=3 * 2.0**-24, atol=0)


def test_inductor_fuses_a_decomposition_into_one_kernel_in_both_passes() -> None:
    from torch._inductor.utils import run_fw_bw_and_get_code

    x = torch.linspace(-90, 20, 4096).reshape(64, 64).requires_grad_()
    compiled = torch.compile(gate, backend=inductor("exact"), fullgraph=True, dynamic=True)
    result, sources = run_fw_bw_and_get_code(lambda: compiled(x))
    assert len(sources) == 2
    for source in sources:
        assert "torch_sigmoid_ext" not in source.replace("torch_sigmoid_ext_exact", "")
        assert source.count("async_compile.cpp_pybinding(") == 1
    assert_close(result, gate(x), rtol=2.0**-23, atol=0)
    eager = torch.autograd.grad(gate(x).sum(), x)[0]
    assert_close(x.grad, eager, rtol=2.0**-21, atol=0)


def test_the_backend_is_one_object_and_refuses_what_it_does_not_know() -> None:
    assert inductor("exact") is inductor("exact") is not inductor("fast")
    for function in (decompositions, inductor):
        with pytest.raises(ValueError, match="expected kind to be 'exact' or 'fast', got 'slow'"):
            function("slow")
    compiled = torch.compile(sigmoid, backend=inductor("fast"), options={"no_such_option": 1})
    with pytest.raises(Exception, match="no_such_option"):
        compiled(torch.zeros(3))


@pytest.mark.parametrize(
    "chosen", [{"mode": "max-autotune-no-cudagraphs"}, {"options": {"max-autotune": True}}]
)
def test_the_backend_takes_inductor_s_options_and_modes(chosen: dict[str, Any]) -> None:
    seen: list[bool] = []

    def spy(graph: torch.fx.Graph) -> None:
        seen.append(torch._inductor.config.max_autotune)

    with torch._inductor.config.patch(post_grad_custom_post_pass=spy):
        torch.compile(sigmoid, backend=inductor("fast"), **chosen)(torch.zeros(3))
    assert seen == [True]

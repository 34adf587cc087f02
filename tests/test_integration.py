"""The operator in PyTorch: opcheck, compile, export, TorchScript, modes, the library alone."""

from __future__ import annotations

import copy
import ctypes
import inspect
import io
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import (
    DimDynamic,
    ShapeEnv,
    StatelessSymbolicContext,
)
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import torch_sigmoid_ext
from torch_sigmoid_ext import Sigmoid, sigmoid, sigmoid_

operators = torch.ops.torch_sigmoid_ext


def samples(requires_grad: bool) -> list[Tensor]:
    tensors = [
        torch.randn(3, 4),
        torch.randn(3, 4, dtype=torch.float64).t(),
        torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        torch.randn(6, 8).bfloat16()[1:5, ::3],
        torch.randn(()),
        torch.randn(2, 0),
        torch.randn(3, 4, dtype=torch.complex64),
    ]
    return [t.requires_grad_(requires_grad) for t in tensors]


@pytest.mark.parametrize("index", range(7))
def test_opcheck_passes_on_every_overload(index: int) -> None:
    x, plain = samples(True)[index], samples(False)[index]
    torch.library.opcheck(operators.sigmoid.default, (x,))
    torch.library.opcheck(operators.sigmoid.default, (plain,), {"fast": True})
    torch.library.opcheck(operators.sigmoid_.default, (plain.clone(),))
    torch.library.opcheck(operators.sigmoid.out, (plain,), {"out": torch.empty_like(plain)})
    torch.library.opcheck(operators.sigmoid_backward.default, (torch.ones_like(x), x))


def test_opcheck_passes_on_integers() -> None:
    torch.library.opcheck(operators.sigmoid.default, (torch.arange(5),))


def every_form(x: Tensor) -> list[Tensor]:
    return [
        sigmoid(x),
        sigmoid(x, fast=True),
        sigmoid_(x.clone()),
        sigmoid(x, out=torch.empty_like(x)),
        Sigmoid()(x),
        operators.sigmoid(x),
    ]


@pytest.mark.parametrize("dynamic", [False, True])
def test_compile_takes_every_form_without_a_graph_break(dynamic: bool) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(every_form, fullgraph=True, dynamic=dynamic)
    x = torch.randn(5, 4)
    for result, expected in zip(compiled(x), every_form(x), strict=True):
        assert torch.equal(result, expected)


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_strided_training_has_eager_s_strides_and_gradient(dynamic: bool) -> None:
    torch._dynamo.reset()

    def function(x: Tensor) -> Tensor:
        return sigmoid(x[:, ::2].t()) * 2

    compiled = torch.compile(function, fullgraph=True, dynamic=dynamic)
    for n in (4, 6):
        x = torch.randn(n, n + 3, requires_grad=True)
        ours, expected = compiled(x), function(x)
        assert torch.equal(ours, expected) and ours.stride() == expected.stride()
        (grad,) = torch.autograd.grad(ours.sum(), x)
        assert torch.equal(grad, torch.autograd.grad(expected.sum(), x)[0])


@pytest.mark.parametrize("strict", [False, True])
def test_exported_program_holds_the_operator_and_any_batch(strict: bool) -> None:
    torch._dynamo.reset()
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        Sigmoid(), (torch.randn(4, 3),), dynamic_shapes=({0: batch},), strict=strict
    )
    targets = [node.target for node in program.graph.nodes if node.op == "call_function"]
    assert targets == [operators.sigmoid.default]
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    loaded = torch.export.load(buffer).module()
    for n in (1, 2, 9):
        x = torch.randn(n, 3)
        assert torch.equal(loaded(x), sigmoid(x))


def test_torchscript_traces_and_scripts_every_form() -> None:
    x = torch.randn(5)

    def scripted(x: Tensor, out: Tensor) -> list[Tensor]:
        return [sigmoid(x), sigmoid(x, fast=True), sigmoid_(x.clone()), sigmoid(x, out=out)]

    results = torch.jit.script(scripted)(x, torch.empty(5))
    for result, expected in zip(results, scripted(x, torch.empty(5)), strict=True):
        assert torch.equal(result, expected)
    traced = torch.jit.trace(lambda x: sigmoid(x) + sigmoid_(x * 1), x)
    assert str(traced.graph).count("torch_sigmoid_ext::sigmoid") == 2
    assert torch.equal(traced(x), 2 * sigmoid(x))


def test_make_fx_and_symbolic_trace_record_the_operator() -> None:
    graph = make_fx(sigmoid)(torch.randn(3)).graph
    assert operators.sigmoid.default in [node.target for node in graph.nodes]
    symbolic = torch.fx.symbolic_trace(Sigmoid())
    x = torch.randn(3)
    assert torch.equal(symbolic(x), sigmoid(x))


def test_fake_tensors() -> None:
    with FakeTensorMode():
        output = sigmoid(torch.empty(3, 4).t())
    assert output.shape == (4, 3) and output.stride() == (1, 4)


class Logging:
    """Mixed into a mode: what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []


class FunctionMode(Logging, TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(func)
        return func(*args, **(kwargs or {}))


class DispatchMode(Logging, TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(func)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("mode", [FunctionMode, DispatchMode])
@pytest.mark.parametrize("form", [sigmoid, sigmoid_, operators.sigmoid.default])
def test_modes_see_the_call(mode: type[Any], form: Callable[[Tensor], Tensor]) -> None:
    with mode() as entered:
        form(torch.zeros(3))
    assert any("torch_sigmoid_ext" in str(func) for func in entered.seen), entered.seen


def test_subclasses_and_duck_types_are_asked() -> None:
    class Subclass(Tensor):
        pass

    class Duck:
        @classmethod
        def __torch_function__(
            cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            return "asked"

    assert type(sigmoid(torch.zeros(3).as_subclass(Subclass))) is Subclass
    assert sigmoid(Duck()) == "asked"  # type: ignore[arg-type, comparison-overlap]


def test_functions_look_like_functions() -> None:
    signature = inspect.signature(sigmoid)
    assert list(signature.parameters) == ["input", "fast", "out"]
    assert list(inspect.signature(sigmoid_).parameters) == ["input", "fast"]
    assert pickle.loads(pickle.dumps(sigmoid)) is sigmoid and copy.deepcopy(sigmoid) is sigmoid
    assert "correctly rounded" in sigmoid.__doc__
    x = torch.zeros(2)
    assert torch.equal(sigmoid(input=x), sigmoid(x))


def run_python(code: str, *options: str) -> str:
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_library_alone_is_enough_for_torch_ops() -> None:
    path = torch_sigmoid_ext.library_path()
    printed = run_python(
        f"import sys, torch; torch.ops.load_library({path!r});"
        "op = torch.ops.torch_sigmoid_ext.sigmoid;"
        "x = torch.tensor([-100.0], requires_grad=True); y = op(x); y.backward();"
        "print(y.item() > 0, x.grad.item() > 0, op(x.to('meta')).device,"
        "'torch_sigmoid_ext' in sys.modules)"
    )
    assert printed == "True True meta False"


def test_library_tells_a_program_which_torch_it_is_built_for() -> None:
    library = ctypes.CDLL(torch_sigmoid_ext.library_path())
    library.torch_sigmoid_ext_built_for.restype = ctypes.c_char_p
    said = library.torch_sigmoid_ext_built_for().decode()
    minor = ".".join(torch.__version__.split(".")[:2])
    assert said.startswith(f"torch_sigmoid_ext: built for torch {minor}.")


def test_the_library_needs_no_python() -> None:
    with open(torch_sigmoid_ext.library_path(), "rb") as file:
        content = file.read()
    assert b"libtorch_python" not in content and b"libpython" not in content
    assert b"Py_" not in content and b"PyObject_" not in content


def test_import_does_not_bring_dynamo() -> None:
    code = "import sys, torch_sigmoid_ext; print('torch._dynamo' in sys.modules)"
    assert run_python(code) == "False"


def test_compile_works_whether_dynamo_came_before_or_after() -> None:
    use = (
        "import torch; y = torch.compile(torch_sigmoid_ext.sigmoid, fullgraph=True,"
        "backend='eager')(torch.zeros(2)); print(y.tolist())"
    )
    assert run_python(f"import torch_sigmoid_ext; {use}") == "[0.5, 0.5]"
    assert run_python(f"import torch._dynamo, torch_sigmoid_ext; {use}") == "[0.5, 0.5]"
    look = "import importlib.util, torch_sigmoid_ext; importlib.util.find_spec('torch._dynamo')"
    assert run_python(f"{look}; {use}") == "[0.5, 0.5]"


def test_import_works_without_docstrings() -> None:
    code = "import torch, torch_sigmoid_ext as t; print(t.sigmoid(torch.zeros(1)).item())"
    assert run_python(code, "-OO") == "0.5"


def symbolic(*tensors: Tensor) -> list[Tensor]:
    """Fake tensors whose sizes are symbols."""
    mode = FakeTensorMode(shape_env=ShapeEnv())
    return [
        mode.from_tensor(
            t,
            symbolic_context=StatelessSymbolicContext(dynamic_sizes=[DimDynamic.DYNAMIC] * t.dim()),
        )
        for t in tensors
    ]


@pytest.mark.parametrize("function", [sigmoid, lambda x: sigmoid_(x.clone())])
def test_transforms_take_symbolic_sizes(function: Callable[[Tensor], Tensor]) -> None:
    (x,) = symbolic(torch.randn(5, 6))
    assert torch.func.vmap(function)(x).shape == x.shape
    assert torch.func.functionalize(function)(x).shape == x.shape
    assert torch.func.jvp(function, (x,), (x,))[1].shape == x.shape
    assert torch.func.grad(lambda v: function(v).sum())(x).shape == x.shape


def test_gradient_of_symbolic_sizes_has_the_shape_and_strides_of_torch_s() -> None:
    x, y, zero = symbolic(torch.randn(5, 6), torch.randn(5, 6), torch.randn(()))
    pairs = [
        (x, x),
        (y, x),
        (zero, x),
        (x.t(), x.t()),
        (x.double(), x),
        (x[:, ::2], x[:, ::2]),
        (x.t().contiguous().t(), x),
        (zero.expand(x.shape), x.t().contiguous().t()),
        (x, x[:1]),
        (x, x[0]),
        (x, zero),
    ]
    for grad, output in pairs:
        got = operators.sigmoid_backward(grad, output)
        expected = torch.ops.aten.sigmoid_backward(grad, output)
        assert got.shape == expected.shape and got.dtype == expected.dtype
        assert got.stride() == expected.stride()


@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_symbolic_integers_promote_to_the_default_float_type(default: torch.dtype) -> None:
    integers = torch.arange(6).view(2, 3)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(default)
        (x,) = symbolic(integers)
        assert operators.sigmoid(x).dtype == torch.sigmoid(integers).dtype == default
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("format", [torch.channels_last, torch.contiguous_format])
def test_symbolic_images_keep_their_memory_format(format: torch.memory_format) -> None:
    image = torch.randn(2, 3, 4, 5).contiguous(memory_format=format)
    (x,) = symbolic(image)
    for result in (operators.sigmoid(x), operators.sigmoid_backward(x, x)):
        assert result.stride() == torch.sigmoid(image).stride()


def any_strides(seed: int) -> Tensor:
    """A tensor of up to four dimensions, permuted, sliced and expanded at random."""
    chosen = random.Random(seed)
    sizes = [chosen.choice([1, 2, 3, 4]) for _ in range(chosen.randint(1, 4))]
    x = torch.randn(sizes).permute(chosen.sample(range(len(sizes)), len(sizes)))
    for dimension, size in enumerate(x.shape):
        drawn = chosen.random()
        if drawn < 0.15 and size > 1:
            x = x[(slice(None),) * dimension + (slice(None, None, 2),)]
        elif drawn < 0.25 and size == 1:
            x = x.expand([3 if i == dimension else -1 for i in range(x.dim())])
    return x


def test_symbolic_strides_are_those_that_torch_computes() -> None:
    for seed in range(120):
        x = any_strides(seed)
        y = torch.randn(x.shape[::-1]).permute(*reversed(range(x.dim())))
        y = (y, y[:1], y[..., :1], y[0])[seed % 4]
        with FakeTensorMode(shape_env=ShapeEnv()) as mode:
            fake_x, fake_y = (mode.from_tensor(t, static_shapes=False) for t in (x, y))
            result = torch.ops.torch_sigmoid_ext.sigmoid(fake_x)
            gradient = torch.ops.torch_sigmoid_ext.sigmoid_backward(fake_x, fake_y)
        assert result.stride() == torch.sigmoid(x).stride(), (x.shape, x.stride())
        expected = torch.ops.aten.sigmoid_backward(x, y)
        assert gradient.stride() == expected.stride(), (x.shape, x.stride(), y.stride())

"""Layouts that are not strided: what torch.sigmoid answers, the operator answers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.masked import MaskedTensor, masked_tensor

from torch_sigmoid_ext import Sigmoid, sigmoid, sigmoid_

operators = torch.ops.torch_sigmoid_ext

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*MaskedTensor.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*prototype.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*[Ss]parse.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*quantize_per.*"),
    pytest.mark.filterwarnings("ignore:.*torch.quantize.*"),
]


def matrix(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.linspace(-9, 9, 16, dtype=dtype).view(4, 4)


def jagged(dtype: torch.dtype = torch.float32) -> Tensor:
    parts = [torch.linspace(-9, 9, 3 * n, dtype=dtype).view(n, 3) for n in (2, 5, 1)]
    return torch.nested.nested_tensor(parts, layout=torch.jagged)


FORMS: list[Callable[..., Tensor]] = [
    sigmoid,
    operators.sigmoid,
    Sigmoid(),
    lambda x: sigmoid_(x.clone()),
    lambda x: sigmoid(x, fast=True),
]


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=3 * torch.finfo(theirs.dtype).eps, atol=1e-30)


SPARSE: dict[str, Callable[[], Tensor]] = {
    "coo": lambda: matrix().to_sparse(),
    "csr": lambda: matrix().to_sparse_csr(),
    "csc": lambda: matrix().to_sparse_csc(),
    "bsr": lambda: matrix().to_sparse_bsr((2, 2)),
    "bsc": lambda: matrix().to_sparse_bsc((2, 2)),
    "nested, strided": lambda: torch.nested.nested_tensor([matrix(), matrix()[:2]]),
}


@pytest.mark.parametrize("layout", SPARSE)
@pytest.mark.parametrize("form", FORMS)
def test_what_torch_sigmoid_refuses_is_refused_with_a_remedy(
    layout: str, form: Callable[..., Tensor]
) -> None:
    with pytest.raises((NotImplementedError, RuntimeError)):
        torch.sigmoid(SPARSE[layout]())
    remedy = r"layout=torch\.jagged" if "nested" in layout else r"pass input\.to_dense\(\)"
    with pytest.raises(NotImplementedError, match=remedy):
        form(SPARSE[layout]())


def test_the_remedies_work() -> None:
    for make in SPARSE.values():
        x = make()
        if x.is_nested:
            x = torch.nested.as_nested_tensor(x.unbind(), layout=torch.jagged)
            assert sigmoid(x).layout == torch.jagged
        else:
            close(sigmoid(x.to_dense()), torch.sigmoid(matrix()))


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch is built without it")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(16,), (4, 4), (2, 2, 2, 2), (0, 3)])
def test_mkldnn(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    dense = torch.linspace(-9, 9, 16)[: torch.Size(shape).numel()].view(shape)
    expected = torch.sigmoid(dense.to_mkldnn(dtype))
    for form in FORMS[:3]:
        result = form(dense.to_mkldnn(dtype))
        assert result.layout == torch._mkldnn and result.dtype == dtype
        close(result.to_dense(), expected.to_dense())
    written = dense.to_mkldnn(dtype)
    assert sigmoid_(written) is written
    close(written.to_dense(), expected.to_dense())
    with pytest.raises(NotImplementedError, match="to_dense"):
        sigmoid(written, out=written)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch is built without it")
def test_mkldnn_has_a_gradient_where_torch_sigmoid_raises() -> None:
    def through(function: Callable[[Tensor], Tensor]) -> Tensor:
        leaf = matrix().requires_grad_()
        function(leaf.to_mkldnn()).to_dense().sum().backward()
        return leaf.grad

    with pytest.raises(RuntimeError):
        through(torch.sigmoid)
    leaf = matrix().requires_grad_()
    (expected,) = torch.autograd.grad(sigmoid(leaf).sum(), leaf)
    assert torch.equal(through(sigmoid), expected)


@pytest.mark.parametrize("dtype", [torch.quint8, torch.qint8])
def test_quantized_by_one_scale_gives_torch_sigmoid_s_integers(dtype: torch.dtype) -> None:
    for view in (lambda x: x, Tensor.t, lambda x: x[:, ::2]):
        x = view(torch.quantize_per_tensor(matrix(), 0.07, 3, dtype))
        expected = torch.sigmoid(x)
        for form in (*FORMS[:3], FORMS[-1]):
            result = form(x)
            assert result.q_scale() == expected.q_scale()
            assert result.q_zero_point() == expected.q_zero_point()
            assert torch.equal(result.int_repr(), expected.int_repr())
            assert result.stride() == expected.stride()


def test_qint32_does_not_saturate_at_a_half() -> None:
    x = torch.quantize_per_tensor(matrix(), 1e-6, 0, torch.qint32)
    assert torch.sigmoid(x).dequantize().max() == 0.5
    result = sigmoid(x)
    assert result.dtype == torch.qint32
    torch.testing.assert_close(result.dequantize(), torch.sigmoid(x.dequantize()))


def test_other_quantization_is_refused_with_a_remedy() -> None:
    scales, zeros = torch.full((4,), 0.1), torch.zeros(4, dtype=torch.long)
    per_channel = torch.quantize_per_channel(matrix(), scales, zeros, 0, torch.qint8)
    per_tensor = torch.quantize_per_tensor(matrix(), 0.1, 0, torch.quint8)
    calls: list[tuple[Callable[..., Any], Tensor]] = [
        (sigmoid, per_channel),
        (sigmoid_, per_tensor),
        (lambda x: sigmoid(x, out=x), per_tensor),
        (lambda x: operators.sigmoid_backward(x, x), per_tensor),
    ]
    for call, x in calls:
        with pytest.raises(NotImplementedError, match=r"input\.dequantize\(\)"):
            call(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("form", FORMS)
def test_jagged_values_and_gradients(form: Callable[..., Tensor], dtype: torch.dtype) -> None:
    def through(function: Callable[..., Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        x = jagged(dtype).requires_grad_()
        y = function(x)
        (first,) = torch.autograd.grad(y, x, y.detach(), create_graph=True)
        (second,) = torch.autograd.grad(first, x, y.detach())
        assert {type(t) for t in (y, first, second)} == {type(x)}
        assert y.offsets() is x.offsets()
        return y.values(), first.values(), second.values()

    for ours, theirs in zip(through(form), through(torch.sigmoid), strict=True):
        tolerance = 8 * torch.finfo(dtype).eps
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_jagged_views_and_ragged_dimensions() -> None:
    x = jagged()
    lengths = torch.tensor([1, 3, 1])
    holes = torch.nested.nested_tensor_from_jagged(x.values(), x.offsets(), lengths)
    for view in (x.transpose(1, 2), x.unsqueeze(-1), x[..., 1:], x * 1, holes):
        for ours, theirs in zip(sigmoid(view).unbind(), torch.sigmoid(view).unbind(), strict=True):
            assert ours.stride() == theirs.stride()
            close(ours, theirs)


@pytest.mark.parametrize("dynamic", [False, None])
def test_jagged_compiles_without_a_graph_break(dynamic: bool | None) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda x: sigmoid(x) * 2, fullgraph=True, dynamic=dynamic, backend="aot_eager"
    )
    x = jagged().requires_grad_()
    y = compiled(x)
    close(y.values(), 2 * torch.sigmoid(x.values()))
    (gradient,) = torch.autograd.grad(y, x, torch.ones_like(y))
    s = torch.sigmoid(x.values())
    torch.testing.assert_close(gradient.values(), 2 * s * (1 - s))


MASKED: dict[str, Callable[[], Tensor]] = {
    "strided": lambda: masked_tensor(matrix(), matrix() > -2),
    "coo": lambda: masked_tensor(matrix().to_sparse(), (matrix() < 99).to_sparse().coalesce()),
    "csr": lambda: masked_tensor(matrix().to_sparse_csr(), (matrix() < 99).to_sparse_csr()),
}


@pytest.mark.parametrize("layout", MASKED)
def test_masked_tensors_keep_their_mask(layout: str) -> None:
    expected = torch.sigmoid(MASKED[layout]())
    for form in (*FORMS[:3], FORMS[-1]):
        result = form(MASKED[layout]())
        assert isinstance(result, MaskedTensor) and result.layout == expected.layout
        close(result.get_data().to_dense(), expected.get_data().to_dense())
        assert torch.equal(result.get_mask().to_dense(), expected.get_mask().to_dense())


def test_masked_tensors_in_place_and_their_gradient() -> None:
    written = MASKED["strided"]()
    assert sigmoid_(written) is written
    close(written.get_data(), torch.sigmoid(matrix()))
    x = masked_tensor(matrix(), matrix() > -2, requires_grad=True)
    sigmoid(x).sum().backward()
    s = torch.sigmoid(matrix())
    torch.testing.assert_close(x.grad.get_data(), s * (1 - s))
    assert torch.equal(x.grad.get_mask(), matrix() > -2)
    other = masked_tensor(matrix(), matrix() > 2)
    with pytest.raises(ValueError, match="same mask"):
        operators.sigmoid_backward(other, written)


def test_masked_tensors_may_be_in_use_before_the_package_is_imported() -> None:
    code = """
import torch
from torch.masked import masked_tensor
x = masked_tensor(torch.zeros(2), torch.tensor([True, False]))
torch.sigmoid(x)
from torch_sigmoid_ext import sigmoid
print(sigmoid(x).get_mask().tolist(), sigmoid(x).get_data().tolist()[0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[True, False] 0.5", done.stderr

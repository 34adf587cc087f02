"""Dtypes, layouts, out= and in-place: what torch.sigmoid promises, the operator keeps."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from truth import DTYPES

import torch_sigmoid_ext
from torch_sigmoid_ext import Sigmoid, sigmoid, sigmoid_

operators = torch.ops.torch_sigmoid_ext

INTEGERS = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]


def assert_same_metadata(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert (ours.dtype, ours.shape, ours.stride()) == (theirs.dtype, theirs.shape, theirs.stride())


LAYOUTS = {
    "0-d": torch.zeros(()),
    "empty": torch.zeros(0),
    "empty 3-d": torch.zeros(2, 0, 3),
    "contiguous": torch.zeros(2, 3, 4),
    "transposed": torch.zeros(3, 4).t(),
    "permuted": torch.zeros(2, 3, 4, 5).permute(2, 0, 3, 1),
    "channels last": torch.zeros(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
    "channels last 3d": torch.zeros(2, 3, 2, 4, 5).contiguous(memory_format=torch.channels_last_3d),
    "every other": torch.zeros(20)[::2],
    "column": torch.zeros(6, 7)[:, 2],
    "sliced and transposed": torch.zeros(6, 8)[1:5, ::3].t(),
    "expanded": torch.zeros(3, 1).expand(3, 4),
    "expanded scalar": torch.zeros(()).expand(2, 5),
    "size one, odd strides": torch.zeros(100).as_strided((1, 3), (77, 1)),
    "offset": torch.zeros(9)[3:],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_and_strides_are_right_in_every_layout(layout: str, dtype: torch.dtype) -> None:
    template = LAYOUTS[layout]
    values = torch.linspace(-9, 9, max(template.numel(), 1), dtype=torch.float64)
    input = torch.empty_strided(template.shape, template.stride(), dtype=dtype)
    if "expanded" in layout:
        input = torch.full_like(template, 1.5, dtype=dtype)[:1].expand(template.shape)
    else:
        input.copy_(values[: template.numel()].view(template.shape))
    output = sigmoid(input)
    assert_same_metadata(output, torch.sigmoid(input))
    torch.testing.assert_close(
        output.double(), torch.sigmoid(input.double()), rtol=2 * torch.finfo(dtype).eps, atol=0
    )


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_bool_and_integers_promote_to_the_default_float_type(
    dtype: torch.dtype, default: torch.dtype
) -> None:
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(default)
        input = torch.tensor([0, 1, 1, 0]).to(dtype)
        output = sigmoid(input)
        assert_same_metadata(output, torch.sigmoid(input))
        assert torch.equal(output, sigmoid(input.to(default)))
        assert torch.equal(sigmoid(input[::2]), output[::2])
    finally:
        torch.set_default_dtype(before)


FORMS: dict[str, Callable[..., Tensor]] = {
    "sigmoid": sigmoid,
    "sigmoid_": lambda x, **options: sigmoid_(x.clone(), **options),
    "out=": lambda x, **options: sigmoid(x, out=torch.empty_like(x), **options),
    "Sigmoid": lambda x, **options: Sigmoid(**options)(x),
    "Sigmoid(inplace=True)": lambda x, **options: Sigmoid(inplace=True, **options)(x.clone()),
    "torch.ops": operators.sigmoid,
    "torch.ops, in place": lambda x, **options: operators.sigmoid_(x.clone(), **options),
    "torch.ops, out=": lambda x, **options: operators.sigmoid(
        x, out=torch.empty_like(x), **options
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_fast_is_another_kernel_in_every_form_and_the_default_of_none(form: str) -> None:
    x = torch.linspace(-20, 20, 1001)
    rounded = torch.sigmoid(x.double()).float()
    assert torch.equal(FORMS[form](x), rounded)
    assert torch.equal(FORMS[form](x, fast=False), rounded)
    assert not torch.equal(FORMS[form](x, fast=True), rounded)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_view_gives_the_bits_of_its_contiguous_copy(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(DTYPES))
    shape = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
    view = torch.randn(shape, dtype=torch.float64).mul(20).to(dtype)
    for _ in range(data.draw(st.integers(0, 3))):
        dim = data.draw(st.integers(0, view.dim() - 1))
        match data.draw(st.sampled_from(["transpose", "step", "narrow", "expand", "flip"])):
            case "transpose":
                view = view.transpose(0, dim)
            case "step":
                view = view[(slice(None),) * dim + (slice(None, None, 2),)]
            case "narrow" if view.shape[dim] > 1:
                view = view.narrow(dim, 1, view.shape[dim] - 1)
            case "expand":
                view = view.unsqueeze(dim).expand(*view.shape[:dim], 3, *view.shape[dim:])
            case "flip":
                view = view.flip(dim)
    output = sigmoid(view)
    assert_same_metadata(output, torch.sigmoid(view))
    assert torch.equal(output, sigmoid(view.contiguous()))


@pytest.mark.parametrize("dtype", DTYPES)
def test_in_place_overwrites_and_returns_the_input(dtype: torch.dtype) -> None:
    values = torch.linspace(-30, 30, 24, dtype=torch.float64).to(dtype)
    expected = sigmoid(values)
    input = values.clone()
    version = input._version
    assert sigmoid_(input) is input
    assert torch.equal(input, expected)
    assert input._version == version + 1
    base = torch.full((48,), math.nan, dtype=dtype)
    base[::2] = values
    sigmoid_(base[::2])
    assert torch.equal(base[::2], expected)
    assert base[1::2].isnan().all(), "wrote between the view's elements"


@pytest.mark.parametrize("dtype", DTYPES)
def test_out_is_written_and_returned(dtype: torch.dtype) -> None:
    input = torch.linspace(-30, 30, 24, dtype=torch.float64).to(dtype).view(4, 6)
    expected = sigmoid(input)
    out = torch.full_like(input, math.nan)
    version = out._version
    assert sigmoid(input, out=out) is out
    assert torch.equal(out, expected)
    assert out._version == version + 1

    transposed = torch.full((6, 4), math.nan, dtype=dtype).t()
    sigmoid(input, out=transposed)
    assert torch.equal(transposed, expected) and transposed.stride() == (1, 4)

    base = torch.full((4, 12), math.nan, dtype=dtype)
    sigmoid(input, out=base[:, ::2])
    assert torch.equal(base[:, ::2], expected) and base[:, 1::2].isnan().all()

    same = input.clone()
    assert torch.equal(sigmoid(same, out=same), expected)


def test_out_of_another_float_type_is_cast_to() -> None:
    input = torch.linspace(-8, 8, 10)
    out = torch.empty(10, dtype=torch.float64)
    assert torch.equal(sigmoid(input, out=out), sigmoid(input).double())
    half = torch.empty(10, dtype=torch.float16)
    assert torch.equal(sigmoid(input, out=half), sigmoid(input).half())


@pytest.mark.parametrize("shape", [(0,), (3, 7), (40,)])
def test_out_of_another_shape_is_resized_with_torch_s_warning(shape: tuple[int, ...]) -> None:
    input = torch.randn(4, 6).t()
    ours, theirs = torch.empty(shape), torch.empty(shape)
    with warnings.catch_warnings(record=True) as our_warnings:
        warnings.simplefilter("always")
        sigmoid(input, out=ours)
    with warnings.catch_warnings(record=True) as their_warnings:
        warnings.simplefilter("always")
        torch.sigmoid(input, out=theirs)
    assert_same_metadata(ours, theirs)
    assert [w.category for w in our_warnings] == [w.category for w in their_warnings]
    assert torch.equal(ours, sigmoid(input))


def test_negative_views() -> None:
    z = torch.randn(5, dtype=torch.complex64)
    negative = z.conj().imag  # a float view with the negative bit
    assert negative.is_neg()
    assert torch.equal(sigmoid(negative), sigmoid(negative.resolve_neg()))


def test_autocast_leaves_the_dtype_alone_as_for_torch_sigmoid() -> None:
    x = torch.randn(3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert sigmoid(x).dtype == torch.sigmoid(x).dtype == torch.float32
        assert sigmoid(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("layout", LAYOUTS)
def test_meta_tensors_get_torch_sigmoid_s_metadata(layout: str) -> None:
    input = LAYOUTS[layout].to("meta")
    assert_same_metadata(sigmoid(input), torch.sigmoid(input))
    # An out that is resized: on the meta device torch.sigmoid forgets the strides that it gives on
    # the CPU, which are what counts.
    out = sigmoid(input, out=torch.empty(0, device="meta"))
    assert_same_metadata(out, torch.sigmoid(LAYOUTS[layout], out=torch.empty(0)))
    grad = torch.ops.torch_sigmoid_ext.sigmoid_backward(input, input)
    assert_same_metadata(grad, torch.ops.aten.sigmoid_backward(input, input))


def test_backward_broadcasts_as_torch_s_does() -> None:
    grad, output = torch.randn(3, 1), torch.rand(4)
    ours = torch.ops.torch_sigmoid_ext.sigmoid_backward(grad, output)
    theirs = torch.ops.aten.sigmoid_backward(grad, output)
    torch.testing.assert_close(ours, theirs)
    assert ours.stride() == theirs.stride()


def test_more_elements_than_one_thread_takes() -> None:
    x = torch.randn(3, 70_001)
    assert torch.equal(sigmoid(x)[1], sigmoid(x[1]))
    assert torch.equal(sigmoid(x.t()).t(), sigmoid(x))


def test_every_public_name_is_documented_and_exported() -> None:
    for name in torch_sigmoid_ext.__all__:
        value = getattr(torch_sigmoid_ext, name)
        assert isinstance(value, str) or value.__doc__, name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64, torch.complex128])
@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (33, 129), (130, 257), (3, 40, 41)])
def test_transposed_input_gives_the_bits_of_a_contiguous_one(
    dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    wide = (torch.randn(*shape[:-1], 2 * shape[-1], dtype=torch.float64) * 40).to(dtype)
    for x in (wide, wide[..., ::2], wide.flip(-1), wide[..., ::2].flip(-2)):
        crossed = x.transpose(-1, -2)
        expected = sigmoid(crossed.contiguous())
        for fast in (False, True):
            out = torch.full(crossed.shape, -7, dtype=dtype)
            sigmoid(crossed, out=out, fast=fast)
            assert torch.equal(out, sigmoid(crossed.contiguous(), fast=fast))
        assert torch.equal(sigmoid(crossed), expected)
        scattered = torch.full((*crossed.shape[:-1], 2 * crossed.shape[-1]), -7, dtype=dtype)
        sigmoid(crossed, out=scattered[..., ::2])
        assert torch.equal(scattered[..., ::2], expected)
        assert (scattered[..., 1::2] == -7).all(), "wrote between the elements"

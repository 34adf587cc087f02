"""Shapes, strides, offsets, dtypes and views that hypothesis thinks of, against a wider type.

The examples are the same in every run; TORCH_SIGMOID_EXT_EXAMPLES=20000 tries so many others of
each test.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.func import vmap
from truth import DTYPES, FORMATS

from torch_sigmoid_ext import sigmoid, sigmoid_

COMPLEX = [torch.complex64, torch.complex128]
INTEGERS = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
UNTOUCHED = -7.0
operators = torch.ops.torch_sigmoid_ext

ASKED = os.environ.get("TORCH_SIGMOID_EXT_EXAMPLES", "")
FUZZED = settings(derandomize=not ASKED, max_examples=int(ASKED or 150), deadline=None)
pytestmark = pytest.mark.filterwarnings("ignore:An output with one or more elements was resized")

# ULP beyond the half of a rounded result: long double and float64 are no truth, only near it.
SLACK = 2.0**-9
BOUND = {torch.float64: 0.51 if np.finfo(np.longdouble).nmant > 52 else 3.0}
FAST_BOUND = {**BOUND, torch.float32: 1.98}
COMPLEX_BOUND = {torch.complex64: 1.5 * 2.0**-24, torch.complex128: 4 * 2.0**-52}  # of |σ|


@dataclass(frozen=True)
class View:
    """Where the elements of a tensor lie in its storage, which ends with the last of them."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def span(self) -> int:
        if 0 in self.shape:
            return self.offset
        steps = zip(self.shape, self.strides, strict=True)
        return self.offset + 1 + sum((size - 1) * stride for size, stride in steps)

    def of(self, storage: Tensor) -> Tensor:
        return storage.as_strided(self.shape, self.strides, self.offset)

    def touched(self, size: int) -> Tensor:
        """Which elements of a storage of that size are in it."""
        mask = torch.zeros(size, dtype=torch.bool)
        mask[self.of(torch.arange(size)).flatten()] = True
        return mask

    def share(self) -> int:
        """How many elements lie in one place, at most. Torch refuses to write to views with more
        than one where a stride is 0; what comes of the others it does not say."""
        places = self.of(torch.arange(self.span)).flatten()
        return int(torch.bincount(places).max()) if places.numel() else 1


shapes = st.lists(st.integers(0, 5), max_size=5).map(tuple) | st.sampled_from(
    [(), (1,), (67,), (3, 130), (129, 33), (2, 1, 40, 5)]  # beyond a block of the kernels
)


@st.composite
def views(draw: st.DrawFn, shape: tuple[int, ...]) -> View:
    """Of the shape: dense in some order of the dimensions, with gaps, expanded, or any strides."""
    kind = draw(st.sampled_from(["dense", "gaps", "expanded", "any"]))
    strides = [0] * len(shape)
    if kind == "any":
        strides = draw(st.lists(st.integers(0, 9), min_size=len(shape), max_size=len(shape)))
    else:
        next_stride = draw(st.integers(1, 3)) if kind == "gaps" else 1
        for dim in draw(st.permutations(range(len(shape)))):
            if kind == "expanded" and draw(st.booleans()):
                continue
            strides[dim] = next_stride
            next_stride *= max(shape[dim], 1)
            next_stride += draw(st.integers(0, 2)) if kind == "gaps" else 0
    return View(shape, tuple(strides), draw(st.integers(0, 9)))


def numbers(view: View, dtype: torch.dtype, seed: int, scale: float = 30.0) -> Tensor:
    """A storage of them for the view, with infinities and NaN among those of a real type."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(view.span, generator=generator, dtype=torch.float64) * scale
    if dtype.is_complex:
        imaginary = torch.rand(view.span, generator=generator, dtype=torch.float64) * 4 - 2
        return torch.complex(values.clamp(-30, 30), imaginary).to(dtype)
    if not dtype.is_floating_point:
        return values.abs().to(dtype) if dtype == torch.uint8 else values.clamp(-99, 99).to(dtype)
    special = torch.tensor([math.inf, -math.inf, math.nan, -0.0], dtype=torch.float64)
    values[3::11] = special.repeat(len(values))[: len(values[3::11])]
    return values.to(dtype)


def wide(x: Tensor) -> NDArray[np.longdouble] | NDArray[np.clongdouble]:
    x = x.detach().resolve_conj().resolve_neg()
    if x.is_complex():
        return x.to(torch.complex128).numpy().astype(np.clongdouble)
    return x.double().numpy().astype(np.longdouble)


def true_sigmoid(x: Tensor) -> NDArray[np.longdouble] | NDArray[np.clongdouble]:
    z = wide(x)
    with np.errstate(all="ignore"):
        small = np.exp(np.where(z.real < 0, z, -z))
        return np.where(z.real < 0, small, 1) / (1 + small)


def excess(got: Tensor, truth: NDArray[np.longdouble] | NDArray[np.clongdouble]) -> float:
    """The largest error: in ULP, or of a complex number in parts of its size. inf: no number."""
    values = wide(got)
    if got.numel() == 0:
        return 0.0
    if got.is_complex():
        return float((np.abs(values - truth) / np.abs(truth)).max())
    if not np.array_equal(np.isnan(values), np.isnan(truth)):
        return math.inf
    precision, least = FORMATS[got.dtype]
    finite = np.isfinite(truth)
    exponents = np.maximum(np.frexp(np.where(finite, np.abs(truth), 1))[1] - 1, least)
    with np.errstate(invalid="ignore"):
        error = np.abs(values - truth) / np.ldexp(np.longdouble(1), exponents - precision + 1)
    error = np.where(finite, error, np.where(values == truth, 0, math.inf))
    return float(error[~np.isnan(truth)].max(initial=0))


def assert_near(
    got: Tensor, truth: NDArray[np.longdouble] | NDArray[np.clongdouble], fast: bool = False
) -> None:
    if got.is_complex():
        assert excess(got, truth) <= COMPLEX_BOUND[got.dtype]
    else:
        bounds = FAST_BOUND if fast else BOUND
        assert excess(got, truth) <= bounds.get(got.dtype, 0.5) + SLACK


def assert_same_metadata(ours: Tensor, theirs: Tensor) -> None:
    assert (ours.dtype, ours.shape, ours.stride()) == (theirs.dtype, theirs.shape, theirs.stride())


def outcome(call: Callable[[], Tensor]) -> Tensor | type[Exception]:
    """What it returns, or the type of its exception."""
    try:
        return call()
    except Exception as error:
        return type(error)


def bits(x: Tensor) -> NDArray[np.uint8]:
    return x.detach().contiguous().view(torch.uint8).numpy()


@st.composite
def inputs(draw: st.DrawFn, dtypes: list[torch.dtype]) -> Tensor:
    """A view of a storage, conjugated or negative by a bit of the tensor where there is one."""
    dtype, view = draw(st.sampled_from(dtypes)), draw(shapes.flatmap(views))
    seed = draw(st.integers(0, 99))
    if dtype in (torch.float32, torch.float64) and draw(st.integers(0, 3)) == 0:
        pairs = torch.complex(*(numbers(view, dtype, s) for s in (seed, seed + 1)))
        return draw(st.sampled_from([real_part, negative_imaginary_part]))(view.of(pairs))
    x = view.of(numbers(view, dtype, seed))
    return x.conj() if dtype.is_complex and draw(st.booleans()) else x


def real_part(pairs: Tensor) -> Tensor:
    return pairs.real


def negative_imaginary_part(pairs: Tensor) -> Tensor:
    return pairs.conj().imag


@FUZZED
@given(inputs([*DTYPES, *COMPLEX, *INTEGERS]), st.booleans())
def test_result_is_near_the_truth_with_torch_s_strides(input: Tensor, fast: bool) -> None:
    before = wide(input)
    output = sigmoid(input, fast=fast)
    assert_same_metadata(output, torch.sigmoid(input))
    assert_near(output, true_sigmoid(input), fast)
    np.testing.assert_array_equal(wide(input), before, "the input was written to")
    like = torch.empty(0, dtype=input.dtype, device="meta").as_strided(input.shape, input.stride())
    strides = zip(output.shape, sigmoid(like).stride(), output.stride(), strict=True)
    assert all(size == 1 or told == real for size, told, real in strides), "meta tells others"


@FUZZED
@given(st.data())
def test_out_takes_what_torch_s_takes_and_no_more_is_written(data: st.DataObject) -> None:
    input = data.draw(inputs([*DTYPES, *COMPLEX, *INTEGERS]))
    shape = data.draw(st.just(tuple(input.shape)) | shapes)
    view, dtype = data.draw(views(shape)), data.draw(st.sampled_from([*DTYPES, *COMPLEX]))
    storages = [torch.full((view.span,), UNTOUCHED, dtype=dtype) for _ in range(2)]
    ours, theirs = (view.of(storage) for storage in storages)
    expected = outcome(lambda: torch.sigmoid(input, out=theirs))
    result = outcome(lambda: sigmoid(input, out=ours))
    if isinstance(expected, type):
        assert result is expected
        assert (storages[0] == UNTOUCHED).all(), "refused, and written to"
        return
    assert result is ours
    assert_same_metadata(ours, theirs)
    if shape != tuple(input.shape) or view.share() == 1:
        computed = sigmoid(input)
        assert_near(computed, true_sigmoid(input))
        assert torch.equal(ours.nan_to_num(nan=-1), computed.to(dtype).nan_to_num(nan=-1))
    if shape == tuple(input.shape):
        rest = ~view.touched(view.span)
        assert (storages[0][rest] == UNTOUCHED).all(), "wrote beside the elements"


@FUZZED
@given(st.data())
def test_out_in_the_input_s_memory_is_taken_or_refused_as_by_torch(data: st.DataObject) -> None:
    shape = data.draw(shapes)
    source = data.draw(views(shape))
    target = data.draw(st.just(source) | views(shape))
    dtype = data.draw(st.sampled_from([*DTYPES, *COMPLEX]))
    size = max(source.span, target.span)
    storage = numbers(View((size,), (1,), 0), dtype, data.draw(st.integers(0, 99)))
    ours, theirs = storage.clone(), storage.clone()
    expected = outcome(lambda: torch.sigmoid(source.of(theirs), out=target.of(theirs)))
    result = outcome(lambda: sigmoid(source.of(ours), out=target.of(ours)))
    if isinstance(expected, type):
        assert result is expected
        assert np.array_equal(bits(ours), bits(storage)), "refused, and written to"
        return
    assert isinstance(result, Tensor)
    common = source.touched(size) & target.touched(size)
    if target.share() == 1 and (source == target or not common.any()):
        assert_near(target.of(ours), true_sigmoid(source.of(storage)))
    rest = ~target.touched(size)
    assert np.array_equal(bits(ours[rest]), bits(storage[rest])), "wrote beside the elements"


@FUZZED
@given(st.data())
def test_in_place_on_a_view_writes_its_elements_alone(data: st.DataObject) -> None:
    view = data.draw(shapes.flatmap(views))
    dtype = data.draw(st.sampled_from([*DTYPES, *COMPLEX, torch.int32]))
    storage = numbers(view, dtype, data.draw(st.integers(0, 99)))
    ours, theirs = storage.clone(), storage.clone()
    fast = data.draw(st.booleans())
    expected = outcome(lambda: torch.sigmoid_(view.of(theirs)))
    result = outcome(lambda: sigmoid_(view.of(ours), fast=fast))
    if isinstance(expected, type):
        assert result is expected
        assert np.array_equal(bits(ours), bits(storage)), "refused, and written to"
        return
    if view.share() == 1:
        assert_near(view.of(ours), true_sigmoid(view.of(storage)), fast)
    rest = ~view.touched(len(storage))
    assert np.array_equal(bits(ours[rest]), bits(storage[rest])), "wrote beside the elements"
    assert ours._version == theirs._version


@FUZZED
@given(st.data())
def test_gradient_of_any_views_is_near_the_truth(data: st.DataObject) -> None:
    shape, dtype = data.draw(shapes), data.draw(st.sampled_from([*DTYPES, *COMPLEX]))
    # Dimensions of one of them may be 1: the other's are taken.
    broadcast = tuple(data.draw(st.sampled_from([size, 1])) if size else 0 for size in shape)
    other = data.draw(st.sampled_from([shape, broadcast]))
    views_of_both = [data.draw(views(each)) for each in (shape, other)]
    if data.draw(st.booleans()):
        views_of_both.reverse()
    first, second = (
        view.of(numbers(view, dtype, seed, scale=3)) for seed, view in enumerate(views_of_both)
    )
    grad_output = first.nan_to_num(0.5, 2, -2)
    output = sigmoid(second).nan_to_num(0.25)
    result = operators.sigmoid_backward(grad_output, output)
    assert_same_metadata(result, torch.ops.aten.sigmoid_backward(grad_output, output))
    g, y = wide(grad_output), wide(output)
    truth = g * np.conj(y * (1 - y))
    if dtype.is_complex:
        size = np.abs(truth) + np.abs(g) * np.abs(y) * 2.0**-60  # 1 - y may be 0
        error = np.abs(wide(result) - truth) / size
        assert error.max(initial=0) <= 2 * COMPLEX_BOUND[dtype]
    else:
        assert_near(result, truth)


def of_a_copy(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor, View], Tensor]:
    return lambda storage, view: function(view.of(storage))


def in_place_on_a_view(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor, View], Tensor]:
    def call(storage: Tensor, view: View) -> Tensor:
        copy = storage * 1
        function(view.of(copy))
        return copy

    return call


FORMS = {
    "sigmoid": (of_a_copy(sigmoid), of_a_copy(torch.sigmoid)),
    "fast": (of_a_copy(lambda x: sigmoid(x, fast=True)), of_a_copy(torch.sigmoid)),
    "sigmoid_": (in_place_on_a_view(sigmoid_), in_place_on_a_view(torch.sigmoid_)),
}


@FUZZED
@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
def test_derivatives_through_views_are_float64_s(form: str, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from([*DTYPES, *COMPLEX]))
    view = data.draw(shapes.flatmap(views))
    storage = numbers(view, dtype, data.draw(st.integers(0, 99)), scale=3).nan_to_num(0, 2, -2)
    function, reference = FORMS[form]
    high = torch.complex128 if dtype.is_complex else torch.float64
    leaf, high_leaf = storage.clone().requires_grad_(), storage.to(high).requires_grad_()
    assume(form != "sigmoid_" or view.share() == 1 or 0 in view.strides)
    output = outcome(lambda: function(leaf, view))
    expected = outcome(lambda: reference(high_leaf, view))
    if isinstance(expected, type):
        assert output is expected
        return
    assert isinstance(output, Tensor)
    assume(output.numel() > 0)
    tolerance = dict.fromkeys(("rtol", "atol"), 4 * view.share() * torch.finfo(dtype).eps)
    torch.testing.assert_close(output.to(high), expected, **tolerance)
    grad_output = torch.ones_like(output)
    (ours,) = torch.autograd.grad(output, leaf, grad_output)
    (theirs,) = torch.autograd.grad(expected, high_leaf, grad_output.to(high))
    torch.testing.assert_close(ours.to(high), theirs, **tolerance)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(storage, torch.ones_like(storage))
        high_dual = forward_ad.make_dual(storage.to(high), torch.ones_like(storage.to(high)))
        ours = forward_ad.unpack_dual(function(dual, view)).tangent
        theirs = forward_ad.unpack_dual(reference(high_dual, view)).tangent
    torch.testing.assert_close(ours.to(high), theirs, **tolerance)


@FUZZED
@given(inputs([*DTYPES, *COMPLEX, *INTEGERS]), st.data())
def test_vmap_over_any_dimension_gives_the_same_bits(input: Tensor, data: st.DataObject) -> None:
    assume(input.dim() > 0 and 0 not in input.shape)
    over, to = (data.draw(st.integers(-input.dim(), input.dim() - 1)) for _ in range(2))
    result = vmap(sigmoid, in_dims=over, out_dims=to)(input)
    expected = sigmoid(input).movedim(over, to)
    assert result.shape == expected.shape
    assert torch.equal(result.nan_to_num(nan=-1), expected.nan_to_num(nan=-1))

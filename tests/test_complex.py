"""complex64 and complex128: the bound on the error, the limits, and torch's conventions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import mpmath
import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from mpmath import mp, mpc, mpf
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import jvp, vmap
from truth import spacing

from torch_sigmoid_ext import Sigmoid, sigmoid, sigmoid_

INF, NAN = math.inf, math.nan
COMPLEX = [torch.complex64, torch.complex128]
EPSILON = 2.0**-52
BOUND = 4 * EPSILON  # of |σ|, for complex128 whole and beside complex64's one rounding a part
SUBNORMAL = mpf(0.75) * mpf(2) ** -1074  # more, where a result of complex128 is subnormal
GRADIENT_BOUND = 3 * EPSILON  # the same of |gradient|
backward_op = torch.ops.torch_sigmoid_ext.sigmoid_backward


def true_sigmoid(z: complex) -> mpc:
    """σ(z) at 260 bits, for finite z: enough for the poles' neighbours and the farthest tails."""
    with mp.workprec(260):
        return 1 / (1 + mpmath.exp(-mpc(z)))


def random_points(count: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Where the error is worst, or could be: `count` of each kind."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=generator, dtype=torch.float64) * (high - low) + low

    def signs() -> Tensor:
        return torch.randint(0, 2, (count,), generator=generator).double() * 2 - 1

    def binades(low: int, high: int) -> Tensor:
        exponents = torch.randint(low, high, (count,), generator=generator).double()
        return signs() * uniform(1, 2) * exponents.exp2()

    largest, tail = (1000, 700.0) if dtype == torch.complex128 else (120, 80.0)
    poles = (2 * torch.randint(-1500, 1500, (count,), generator=generator).double() + 1) * math.pi
    left = -binades(-12, 5).abs()
    parts = [
        (uniform(-45, 45), uniform(-50, 50)),
        (uniform(-3, 3), uniform(-7, 7)),
        (uniform(-710, 710), uniform(-9000, 9000)),
        (binades(-60, 8), binades(-60, largest)),
        (binades(-60, 1), poles),
        (binades(-60, 1), poles * (1 + binades(-50, -1))),
        (left, torch.arccos(-left.exp())),  # Re σ = 0
        (uniform(-25, -15), signs() * math.pi * uniform(-0.1, 6.1).round()),
        (signs() * uniform(tail, 1.1 * tail), uniform(-10, 10)),
    ]
    return torch.cat([torch.complex(x, y) for x, y in parts]).to(dtype)


# The worst of 360,000 random points: 2.54 ε |σ|, 2.65 ε Im σ, 2.61 ε Re σ. Then others of interest.
POINTS = [
    complex(float.fromhex("-0x1.b510860ebc8fcp+1"), float.fromhex("0x1.9a8b9e65ded7dp+0")),
    complex(float.fromhex("0x1.875ee84db17d2p+0"), float.fromhex("0x1.0f7409e61423bp+13")),
    complex(float.fromhex("0x1.2b7eb69ad95acp-49"), float.fromhex("-0x1.2d334005e10c7p+11")),
    complex(float.fromhex("-0x1.b05fe2p+3"), float.fromhex("0x1.921fccp+0")),  # of complex64
    0.5,
    -0.5,
    1j,
    complex(0, math.pi),
    complex(-1e-300, math.pi),
    complex(0, 5e-324),
    complex(-38.5, 1e22),
    complex(0, 6381956970095103 * 2.0**797),  # the double nearest to a multiple of π/2
    complex(1.0, 8192.0),  # on and beyond the vector kernel's borders
    complex(1.0, math.nextafter(8192.0, INF)),
    complex(700.0, 1.0),
    complex(-700.0, 3.0),
    complex(math.nextafter(-700.0, -INF), 3.0),
]


def points(count: int, dtype: torch.dtype) -> Tensor:
    chosen = torch.tensor(POINTS, dtype=torch.complex128).to(dtype)
    return torch.cat([random_points(count, dtype), chosen[chosen.isfinite()]])


def assert_within(dtype: torch.dtype, bound: float, cases: list[tuple[str, complex, mpc]]) -> None:
    """cases: (what, got, truth). The worst one stands in the message."""
    worst = (0.0, "")
    with mp.workprec(260):
        for what, got, truth in cases:
            assert math.isfinite(got.real) and math.isfinite(got.imag), f"{what}: got {got}"
            size, error = abs(truth), mpc(got) - truth
            if dtype == torch.complex128:
                excess = max(abs(error) - SUBNORMAL, 0)
            else:
                parts = ((error.real, truth.real), (error.imag, truth.imag))
                excess = max(max(abs(e) - spacing(abs(t), torch.float32) / 2, 0) for e, t in parts)
            if excess / size > worst[0]:
                worst = (float(excess / size), f"{what}: expected {mpmath.nstr(truth)}, got {got}")
    assert worst[0] <= bound, f"{worst[0] / EPSILON:.2f} ε at {worst[1]}"


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("fast", [False, True])
def test_error_stays_within_the_stated_bound(dtype: torch.dtype, fast: bool) -> None:
    inputs = points(250, dtype)
    outputs = sigmoid(inputs, fast=fast)
    assert outputs.dtype == dtype
    pairs = zip(inputs.tolist(), outputs.tolist(), strict=True)
    assert_within(dtype, BOUND, [(f"σ({z!r})", got, true_sigmoid(z)) for z, got in pairs])


@pytest.mark.parametrize("dtype", COMPLEX)
def test_neighbours_of_the_poles_are_right(dtype: torch.dtype) -> None:
    y = ((2 * torch.arange(1310).double() + 1) * math.pi).to(dtype.to_real())
    x = torch.tensor([0.0, -1e-30, 1e-15]).to(y).repeat(437)[: len(y)]
    inputs = torch.complex(x, y)
    pairs = zip(inputs.tolist(), sigmoid(inputs).tolist(), strict=True)
    assert_within(dtype, BOUND, [(f"σ({z!r})", got, true_sigmoid(z)) for z, got in pairs])


def test_parts_that_do_not_cancel_keep_the_bound_alone() -> None:
    inputs = points(250, torch.complex128)
    worst = (0.0, "")
    with mp.workprec(260):
        for z, got in zip(inputs.tolist(), sigmoid(inputs).tolist(), strict=True):
            truth = true_sigmoid(z)
            parts = [("Im", got.imag, truth.imag)]
            if z.real >= 0:
                parts.append(("Re", got.real, truth.real))
            for name, part, expected in parts:
                error = max(abs(mpf(part) - expected) - SUBNORMAL, 0)
                if expected != 0 and error / abs(expected) > worst[0]:
                    worst = (float(error / abs(expected)), f"{name} σ({z!r})")
    assert worst[0] <= BOUND, f"{worst[0] / EPSILON:.2f} ε at {worst[1]}"


@pytest.mark.parametrize("dtype", COMPLEX)
def test_gradient_error_stays_within_the_stated_bound(dtype: torch.dtype) -> None:
    inputs = points(250, dtype)
    outputs = sigmoid(inputs)
    # Away from the subnormals, where products of parts underflow.
    outputs = outputs[outputs.abs() > (1e-200 if dtype == torch.complex128 else 1e-30)]
    grads = torch.randn(len(outputs), dtype=dtype, generator=torch.Generator().manual_seed(1))
    got = backward_op(grads, outputs)
    cases = []
    with mp.workprec(260):
        for g, y, result in zip(grads.tolist(), outputs.tolist(), got.tolist(), strict=True):
            truth = mpc(g) * mpmath.conj(mpc(y) * (1 - mpc(y)))
            if truth != 0:
                cases.append((f"gradient of {g!r} at {y!r}", result, truth))
            else:
                assert result == 0
    assert len(cases) > 1000
    assert_within(dtype, GRADIENT_BOUND, cases)


@pytest.mark.parametrize("dtype", COMPLEX)
def test_a_real_number_gets_the_bits_of_the_real_sigmoid(dtype: torch.dtype) -> None:
    x = torch.cat([torch.linspace(-800, 800, 4001), torch.randn(4000) * 5]).to(dtype.to_real())
    for zero in (0.0, -0.0):
        outputs = sigmoid(torch.complex(x, torch.full_like(x, zero)))
        assert torch.equal(outputs.real, sigmoid(x))
        assert (outputs.imag == 0).all()
        assert (outputs.imag.signbit() == (math.copysign(1, zero) < 0)).all()


@pytest.mark.parametrize("dtype", COMPLEX)
def test_conjugates_have_conjugate_results(dtype: torch.dtype) -> None:
    z = points(500, dtype)
    assert torch.equal(sigmoid(z.conj().resolve_conj()), sigmoid(z).conj())


@pytest.mark.parametrize("dtype", COMPLEX)
def test_imaginary_axis_has_real_part_one_half(dtype: torch.dtype) -> None:
    y = points(500, dtype).imag
    assert (sigmoid(torch.complex(torch.zeros_like(y), y)).real == 0.5).all()


def test_large_real_parts_are_finite_where_torch_gives_nan() -> None:
    for dtype, reach in ((torch.complex64, 3e38), (torch.complex128, 1e300)):
        y = torch.tensor([1e-3, 1.0, 2.0, 3.0, -4.0, 1e30], dtype=torch.float64)
        for magnitude in (1000.0, reach):
            z = torch.complex(torch.full_like(y, magnitude), y).to(dtype)
            assert torch.equal(sigmoid(z), torch.ones_like(z))
            assert torch.equal(sigmoid(-z), torch.zeros_like(z))
            assert torch.sigmoid(-z).isnan().all(), "torch has learnt it: say so in the README"
    z = torch.tensor([-730 + 1j], dtype=torch.complex128)
    assert torch.sigmoid(z).isnan() and sigmoid(z) != 0


@pytest.mark.parametrize(
    "dtype, last, beyond",
    [(torch.complex64, -103.97, -103.98), (torch.complex128, -745.13, -745.14)],
)
def test_tail_ends_where_the_smallest_subnormal_does(
    dtype: torch.dtype, last: float, beyond: float
) -> None:
    smallest = 2.0 ** (-149 if dtype == torch.complex64 else -1074)
    up, across = 1e-10, math.pi / 2  # e^z nearly real, nearly imaginary
    z = torch.tensor([complex(x, y) for y in (up, across) for x in (last, beyond)], dtype=dtype)
    expected = [smallest, 0.0, complex(0, smallest), 0.0]
    assert sigmoid(z).tolist() == expected


LIMITS = [
    (complex(INF, 0.0), complex(1.0, 0.0)),
    (complex(INF, -0.0), complex(1.0, -0.0)),
    (complex(-INF, 0.0), complex(0.0, 0.0)),
    (complex(INF, 2.0), complex(1.0, 0.0)),
    (complex(INF, 4.0), complex(1.0, -0.0)),  # Im σ = e^-x sin y
    (complex(-INF, 1.0), complex(0.0, 0.0)),  # σ = e^x (cos y + i sin y)
    (complex(-INF, 2.0), complex(-0.0, 0.0)),
    (complex(-INF, 4.0), complex(-0.0, -0.0)),
    (complex(-INF, -1.0), complex(0.0, -0.0)),
    (complex(INF, INF), complex(1.0, 0.0)),
    (complex(INF, -INF), complex(1.0, -0.0)),
    (complex(INF, NAN), complex(1.0, 0.0)),
    (complex(-INF, INF), complex(0.0, 0.0)),
    (complex(-INF, -INF), complex(0.0, -0.0)),
    (complex(-INF, NAN), complex(0.0, 0.0)),
    (complex(NAN, 0.0), complex(NAN, 0.0)),
    (complex(NAN, -0.0), complex(NAN, -0.0)),
    (complex(NAN, 1.0), complex(NAN, NAN)),
    (complex(NAN, INF), complex(NAN, NAN)),
    (complex(NAN, NAN), complex(NAN, NAN)),
    *((complex(x, y), complex(NAN, NAN)) for x in (0, 1, -1, 50, -50) for y in (INF, -INF, NAN)),
]


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("z, expected", LIMITS, ids=[str(z) for z, _ in LIMITS])
def test_limits(dtype: torch.dtype, z: complex, expected: complex) -> None:
    output = sigmoid(torch.tensor([z], dtype=dtype)).item()
    for got, part in ((output.real, expected.real), (output.imag, expected.imag)):
        assert math.isnan(got) == math.isnan(part)
        if not math.isnan(part):
            assert got == part and math.copysign(1, got) == math.copysign(1, part), output


# Layouts, out=, in place


def matrix(dtype: torch.dtype) -> Tensor:
    return torch.randn(6, 8, dtype=dtype, generator=torch.Generator().manual_seed(2)) * 9


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda z: z,
    "transposed": lambda z: z.t(),
    "every other": lambda z: z[:, ::2],
    "sliced and transposed": lambda z: z[1:5, ::3].t(),
    "flipped": lambda z: z.flip(0),
    "expanded": lambda z: z[:, :1].expand(6, 4),
    "0-d": lambda z: z[1, 2],
    "empty": lambda z: z[:0],
    "conjugate": lambda z: z.conj(),
    "conjugate, transposed": lambda z: z.t().conj()[::2],
    "adjoint": lambda z: z.mH,
    "negative": lambda z: torch._neg_view(z),
}


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("view", VIEWS)
def test_any_view_gives_the_bits_of_its_plain_copy(view: str, dtype: torch.dtype) -> None:
    z = VIEWS[view](matrix(dtype))
    plain = z.resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
    output, theirs = sigmoid(z), torch.sigmoid(z)
    assert torch.equal(output, sigmoid(plain))
    torch.testing.assert_close(output, theirs)
    assert (output.dtype, output.stride(), output.is_conj()) == (dtype, theirs.stride(), False)
    meta = sigmoid(z.to("meta"))
    assert (meta.dtype, meta.shape) == (dtype, z.shape)


@pytest.mark.parametrize("view", [name for name in VIEWS if name != "expanded"])
def test_writing_through_a_view_changes_what_it_shows(view: str) -> None:
    base = matrix(torch.complex128)
    z = VIEWS[view](base)
    expected = sigmoid(z)
    assert sigmoid_(z) is z
    assert torch.equal(z, expected)
    if view != "flipped":  # which is a copy
        assert torch.equal(VIEWS[view](base), expected)

    out = VIEWS[view](torch.full((6, 8), NAN, dtype=torch.complex128))
    assert sigmoid(VIEWS[view](matrix(torch.complex128)), out=out) is out
    assert torch.equal(out, expected)


def test_parts_of_a_conjugate_are_real_views_like_any_other() -> None:
    imaginary = matrix(torch.complex128).conj().imag
    assert imaginary.is_neg()
    assert torch.equal(sigmoid(imaginary), sigmoid(imaginary.resolve_neg()))


def test_out_of_another_type_is_cast_to() -> None:
    z, x = matrix(torch.complex64), torch.randn(6, 8)
    wide, narrow = torch.empty_like(z, dtype=torch.complex128), torch.empty_like(z)
    assert torch.equal(sigmoid(z, out=wide), sigmoid(z).to(torch.complex128))
    assert torch.equal(sigmoid(z.to(wide.dtype), out=narrow), sigmoid(z.to(wide.dtype)).to(z.dtype))
    assert torch.equal(sigmoid(x, out=narrow), torch.complex(sigmoid(x), torch.zeros_like(x)))


def test_more_elements_than_one_thread_takes() -> None:
    z = torch.randn(3, 5001, dtype=torch.complex64)
    assert torch.equal(sigmoid(z)[1], sigmoid(z[1]))
    assert torch.equal(sigmoid(z.t()).t(), sigmoid(z))


def test_half_precision_complex_is_refused_clearly() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls the type experimental
        z = torch.zeros(3, dtype=torch.complex32)
    for call in (sigmoid, sigmoid_):
        with pytest.raises(NotImplementedError, match=r"got complex32; .*input.to\(torch.complex6"):
            call(z)


# Derivatives, in PyTorch's convention: the gradient of a holomorphic function is the conjugate of
# its derivative.


def in_place(z: Tensor) -> Tensor:
    return sigmoid_(z.clone())


def in_place_on_a_conjugate(z: Tensor) -> Tensor:
    w = z.conj().resolve_conj().clone()
    sigmoid_(w.conj()[1:])
    return w


FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": sigmoid,
    "fast": lambda z: sigmoid(z, fast=True),
    "module": Sigmoid(),
    "sigmoid_": in_place,
    "of a conjugate": lambda z: sigmoid(z.conj()),
    "sigmoid_ on a conjugate": in_place_on_a_conjugate,
}


def variable() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(4, dtype=torch.complex128, generator=generator).requires_grad_()


@pytest.mark.parametrize("form", FORMS)
def test_first_and_second_derivative_agree_with_finite_differences(form: str) -> None:
    z = (variable(),)
    assert gradcheck(FORMS[form], z, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(FORMS[form], z, check_fwd_over_rev=True, check_rev_over_rev=True)


@pytest.mark.parametrize("real", ["neither", "grad_output", "output"])
def test_gradient_operator_is_differentiable_in_both_arguments(real: str) -> None:
    grad_output, output = variable().detach(), variable().detach() * 0.5 + 0.2
    if real == "grad_output":
        grad_output = grad_output.real.clone()
    if real == "output":
        output = output.real.clone()
    arguments = (grad_output.requires_grad_(), output.requires_grad_())
    assert gradcheck(backward_op, arguments, check_forward_ad=True)
    assert gradgradcheck(backward_op, arguments)


@pytest.mark.parametrize("dtype", COMPLEX)
def test_gradients_and_tangents_are_torch_s(dtype: torch.dtype) -> None:
    z, v = matrix(dtype) / 9, matrix(dtype).flip(0)

    def third(function: Callable[[Tensor], Tensor]) -> list[Tensor]:
        x = z.clone().requires_grad_()
        values = [function(x)]
        for _ in range(3):
            values += torch.autograd.grad(values[-1], x, v, create_graph=True)
        return values

    for ours, theirs in zip(third(sigmoid), third(torch.sigmoid), strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(jvp(sigmoid, (z,), (v,)), jvp(torch.sigmoid, (z,), (v,)))
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(z.clone(), v.clone())
        expected = forward_ad.unpack_dual(torch.sigmoid(dual)).tangent
        torch.testing.assert_close(forward_ad.unpack_dual(sigmoid(dual)).tangent, expected)
        torch.testing.assert_close(forward_ad.unpack_dual(sigmoid_(dual)).tangent, expected)
    torch.testing.assert_close(backward_op(v, z), torch.ops.aten.sigmoid_backward(v, z))


def test_gradient_is_finite_where_the_result_saturates() -> None:
    z = torch.tensor([1000 + 1j, -1000 + 1j, complex(-INF, 2.0), complex(INF, INF)])
    z.requires_grad_()
    (gradient,) = torch.autograd.grad(sigmoid(z), z, torch.ones_like(z))
    assert (gradient == 0).all()


@pytest.mark.filterwarnings("error:There is a performance drop")
def test_vmap_takes_plain_and_conjugate_batches() -> None:
    z = matrix(torch.complex64)
    for dim in range(2):
        assert torch.equal(vmap(sigmoid, in_dims=dim, out_dims=dim)(z), sigmoid(z))
    assert torch.equal(vmap(sigmoid)(z.conj()), sigmoid(z.conj()))
    assert torch.equal(vmap(lambda row: sigmoid(row.conj()))(z), sigmoid(z.conj()))


@pytest.mark.filterwarnings("ignore:Torchinductor does not support code generation for complex")
def test_compile_and_export_take_complex_numbers() -> None:
    def forms(z: Tensor) -> list[Tensor]:
        return [sigmoid(z), sigmoid_(z.clone()), sigmoid(z.conj()).conj()]

    z = matrix(torch.complex64)
    for result in torch.compile(forms, fullgraph=True)(z):
        assert torch.equal(result, sigmoid(z))
    assert torch.equal(torch.export.export(Sigmoid(), (z,)).module()(z), sigmoid(z))

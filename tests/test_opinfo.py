"""What PyTorch's own test suite asks of torch.sigmoid, asked of our operators with its machinery.

The samples and the expected values come from torch.testing's OpInfo entry of torch.sigmoid; the
checks are those that PyTorch runs on every operator. How many samples each check has gone through
is printed at the end.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from opinfo import (
    BACKWARD,
    EVERY_SIGMOID,
    FAST,
    FUNCTION,
    OPERATOR,
    SIGMOIDS,
    CountedTest,
    operators,
)
from torch import Tensor
from torch._subclasses import CrossRefFakeMode
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import grad
from torch.testing import make_tensor
from torch.testing._internal import composite_compliance
from torch.testing._internal.common_device_type import (
    OpDTypes,
    instantiate_device_type_tests,
    ops,
)
from torch.testing._internal.common_dtype import get_all_dtypes
from torch.testing._internal.opinfo.core import (
    generate_elementwise_binary_arbitrarily_strided_tensors,
    generate_elementwise_binary_broadcasting_tensors,
    generate_elementwise_binary_noncontiguous_tensors,
    generate_elementwise_binary_small_value_tensors,
)

EVERY = [*EVERY_SIGMOID, BACKWARD]
DIFFERENTIABLE = [
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.complex128,
]
STRANGE = [torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint32, torch.uint64]


def works(call: Callable[[], Any]) -> bool:
    try:
        call()
    except Exception:
        return False
    return True


def call(op: Any, sample: Any) -> Tensor:
    return op(sample.input, *sample.args, **sample.kwargs)


def same_metadata(ours: Tensor, theirs: Tensor) -> bool:
    return (ours.dtype, ours.shape, ours.stride(), ours.device) == (
        theirs.dtype,
        theirs.shape,
        theirs.stride(),
        theirs.device,
    )


def expected_of(info: Any, sample: Any) -> Tensor:
    """NumPy's answer, in double precision."""
    wide = torch.complex128 if sample.input.is_complex() else torch.float64
    arguments = [tensor.to(wide).numpy() for tensor in (sample.input, *sample.args)]
    return torch.as_tensor(info.ref(*arguments), dtype=wide)


def same_bits(ours: Tensor, theirs: Tensor) -> bool:
    """Of two results that own their memory; NaN is itself here."""
    ours, theirs = (
        torch.empty(0, dtype=torch.uint8).set_(t.untyped_storage()) for t in (ours, theirs)
    )
    return torch.equal(ours, theirs)


class TestValues(CountedTest):
    def check_value(self, result: Tensor, expected: Tensor) -> None:
        finfo = torch.finfo(result.dtype)
        self.assertEqual(
            result.to(expected.dtype),
            expected.to(result.dtype).to(expected.dtype),
            rtol=max(2 * finfo.eps, 1e-13),
            atol=finfo.smallest_normal,
        )

    @ops([FUNCTION])
    def test_reference_inputs(self, device: str, dtype: torch.dtype, op: Any) -> None:
        floats = dtype.is_floating_point or dtype.is_complex
        for sample in self.each(op.reference_inputs(device, dtype)):
            expected = expected_of(op, sample)
            exact = op.op(sample.input)
            self.assertEqual(exact.dtype, dtype if floats else torch.get_default_dtype())
            self.check_value(exact, expected)
            self.assertTrue(same_bits(OPERATOR.op(sample.input), exact))
            fast = FAST.op(sample.input, fast=True)
            self.assertTrue(same_metadata(fast, exact))
            if fast.dtype == torch.float32:
                self.check_value(fast, expected)
            else:
                self.assertTrue(same_bits(fast, exact))

    @ops([BACKWARD])
    def test_reference_inputs_of_backward(self, device: str, dtype: torch.dtype, op: Any) -> None:
        for generate in (
            generate_elementwise_binary_small_value_tensors,
            generate_elementwise_binary_broadcasting_tensors,
            generate_elementwise_binary_noncontiguous_tensors,
            generate_elementwise_binary_arbitrarily_strided_tensors,
        ):
            for sample in self.each(generate(op, device=device, dtype=dtype)):
                self.check_value(call(op.op, sample), expected_of(op, sample))

    @ops(EVERY)
    def test_same_bits_twice_and_in_every_layout(
        self, device: str, dtype: torch.dtype, op: Any
    ) -> None:
        for sample in self.samples(op, device, dtype):
            expected = call(op.op, sample)
            strided = sample.noncontiguous()
            self.assertEqual(call(op.op, sample), expected, rtol=0, atol=0)
            self.assertEqual(call(op.op, strided), expected, rtol=0, atol=0)

    @ops(EVERY_SIGMOID)
    def test_slices_are_slices_of_the_whole(self, device: str, dtype: torch.dtype, op: Any) -> None:
        make = functools.partial(make_tensor, device=device, dtype=dtype)
        function = functools.partial(op.op, **op.sample_kwargs(device, dtype, make(1))[0])
        whole = make((7, 6, 5))
        expected = function(whole)
        for view in self.each(
            [
                lambda t: t[::2],
                lambda t: t[:, ::2],
                lambda t: t[..., ::3],
                lambda t: t.transpose(0, 2),
                lambda t: t.permute(1, 2, 0)[1:, 1:, 1:],
                lambda t: t[[0, 3, 3]],
                lambda t: t[2],
                lambda t: t[2, 3, 4],
                lambda t: t.flip(0, 2),
                lambda t: t[:1].expand(4, -1, -1),
                lambda t: t.unfold(1, 3, 1),
                lambda t: t[:, :0],
                lambda t: t.reshape(1, 1, -1, 1),
            ]
        ):
            self.assertEqual(function(view(whole)), view(expected), rtol=0, atol=0)

    @ops(EVERY_SIGMOID, allowed_dtypes=(torch.float32, torch.bfloat16, torch.complex64))
    def test_memory_format_is_kept(self, device: str, dtype: torch.dtype, op: Any) -> None:
        for shape, memory_format in self.each(
            [
                ((2, 3, 4, 5), torch.contiguous_format),
                ((2, 3, 4, 5), torch.channels_last),
                ((2, 1, 4, 5), torch.channels_last),
                ((2, 3, 4, 5, 2), torch.channels_last_3d),
                ((0, 3, 4, 5), torch.channels_last),
            ]
        ):
            x = make_tensor(shape, device=device, dtype=dtype)
            x = x.contiguous(memory_format=memory_format).requires_grad_()
            ours, theirs = op.op(x), torch.sigmoid(x)
            self.assertTrue(same_metadata(ours, theirs))
            if x.numel() > 0:
                self.assertTrue(ours.is_contiguous(memory_format=memory_format))
            gradients = [grad(y, x, torch.ones_like(y))[0] for y in (ours, theirs)]
            self.assertTrue(same_metadata(*gradients))

    @ops(SIGMOIDS, dtypes=OpDTypes.none)
    def test_dtypes(self, device: str, op: Any) -> None:
        for dtype in self.each([*get_all_dtypes(), *STRANGE]):
            x = make_tensor((3,), device=device, dtype=torch.float32).to(dtype)
            ours, theirs = works(lambda x=x: op.op(x)), works(lambda x=x: torch.sigmoid(x))
            self.assertEqual(ours, theirs, msg=f"{dtype}: torch.sigmoid {theirs}, ours {ours}")
            if op.supports_dtype(dtype, "cpu"):
                self.assertTrue(ours)

    @ops(SIGMOIDS)
    def test_autocast(self, device: str, dtype: torch.dtype, op: Any) -> None:
        for low in self.each([torch.float16, torch.bfloat16]):
            x = make_tensor((3,), device=device, dtype=dtype)
            with torch.autocast("cpu", dtype=low):
                self.assertTrue(same_metadata(op.op(x), torch.sigmoid(x)))

    @ops([OPERATOR], dtypes=OpDTypes.none)
    def test_autocast_of_no_device_has_a_rule_for_it(self, device: str, op: Any) -> None:
        has_rule = torch._C._dispatch_has_kernel_for_dispatch_key
        for key in self.each(["AutocastCPU", "AutocastCUDA", "AutocastXPU", "AutocastMPS"]):
            self.assertFalse(has_rule("aten::sigmoid", key))
            for name in ("sigmoid", "sigmoid_", "sigmoid.out", "sigmoid_backward"):
                self.assertFalse(has_rule(f"torch_sigmoid_ext::{name}", key))


def warnings_of(write: Callable[..., Any], out: Tensor) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        write(out=out)
    return [str(warning.message) for warning in caught]


class TestVariants(CountedTest):
    """out=, in place, views that are conjugated or negated lazily."""

    @ops(EVERY_SIGMOID)
    def test_out(self, device: str, dtype: torch.dtype, op: Any) -> None:
        for sample in self.samples(op, device, dtype):
            expected = call(op.op, sample)
            write = functools.partial(op.op, sample.input, **sample.kwargs)
            # Through torch.ops warnings go to stderr, for torch's operators too.
            like = torch.ops.aten.sigmoid if op is OPERATOR else torch.sigmoid
            theirs = functools.partial(like, sample.input)
            for out in (
                torch.full_like(expected, math.nan),
                make_tensor(
                    expected.shape, dtype=expected.dtype, device=device, noncontiguous=True
                ),
            ):
                before = (out.stride(), out.data_ptr(), out._version + 1)
                self.assertIs(write(out=out), out)
                self.assertEqual(out, expected, rtol=0, atol=0)
                self.assertEqual((out.stride(), out.data_ptr(), out._version), before)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                empty = torch.empty(0, dtype=expected.dtype, device=device)
                self.assertEqual(write(out=empty), expected, rtol=0, atol=0)
            wrong = torch.empty((*expected.shape[:-1], 2), dtype=expected.dtype, device=device)
            self.assertEqual(warnings_of(write, wrong.clone()), warnings_of(theirs, wrong))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                write(out=wrong)
            self.assertEqual(wrong, expected, rtol=0, atol=0)
            with self.assertRaisesRegex(RuntimeError, "can't be cast"):
                write(out=torch.empty_like(expected, dtype=torch.int64))
            with self.assertRaisesRegex(RuntimeError, "same device"):
                write(out=expected.to("meta"))
            with self.assertRaisesRegex(RuntimeError, "don't support automatic differentiation"):
                write(out=torch.empty_like(expected).requires_grad_())

    @ops(EVERY_SIGMOID)
    def test_in_place(self, device: str, dtype: torch.dtype, op: Any) -> None:
        inplace = op.get_inplace()
        integral = not (dtype.is_floating_point or dtype.is_complex)
        for sample in self.samples(op, device, dtype, requires_grad=not integral):
            x = sample.input.detach().clone()
            if integral:
                with self.assertRaisesRegex(RuntimeError, "can't be cast"):
                    inplace(x, **sample.kwargs)
                continue
            expected = call(op.op, sample)
            version = x._version
            self.assertIs(inplace(x, **sample.kwargs), x)
            self.assertEqual(x, expected, rtol=0, atol=0)
            self.assertEqual(x._version, version + 1)
            (theirs,) = grad(expected, sample.input, torch.ones_like(expected))
            written = inplace(sample.input.clone(), **sample.kwargs)
            (ours,) = grad(written, sample.input, torch.ones_like(expected))
            self.assertEqual(ours, theirs, rtol=0, atol=0)
            with self.assertRaisesRegex(RuntimeError, "leaf"):
                inplace(sample.input, **sample.kwargs)

    @ops(SIGMOIDS, dtypes=OpDTypes.none)
    def test_errors(self, device: str, op: Any) -> None:
        for error in self.each(op.error_inputs(device)):
            sample = error.sample_input
            with self.assertRaises(error.error_type):
                call(torch.sigmoid, sample)
            with self.assertRaisesRegex(error.error_type, error.error_regex):
                call(op.op, sample)

    @ops(EVERY, allowed_dtypes=(torch.float32, torch.complex64))
    def test_conjugated_and_negated_views(self, device: str, dtype: torch.dtype, op: Any) -> None:
        def conjugated(t: Tensor) -> Tensor:
            return t.conj().resolve_conj().conj()

        def negated(t: Tensor) -> Tensor:
            return torch._neg_view(t.neg())

        lazies = [negated]
        if dtype.is_complex:
            lazies += [conjugated, lambda t: negated(conjugated(t))]
        for sample in self.samples(op, device, dtype):
            for lazy in lazies:
                plain = [t.detach() for t in (sample.input, *sample.args)]
                views = [lazy(t) for t in plain]
                for view, value in zip(views, plain, strict=True):
                    self.assertTrue(view.is_conj() or view.is_neg())
                    self.assertEqual(view, value, rtol=0, atol=0)
                leaves = [[t.requires_grad_() for t in group] for group in (views, plain)]
                ours, theirs = (op.op(*group, **sample.kwargs) for group in leaves)
                self.assertEqual(ours, theirs, rtol=0, atol=0)
                weight = lazy(torch.ones_like(theirs))
                gradients = [
                    grad(result, group, weight)
                    for result, group in zip((ours, theirs), leaves, strict=True)
                ]
                self.assertEqual(*gradients, rtol=0, atol=0)
                if op.get_inplace() is not None:
                    with torch.no_grad():
                        written = lazy(plain[0].clone())
                        op.get_inplace()(written, **sample.kwargs)
                        self.assertEqual(written, theirs, rtol=0, atol=0)


class TestCompliance(CountedTest):
    """What tracing and compiling lean on: fake tensors, schemas, subclasses, copy-on-write."""

    @ops(EVERY)
    def test_fake_and_meta_tensors_have_the_result_s_metadata(
        self, device: str, dtype: torch.dtype, op: Any
    ) -> None:
        for sample in self.samples(op, device, dtype):
            for shape in (sample, sample.noncontiguous()):
                expected = call(op.op, shape)
                with FakeTensorMode(allow_non_fake_inputs=True) as mode:
                    fake = call(op.op, shape.transform(_tensors(mode.from_tensor)))
                self.assertTrue(same_metadata(fake, expected))
                meta = call(op.op, shape.transform(_tensors(lambda t: t.to("meta"))))
                self.assertEqual(meta.dtype, expected.dtype)
                self.assertEqual(meta.stride(), expected.stride())

    @ops(EVERY, allowed_dtypes=DIFFERENTIABLE)
    def test_fake_tensors_agree_in_backward_too(
        self, device: str, dtype: torch.dtype, op: Any
    ) -> None:
        for sample in self.samples(op, device, dtype, requires_grad=True):
            with CrossRefFakeMode():
                result = call(op.op, sample)
                grad(result, sample.input, torch.ones_like(result))

    @ops(EVERY, allowed_dtypes=(torch.float32,))
    def test_composite_compliance(self, device: str, dtype: torch.dtype, op: Any) -> None:
        for sample in self.samples(op, device, dtype, requires_grad=True):
            arguments = [sample.input, *sample.args]
            composite_compliance.check_with_mode(op.op, arguments, sample.kwargs, self.assertEqual)
            composite_compliance.check_all_permutations(
                op.op, arguments, sample.kwargs, self.assertEqual
            )
            composite_compliance.check_backward_formula(
                op.op, arguments, sample.kwargs, assert_equal_fn=self.assertEqual
            )
            composite_compliance.check_forward_ad_formula(
                op.op, arguments, sample.kwargs, assert_equal_fn=self.assertEqual
            )

    @ops(EVERY, allowed_dtypes=DIFFERENTIABLE)
    def test_reading_makes_no_copy_of_a_lazy_clone(
        self, device: str, dtype: torch.dtype, op: Any
    ) -> None:
        for sample in self.samples(op, device, dtype):
            lazies = [torch._lazy_clone(t) for t in (sample.input, *sample.args)]
            addresses = [torch._C._data_address(t) for t in lazies]
            result = op.op(*[t.requires_grad_() for t in lazies], **sample.kwargs)
            weight = torch._lazy_clone(torch.ones_like(result))
            result.backward(weight)
            for tensor in (*lazies, weight):
                self.assertTrue(torch._C._is_cow_tensor(tensor))
            self.assertEqual([torch._C._data_address(t) for t in lazies], addresses)
            if op.get_inplace() is not None:
                written = torch._lazy_clone(sample.input)
                op.get_inplace()(written, **sample.kwargs)
                self.assertEqual(written, result, rtol=0, atol=0)
                self.assertEqual(sample.input, lazies[0], rtol=0, atol=0)

    @ops([OPERATOR, FAST, BACKWARD])
    def test_opcheck(self, device: str, dtype: torch.dtype, op: Any) -> None:
        for sample in self.samples(op, device, dtype, requires_grad=dtype in DIFFERENTIABLE):
            for overload, arguments, options in overloads(op, sample):
                torch.library.opcheck(overload, arguments, options)

    @ops(SIGMOIDS, dtypes=OpDTypes.none)
    def test_tags(self, device: str, op: Any) -> None:
        for packet, overload in (
            ("sigmoid", "default"),
            ("sigmoid", "out"),
            ("sigmoid_", "default"),
            ("sigmoid_backward", "default"),
        ):
            self.count()
            ours = getattr(getattr(operators, packet), overload).tags
            theirs = getattr(getattr(torch.ops.aten, packet), overload).tags
            # csrc/ops/schema.cpp says why not Tag.out, which torch before 2.13 has not.
            not_ours = {torch.Tag.core, getattr(torch.Tag, "out", torch.Tag.core)}
            missing = set(theirs) - set(ours) - not_ours
            self.assertEqual(missing, set(), msg=f"{packet}.{overload}")


def _tensors(transform: Callable[[Tensor], Tensor]) -> Callable[[Any], Any]:
    return lambda value: transform(value) if isinstance(value, Tensor) else value


def overloads(info: Any, sample: Any) -> list[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    """Every overload behind the OpInfo with the sample's arguments."""
    if info is BACKWARD:
        return [(operators.sigmoid_backward.default, (sample.input, *sample.args), {})]
    plain = sample.input.detach()
    written = {"out": torch.sigmoid(plain), **sample.kwargs}
    calls = [
        (operators.sigmoid.default, (sample.input,), sample.kwargs),
        (operators.sigmoid.out, (plain,), written),
    ]
    if plain.dtype in DIFFERENTIABLE:
        calls.append((operators.sigmoid_.default, (plain.clone(),), sample.kwargs))
    return calls


for case in (TestValues, TestVariants, TestCompliance):
    instantiate_device_type_tests(case, globals(), only_for="cpu")
del case

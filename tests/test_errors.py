"""Wrong input: torch's own type of error, and a text that says how to mend it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from torch_sigmoid_ext import _C, Sigmoid, convert, sigmoid, sigmoid_

Call = Callable[[], Any]


def leaf() -> torch.Tensor:
    return torch.zeros(3, requires_grad=True)


def overlapping() -> torch.Tensor:
    return torch.zeros(1).expand(3)


def shifted(call: Callable[..., Any]) -> Any:
    base = torch.zeros(8)
    return call(base[:6], out=base[2:])


# (what is wrong, our call, torch's call, words of the remedy)
WRONG: list[tuple[str, Call, Call, str]] = [
    ("not a tensor", lambda: sigmoid(1.0), lambda: torch.sigmoid(1.0), "pass torch.tensor(1.0)"),
    ("a list", lambda: sigmoid([1.0]), lambda: torch.sigmoid([1.0]), "pass torch.tensor([1.0])"),
    ("nothing", lambda: sigmoid(), lambda: torch.sigmoid(), "input"),
    (
        "a class",
        lambda: sigmoid(torch.Tensor),
        lambda: torch.sigmoid(torch.Tensor),
        "expected input to be a Tensor",
    ),
    (
        "in place on integers, functionalized",
        lambda: torch.func.functionalize(lambda x: sigmoid_(x.int()))(torch.ones(3)),
        lambda: torch.func.functionalize(lambda x: torch.sigmoid_(x.int()))(torch.ones(3)),
        "use sigmoid(input)",
    ),
    (
        "out not a tensor",
        lambda: sigmoid(torch.zeros(3), out=3),
        lambda: torch.sigmoid(torch.zeros(3), out=3),
        "expected out to be a Tensor",
    ),
    (
        "float8",
        lambda: sigmoid(torch.zeros(3).to(torch.float8_e5m2)),
        lambda: torch.sigmoid(torch.zeros(3).to(torch.float8_e5m2)),
        "input.float()",
    ),
    (
        "sparse",
        lambda: sigmoid(torch.eye(3).to_sparse()),
        lambda: torch.sigmoid(torch.eye(3).to_sparse()),
        "input.to_dense()",
    ),
    (
        "out of an integer type",
        lambda: sigmoid(torch.zeros(3), out=torch.zeros(3, dtype=torch.long)),
        lambda: torch.sigmoid(torch.zeros(3), out=torch.zeros(3, dtype=torch.long)),
        "out=torch.empty_like(input, dtype=torch.float32)",
    ),
    (
        "real out of a complex input",
        lambda: sigmoid(torch.zeros(3, dtype=torch.complex64), out=torch.zeros(3)),
        lambda: torch.sigmoid(torch.zeros(3, dtype=torch.complex64), out=torch.zeros(3)),
        "out=torch.empty_like(input, dtype=torch.complex64)",
    ),
    (
        "out on another device",
        lambda: sigmoid(torch.zeros(3), out=torch.zeros(3, device="meta")),
        lambda: torch.sigmoid(torch.zeros(3), out=torch.zeros(3, device="meta")),
        "out=torch.empty_like(input)",
    ),
    (
        "out overlaps itself",
        lambda: sigmoid(torch.zeros(3), out=overlapping()),
        lambda: torch.sigmoid(torch.zeros(3), out=overlapping()),
        "clone()",
    ),
    (
        "out overlaps input in part",
        lambda: shifted(sigmoid),
        lambda: shifted(torch.sigmoid),
        "clone()",
    ),
    (
        "in place, overlapping itself",
        lambda: sigmoid_(overlapping()),
        lambda: torch.sigmoid_(overlapping()),
        "clone()",
    ),
    (
        "in place on integers",
        lambda: sigmoid_(torch.zeros(3, dtype=torch.int32)),
        lambda: torch.sigmoid_(torch.zeros(3, dtype=torch.int32)),
        "use sigmoid(input)",
    ),
    (
        "in place on a leaf that requires grad",
        lambda: sigmoid_(leaf()),
        lambda: torch.sigmoid_(leaf()),
        "torch.no_grad()",
    ),
    (
        "in place on a view of such a leaf",
        lambda: sigmoid_(leaf()[:2]),
        lambda: torch.sigmoid_(leaf()[:2]),
        "in-place",
    ),
    (
        "out= with an input that requires grad",
        lambda: sigmoid(leaf(), out=torch.zeros(3)),
        lambda: torch.sigmoid(leaf(), out=torch.zeros(3)),
        "leave out= away",
    ),
    (
        "in place, not a tensor",
        lambda: sigmoid_(2),
        lambda: torch.sigmoid_(2),
        "expected input to be a Tensor",
    ),
]


@pytest.mark.parametrize("ours, theirs, remedy", [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_error_is_of_torch_s_type_and_says_how_to_mend_it(
    ours: Call, theirs: Call, remedy: str
) -> None:
    with pytest.raises(Exception) as their_error:
        theirs()
    with pytest.raises(their_error.type, match=re.escape(remedy)):
        ours()


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_quantized_in_place_is_refused_clearly() -> None:
    quantized = torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.quint8)
    with pytest.raises(NotImplementedError, match=r"input.dequantize\(\)"):
        sigmoid_(quantized)


def test_gradient_of_an_integer_result_is_refused_clearly() -> None:
    integers = torch.zeros(3, dtype=torch.long)
    with pytest.raises(
        RuntimeError, match="expected grad_output to be floating-point or complex, got int64"
    ):
        torch.ops.torch_sigmoid_ext.sigmoid_backward(integers, integers)


def test_unknown_keyword_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="fats"):
        sigmoid(torch.zeros(3), fats=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        sigmoid(torch.zeros(3), True)  # type: ignore[misc]
    with pytest.raises(TypeError, match="out"):
        sigmoid_(torch.zeros(3), out=None)  # type: ignore[call-arg]
    for wrong in (None, 1, "a", torch.tensor(True)):
        with pytest.raises(TypeError, match="expected fast to be a bool"):
            sigmoid(torch.zeros(3), fast=wrong)  # type: ignore[arg-type]


def test_wrong_out_is_left_untouched() -> None:
    out = torch.full((3,), 7)
    with pytest.raises(RuntimeError):
        sigmoid(torch.zeros(3), out=out)
    assert out.tolist() == [7, 7, 7]


def test_out_from_outside_of_a_functionalized_function_is_refused_with_the_remedy() -> None:
    x, outside = torch.linspace(-9, 9, 3), torch.zeros(3)
    with pytest.raises(RuntimeError, match="allocate out inside of the function"):
        torch.func.functionalize(lambda x: sigmoid(x, out=outside))(x)
    assert outside.tolist() == [0, 0, 0]
    # With an input from outside, nothing of the call is functionalized: it is made at once.
    torch.func.functionalize(lambda _: sigmoid(x, out=outside))(x)
    assert torch.equal(outside, sigmoid(x))


class WithoutModule:
    """Called sigmoid, and of no module."""

    __name__ = "sigmoid"

    def __getattribute__(self, name: str) -> Any:
        if name == "__module__":
            raise AttributeError(name)
        return super().__getattribute__(name)


def test_fast_entry_is_for_the_two_functions_of_this_package() -> None:
    with pytest.raises(ValueError, match="expected the function sigmoid or sigmoid_, got <built-"):
        _C.fast_entry(print)
    with pytest.raises(AttributeError, match="__name__"):
        _C.fast_entry(3)  # type: ignore[type-var]
    with pytest.raises(AttributeError, match="__module__"):
        _C.fast_entry(WithoutModule())  # type: ignore[type-var]
    assert sigmoid(torch.zeros(1)) == 0.5


def test_convert_of_something_else_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="instance of the model"):
        convert(Sigmoid)  # type: ignore[type-var]

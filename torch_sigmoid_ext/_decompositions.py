"""A choice at compile time: the operators as operations that a compiler fuses.

The operators are opaque to Inductor and the like, which call them as they stand and fuse around
them. The tables here replace them by a chain of aten operations:

    e = e^-|x|
    σ = (1 where x >= 0, e below) / (1 + e)

docs/compile.md says what either choice costs and how near it comes to the operator.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor
from torch._ops import OpOverload

Kind = Literal["exact", "fast"]

# Significant bits, and the exponent of the smallest normal number.
_SHORT = {torch.float16: (11, -14), torch.bfloat16: (8, -126)}
_WIDE = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex64: torch.complex128,
}


def _working_dtype(kind: Kind, dtype: torch.dtype) -> torch.dtype:
    """What the chain is computed in, for a result of `dtype`."""
    if kind == "exact":
        return _WIDE.get(dtype, dtype)
    return torch.float32 if dtype in _SHORT else dtype


def _round_to(dtype: torch.dtype, value: Tensor) -> Tensor:
    """float64, rounded to the precision of float16 or bfloat16; still float64.

    PyTorch's own conversion goes through float32, and rounds wrong where that falls on a tie of the
    shorter type. Here the inner difference rounds where the short type ends. The product is by a
    power of two and exact, so that a compiler which fuses it into a difference changes nothing.
    """
    precision, least_exponent = _SHORT[dtype]
    shifted = value * 2.0 ** (53 - precision)
    normal = shifted - (shifted - value)
    grid = 1.5 * 2.0 ** (53 + least_exponent - precision)
    subnormal = (value + grid) - grid
    rounded = torch.where(value.abs() < 2.0**least_exponent, subnormal, normal)
    return torch.where(value.abs() == torch.inf, value, rounded)


def _real(x: Tensor, working: torch.dtype) -> Tensor:
    # Compared before it is converted: else the backward pass would be given the comparison, as a
    # tensor of bool, which Inductor reads one by one.
    e = torch.exp(-x.to(working).abs())
    return torch.where(x >= 0, 1.0, e) / (1.0 + e)


def _float32_in_float64(x: Tensor) -> Tensor:
    """σ = 1/2 + x/4 - x³/48 ... of a float32 near 0 lies beside ties, by a term that float64 lacks.

    Below 2^-11 a slope a little less than 1/4 falls on the right side of each.
    """
    near = 0.5 + x.to(torch.float64) * (2.0**-2 - 2.0**-26)
    return torch.where(x.abs() < 2.0**-11, near, _real(x, torch.float64))


def _narrow(value: Tensor, dtype: torch.dtype) -> Tensor:
    if value.dtype == torch.float64 and dtype in _SHORT:
        value = _round_to(dtype, value).to(torch.float32)
    return value.to(dtype)


def _complex(z: Tensor) -> Tensor:
    """The formula of csrc/kernels/cpu/complex.h, whose head derives it; for finite z."""
    x, y = z.real, z.imag
    a, m = torch.exp(-x.abs()), -torch.expm1(-x.abs())
    c, s = torch.cos(y / 2), torch.sin(y / 2)
    q = 2 * a * c * c
    squared = m * m + 2 * q
    real = torch.where(x >= 0, q + m, a * (2 * c * c - m))
    return torch.complex(real / squared, 2 * a * c * s / squared)


def _sigmoid(kind: Kind, self: Tensor) -> Tensor:
    floating = self.is_floating_point() or self.is_complex()
    dtype = self.dtype if floating else torch.get_default_dtype()
    working = _working_dtype(kind, dtype)
    if working.is_complex:
        return _complex(self.to(working)).to(dtype)
    if (working, dtype) == (torch.float64, torch.float32):
        return _float32_in_float64(self.to(dtype)).to(dtype)
    if dtype in _SHORT:
        x = self.to(working)
        # Nothing overflows in float64 that would not round to 0 anyway.
        wide = 1.0 / (1.0 + torch.exp(-x)) if working == torch.float64 else _real(x, working)
        return _narrow(wide, dtype)
    return _real(self, working).to(dtype)


def _sigmoid_backward(kind: Kind, grad_output: Tensor, output: Tensor) -> Tensor:
    dtype = torch.result_type(grad_output, output)
    working = _working_dtype(kind, dtype)
    g, y = grad_output.to(working), output.to(working)
    return _narrow(g * (y * (1 - y)).conj(), dtype)


def _castable(result: Tensor, out: Tensor) -> Tensor:
    """The result, if the operator would write it into `out`; copy_ would cast it to anything."""
    if not torch.can_cast(result.dtype, out.dtype):
        raise RuntimeError(
            f"torch_sigmoid_ext::sigmoid: expected a tensor to write to that {result.dtype} can be "
            f"cast to, got {out.dtype}; use sigmoid(input) without out="
        )
    return result


def decompositions(kind: Kind = "exact") -> dict[OpOverload, Callable[..., Tensor]]:
    """A table of decompositions for the operators of this package, by their overloads.

    For whatever takes such a table: ``ExportedProgram.run_decompositions``, ``make_fx``,
    AOTAutograd. For torch.compile there is :func:`inductor`.

    Args:
        kind: "exact" computes float16, bfloat16, float32 and complex64 in float64 and rounds once;
            "fast" computes in float32, and float64 in itself. The operators' own argument ``fast``
            has no meaning then.

    Returns:
        A new dict from OpOverload to function: ``sigmoid``, ``sigmoid_``, ``sigmoid.out``,
        ``sigmoid_backward``.

    Raises:
        ValueError: kind is neither.

    Accuracy: "exact" gives the operator's float32, float16 and bfloat16 for every input, where
    e^x is as good as on the CPU it was measured on; "fast" is within 2.5 ULP. Both keep subnormal
    results. docs/compile.md has the figures, other dtypes and gradients.

    Example:
        >>> import torch, torch_sigmoid_ext
        >>> program = torch.export.export(torch_sigmoid_ext.Sigmoid(), (torch.zeros(2),))
        >>> plain = program.run_decompositions(torch_sigmoid_ext.decompositions("exact"))
        >>> plain.module()(torch.tensor([0.0, 2.0]))
        tensor([0.5000, 0.8808])
    """
    if kind not in get_args(Kind):
        raise ValueError(f"decompositions(): expected kind to be 'exact' or 'fast', got {kind!r}")

    def sigmoid(self: Tensor, *, fast: bool = False) -> Tensor:
        return _sigmoid(kind, self)

    def sigmoid_(self: Tensor, *, fast: bool = False) -> Tensor:
        return self.copy_(_castable(_sigmoid(kind, self), self))

    def sigmoid_out(self: Tensor, *, fast: bool = False, out: Tensor) -> Tensor:
        result = _castable(_sigmoid(kind, self), out)
        if out.shape != result.shape:
            out.resize_(result.shape)
        return out.copy_(result)

    def sigmoid_backward(grad_output: Tensor, output: Tensor) -> Tensor:
        return _sigmoid_backward(kind, grad_output, output)

    operators = torch.ops.torch_sigmoid_ext
    return {
        operators.sigmoid.default: sigmoid,
        operators.sigmoid_.default: sigmoid_,
        operators.sigmoid.out: sigmoid_out,
        operators.sigmoid_backward.default: sigmoid_backward,
    }


class Backend(Protocol):
    """What torch.compile calls, with its own ``mode`` and ``options`` where they were given."""

    def __call__(
        self,
        graph: torch.fx.GraphModule,
        inputs: list[Any],
        *,
        mode: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> Callable[..., Any]: ...


@functools.cache  # torch.compile takes another object for another backend, and compiles again
def inductor(kind: Kind = "exact") -> Backend:
    """A backend for torch.compile: Inductor, with :func:`decompositions` for our operators.

    Args:
        kind: as for :func:`decompositions`.

    Returns:
        A backend; ``mode`` and ``options`` of torch.compile mean what they mean to Inductor.

    Raises:
        ValueError: kind is neither "exact" nor "fast".

    Example:
        >>> import torch, torch_sigmoid_ext
        >>> model = torch_sigmoid_ext.SimpleNN()
        >>> compiled = torch.compile(model, backend=torch_sigmoid_ext.inductor("exact"))
    """
    table = decompositions(kind)

    def backend(
        graph: torch.fx.GraphModule,
        inputs: list[Any],
        *,
        mode: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> Callable[..., Any]:
        from torch._functorch import config as functorch_config
        from torch._inductor import list_mode_options
        from torch._inductor.compile_fx import compile_fx
        from torch._inductor.decomposition import select_decomp_table

        chosen = dict(list_mode_options(mode)) if mode else {}
        chosen |= {name.replace("-", "_"): value for name, value in (options or {}).items()}
        # AOTAutograd's cache knows a graph by its operators and not by what they decompose to:
        # it would hand out one kind for another.
        with functorch_config.patch(enable_autograd_cache=False):
            compiled: Any = compile_fx(
                graph,
                inputs,
                config_patches=chosen or None,
                decompositions={**select_decomp_table(), **table},
            )
        return compiled  # type: ignore[no-any-return]

    backend.__name__ = f"torch_sigmoid_ext_{kind}"
    return backend

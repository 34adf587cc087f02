"""What the model level is verified on: fresh inputs, the float64 truth, and eager's own outputs."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError
from .given import given_sample
from .model import EXAMPLE_BATCH, InputSpec, example_sizes, named_dims
from .stored import Sample
from .user_samples import Rows

if TYPE_CHECKING:  # stored samples are read without torch
    from torch import Tensor, nn

Array = NDArray[Any]

LARGE_BATCH = 1024
LARGEST_INPUT = 1 << 22  # elements: where one row is large, the large batch is smaller
ELEMENTS = 1 << 28  # of one input: 1 GiB of float32, and the truth takes several times that


def model_outputs(model: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The tensors that the model returns, out of tuples, lists and dicts."""
    import torch
    from torch import Tensor
    from torch.utils import _pytree as pytree

    with torch.no_grad():
        outputs = pytree.tree_leaves(model(*inputs))
    for output in outputs:
        if not isinstance(output, Tensor):
            raise UsageError(
                f"expected the model to return tensors, got {type(output).__name__} among them; "
                "wrap it in a module that returns tensors alone"
            )
        if output.dtype == torch.bfloat16 or output.is_complex():
            raise UsageError(
                f"expected outputs that can be verified, got {output.dtype}; cast them to float32 "
                "at the end of the model"
            )
    return outputs


def check_model(model: nn.Module, inputs: Sequence[InputSpec]) -> int:
    """Run the model at the example's sizes and at others; return its number of outputs.

    A model that cannot take the sizes it is declared for is the user's to mend, and no exporter's
    fault.
    """
    import torch

    for grow in (3, 0):
        sizes = {name: size + grow for name, size in example_sizes(inputs).items()}
        for spec in inputs:
            elements = math.prod(spec.shape(sizes))
            if elements > ELEMENTS:
                raise UsageError(
                    f"expected an input of at most {ELEMENTS:,} elements, got {elements:,} in "
                    f"--input '{spec}'; declare smaller sizes, or name the dimension to make it "
                    "dynamic"
                )
        ones = [np.ones(spec.shape(sizes), spec.dtype) for spec in inputs]
        try:
            outputs = model_outputs(model, [torch.from_numpy(x) for x in ones])
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(_cannot_run(inputs, ones, error)) from error
    return len(outputs)


def _cannot_run(inputs: Sequence[InputSpec], arrays: Sequence[Array], error: Exception) -> str:
    given = [f"{s.name} {x.dtype}{list(x.shape)}" for s, x in zip(inputs, arrays, strict=True)]
    return (
        f"the model cannot run with {', '.join(given)}: {type(error).__name__}: {error}; correct "
        "--input, one for each argument of forward, where a name is a dynamic dimension and a "
        "number a fixed one"
    )


def batch_sizes(inputs: Sequence[InputSpec]) -> list[int]:
    """0, 1, the example's and a large batch; for a fixed batch that one alone."""
    names = named_dims(inputs)
    if not names:
        return [next((int(dim) for spec in inputs for dim in spec.dims[:1]), 1)]
    sizes = {**example_sizes(inputs), names[0]: 1}
    row = max(int(np.prod(spec.shape(sizes))) for spec in inputs)
    return [0, 1, EXAMPLE_BATCH, max(EXAMPLE_BATCH + 1, min(LARGE_BATCH, LARGEST_INPUT // row))]


def make_samples(
    model: nn.Module, inputs: Sequence[InputSpec], rows: Rows | None = None
) -> tuple[list[Sample], list[str]]:
    """A sample a batch size, and notes on what could not be had.

    ``rows`` are real inputs to take the batches from, over and over, and are a sample themselves;
    without them inputs are drawn, from a fixed seed. In the largest batch the other dynamic
    dimensions grow too, so that they are seen at two sizes.
    """

    random = np.random.default_rng(2026)
    wide, notes = _in_float64(model)
    samples: list[Sample] = []
    batches = batch_sizes(inputs)
    for batch in batches:
        grow = 3 if batch == batches[-1] else 0
        sizes = {name: size + grow for name, size in example_sizes(inputs).items()}
        sizes |= {name: batch for name in named_dims(inputs)[:1]}
        arrays = (
            [spec.sample(random, sizes) for spec in inputs]
            if rows is None
            else rows.take(np.arange(batch) % rows.rows)
        )
        try:
            eager = _eager(model, inputs, arrays)
        except UsageError as error:
            if batch != 0:
                raise
            notes.append(
                f"batch 0 is not verified: eager itself cannot take it ({error.__cause__})"
            )
            continue
        truth: list[Array] = []
        if wide is not None:
            try:
                truth = _truth(wide, arrays, eager)
            except Exception as error:
                wide = None
                notes.append(
                    "the model level is not verified, for it has no float64 truth: "
                    f"{type(error).__name__}: {error}"
                )
        samples.append(Sample(batch, arrays, eager, truth))
    if rows is not None:
        samples.append(_given(model, inputs, rows, wide))
        notes += rows.notes
    if _nothing_but_nan([output for sample in samples for output in sample.eager]):
        notes.append(
            "every output of the model is NaN in eager PyTorch itself, and agreement on NaN says "
            "nothing of a runtime: look for NaN in the weights"
        )
    return samples, notes


def _given(
    model: nn.Module, inputs: Sequence[InputSpec], rows: Rows, wide: nn.Module | None
) -> Sample:
    """All of the user's rows."""
    ours: list[list[Array]] = []

    def eager(runs: list[list[Array]]) -> list[list[Array]]:
        ours.extend(_eager(model, inputs, arrays) for arrays in runs)
        return ours

    def truth(runs: list[list[Array]]) -> list[list[Array]]:
        assert wide is not None
        return [_truth(wide, arrays, own) for arrays, own in zip(runs, ours, strict=True)]

    return given_sample(rows, eager, None if wide is None else truth)


def inner_sample(
    inner: nn.Module, inputs: Sequence[InputSpec], samples: Sequence[Sample]
) -> tuple[Sample | None, str]:
    """The largest drawn batch with what the sigmoids inside take and give, or why there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch, copying an exported graph
        wide, notes = _in_float64(inner)
    drawn = [sample for sample in samples if sample.batch and not sample.given]
    for sample in reversed(drawn):
        if wide is None:
            return None, notes[0]
        try:
            eager = _eager(inner, inputs, sample.inputs)
            if sum(output.size for output in eager) > 4 * LARGEST_INPUT and sample is not drawn[0]:
                continue  # an image's activations may be a thousand times its size
            truth = _truth(wide, sample.inputs, eager)
        except Exception as error:
            return None, f"they have no float64 truth: {type(error).__name__}: {error}"
        return Sample(sample.batch, sample.inputs, eager, truth), ""
    return None, "there is no batch to run them on"


def _eager(model: nn.Module, inputs: Sequence[InputSpec], arrays: Sequence[Array]) -> list[Array]:
    import torch

    try:
        return _numpy(model_outputs(model, [torch.from_numpy(x) for x in arrays]))
    except Exception as error:
        raise UsageError(_cannot_run(inputs, arrays, error)) from error


def _nothing_but_nan(outputs: Sequence[Array]) -> bool:
    floats = [output for output in outputs if output.dtype.kind == "f" and output.size]
    return bool(floats) and all(np.isnan(output).all() for output in floats)


def _in_float64(model: nn.Module) -> tuple[nn.Module | None, list[str]]:
    try:
        return copy.deepcopy(model).double(), []
    except Exception as error:
        return None, [f"the model level is not verified: the model cannot be copied ({error})"]


def _truth(wide: nn.Module, arrays: Sequence[Array], eager: Sequence[Array]) -> list[Array]:
    """The model in float64 on the same inputs, whose floats are widened without loss."""
    import torch

    inputs = [torch.from_numpy(x) for x in arrays]
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # for tensors that forward itself creates
    try:
        outputs = model_outputs(wide, [x.double() if x.is_floating_point() else x for x in inputs])
    finally:
        torch.set_default_dtype(default)
    for output, ours in zip(outputs, eager, strict=True):
        if ours.dtype == np.float64:
            raise TypeError("the model computes in float64 itself, and torch has nothing wider")
        if ours.dtype.kind == "f" and output.dtype != torch.float64:
            raise TypeError(f"the model casts to {output.dtype} by itself")
    return _numpy(outputs)


def _numpy(tensors: Sequence[Tensor]) -> list[Array]:
    return [tensor.contiguous().numpy() for tensor in tensors]

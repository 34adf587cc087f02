"""TorchScript: the model traced into a file that libtorch runs, in Python or C++."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..errors import UsageError
from ..model import named_dims
from . import Program


class TorchScript:
    """torch.jit.trace, then a run at other sizes, because a trace bakes in what Python computed."""

    name = "torchscript"
    suffix = ".torchscript.pt"
    install = ""

    def missing(self) -> str:
        return ""

    def export(self, program: Program, path: Path) -> dict[str, Any]:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch.jit is deprecated as of 2.13, and still works
            try:
                traced = torch.jit.trace(  # type: ignore[no-untyped-call]
                    program.module, program.example(), strict=False, check_trace=False
                )
            except Exception as error:
                raise UsageError(f"torch.jit.trace cannot follow the model: {error}") from error
            self._check_dynamic_dims(program, traced)
            torch.jit.save(traced, path)
        return {
            "requires": f"libtorch {torch.__version__} with torch_sigmoid_ext's operator library"
        }

    def _check_dynamic_dims(self, program: Program, traced: Any) -> None:
        """The trace must give eager's shapes at sizes that it was not made with."""
        inputs = program.example(grow=3)
        expected = [tuple(t.shape) for t in _tensors(program.module(*inputs))]
        try:
            got: Any = [tuple(t.shape) for t in _tensors(traced(*inputs))]
        except RuntimeError as error:
            got = str(error).strip().splitlines()[-1]
        if got != expected:
            raise UsageError(
                f"a dynamic dimension ({', '.join(named_dims(program.inputs))}) came out static in "
                f"TorchScript: expected outputs {expected} at another size, got {got}; keep sizes "
                "as tensors' own (x.shape, not int(...) or a Python branch) or declare the "
                "dimension as a number"
            )


def _tensors(outputs: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]

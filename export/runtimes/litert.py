"""LiteRT, once TensorFlow Lite: torch.export's file through litert-torch, then the interpreter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .lowered import lowered, of_shapes
from .packages import Packaged
from .runtime import Array, Run

if TYPE_CHECKING:
    import torch


class LiteRt(Packaged):
    """litert_torch.convert, and LiteRT's interpreter with its default delegate, XNNPACK."""

    name = "litert"
    format = "pt2"
    install = "pip install 'litert-torch>=0.10'"
    precision = "float32; no float64"
    imports = converter = "litert_torch"
    distributions = ("ai-edge-litert",)
    confined = True
    on_request = True  # it converts for every shape, and has no float64
    mends = dict.fromkeys(
        ("exact", "function", "stable"),
        "export for litert with --sigmoid native: it has no float64, and XNNPACK's e^x is worse "
        "than its sigmoid",
    ) | {
        "native": "no lowering mends it: XNNPACK gives NaN for |x| from 4.4e26; keep such x from "
        "it, or take another runtime"
    }

    def load(self, path: Path) -> Run:
        return of_shapes(lowered(path), _convert)


def _convert(module: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> Run:
    import litert_torch

    model = litert_torch.convert(module, example, enable_x64=True)  # else int64 becomes int32

    def run(inputs: list[Array]) -> list[Array]:
        outputs = model(*inputs)
        several = outputs if isinstance(outputs, tuple) else [outputs]
        return [np.array(output) for output in several]

    return run

"""ONNX's own ReferenceEvaluator: the specification in numpy, slow and plain."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .runtime import Array, Run, Runtime


class Reference(Runtime):
    """onnx.reference.ReferenceEvaluator."""

    name = "reference"
    format = "onnx"
    confined = True
    install = "pip install onnx"
    precision = "as the file says, in numpy"

    def version(self) -> str:
        try:
            import onnx.reference
        except ImportError:
            return ""
        return str(onnx.__version__)

    def load(self, path: Path) -> Run:
        import onnx.reference

        evaluator = onnx.reference.ReferenceEvaluator(str(path))
        names = evaluator.input_names

        def run(inputs: list[Array]) -> list[Array]:
            with np.errstate(all="ignore"):  # e^x may overflow on its way to a right result
                outputs = evaluator.run(None, dict(zip(names, inputs, strict=True)))
            return [np.asarray(output) for output in outputs]

        return run

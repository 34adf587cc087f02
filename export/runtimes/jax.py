"""JAX: the ONNX file by jaxonnxruntime, each operator by XLA for the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .packages import Packaged
from .runtime import Array, Run


class Jax(Packaged):
    """jaxonnxruntime.backend.Backend: a Sigmoid node is jax.nn.sigmoid."""

    name = "jax"
    format = "onnx"
    install = "pip install jax jaxonnxruntime absl-py"
    precision = "as the file says; subnormals as 0"
    imports = "jaxonnxruntime"
    distributions = ("jax",)
    converter = "jaxonnxruntime"
    confined = True
    on_request = True  # a reference: nobody serves a file by it
    mends = dict.fromkeys(
        ("exact", "function", "stable", "native"),
        "export for jax with --sigmoid stable and --gate portable: it flushes subnormals, and "
        "jaxonnxruntime has neither Round nor functions",
    )

    def load(self, path: Path) -> Run:
        import onnx
        from jaxonnxruntime.backend import Backend

        model = Backend.prepare(onnx.load(path))

        def run(inputs: list[Array]) -> list[Array]:
            return [np.array(output) for output in model.run(inputs)]

        return run

    def environment(self) -> dict[str, str]:
        return {"JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}  # else float64 becomes float32

"""MNN: the ONNX file through mnnconvert, then MNN's module API."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import ClassVar

import numpy as np

from .apart import printable, run_command
from .onnx_names import onnx_names
from .packages import Packaged
from .runtime import Array, Run

CONVERT_LIMIT = 300.0  # seconds

# Not MNN.tools.mnnconvert, which reports each use to its makers. It tells of errors on stdout.
_CONVERT = "import os, sys, _tools; os.dup2(2, 1); _tools.mnnconvert(sys.argv)"


class Mnn(Packaged):
    """MNN.nn.load_module_from_file on the CPU, with its default options."""

    name = "mnn"
    format = "onnx"
    confined = True
    install = "pip install MNN"
    precision = "float32; float64 as float32"
    imports = "MNN"
    distributions = ("MNN",)
    on_request = True
    mends: ClassVar = {
        **dict.fromkeys(
            ("native", "stable", "exact"),
            "no lowering mends it: keep NaN and infinities from MNN, or take another runtime",
        ),
        "function": "export for MNN with --sigmoid native: it has no functions",
    }

    def load(self, path: Path) -> Run:
        import MNN.expr
        import MNN.nn

        inputs_of, outputs_of = onnx_names(path)
        with tempfile.TemporaryDirectory(prefix="torch_sigmoid_ext-") as folder:
            converted = Path(folder) / "model.mnn"
            options = ["--modelFile", str(path), "--MNNModel", str(converted), "--bizCode", "x"]
            command = [sys.executable, "-c", _CONVERT, "-f", "ONNX", *options]
            done = run_command(command, folder, CONVERT_LIMIT)
            if not converted.exists():
                lines = done.stderr.splitlines()
                said = next((line for line in lines if "Not Support" in line), done.last_line)
                raise RuntimeError(f"mnnconvert {done.manner}: {printable(said)}")
            model = MNN.nn.load_module_from_file(str(converted), inputs_of, outputs_of)

        def run(inputs: list[Array]) -> list[Array]:
            given = []
            for x in inputs:
                given.append(MNN.expr.placeholder(list(x.shape), MNN.expr.NCHW, _KINDS[x.dtype]()))
                given[-1].write(x)
            return [np.array(output.read()) for output in model.onForward(given)]

        return run


def _kind(name: str) -> object:
    import MNN.expr

    return getattr(MNN.expr, name)


_KINDS = {
    np.dtype("float32"): lambda: _kind("float"),
    np.dtype("int32"): lambda: _kind("int"),
    np.dtype("int64"): lambda: _kind("int64"),
    np.dtype("uint8"): lambda: _kind("uint8"),
}

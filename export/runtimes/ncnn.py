"""ncnn: the ONNX file through pnnx, then ncnn's own net."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from .apart import run_command
from .onnx_names import example_shapes, onnx_names
from .packages import Packaged
from .runtime import Array, Run

CONVERT_LIMIT = 300.0  # seconds


class Ncnn(Packaged):
    """ncnn.Net on the CPU, with weights left in float32 and else its default options."""

    name = "ncnn"
    format = "onnx"
    confined = True
    install = "pip install ncnn pnnx"
    precision = "float32; float64 as float32"
    imports = "ncnn"
    distributions = ("ncnn",)
    converter = "pnnx"
    on_request = True
    mends = dict.fromkeys(
        ("exact", "stable", "function"), "export for ncnn with --sigmoid native"
    ) | {
        "native": "no lowering mends it: keep NaN and infinities from ncnn, or take another runtime"
    }

    def load(self, path: Path) -> Run:
        import ncnn
        import pnnx

        net = ncnn.Net()
        with tempfile.TemporaryDirectory(prefix="torch_sigmoid_ext-") as name:
            folder = Path(name)
            (folder / "model.onnx").write_bytes(path.read_bytes())  # it writes beside its input
            shapes = [
                f"{key}={','.join(map(str, example_shapes(path, grow)))}".replace(" ", "")
                for key, grow in (("inputshape", 0), ("inputshape2", 3))  # two, for what is dynamic
            ]
            command = [pnnx.EXEC_PATH, "model.onnx", "fp16=0", *shapes]
            done = run_command(command, folder, CONVERT_LIMIT)
            param, weights = folder / "model.ncnn.param", folder / "model.ncnn.bin"
            if not param.exists() or net.load_param(str(param)) or net.load_model(str(weights)):
                raise RuntimeError(f"pnnx {done.manner}: {done.last_line}")
        count = len(onnx_names(path)[1])

        def run(inputs: list[Array]) -> list[Array]:
            with net.create_extractor() as extractor:
                for number, x in enumerate(inputs):
                    extractor.input(f"in{number}", ncnn.Mat(x).clone())
                found = [extractor.extract(f"out{number}") for number in range(count)]
                if any(status for status, _ in found):
                    raise RuntimeError(f"ncnn ends with {[status for status, _ in found]}")
                return [np.array(output) for _, output in found]

        return run

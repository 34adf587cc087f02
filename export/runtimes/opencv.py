"""OpenCV's dnn module."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from .onnx_names import onnx_names
from .packages import Packaged
from .runtime import Array, Run


class OpenCv(Packaged):
    """cv2.dnn.readNetFromONNX on the CPU."""

    name = "opencv"
    format = "onnx"
    confined = True
    install = "pip install opencv-python-headless"
    precision = "float32; float64 as float32"
    imports = "cv2"
    distributions = (
        *("opencv-python-headless", "opencv-python"),
        *("opencv-contrib-python-headless", "opencv-contrib-python"),
    )
    on_request = True
    mends: ClassVar = {
        **dict.fromkeys(
            ("native", "stable", "exact"), "use --gate portable for it: OpenCV flushes subnormals"
        ),
        "function": "export for OpenCV with --sigmoid exact and --gate portable",
    }

    def load(self, path: Path) -> Run:
        import cv2

        try:
            net = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:  # of several lines, the last of them empty
            raise RuntimeError(" ".join(error.err.replace(">", " ").split())) from None
        inputs_of, outputs_of = onnx_names(path)

        def run(inputs: list[Array]) -> list[Array]:
            for name, x in zip(inputs_of, inputs, strict=True):
                net.setInput(x, name)
            return [np.array(output) for output in net.forward(outputs_of)]

        return run

"""OpenVINO's CPU plug-in, held to float32, and as it is by default.

By default it computes matrix products and convolutions in bfloat16 wherever the CPU has
instructions for that (AVX-512 BF16, AMX), whatever the file says. float64 it computes in float32
always, so the exact lowering has nothing of its float64.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .packages import Packaged
from .runtime import Array, Run

_FLUSHED = (
    "OpenVINO computes float64 in float32, flushes small results and keeps NaN in its own Sigmoid "
    "alone: export for it with --sigmoid native and --gate absolute"
)


class OpenVino(Packaged):
    """openvino.Core().compile_model for the CPU, INFERENCE_PRECISION_HINT=f32."""

    name = "openvino"
    format = "onnx"
    confined = True
    install = "pip install openvino"
    precision = "float32, by INFERENCE_PRECISION_HINT; float64 as float32"
    imports = "openvino"
    distributions = ("openvino",)
    on_request = True  # no lowering brings it within strict
    mends = dict.fromkeys(("exact", "stable", "function"), _FLUSHED) | {
        "native": "use --gate absolute for it: OpenVINO flushes small results in every lowering"
    }
    hints: dict[str, str] = {"INFERENCE_PRECISION_HINT": "f32"}  # noqa: RUF012

    def load(self, path: Path) -> Run:
        import openvino

        model = openvino.Core().compile_model(path, "CPU", self.hints)

        def run(inputs: list[Array]) -> list[Array]:
            results = model(inputs)
            return [np.array(results[number]) for number in range(len(model.outputs))]

        return run

    def features(self) -> str:
        import openvino

        core = openvino.Core()
        chosen = core.get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name()
        able = ", ".join(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
        return f"{able}; by default in {chosen}"


class OpenVinoDefault(OpenVino):
    """The same with no hint: what a user gets who asks for nothing."""

    name = "openvino-default"
    precision = "the CPU's choice; float64 as float32"
    hints: dict[str, str] = {}  # noqa: RUF012

"""tract, the ONNX runtime in Rust."""

from __future__ import annotations

from pathlib import Path

from .packages import Packaged
from .runtime import Array, Run


class Tract(Packaged):
    """tract.onnx().load(path), made runnable with its own optimizations."""

    name = "tract"
    format = "onnx"
    confined = True
    install = "pip install tract"
    imports = "tract"
    distributions = ("tract",)
    on_request = True  # it has no float64 Round, which the exact lowering needs
    mends = dict.fromkeys(("exact", "native", "function"), "export for tract with --sigmoid stable")

    def environment(self) -> dict[str, str]:
        return {"RUST_BACKTRACE": "0", "RUST_LIB_BACKTRACE": "0"}  # errors end with the cause

    def load(self, path: Path) -> Run:
        import tract

        model = tract.onnx().load(str(path)).into_model().into_runnable()

        def run(inputs: list[Array]) -> list[Array]:
            return [output.to_numpy() for output in model.run(inputs)]

        return run

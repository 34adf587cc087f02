"""One adapter a runtime, all behind one verb: ``load(path)``, a function of inputs to outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

Array = NDArray[Any]
Run = Callable[[list[Array]], list[Array]]


class Runtime(Protocol):
    """A runtime for the files of one format."""

    name: str  # on the command line
    format: str  # the format it runs; "" for eager, which runs the operator itself
    install: str  # the command that brings it

    def version(self) -> str:
        """Its version, or "" where it is not installed."""

    def load(self, path: Path) -> Run:
        """The file, ready to be run; called in a process of its own (worker.py)."""


def _runtimes() -> dict[str, Runtime]:
    from .eager import Eager
    from .onnxruntime import OnnxRuntime
    from .reference import Reference
    from .torchscript import TorchScript

    runtimes: list[Runtime] = [Eager(), TorchScript(), OnnxRuntime(), Reference()]
    return {runtime.name: runtime for runtime in runtimes}


RUNTIMES = _runtimes()
PLANNED = {
    "compile": "torch.compile",
    "export": "torch.export's file in Python",
    "aoti": "an AOTInductor package in Python",
    "aoti-cpp": "an AOTInductor package in C++",
    "torchscript-cpp": "TorchScript in C++",
    "onnxruntime-web": "ONNX Runtime in WebAssembly",
    "openvino": "OpenVINO",
    "tract": "tract",
}

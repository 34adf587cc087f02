"""ONNX Runtime's CPU provider, with its default options: what a user gets who asks for nothing."""

from __future__ import annotations

from pathlib import Path

from .runtime import Array, Run, Runtime


class OnnxRuntime(Runtime):
    """onnxruntime.InferenceSession."""

    name = "onnxruntime"
    format = "onnx"
    confined = True
    install = "pip install onnxruntime"

    def version(self) -> str:
        try:
            import onnxruntime
        except ImportError:
            return ""
        return str(onnxruntime.__version__)

    def load(self, path: Path) -> Run:
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [node.name for node in session.get_inputs()]

        def run(inputs: list[Array]) -> list[Array]:
            return list(session.run(None, dict(zip(names, inputs, strict=True))))

        return run

"""One adapter a runtime, all behind one verb: ``load(path)``, a function of inputs to outputs."""

from __future__ import annotations

from .runtime import Array, Run, Runtime

__all__ = ["RUNTIMES", "Array", "Run", "Runtime"]


def _runtimes() -> dict[str, Runtime]:
    from ..plugins import plugins
    from .aoti import Aoti
    from .compile import Compile
    from .cpp import AotiCpp, TorchScriptCpp
    from .eager import Eager
    from .executorch import ExecuTorch, ExecuTorchPortable
    from .export import Export
    from .jax import Jax
    from .litert import LiteRt
    from .mnn import Mnn
    from .ncnn import Ncnn
    from .onnxruntime import OnnxRuntime
    from .onnxruntime_web import OnnxRuntimeWeb
    from .opencv import OpenCv
    from .openvino import OpenVino, OpenVinoDefault
    from .reference import Reference
    from .torchscript import TorchScript
    from .tract import Tract
    from .tvm import Tvm

    runtimes: list[Runtime] = [
        *(Eager(), Compile(), Export(), Aoti(), AotiCpp(), TorchScript(), TorchScriptCpp()),
        *(OnnxRuntime(), OnnxRuntimeWeb(), Reference(), OpenVino(), OpenVinoDefault(), Tract()),
        *(OpenCv(), Ncnn(), Mnn(), Tvm(), Jax(), LiteRt(), ExecuTorch(), ExecuTorchPortable()),
    ]
    own = {runtime.name: runtime for runtime in runtimes}
    return own | {plugin.name: plugin for plugin in plugins(own)}


RUNTIMES = _runtimes()

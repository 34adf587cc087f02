"""TVM: the ONNX file through Relax's importer, compiled by LLVM for the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from .packages import Packaged
from .runtime import Array, Run


class Tvm(Packaged):
    """tvm.compile of the file for the target "llvm", as TVM's quick start has it."""

    name = "tvm"
    format = "onnx"
    install = "pip install apache-tvm"
    imports = "tvm"
    distributions = ("apache-tvm",)
    confined = True
    on_request = True  # it compiles each file, and has no model-local functions
    mends: ClassVar = {"function": "export for tvm with --sigmoid exact"}

    def load(self, path: Path) -> Run:
        import onnx
        import tvm
        from tvm import relax
        from tvm.relax.frontend.onnx import from_onnx

        module = relax.get_pipeline("zero")(from_onnx(onnx.load(path)))
        compiled = tvm.compile(module, tvm.target.Target("llvm"))
        main = relax.VirtualMachine(compiled, tvm.cpu())["main"]

        def run(inputs: list[Array]) -> list[Array]:
            outputs = main(*map(tvm.runtime.tensor, inputs))
            several = outputs if isinstance(outputs, tvm.ir.Array) else [outputs]
            return [output.numpy() for output in several]

        return run

    def features(self) -> str:
        from tvm.target import codegen

        return f"LLVM {codegen.llvm_version_major()}, its baseline for the architecture"

"""The sigmoids of the runtimes that may be installed, each as a function of one tensor."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import torch_sigmoid_ext

Array = NDArray[Any]
Sigmoid = Callable[[Tensor], Tensor]

F16, BF16, F32, F64 = torch.float16, torch.bfloat16, torch.float32, torch.float64


@dataclass(frozen=True)
class Peer:
    """A runtime's own sigmoid, with its default options on a CPU."""

    name: str
    package: str  # whose version is the runtime's
    dtypes: tuple[torch.dtype, ...]  # those it computes in
    load: Callable[[torch.dtype], Sigmoid]

    def version(self) -> str:
        """Its version, or "" where it is not installed."""
        try:
            return importlib.metadata.version(self.package).split("+")[0]
        except importlib.metadata.PackageNotFoundError:
            return ""


def to_numpy(tensor: Tensor) -> Array:
    if tensor.dtype != BF16:
        array: Array = tensor.numpy()
        return array
    import ml_dtypes  # numpy has no bfloat16 of its own

    bits: Array = tensor.view(torch.int16).numpy()
    return bits.view(ml_dtypes.bfloat16)


def from_numpy(array: Array, dtype: torch.dtype) -> Tensor:
    if dtype != BF16:
        return torch.from_numpy(np.array(array))
    return torch.from_numpy(np.array(array).view(np.int16)).view(BF16)


def of_numpy(function: Callable[[Array], Any]) -> Callable[[torch.dtype], Sigmoid]:
    """A function of arrays that takes every dtype as it comes."""

    def load(dtype: torch.dtype) -> Sigmoid:
        def run(x: Tensor) -> Tensor:
            with np.errstate(all="ignore"):
                return from_numpy(np.asarray(function(to_numpy(x))), dtype)

        return run

    return load


def textbook(x: Array) -> Array:
    one = x.dtype.type(1)
    result: Array = one / (one + np.exp(-x))
    return result


def expit(x: Array) -> Any:
    import scipy.special

    return scipy.special.expit(x)


def compiled(dtype: torch.dtype) -> Sigmoid:
    # Its workers would be forked after jax has started threads.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    function: Sigmoid = torch.compile(torch.sigmoid, dynamic=True)
    return function


def onnx_model(dtype: torch.dtype) -> Any:
    from onnx import TensorProto, helper

    names = {F16: "FLOAT16", BF16: "BFLOAT16", F32: "FLOAT", F64: "DOUBLE"}
    element = getattr(TensorProto, names[dtype])
    ends = [helper.make_tensor_value_info(name, element, ["n"]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Sigmoid", ["x"], ["y"])], "g", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def onnxruntime(dtype: torch.dtype) -> Sigmoid:
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(
        onnx_model(dtype).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return of_numpy(lambda x: session.run(None, {"x": x})[0])(dtype)


def reference(dtype: torch.dtype) -> Sigmoid:
    from onnx.reference import ReferenceEvaluator

    evaluator: Any = ReferenceEvaluator(onnx_model(dtype))
    return of_numpy(lambda x: evaluator.run(None, {"x": x})[0])(dtype)


def jax(dtype: torch.dtype) -> Sigmoid:
    import jax

    jax.config.update("jax_enable_x64", True)
    return of_numpy(lambda x: jax.nn.sigmoid(jax.numpy.asarray(x)))(dtype)


def openvino(dtype: torch.dtype) -> Sigmoid:
    import openvino
    from openvino import opset13

    x = opset13.parameter([-1], {F32: np.float32, F16: np.float16}[dtype])
    model = openvino.Model([opset13.sigmoid(x)], [x])
    precise = {"INFERENCE_PRECISION_HINT": "f32"}  # some CPUs would be given bfloat16
    run: Any = openvino.Core().compile_model(model, "CPU", precise)
    return of_numpy(lambda x: run([x])[0])(dtype)


def ours(fast: bool) -> Callable[[torch.dtype], Sigmoid]:
    return lambda dtype: lambda x: torch_sigmoid_ext.sigmoid(x, fast=fast)


ALL = (F32, F16, BF16, F64)
PEERS = {
    peer.name: peer
    for peer in (
        Peer("torch_sigmoid_ext", "torch_sigmoid_ext", ALL, ours(fast=False)),
        Peer("torch_sigmoid_ext, fast=True", "torch_sigmoid_ext", ALL, ours(fast=True)),
        Peer("torch", "torch", ALL, lambda dtype: torch.sigmoid),
        Peer("torch.compile", "torch", ALL, compiled),
        Peer("onnxruntime", "onnxruntime", (F32, F16, F64), onnxruntime),
        Peer("onnx.reference", "onnx", ALL, reference),
        Peer("jax", "jax", ALL, jax),
        Peer("openvino", "openvino", (F32, F16), openvino),
        Peer("scipy.special.expit", "scipy", (F32, F64), of_numpy(expit)),
        Peer("numpy, 1 / (1 + exp(-x))", "numpy", ALL, of_numpy(textbook)),
    )
}

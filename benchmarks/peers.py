"""Who computes the same: one function a peer, from a case to the call that is timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import torch_sigmoid_ext

from .cases import Case, Tensors
from .timing import Call

OURS = "ours"
EAGER = "torch eager"


class NoPeer(Exception):
    """This peer has no such operation: its cell stays empty."""


class NotInstalled(NoPeer):
    """The peer is not there at all; the text says what is missing."""


def ours(case: Case, data: Tensors) -> Call:
    """Through torch_sigmoid_ext.sigmoid, as a user calls it; the backward as autograd does."""
    if case.kernel == "backward":
        return _backward(torch.ops.torch_sigmoid_ext.sigmoid_backward, case, data)
    names = {"sigmoid": torch_sigmoid_ext.sigmoid, "x": data.x, "out": data.out}
    arguments = ["x"]
    if case.kernel == "fast":
        arguments.append("fast=True")
    if case.output == "out=":
        arguments.append("out=out")
    return Call(f"sigmoid({', '.join(arguments)})", names)


def eager(case: Case, data: Tensors) -> Call:
    """torch.sigmoid, or its backward."""
    if case.kernel == "backward":
        return _backward(torch.ops.aten.sigmoid_backward, case, data)
    names = {"sigmoid": torch.sigmoid, "x": data.x, "out": data.out}
    return Call("sigmoid(x, out=out)" if case.output == "out=" else "sigmoid(x)", names)


def _backward(operator: Any, case: Case, data: Tensors) -> Call:
    names = {"grad_output": data.grad_output, "y": data.x, "out": data.out}
    if case.output == "fresh":
        return Call("backward(grad_output, y)", names | {"backward": operator.default})
    for overload in ("grad_input", "out"):
        if overload in operator.overloads():
            names["backward"] = getattr(operator, overload)
            return Call(f"backward(grad_output, y, {overload}=out)", names)
    raise NoPeer(f"{operator} has no out= form")


def _sigmoid_out(x: Tensor, out: Tensor) -> Tensor:
    return torch.sigmoid(x, out=out)


def compiled(case: Case, data: Tensors) -> Call:
    """torch.compile's default backend, compiled for this shape and number of threads."""
    torch._dynamo.reset()
    writes = case.output == "out="
    function: Any = torch.compile(_sigmoid_out if writes else torch.sigmoid, dynamic=False)
    call = Call(
        "function(x, out)" if writes else "function(x)",
        {"function": function, "x": data.x, "out": data.out},
    )
    try:
        call.timer().timeit(1)
    except (torch._dynamo.exc.TorchDynamoException, RuntimeError) as error:
        raise NotInstalled(f"it does not compile here: {str(error).splitlines()[0]}") from error
    return call


def onnxruntime(case: Case, data: Tensors) -> Call:
    """One Sigmoid node: session.run returns a fresh output, a binding writes into `out`."""
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as errors
    except ImportError as error:
        raise NotInstalled(str(error)) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Its waiting threads would otherwise spin on the core that the next peer needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            _sigmoid_model(case.dtype), options, providers=["CPUExecutionProvider"]
        )
    except errors.NotImplemented as error:
        raise NoPeer(f"no Sigmoid in {case.dtype}") from error
    x = data.x.numpy()
    if case.output == "fresh":
        return Call("run(None, {'x': x})", {"run": session.run, "x": x})
    binding = session.io_binding()
    binding.bind_cpu_input("x", x)
    binding.bind_output("y", "cpu", 0, x.dtype, x.shape, data.out.data_ptr())
    names = {"run": session.run_with_iobinding, "binding": binding, "kept": (x, data.out)}
    return Call("run(binding)", names)


def _sigmoid_model(dtype: str) -> bytes:
    try:
        from onnx import TensorProto, helper
    except ImportError as error:
        raise NotInstalled(str(error)) from error
    names = {"float16": "FLOAT16", "bfloat16": "BFLOAT16", "float32": "FLOAT", "float64": "DOUBLE"}
    element = getattr(TensorProto, names[dtype])
    x, y = (helper.make_tensor_value_info(name, element, ["n"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Sigmoid", ["x"], ["y"])], "sigmoid", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def scipy(case: Case, data: Tensors) -> Call:
    """scipy.special.expit, which has one thread."""
    try:
        from scipy.special import expit  # type: ignore[import-untyped]
    except ImportError as error:
        raise NotInstalled(str(error)) from error
    if case.dtype not in ("float32", "float64"):
        raise NoPeer(f"no expit in {case.dtype}")
    if torch.get_num_threads() > 1:
        raise NoPeer("one thread only")
    names = {"expit": expit, "x": data.x.numpy(), "out": data.out.numpy()}
    return Call("expit(x, out=out)" if case.output == "out=" else "expit(x)", names)


def copy_limit(case: Case, data: Tensors) -> Call:
    """What reading and writing so many bytes costs.

    A copy into pages that are there; for the backward, which reads two tensors and writes a new
    one, torch's product of the two.
    """
    if case.kernel == "backward":
        return Call("mul(y, g)", {"mul": torch.mul, "y": data.x, "g": data.grad_output})
    return Call("out.copy_(x)", {"x": data.x, "out": data.out})


LIMIT = "copy"  # a limit rather than a peer, and all that stands beside a backward

# Beside eager, which is in every cell.
PEERS: dict[str, Callable[[Case, Tensors], Call]] = {
    "torch.compile": compiled,
    "onnxruntime": onnxruntime,
    "scipy": scipy,
    LIMIT: copy_limit,
}

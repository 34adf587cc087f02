"""The CUDA backend on a GPU: the CPU's bits, and whatever else the operator promises, there too.

Skipped where torch finds no device. `make test-cuda` runs all of it; the long ones (every float32,
tensors of more than 2^31 elements, compute-sanitizer) run only there. Needs torch, numpy, pytest.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from test_kernels import questions, same
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import jvp, vmap
from truth import DTYPES

from torch_sigmoid_ext import Sigmoid, convert, sigmoid, sigmoid_

ROOT = Path(__file__).parents[1]
GIB = 1 << 30
COMPLEX = [torch.complex64, torch.complex128]
INTEGERS = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device: torch.cuda.is_available() is False"
)
slow = pytest.mark.skipif(
    "TORCH_SIGMOID_EXT_SLOW" not in os.environ, reason="long; `make test-cuda` runs it"
)
backward_op = torch.ops.torch_sigmoid_ext.sigmoid_backward


def needs_memory(gib: int) -> None:
    torch.cuda.empty_cache()
    free = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else 0
    if free < gib * GIB:
        pytest.skip(f"needs {gib} GiB of free GPU memory, has {free / GIB:.0f}")


def near(inputs: Tensor) -> Tensor:
    """Complex numbers for which the CPU does not ask the C library, whose last bits are its own."""
    if not inputs.is_complex():
        return inputs
    inside = (inputs.real.abs() <= 700) & (inputs.imag.abs() <= 8192)
    return inputs[inside | (inputs.imag == 0)]


def spread(numel: int, dtype: torch.dtype) -> Tensor:
    """Numbers of every size that matters, on the GPU, none of them NaN."""
    values = near(questions(dtype))
    values = values[~values.isnan()]
    return values.repeat(-(-numel // len(values)))[:numel].cuda()


# Bits


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("dtype", [*DTYPES, *COMPLEX])
def test_results_have_the_cpu_s_bits(dtype: torch.dtype, fast: bool) -> None:
    inputs = near(questions(dtype))
    assert same(sigmoid(inputs.cuda(), fast=fast).cpu(), sigmoid(inputs, fast=fast))


@pytest.mark.parametrize("dtype", [*DTYPES, *COMPLEX])
def test_gradients_have_the_cpu_s_bits(dtype: torch.dtype) -> None:
    inputs = questions(dtype)
    output = sigmoid(inputs)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    for grad_output in (inputs[order], torch.ones_like(inputs)):
        got = backward_op(grad_output.cuda(), output.cuda()).cpu()
        assert same(got, backward_op(grad_output, output))


@pytest.mark.parametrize("dtype", COMPLEX)
def test_complex_far_from_the_origin_agrees_within_the_two_bounds(dtype: torch.dtype) -> None:
    inputs = questions(dtype)
    inputs = inputs[inputs.isfinite()]
    got, expected = sigmoid(inputs.cuda()).cpu(), sigmoid(inputs)
    epsilon = 2.0**-52 if dtype == torch.complex128 else 2.0**-23
    error = (got.to(torch.complex128) - expected.to(torch.complex128)).abs()
    least = torch.finfo(dtype).smallest_normal * epsilon  # two or three of them in the tail
    limit = 8 * epsilon * expected.abs().double() + 3 * least
    assert (error <= limit).all(), inputs[error > limit][:3]


def hash_of(bits: Tensor, outputs: Tensor) -> int:
    """As tests/kernels/prove.cpp hashes (input, output), both given as bits in int64."""

    def shifted_right(value: Tensor, by: int) -> Tensor:
        return (value >> by) & ((1 << (64 - by)) - 1)

    def signed(value: int) -> int:
        return value - (1 << 64) if value >= 1 << 63 else value

    value = bits << 32 | outputs
    value = (value ^ shifted_right(value, 30)) * signed(0xBF58476D1CE4E5B9)
    value = (value ^ shifted_right(value, 27)) * signed(0x94D049BB133111EB)
    return int((value ^ shifted_right(value, 31)).sum()) % (1 << 64)


def proved_hash(dtype: torch.dtype, kernel: str) -> str:
    """The hash that docs/prove.txt prints for this dtype and kernel, "exact" or "fast"."""
    printed = (ROOT / "docs" / "prove.txt").read_text()
    part = printed[printed.index(f"\n{str(dtype).removeprefix('torch.')}: all") :]
    part = part[part.index(f"\n  {kernel} ") :]
    found = re.search(r"\b[0-9a-f]{16}\b", part)
    assert found
    return found[0]


def hash_of_every_input(dtype: torch.dtype, fast: bool, device: str = "cuda") -> str:
    bits_dtype, canonical = {
        torch.float16: (torch.int16, 0x7E00),
        torch.bfloat16: (torch.int16, 0x7FC0),
        torch.float32: (torch.int32, 0x7FC00000),
    }[dtype]
    size = 8 * dtype.itemsize
    chunk = min(1 << 26, 1 << size)
    total = 0
    for first in range(0, 1 << size, chunk):
        bits = torch.arange(first, first + chunk, dtype=torch.int64, device=device)
        inputs = bits.to(bits_dtype).view(dtype)
        outputs = sigmoid(inputs, fast=fast)
        output_bits = outputs.view(bits_dtype).long() & ((1 << size) - 1)
        output_bits = torch.where(outputs.isnan(), canonical, output_bits)
        total += hash_of(bits, output_bits)
    return f"{total % (1 << 64):016x}"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_16_bit_input_has_the_proved_result(dtype: torch.dtype) -> None:
    assert hash_of_every_input(dtype, fast=False) == proved_hash(dtype, "exact")


@slow
@pytest.mark.parametrize("method", ["double", "pairs"])
def test_every_float32_input_has_the_proved_result(method: str) -> None:
    code = "import test_cuda, torch; print(test_cuda.hash_of_every_input(torch.float32, False))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "tests",
        env={**os.environ, "TORCH_SIGMOID_EXT_CUDA_FLOAT32": method},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == proved_hash(torch.float32, "exact")


@slow
def test_every_float32_input_has_the_fast_kernel_s_result() -> None:
    assert hash_of_every_input(torch.float32, fast=True) == proved_hash(torch.float32, "fast")


def test_results_are_the_same_every_time() -> None:
    inputs = spread(1 << 22, torch.float32)
    first = sigmoid(inputs)
    assert all(torch.equal(sigmoid(inputs), first) for _ in range(5))


# Layouts and sizes


def layouts(dtype: torch.dtype) -> dict[str, Tensor]:
    base = spread(4 * 6 * 10 * 14, dtype).view(4, 6, 10, 14)
    return {
        "0-d": base[0, 0, 0, 0],
        "empty": base[:0],
        "one": base.view(-1)[3:4],
        "contiguous": base,
        "transposed": base.transpose(1, 3),
        "permuted": base.permute(2, 0, 3, 1),
        "channels last": base.contiguous(memory_format=torch.channels_last),
        "every other": base.view(-1)[::2],
        "columns": base[..., 2:9],
        "rows": base[:, 1:4],
        "expanded": base[:, :1].expand(4, 6, 10, 14),
        "sliced and transposed": base[:, 1:5, ::3].transpose(0, 2),
        "size one, odd strides": base.as_strided((1, 3), (77, 1)),
        "offset": base.view(-1)[3:],
    }


@pytest.mark.parametrize("layout", layouts(torch.float32) if torch.cuda.is_available() else ["any"])
@pytest.mark.parametrize("dtype", [*DTYPES, *COMPLEX])
def test_every_layout_has_the_cpu_s_bits_and_strides(dtype: torch.dtype, layout: str) -> None:
    inputs = layouts(dtype)[layout]
    host = torch.empty_strided(inputs.shape, inputs.stride(), dtype=dtype)
    host = host.copy_(inputs) if layout != "expanded" else inputs[:, :1].cpu().expand(inputs.shape)
    expected = sigmoid(host)
    for fast in (False, True):
        output = sigmoid(inputs, fast=fast)
        assert output.stride() == expected.stride() == torch.sigmoid(inputs).stride()
        assert same(output.cpu(), sigmoid(host, fast=fast))
    grads = inputs.flip(0) if inputs.dim() else inputs
    assert same(backward_op(grads, sigmoid(inputs)).cpu(), backward_op(grads.cpu(), expected))


@pytest.mark.parametrize("dtype", [*DTYPES, *COMPLEX])
def test_any_length_and_alignment_is_right_and_nothing_else_is_written(dtype: torch.dtype) -> None:
    inputs = spread(6000, dtype)
    expected = sigmoid(inputs)
    for length in (1, 2, 7, 15, 16, 17, 63, 255, 1000, 4099):
        for start in (0, 1, 3):
            for offset in (1, 2, 5):
                out = torch.full((length + offset + 9,), -7, dtype=dtype, device="cuda")
                view = out[offset : offset + length]
                sigmoid(inputs[start : start + length], out=view)
                assert torch.equal(view, expected[start : start + length])
                assert (out[:offset] == -7).all() and (out[offset + length :] == -7).all()
                view.copy_(inputs[start : start + length])
                sigmoid_(view)
                assert torch.equal(view, expected[start : start + length])
                assert (out[:offset] == -7).all() and (out[offset + length :] == -7).all()


class Across:
    """These doubles from the second on as complex128: torch itself makes no such view."""

    def __init__(self, parts: Tensor) -> None:
        self.__cuda_array_interface__ = {
            "shape": (parts.numel() // 2 - 1,),
            "strides": None,
            "typestr": "<c16",
            "data": (parts.data_ptr() + parts.element_size(), False),
            "version": 2,
        }


def test_complex_that_lies_across_16_bytes_is_right() -> None:
    parts = torch.randn(2004, dtype=torch.float64, device="cuda")
    inputs = torch.as_tensor(Across(parts), device="cuda")
    assert inputs.dtype == torch.complex128 and inputs.data_ptr() % 16 == 8

    def aligned() -> Tensor:  # for torch's kernels, which would fault
        return torch.view_as_complex(parts[1:-1].clone().view(-1, 2))

    expected = sigmoid(aligned())
    assert torch.equal(sigmoid(inputs), expected)
    assert torch.equal(sigmoid(inputs[::2]), expected[::2])
    sigmoid_(inputs)
    assert torch.equal(aligned(), expected)


@pytest.mark.parametrize("dtype", [*DTYPES, *COMPLEX])
@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (33, 129), (130, 257), (5, 40, 41)])
def test_transposed_input_gives_the_bits_of_a_contiguous_one(
    dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    numel = 2 * int(torch.tensor(shape).prod())
    wide = spread(numel, dtype).view(*shape[:-1], -1)
    for x in (wide, wide[..., ::2], wide[..., 1:]):
        crossed = x.transpose(-1, -2)
        expected = sigmoid(crossed.contiguous())
        out = torch.full(crossed.shape, -7, dtype=dtype, device="cuda")
        assert torch.equal(sigmoid(crossed, out=out), expected)
        apart = torch.full((*crossed.shape, 2), -7, dtype=dtype, device="cuda")
        assert torch.equal(sigmoid(crossed, out=apart[..., 0]), expected)
        assert (apart[..., 1] == -7).all()


@slow
def test_more_than_2_31_elements() -> None:
    needs_memory(20)
    numel = (1 << 31) + 4099
    inputs = spread(1 << 20, torch.bfloat16).repeat(numel // (1 << 20) + 1)[:numel]
    output = sigmoid(inputs)
    expected = sigmoid(inputs[: 1 << 20])
    for first in range(0, numel - (1 << 20), 1 << 28):
        assert torch.equal(output[first : first + (1 << 20)], expected)
    assert torch.equal(output[-4099:], expected[:4099])
    gradient = backward_op(inputs, output)
    assert torch.equal(gradient[-4099:], backward_op(inputs[-4099:], output[-4099:]))


@slow
def test_offsets_beyond_32_bits() -> None:
    needs_memory(30)
    rows = 1 << 16
    columns = (1 << 15) + 77
    base = spread(1 << 20, torch.bfloat16)
    inputs = base.repeat(2 * rows * columns // len(base) + 1)[: 2 * rows * columns]
    apart = inputs[::2]
    output = sigmoid(apart)
    assert torch.equal(output[-5000:], sigmoid(apart[-5000:].contiguous()))
    assert torch.equal(output[:5000], sigmoid(apart[:5000].contiguous()))
    del output
    crossed = inputs[: rows * columns].view(columns, rows).t()
    out = torch.empty(crossed.shape, dtype=crossed.dtype, device="cuda")
    sigmoid(crossed, out=out)
    for row in (0, 1, rows // 2, rows - 1):
        assert torch.equal(out[row], sigmoid(crossed[row].contiguous()))


# What torch.sigmoid promises


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_bool_and_integers_promote_to_the_default_float_type(
    dtype: torch.dtype, default: torch.dtype
) -> None:
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(default)
        host = torch.arange(64).remainder(100).to(dtype).view(8, 8)
        for inputs in (host, host.t(), host[:, ::2]):
            output = sigmoid(inputs.cuda())
            assert output.dtype == default
            assert torch.equal(output.cpu(), sigmoid(inputs))
    finally:
        torch.set_default_dtype(before)


@pytest.mark.filterwarnings("ignore:An output with one or more elements was resized")
def test_out_is_resized_cast_to_and_refused_as_on_the_cpu() -> None:
    x = torch.randn(4, 6)
    for out in (torch.empty(0), torch.empty(3, 5), torch.empty(4, 6, dtype=torch.float64)):
        device_out = out.cuda()
        assert sigmoid(x.cuda(), out=device_out) is device_out
        assert torch.equal(device_out.cpu(), sigmoid(x, out=out))
    whole = torch.arange(4, device="cuda")
    out = torch.empty(4, device="cuda")
    assert torch.equal(sigmoid(whole, out=out).cpu(), sigmoid(whole.cpu()))
    with pytest.raises(RuntimeError, match="can't be cast"):
        sigmoid(x.cuda(), out=torch.empty(4, 6, dtype=torch.long, device="cuda"))
    base = torch.zeros(8, device="cuda")
    with pytest.raises(RuntimeError, match="clone"):
        sigmoid(base[:6], out=base[2:])
    with pytest.raises(RuntimeError, match="clone"):
        sigmoid_(torch.zeros(1, device="cuda").expand(3))


def test_tensors_on_different_devices_are_refused_clearly() -> None:
    x = torch.randn(3)
    with pytest.raises(RuntimeError, match=r"same device.*out=torch.empty_like\(input\)"):
        sigmoid(x.cuda(), out=torch.empty(3))
    with pytest.raises(RuntimeError, match="same device"):
        sigmoid(x, out=torch.empty(3, device="cuda"))
    with pytest.raises(RuntimeError, match="device"):
        backward_op(x.cuda(), x)
    with pytest.raises(NotImplementedError, match=r"input.float\(\)"):
        sigmoid(x.cuda().to(torch.float8_e5m2))


@pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr"])
def test_sparse_tensors_are_refused_with_what_to_do(layout: str) -> None:
    with pytest.raises(NotImplementedError, match=r"pass input.to_dense\(\)"):
        sigmoid(getattr(torch.eye(3, device="cuda"), layout)())


def test_gradient_broadcasts_promotes_and_takes_a_number_of_the_cpu() -> None:
    grad, output = torch.randn(3, 1), torch.rand(4)
    got = backward_op(grad.cuda(), output.cuda())
    assert torch.equal(got.cpu(), backward_op(grad, output))
    got = backward_op(grad.cuda().double(), output.cuda())
    assert got.dtype == torch.float64
    assert torch.equal(got.cpu(), backward_op(grad.double(), output))
    number = torch.tensor(2.0)
    assert torch.equal(backward_op(number, output.cuda()).cpu(), backward_op(number, output))


def in_place(x: Tensor) -> Tensor:
    return sigmoid_(x.clone())


@pytest.mark.parametrize("form", [sigmoid, in_place])
def test_derivatives_agree_with_finite_differences(form: Callable[[Tensor], Tensor]) -> None:
    x = (3 * torch.randn(3, 4, dtype=torch.float64, device="cuda")).requires_grad_()
    assert gradcheck(form, (x,), check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(form, (x.t(),), check_fwd_over_rev=True)
    z = torch.randn(3, dtype=torch.complex128, device="cuda", requires_grad=True)
    assert gradcheck(form, (z,), check_forward_ad=True)


def test_transforms_agree_with_the_cpu() -> None:
    x, v = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    ours = jvp(sigmoid, (x.cuda(),), (v.cuda(),))[1].cpu()
    assert torch.equal(ours, jvp(sigmoid, (x,), (v,))[1])
    for dim in range(2):
        batched = vmap(sigmoid, in_dims=dim, out_dims=dim)(x.cuda())
        assert torch.equal(batched.cpu(), sigmoid(x))


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_compiled_functions_give_the_eager_bits() -> None:
    model = convert(torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Sigmoid())).cuda()
    x = torch.randn(3, 5, device="cuda", requires_grad=True)
    compiled = torch.compile(model, fullgraph=True)
    with torch.no_grad():
        linear = model[0](x)
    torch.testing.assert_close(compiled(x), sigmoid(linear))
    plain = torch.compile(lambda t: sigmoid(t) + 1, fullgraph=True)
    y = torch.randn(1000, device="cuda")
    assert torch.equal(plain(y), sigmoid(y) + 1)
    (ours,) = torch.autograd.grad(compiled(x).sum(), x)
    (eager,) = torch.autograd.grad(model(x).sum(), x)
    torch.testing.assert_close(ours, eager)


def test_autocast_leaves_the_dtype_alone_as_for_torch_sigmoid() -> None:
    x = torch.randn(3, device="cuda")
    with torch.autocast("cuda", dtype=torch.float16):
        assert sigmoid(x).dtype == torch.sigmoid(x).dtype == torch.float32
        assert sigmoid(x.half()).dtype == torch.sigmoid(x.half()).dtype == torch.float16


def test_opcheck_passes() -> None:
    operators = torch.ops.torch_sigmoid_ext
    for x in (torch.randn(3, 4, device="cuda"), torch.randn(6, 8, device="cuda").half()[1:5].t()):
        torch.library.opcheck(operators.sigmoid.default, (x.clone().requires_grad_(),))
        torch.library.opcheck(operators.sigmoid_.default, (x.clone(),))
        torch.library.opcheck(operators.sigmoid.out, (x,), {"out": torch.empty_like(x)})
        torch.library.opcheck(operators.sigmoid_backward.default, (torch.ones_like(x), x))


def test_modules_move_to_the_device() -> None:
    x = torch.randn(5, 3)
    assert torch.equal(Sigmoid().cuda()(x.cuda()).cpu(), Sigmoid()(x))
    inplace = x.cuda()
    assert Sigmoid(inplace=True)(inplace) is inplace
    assert torch.equal(inplace.cpu(), sigmoid(x))


# Streams, graphs, devices


def test_graph_replays_on_new_data() -> None:
    static = torch.randn(10_000, device="cuda")
    strided = torch.randn(100, 60, device="cuda")
    out = torch.empty(60, 100, device="cuda")
    for _ in range(2):  # capture wants lazy loading over
        backward_op(static, sigmoid(static))
        sigmoid(strided.t(), out=out)
        sigmoid_(strided[:, ::2].clone())
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = sigmoid(static)
        gradient = backward_op(static, output)
        sigmoid(strided.t(), out=out)
        half = sigmoid(static.half()[::2])
    for seed in range(3):
        torch.manual_seed(seed)
        static.copy_(torch.randn(10_000))
        strided.copy_(torch.randn(100, 60))
        graph.replay()
        expected = sigmoid(static)
        assert torch.equal(output, expected)
        assert torch.equal(gradient, backward_op(static, expected))
        assert torch.equal(out, sigmoid(strided).t())
        assert torch.equal(half, sigmoid(static.half()[::2]))


def test_work_goes_to_the_current_stream() -> None:
    x = torch.randn(1 << 16, device="cuda")
    expected = sigmoid(x)
    stream = torch.cuda.Stream()
    late = torch.zeros_like(x)
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)  # in cycles: on any other stream sigmoid would come too soon
        late.copy_(x)
        output = sigmoid(late)
    stream.synchronize()
    assert torch.equal(output, expected)


def test_nothing_waits_for_the_device() -> None:
    x = torch.randn(100, 60, device="cuda")
    out = torch.empty(60, 100, device="cuda")
    whole = torch.arange(64, device="cuda")
    sigmoid(x)
    torch.cuda.set_sync_debug_mode("error")
    try:
        output = sigmoid(x)
        backward_op(x, output)
        sigmoid(x.t(), out=out)
        sigmoid_(x[:, ::2])
        sigmoid(whole)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device only")
def test_the_tensor_s_device_is_used_not_the_current_one() -> None:
    x = torch.randn(33, 65)
    for device in range(torch.cuda.device_count()):
        there = x.to(f"cuda:{device}")
        output = sigmoid(there)
        assert output.device == there.device and torch.cuda.current_device() == 0
        assert torch.equal(output.cpu(), sigmoid(x))
        assert torch.equal(sigmoid(there.t()).cpu(), sigmoid(x).t())
    with pytest.raises(RuntimeError, match="same device"):
        sigmoid(x.to("cuda:0"), out=torch.empty(33, 65, device="cuda:1"))


SMALL_RUN = """
import torch
from torch_sigmoid_ext import sigmoid, sigmoid_
for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64,
              torch.complex128):
    x = torch.randn(70, 90, dtype=torch.float64, device="cuda").mul(20).to(dtype)
    for fast in (False, True):
        for view in (x, x.view(-1)[1:], x.t(), x[:, ::3], x[3:40, 5:]):
            y = sigmoid(view, fast=fast)
            sigmoid(view, fast=fast, out=torch.empty(view.shape, dtype=dtype, device="cuda"))
    torch.ops.torch_sigmoid_ext.sigmoid_backward(x.t(), x.t())
    torch.ops.torch_sigmoid_ext.sigmoid_backward(x[:, ::2], x[:, 1::2])
    sigmoid_(x.view(-1)[1:])
torch.cuda.synchronize()
"""


@slow
@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_compute_sanitizer_finds_nothing(tool: str) -> None:
    sanitizer = shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path="/usr/local/cuda/bin"
    )
    if sanitizer is None:
        pytest.skip("compute-sanitizer is not installed")
    done = subprocess.run(
        [sanitizer, "--tool", tool, "--error-exitcode", "9", sys.executable, "-c", SMALL_RUN],
        env={**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
        capture_output=True,
        text=True,
    )
    if "Device not supported" in done.stdout + done.stderr:
        pytest.skip("compute-sanitizer does not support this device here")
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]

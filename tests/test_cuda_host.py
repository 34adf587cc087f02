"""The CUDA backend as far as it goes without a GPU: its arithmetic on this CPU, and its build.

`make prove-cuda-host` does so for every float32 input; what it printed is docs/prove_cuda.txt.
"""

from __future__ import annotations

import ctypes
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import mpmath
import pytest
import torch
from mpmath import mp
from test_complex import BOUND, COMPLEX, assert_within, points, true_sigmoid
from test_kernels import questions, same
from torch import Tensor
from truth import DTYPES

from torch_sigmoid_ext import sigmoid

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))  # benchmarks is no part of the installed package

from benchmarks import cuda as cuda_bench  # noqa: E402

SOURCES = ROOT / "csrc" / "kernels" / "cuda"
COMPILER = shutil.which(os.environ.get("CXX", "g++"))
Run = Callable[..., Tensor]

backward_op = torch.ops.torch_sigmoid_ext.sigmoid_backward


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    if COMPILER is None:
        pytest.skip("no C++ compiler to compile the device's functions with")
    built = tmp_path_factory.mktemp("cuda_host") / "cuda_host.so"
    flags = ["-std=c++20", "-O1", "-ffp-contract=off", "-shared", "-fPIC"]
    source = ROOT / "tests" / "kernels" / "cuda_host.cpp"
    done = subprocess.run(
        [COMPILER, *flags, str(source), "-o", str(built)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return ctypes.CDLL(str(built))


@pytest.fixture
def run(library: ctypes.CDLL) -> Iterator[Run]:
    """run(name, input, other=None): an operation of the device, by its name in cuda_host.cpp."""

    def call(name: str, input: Tensor, other: Tensor | None = None) -> Tensor:
        output = torch.full_like(input, -7)
        pointers = [t.data_ptr() if t is not None else 0 for t in (input, other, output)]
        getattr(library, name)(*map(ctypes.c_void_p, pointers), ctypes.c_int64(input.numel()))
        return output

    yield call
    library.set_estimate_error(ctypes.c_double(0))


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def in_the_kernels_reach(inputs: Tensor) -> Tensor:
    """Complex numbers for which the CPU does not ask the C library, whose last bits are its own."""
    if not inputs.is_complex():
        return inputs
    near = (inputs.real.abs() <= 700) & (inputs.imag.abs() <= 8192)
    return inputs[near | (inputs.imag == 0)]


@pytest.mark.parametrize("dtype", [*DTYPES, *COMPLEX])
def test_device_arithmetic_has_the_cpu_s_bits(run: Run, dtype: torch.dtype) -> None:
    inputs = in_the_kernels_reach(questions(dtype))
    assert same(run(name_of(dtype), inputs), sigmoid(inputs))


def test_fast_float32_has_the_cpu_s_bits(run: Run) -> None:
    inputs = questions(torch.float32)
    assert same(run("float32_fast", inputs), sigmoid(inputs, fast=True))


@pytest.mark.parametrize("error", [-1.0, -0.5, 0.5, 1.0])
@pytest.mark.parametrize("method", ["float16", "bfloat16", "float32", "float32_pairs"])
def test_bits_do_not_hang_on_a_chip_s_estimates(
    library: ctypes.CDLL, run: Run, method: str, error: float
) -> None:
    inputs = questions(getattr(torch, method.removesuffix("_pairs")))
    library.set_estimate_error(ctypes.c_double(error))
    assert same(run(method, inputs), sigmoid(inputs))


@pytest.mark.parametrize("dtype", [*DTYPES, *COMPLEX])
def test_gradient_has_the_cpu_s_bits(run: Run, dtype: torch.dtype) -> None:
    inputs = questions(dtype)
    output = sigmoid(inputs)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    for grad_output in (inputs[order], torch.ones_like(inputs), torch.zeros_like(inputs)):
        expected = backward_op(grad_output, output)
        assert same(run(f"{name_of(dtype)}_gradient", grad_output, output), expected)


@pytest.mark.parametrize("dtype", COMPLEX)
def test_complex_stays_within_the_stated_bound_where_the_cpu_asks_the_c_library(
    run: Run, dtype: torch.dtype
) -> None:
    inputs = points(400, dtype)
    far = inputs[(inputs.imag != 0) & ((inputs.real.abs() > 700) | (inputs.imag.abs() > 8192))]
    assert len(far) > 50
    pairs = zip(far.tolist(), run(name_of(dtype), far).tolist(), strict=True)
    assert_within(dtype, BOUND, [(f"σ({z!r})", got, true_sigmoid(z)) for z, got in pairs])


@pytest.mark.parametrize("dtype", COMPLEX)
def test_complex_limits_are_the_cpu_s(run: Run, dtype: torch.dtype) -> None:
    parts = [math.inf, -math.inf, math.nan, 0.0, -0.0, 1.0, -800.0, 900.0, 1e30, -1e30]
    inputs = torch.tensor([complex(x, y) for x in parts for y in parts], dtype=dtype)
    got, expected = run(name_of(dtype), inputs), sigmoid(inputs)
    for ours, theirs in ((got.real, expected.real), (got.imag, expected.imag)):
        assert torch.equal(ours.isnan(), theirs.isnan())
        zero = theirs == 0
        assert torch.equal(ours.signbit()[zero], theirs.signbit()[zero])
        torch.testing.assert_close(ours, theirs, rtol=2e-15, atol=0, equal_nan=True)


def test_bits_of_two_by_pi_are_what_mpmath_derives() -> None:
    text = (SOURCES / "complex.h").read_text()
    table = re.search(r"kTwoByPiBits\[19\] = \{(.*?)\};", text, re.DOTALL)
    assert table
    words = [int(word, 16) for word in re.findall(r"0x[0-9a-f]{16}", table[1])]
    with mp.workprec(1400):
        expected = int(mpmath.floor(2 / mp.pi * mpmath.mpf(2) ** 1216))
    assert sum(word << (64 * (18 - i)) for i, word in enumerate(words)) == expected


def test_half_coefficients_are_what_their_script_finds() -> None:
    done = subprocess.run(
        [sys.executable, str(SOURCES / "half_coefficients.py")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    table = re.search(r"kHalfExp\[6\] = \{(.*?)\};", (SOURCES / "half.h").read_text(), re.DOTALL)
    assert table and table[1].replace(",", " ").split() == done.stdout.replace(",", " ").split()


@pytest.mark.parametrize("layout", ["Sparse", "SparseCsr", "NestedTensor", "Quantized"])
def test_layouts_without_a_kernel_are_answered_on_a_gpu_too(layout: str) -> None:
    for name in ("sigmoid", "sigmoid_", "sigmoid.out", "sigmoid_backward"):
        assert torch._C._dispatch_has_kernel_for_dispatch_key(
            f"torch_sigmoid_ext::{name}", f"{layout}CUDA"
        )


@pytest.fixture(scope="module")
def launches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cuda_launch.cpp around launch.cu, whose one launch is spelled as a call."""
    if COMPILER is None:
        pytest.skip("no C++ compiler to compile the launches with")
    folder = tmp_path_factory.mktemp("cuda_launch")
    pattern = r"kKernel<<<(\w+), (\w+), 0, [^;]*>>>\("
    called, count = re.subn(
        pattern, r"emulated::launch(kKernel, \1, \2, ", (SOURCES / "launch.cu").read_text()
    )
    assert count == 1
    (folder / "launch.cpp").write_text(called)
    kernels = ROOT / "tests" / "kernels"
    flags = ["-std=c++20", "-O1", "-ffp-contract=off", f"-I{kernels / 'emulated'}", f"-I{SOURCES}"]
    flags += [f'-DLAUNCH="{folder / "launch.cpp"}"', str(kernels / "cuda_launch.cpp")]
    done = subprocess.run(
        [COMPILER, *flags, "-o", str(folder / "launches")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "launches"


@pytest.mark.parametrize("method", ["double", "pairs"])
def test_launches_reach_every_element_of_any_layout_and_nothing_else(
    launches: Path, method: str
) -> None:
    environment = {**os.environ, "TORCH_SIGMOID_EXT_CUDA_FLOAT32": method}
    done = subprocess.run([launches], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_proof_on_the_host_gave_the_proved_hashes() -> None:
    printed = (ROOT / "docs" / "prove_cuda.txt").read_text()
    proved = (ROOT / "docs" / "prove.txt").read_text()
    for name, inputs in (("float16", 65536), ("bfloat16", 65536), ("float32", 2**32)):
        part = printed[printed.index(f"\n{name}: {inputs} inputs") :].split("\n\n")[0]
        rows = re.findall(r"^  \w+ +\w+ +(\d+) +\d+ +\d+  ([0-9a-f]{16})", part, re.MULTILINE)
        assert len(rows) == (8 if name == "float32" else 4)
        assert {misrounded for misrounded, _ in rows} == {"0"}
        expected = proved[proved.index(f"\n{name}: all") :]
        assert {hash_ for _, hash_ in rows} == {re.findall(r"[0-9a-f]{16}", expected)[0]}
    assert set(re.findall(r"(\d+) (?:results )?differ from the CPU's", printed)) == {"0"}


def fake_nvcc(home: Path, release: str) -> None:
    """A toolkit whose compiler says its release and no more; ``exit``: it fails."""
    (home / "bin").mkdir()
    (home / "include").mkdir()
    (home / "include" / "cuda_runtime.h").touch()
    fake = home / "bin" / "nvcc"
    says = "exit 1" if "exit" in release else f"echo 'tools, release {release}, V{release}.1'"
    fake.write_text(f"#!/bin/sh\n{says}\n")
    fake.chmod(0o755)


def build_says(
    tmp_path: Path, switch: str, torch_cuda: str | None, nvcc: str | None
) -> tuple[int, str]:
    """setup.py's exit code and last line, with this torch.version.cuda and this release of nvcc."""
    if nvcc is not None:
        fake_nvcc(tmp_path, nvcc)
    code = f"""
import pathlib, runpy, sys, torch
torch.version.cuda = {torch_cuda!r}
exists = pathlib.Path.exists
here = pathlib.Path({str(tmp_path)!r})
pathlib.Path.exists = lambda self: exists(self) and (self.name != "nvcc" or here in self.parents)
sys.argv = ["setup.py", "--name"]
runpy.run_path("setup.py")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "TORCH_SIGMOID_EXT_CUDA": switch, "CUDA_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    return done.returncode, (done.stderr.strip() or done.stdout.strip()).splitlines()[-1]


@pytest.mark.parametrize(
    "switch, torch_cuda, nvcc, words",
    [
        ("2", None, None, "expected TORCH_SIGMOID_EXT_CUDA to be 0, 1 or unset, got '2'"),
        ("1", None, None, "install the CUDA toolkit or set CUDA_HOME"),
        ("1", "13.0", None, "install the CUDA toolkit or set CUDA_HOME"),
        ("", "13.0", "12.8", "expected nvcc 13.0 or a newer 13.x, as torch is built for CUDA 13.0"),
        ("", "12.8", "12.4", "got 12.4"),
        ("1", "12.8", "13.0", "set TORCH_SIGMOID_EXT_CUDA=0 to build without CUDA"),
        ("1", "13.0", "exit", "nvcc --version to tell its release"),
    ],
)
def test_build_that_cannot_go_well_ends_in_one_sentence_before_it_starts(
    tmp_path: Path, switch: str, torch_cuda: str | None, nvcc: str | None, words: str
) -> None:
    code, line = build_says(tmp_path, switch, torch_cuda, nvcc)
    assert code == 1 and line.startswith("torch_sigmoid_ext: ") and words in line


@pytest.mark.parametrize(
    "switch, torch_cuda, nvcc",
    [
        ("", None, "13.0"),
        ("0", "13.0", "12.4"),
        ("1", None, "13.0"),
        ("", "13.0", "13.2"),
        ("", "13.0", None),
    ],
)
def test_build_with_or_without_cuda_starts(
    tmp_path: Path, switch: str, torch_cuda: str | None, nvcc: str | None
) -> None:
    code, line = build_says(tmp_path, switch, torch_cuda, nvcc)
    assert code == 0, line


LINK = """
import runpy, setuptools, sys, torch
from setuptools._distutils.ccompiler import new_compiler
from setuptools._distutils.sysconfig import customize_compiler
torch.version.cuda = None
given = {}
setuptools.setup = lambda **arguments: given.update(arguments)
runpy.run_path("setup.py")
operators = given["ext_modules"][0]
compiler = new_compiler()
customize_compiler(compiler)
compiler.link_shared_object(
    [sys.argv[1]],
    sys.argv[2],
    libraries=operators.libraries,
    library_dirs=operators.library_dirs,
    extra_postargs=operators.extra_link_args,
)
"""


@pytest.mark.skipif(shutil.which("readelf") is None, reason="readelf is not installed")
def test_linked_library_brings_libtorch_where_linkers_leave_out_what_nothing_calls(
    tmp_path: Path,
) -> None:
    """Through libtorch come torch's libraries of CUDA, and of those the current stream."""
    if COMPILER is None:
        pytest.skip("no C++ compiler to link with")
    fake_nvcc(tmp_path, "13.0")
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64" / "libcudart_static.a").write_bytes(b"!<arch>\n")
    built, library = tmp_path / "empty.o", tmp_path / "library.so"
    subprocess.run([COMPILER, "-x", "c++", "-c", os.devnull, "-o", str(built)], check=True)
    done = subprocess.run(
        [sys.executable, "-c", LINK, str(built), str(library)],
        cwd=ROOT,
        env={
            **os.environ,
            "TORCH_SIGMOID_EXT_CUDA": "1",
            "CUDA_HOME": str(tmp_path),
            "LDFLAGS": "-Wl,--as-needed",  # some distributions' default
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    needs = subprocess.run(["readelf", "-d", str(library)], capture_output=True, text=True).stdout
    assert "[libtorch.so]" in needs


H200 = cuda_bench.Card("H200", 132, ratio=2, hertz=1.755e9, bandwidth=4.3e12)
RTX_4090 = cuda_bench.Card("RTX 4090", 128, ratio=64, hertz=2.52e9, bandwidth=0.93e12)


def test_predicted_floor_is_memory_s_wherever_the_document_says_so() -> None:
    numel = 1 << 28
    for kernel, dtype in cuda_bench.WORK.keys() - {("pairs", "float32")}:
        moved = (3 if kernel == "backward" else 2) * numel * getattr(torch, dtype).itemsize
        assert H200.floor(kernel, dtype, numel, moved) == (moved / 4.3e12, "memory")
    moved = 2 * 4 * numel
    assert RTX_4090.floor("exact", "float32", numel, moved) == (moved / 0.93e12, "memory")
    assert RTX_4090.floor("exact", "float64", numel, 2 * moved)[1] == "float64"


def test_floor_of_every_other_element_counts_what_lies_between() -> None:
    dense, apart = (
        cuda_bench.row(H200, "exact", torch.float32, 64, layout, 2, {}).floor
        for layout in ("dense", "every other")
    )
    assert apart == pytest.approx(1.5 * dense)

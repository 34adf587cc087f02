"""PyTorch's own runtimes, in Python and in C++: eager's bits from every file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import torch_sigmoid_ext
from torch_sigmoid_ext.export.runtimes import RUNTIMES, Array, cpp
from torch_sigmoid_ext.export.runtimes.apart import RuntimeFailure
from torch_sigmoid_ext.export.runtimes.piped import DTYPES, Piped
from torch_sigmoid_ext.export.runtimes.worker import run_apart

# Weights are powers of two, so that every rounding is the operator's. Two inputs, one of integers,
# and outputs in a tuple with a dict in it, whose order every runtime must keep.
MAKE = """
import torch, torch_sigmoid_ext
from torch import nn

class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.5, 2.0, -4.0]))

    def forward(self, x, n):
        y = x * self.weight
        return {"z": torch_sigmoid_ext.sigmoid(y), "a": torch_sigmoid_ext.sigmoid(-y)}, n + 1

class Each(nn.Module):
    def forward(self, a, b, c, d, e, f, g, h, i):
        return (a, b, c, d, e, f, g, h, i)

model = Gate().eval()
x, n = torch.ones(4, 3), torch.ones(4, dtype=torch.int64)
batch = torch.export.Dim("batch")
program = torch.export.export(model, (x, n), dynamic_shapes=({0: batch}, {0: batch}))
torch.export.save(program, "model.pt2")
torch.jit.trace(model, (x, n), strict=False).save("model.torchscript.pt")
kinds = "float16 float32 float64 int8 int16 int32 int64 uint8 bool".split()
each = [torch.ones(2, dtype=getattr(torch, kind)) for kind in kinds]
torch.jit.trace(Each(), each).save("each.pt")
quick = {"aot_inductor.compile_wrapper_opt_level": "O0", "cpp_cache_precompile_headers": False}
torch._inductor.aoti_compile_and_package(
    program, package_path="model.aoti.pt2", inductor_configs=quick
)
"""

X = [
    [float("nan"), float("inf"), float("-inf")],
    [-87.5, 87.5, 1e-30],
    [-0.0, 1.0, -1.0],
    [-103.25, 16.75, 700.0],
]
FILES = {"pt2": "model.pt2", "aoti": "model.aoti.pt2", "torchscript": "model.torchscript.pt"}

needs_cmake = pytest.mark.skipif(
    not cpp.TorchScriptCpp().version(), reason=f"no C++ tools: {cpp.Cpp.install}"
)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that is not the user's, for the C++ program."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "make.py").write_text(MAKE)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "make.py"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def batches() -> list[list[Array]]:
    x = np.array(X, np.float32)
    return [[x[:rows], np.arange(rows)] for rows in (4, 1, 0)]


def expected(inputs: list[Array]) -> list[Array]:
    """Eager's results on the same rows."""
    x, n = map(torch.from_numpy, inputs)
    y = x * torch.tensor([0.5, 2.0, -4.0])
    outputs = (torch_sigmoid_ext.sigmoid(y), torch_sigmoid_ext.sigmoid(-y), n + 1)
    return [output.numpy() for output in outputs]


@pytest.mark.parametrize(
    "name",
    [
        *("export", "compile", "aoti", "torchscript"),
        *(pytest.param(name, marks=needs_cmake) for name in ("aoti-cpp", "torchscript-cpp")),
    ],
)
def test_every_runtime_of_torch_gives_eagers_bits(files: Path, name: str) -> None:
    runtime = RUNTIMES[name]
    runtime.prepare()
    assert runtime.pending() == "" and runtime.version().startswith(torch.__version__)
    results = run_apart(runtime, files / FILES[runtime.format], batches())
    for inputs, outputs in zip(batches(), results, strict=True):
        for got, due in zip(outputs, expected(inputs), strict=True):
            assert (got.dtype, got.shape) == (due.dtype, due.shape)
            np.testing.assert_array_equal(got, due)


@pytest.fixture
def program(cache: Path) -> str:
    cpp.TorchScriptCpp().prepare()
    return str(cpp.program())


@needs_cmake
def test_arrays_of_every_dtype_and_size_pass_the_pipes_unchanged(files, program) -> None:
    serve = Piped([program, torch_sigmoid_ext.library_path(), str(files / "each.pt")])
    kinds = [dtype for dtype in DTYPES if dtype.name not in ("uint16", "uint32", "uint64")]
    random = np.random.default_rng(0)
    for shape in ((), (0, 3), (2, 3), (1 << 20,)):  # the last fills the pipes many times
        given = [np.asarray(random.integers(0, 2, shape)).astype(kind) for kind in kinds]
        for sent, came in zip(given, serve(given), strict=True):
            assert (came.dtype, came.shape) == (sent.dtype, sent.shape)
            np.testing.assert_array_equal(came, sent)
    strided = [np.asfortranarray(np.arange(6).reshape(2, 3)).astype(kind).T for kind in kinds]
    np.testing.assert_array_equal(serve(strided)[6], strided[6])


@needs_cmake
def test_error_in_the_program_is_its_message_and_the_next_call_works(files, program) -> None:
    serve = Piped([program, torch_sigmoid_ext.library_path(), str(files / FILES["torchscript"])])
    good = batches()[0]
    with pytest.raises(RuntimeError, match="Expected at most 3 argument"):
        serve([*good, good[0]])
    with pytest.raises(RuntimeError, match="must match the size of tensor"):
        serve([np.ones((4, 5), np.float32), good[1]])
    assert len(serve(good)) == 3
    times = serve.timed(good, 0.01)
    assert times.dtype == np.float64 and len(times) >= 1 and (times > 0).all()


@needs_cmake
def test_end_of_the_program_is_told_by_its_signal(files: Path, program: str) -> None:
    serve = Piped([program, torch_sigmoid_ext.library_path(), str(files / FILES["torchscript"])])
    serve._process.kill()
    with pytest.raises(RuntimeError, match="the program was killed by SIGKILL"):
        serve(batches()[0])


@needs_cmake
def test_file_without_its_operators_library_is_explained(files: Path, program: str) -> None:
    other = next(Path(torch.__file__).parent.glob("lib/libc10.so"))
    with pytest.raises(RuntimeError, match="Unknown builtin op: torch_sigmoid_ext::sigmoid"):
        Piped([program, str(other), str(files / FILES["torchscript"])])


def test_cpp_is_missing_by_name_where_cmake_is(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    for tool in ("g++", "make"):
        if found := shutil.which(tool):
            (tmp_path / tool).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cpp.TorchScriptCpp().version() == "" and "cmake" in cpp.TorchScriptCpp().install


@needs_cmake
def test_program_that_cannot_be_built_is_a_failure_with_the_compilers_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = shutil.copytree(cpp.SOURCES, tmp_path / "sources")
    (sources / "serve.cpp").write_text("int main() { return nothing; }\n")
    monkeypatch.setattr(cpp, "SOURCES", sources)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    runtime = cpp.TorchScriptCpp()
    assert "building the C++ program" in runtime.pending()
    with pytest.raises(RuntimeFailure, match=r"cmake exit code 2: .*nothing.* was not declared"):
        runtime.prepare()
    assert list((tmp_path / "cache" / "torch_sigmoid_ext").iterdir()) == []

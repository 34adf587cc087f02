"""Every way to run a model apart from the code that made it: the same bits, or the remedy."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

import torch_sigmoid_ext
from torch_sigmoid_ext.export import missing_library
from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.pipeline import export_bundle, export_file
from torch_sigmoid_ext.export.runtimes import RUNTIMES
from torch_sigmoid_ext.export.runtimes.worker import RuntimeFailure, run_apart

ROOT = Path(__file__).parents[1]
PACKAGE = Path(torch_sigmoid_ext.__file__).parent
LIBRARY = torch_sigmoid_ext.library_path()

TORCHSCRIPT = ["traced.pt", "scripted.pt", "frozen.pt", "optimized.pt", "exported.torchscript.pt"]
AOTI, EXPORTED_PROGRAM = "compiled.pt2", "program.pt2"

INPUTS = [
    [[-100.0, -17.5, 3.0]],
    [
        [float("nan"), float("inf"), float("-inf")],
        [-87.5, 87.5, 1e-30],
        [0.1, 0.2, 0.3],
        [-0.0, 1.0, -1.0],
        [-103.25, 16.75, 700.0],
    ],
]

# Makes every file from one model. Its weights are powers of two, so that every rounding is the
# operator's. The batch that the files are made with is none that they are run with.
MAKE = """
import sys, torch, torch_sigmoid_ext
from torch import Tensor, nn
from torch_sigmoid_ext.export.model import InputSpec
from torch_sigmoid_ext.export.pipeline import export_file

class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.5, 2.0, -4.0]))

    def forward(self, x):
        y = x * self.weight
        return torch_sigmoid_ext.sigmoid(y), torch_sigmoid_ext.sigmoid(-y, fast=True)

model = Gate().eval()
spec = InputSpec.parse("x=float32[batch,3]")
export_file(model, [spec], "exported.torchscript.pt", format="torchscript")
if "all" in sys.argv:
    x = torch.ones(4, 3)
    scripted = torch.jit.script(model)
    torch.jit.trace(model, x).save("traced.pt")
    scripted.save("scripted.pt")
    torch.jit.freeze(scripted).save("frozen.pt")
    torch.jit.optimize_for_inference(scripted).save("optimized.pt")
    program = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, "program.pt2")
    quick = {"aot_inductor.compile_wrapper_opt_level": "O0", "cpp_cache_precompile_headers": False}
    torch._inductor.aoti_compile_and_package(
        program, package_path="compiled.pt2", inductor_configs=quick
    )
"""

# Runs every file without the package: first without the library, for the errors, then with it.
RUN = """
import json, sys, torch
library, inputs, *files = map(json.loads, sys.argv[1:])

def load(file):
    if file == "program.pt2":
        return torch.export.load(file).module()
    if file == "compiled.pt2":
        return torch._inductor.aoti_load_package(file)
    return torch.jit.load(file)

errors, outputs = {}, {}
for file in files:
    try:
        load(file)
    except RuntimeError as error:
        errors[file] = str(error)
torch.ops.load_library(library)
with torch.no_grad():
    for file in files:
        model = load(file)
        outputs[file] = [
            [[list(y.shape), y.flatten().tolist()] for y in model(torch.tensor(x))] for x in inputs
        ]
assert "torch_sigmoid_ext" not in sys.modules
print(json.dumps([errors, outputs]))
"""


def run_python(code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    (cwd / "code.py").write_text(code)  # torch.jit.script reads the source of what it compiles
    return subprocess.run(
        [sys.executable, "-W", "ignore", "code.py", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with a file for every way of deployment."""
    folder = tmp_path_factory.mktemp("files")
    done = run_python(MAKE, "all", cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def python(files: Path) -> tuple[dict[str, str], dict[str, list]]:
    """What a fresh process without the package says before the library is loaded, and after."""
    names = [*TORCHSCRIPT, EXPORTED_PROGRAM, AOTI]
    arguments = [json.dumps(argument) for argument in (LIBRARY, INPUTS, *names)]
    done = run_python(RUN, *arguments, cwd=files)
    assert done.returncode == 0, done.stderr[-3000:]
    errors, outputs = json.loads(done.stdout)
    return errors, outputs


def expected(x: list[list[float]]) -> list[tuple[list[int], list[str]]]:
    """Eager's two outputs, in a form where NaN equals NaN."""
    y = torch.tensor(x) * torch.tensor([0.5, 2.0, -4.0])
    outputs = torch_sigmoid_ext.sigmoid(y), torch_sigmoid_ext.sigmoid(-y, fast=True)
    return [(list(out.shape), exactly(out.flatten().tolist())) for out in outputs]


def exactly(values: list[float]) -> list[str]:
    return [value.hex() for value in values]


@pytest.mark.parametrize("file", [*TORCHSCRIPT, EXPORTED_PROGRAM, AOTI])
def test_file_gives_eagers_bits_in_a_process_with_the_library_alone(python, file: str) -> None:
    _, outputs = python
    for x, got in zip(INPUTS, outputs[file], strict=True):
        assert [(shape, exactly(values)) for shape, values in got] == expected(x)


def test_exported_torchscript_brings_the_remedy_into_torchs_error(python) -> None:
    errors, _ = python
    error = errors["exported.torchscript.pt"]
    assert "Unknown builtin op: torch_sigmoid_ext::sigmoid" in error
    for remedy in ("import torch_sigmoid_ext", "torch.ops.load_library(", "in C++ link it"):
        assert remedy in error


@pytest.mark.parametrize("file", ["traced.pt", AOTI])
def test_torchs_error_about_a_missing_operator_is_explained(python, file: str) -> None:
    errors, _ = python
    said = missing_library.explain(RuntimeError(errors[file]))
    assert "torch_sigmoid_ext::sigmoid" in said and "import torch_sigmoid_ext before" in said
    assert missing_library.explain(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) == ""


def test_exported_torchscript_keeps_no_path_of_this_machine(files: Path) -> None:
    paths = [str(path).encode() for path in (ROOT, sys.prefix, sys.base_prefix, Path.home(), files)]
    with zipfile.ZipFile(files / "exported.torchscript.pt") as archive:
        assert any(name.endswith(".py") for name in archive.namelist())
        for name in archive.namelist():
            assert not [path for path in paths if path in archive.read(name)], name


def test_two_exports_of_one_model_have_the_same_bytes(files: Path, tmp_path: Path) -> None:
    done = run_python(MAKE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    name = "exported.torchscript.pt"
    assert (tmp_path / name).read_bytes() == (files / name).read_bytes()


class InABranch(nn.Module):
    """The call in every place where code may begin: a block, a nested one, an expression."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.numel() > 2:
            x = torch.ops.torch_sigmoid_ext.sigmoid(x)
            for _ in range(2):
                x = x + torch.ops.torch_sigmoid_ext.sigmoid(x) * 2
        else:
            x = torch.ops.torch_sigmoid_ext.sigmoid(x)
        return x


def test_remedy_in_the_code_changes_nothing_of_it(tmp_path: Path) -> None:
    from torch_sigmoid_ext.export.formats.torchscript import _save

    scripted = torch.jit.script(InABranch())
    assert _save(scripted, tmp_path / "branches.pt")
    loaded = torch.jit.load(tmp_path / "branches.pt")
    assert loaded.code == scripted.code
    for x in (torch.randn(5), torch.randn(2)):
        assert torch.equal(loaded(x), InABranch()(x))


def test_bundle_brings_the_library_and_says_what_to_do_with_it(tmp_path: Path) -> None:
    inputs = [InputSpec.parse("x=float32[batch,3]")]
    model = torch_sigmoid_ext.SimpleNN()
    export_bundle(model, "SimpleNN", inputs, tmp_path / "b", formats=["torchscript"], verify=False)
    bundle = (tmp_path / "b").rename(tmp_path / "elsewhere")
    manifest = json.loads((bundle / "manifest.json").read_text())
    entry = manifest["formats"]["torchscript"]
    assert entry["library"] == "libtorch_sigmoid_ext.so" in manifest["files"]
    assert f"libtorch {torch.__version__}" in entry["requires"]
    assert 'torch.ops.load_library("libtorch_sigmoid_ext.so")' in entry["requires"]
    load = (
        "import torch; torch.ops.load_library('libtorch_sigmoid_ext.so');"
        "print(list(torch.jit.load('model.torchscript.pt')(torch.ones(2, 3)).shape))"
    )
    done = run_python(load, cwd=bundle)
    assert done.stdout == "[2, 2]\n", done.stderr


def test_bundle_of_a_model_without_our_operator_brings_no_library(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Sigmoid())
    inputs = [InputSpec.parse("x=float32[batch,3]")]
    export_bundle(model, "own", inputs, tmp_path / "b", formats=["torchscript"], verify=False)
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert "library" not in manifest["formats"]["torchscript"]
    assert not (tmp_path / "b" / "libtorch_sigmoid_ext.so").exists()


@torch.library.custom_op("torch_sigmoid_ext_deployment::cube", mutates_args=())
def cube(x: torch.Tensor) -> torch.Tensor:
    return x**3


class Foreign(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.torch_sigmoid_ext_deployment.cube(x)


def test_operator_of_another_package_is_named_by_the_worker(tmp_path: Path) -> None:
    inputs = [InputSpec.parse("x=float32[n]")]
    path = export_file(Foreign(), inputs, tmp_path / "foreign.pt", format="torchscript")
    with pytest.raises(RuntimeFailure) as failure:
        run_apart(RUNTIMES["torchscript"], path, [])
    assert "loading the file: RuntimeError: the file calls" in str(failure.value)
    assert "torch_sigmoid_ext_deployment::cube" in str(failure.value)
    assert "import the Python package that has it" in str(failure.value)


# The library that does not fit.


def copy_of_the_package(folder: Path, library: bytes | None) -> Path:
    """The package without its fast entry, with that operator library."""
    package = folder / "torch_sigmoid_ext"
    left_out = shutil.ignore_patterns("*.so", "export", "__pycache__")
    shutil.copytree(PACKAGE, package, ignore=left_out)
    if library is not None:
        (package / "libtorch_sigmoid_ext.so").write_bytes(library)
    return package


# Imports the copies one after the other, then the package itself after its library.
IMPORT = """
import json, sys, torch
library, *folders = sys.argv[1:]
said = []
for folder in folders:
    if folder == folders[-1]:
        torch.ops.load_library(library)
    sys.path.insert(0, folder)
    try:
        import torch_sigmoid_ext
    except ImportError as error:
        said.append(str(error))
    for name in [name for name in sys.modules if name.startswith("torch_sigmoid_ext")]:
        del sys.modules[name]
    sys.path.remove(folder)
import torch_sigmoid_ext
assert torch_sigmoid_ext.library_path() == library
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What Python says to ``import torch_sigmoid_ext`` where the library is not right."""
    content = Path(LIBRARY).read_bytes()
    own = re.search(rb"built for torch [\w.]+", content)
    assert own is not None, "the library does not say which torch it was built for"
    libraries = {
        "absent": None,
        "another torch's": content.replace(own[0], re.sub(rb"\d", b"9", own[0])),
        "broken": b"not a library",
        "second": content,
    }
    folders = [tmp_path_factory.mktemp("copy") for _ in libraries]
    for folder, library in zip(folders, libraries.values(), strict=True):
        copy_of_the_package(folder, library)
    done = run_python(IMPORT, LIBRARY, *map(str, folders), cwd=tmp_path_factory.mktemp("import"))
    assert done.returncode == 0, done.stderr
    return dict(zip(libraries, json.loads(done.stdout), strict=True))


REBUILD = "`pip install --force-reinstall --no-deps .`"


def test_library_built_for_another_torch_is_refused_before_it_is_loaded(refused) -> None:
    said = refused["another torch's"]
    other = re.sub(r"\d", "9", torch.__version__.split("+")[0])
    assert f"was built for torch {other}, and this is torch {torch.__version__};" in said
    minor = ".".join(other.split(".")[:2])
    assert f"`pip install 'torch=={minor}.*'`" in said and REBUILD in said
    assert len(said.splitlines()) == 1 and "undefined symbol" not in said


def test_library_that_does_not_load_is_one_line_with_the_remedy(refused) -> None:
    said = refused["broken"]
    assert f"does not load into torch {torch.__version__}" in said and REBUILD in said
    assert "The loader said: " in said and said.endswith(": file too short")
    assert len(said.splitlines()) == 1


def test_second_copy_of_the_library_is_an_error_and_does_not_end_the_process(refused) -> None:
    assert "another copy of it are in this process already. Load one:" in refused["second"]


# C++.

needs_cmake = pytest.mark.skipif(not shutil.which("cmake"), reason="cmake is not installed")
PREFIX = f"{torch_sigmoid_ext.cmake_prefix_path()};{torch.utils.cmake_prefix_path}"


def cmake(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["cmake", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, errors="replace"
    )


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the programs of examples/cpp, built by a linker that drops what it can."""
    folder = tmp_path_factory.mktemp("cpp")
    done = cmake(
        *("-S", ROOT / "examples" / "cpp", "-B", folder, f"-DCMAKE_PREFIX_PATH={PREFIX}"),
        "-DCMAKE_CXX_FLAGS=-O0 -Wall -Wextra -Werror",
        "-DCMAKE_EXE_LINKER_FLAGS=-Wl,--as-needed",
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    done = cmake("--build", folder, cwd=folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


def run_program(program: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], cwd=cwd, capture_output=True, text=True)


def argument(x: list[list[float]]) -> str:
    """The input as the program takes it: exact, in hexadecimal."""
    values = ",".join(value.hex() for row in x for value in row)
    return f"{len(x)}x{len(x[0])}:{values}"


@needs_cmake
@pytest.mark.parametrize(
    ("program", "options", "file"),
    [
        *(("run_model", [], file) for file in [*TORCHSCRIPT, AOTI]),
        *(("run_model_unlinked", ["--library", LIBRARY], file) for file in ("traced.pt", AOTI)),
    ],
)
def test_cpp_program_gives_eagers_bits(
    programs: Path, files: Path, program: str, options: list[str], file: str
) -> None:
    for x in INPUTS:
        done = run_program(programs / program, *options, file, argument(x), cwd=files)
        assert done.returncode == 0, done.stderr
        got = []
        for line in done.stdout.splitlines():
            described = re.fullmatch(r"Float\[(.*?)\](.*)", line)
            assert described is not None, line
            values = [float.fromhex(value) for value in described[2].split()]
            got.append(([int(size) for size in described[1].split(",")], exactly(values)))
        assert got == expected(x)


@needs_cmake
@pytest.mark.parametrize("file", ["traced.pt", AOTI])
def test_cpp_program_without_the_library_names_the_remedy(
    programs: Path, files: Path, file: str
) -> None:
    done = run_program(programs / "run_model_unlinked", file, "1x3:1,2,3", cwd=files)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"{file} calls the operators of torch_sigmoid_ext" in done.stderr
    assert "torch_sigmoid_ext::torch_sigmoid_ext" in done.stderr and "--library" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@needs_cmake
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "expected a model and its inputs"),
        (["traced.pt"], 2, "usage: run_model [--library FILE] MODEL INPUT..."),
        (["traced.pt", "2x3:1,2"], 2, "expected an input like 2x3:1,2,3,4,5,6, got 2x3:1,2"),
        (["traced.pt", "1x3:1,2,x"], 2, "got 1x3:1,2,x"),
        (["--library", "absent.so", "traced.pt", "1x3:1,2,3"], 2, "absent.so: cannot open"),
        (["absent.pt", "1x3:1,2,3"], 1, "absent.pt"),
        (["traced.pt", "1x4:1,2,3,4"], 1, "must match the size"),
    ],
)
def test_cpp_program_tells_wrong_usage_from_a_failure(
    programs: Path, files: Path, arguments: list[str], code: int, said: str
) -> None:
    done = run_program(programs / "run_model_unlinked", *arguments, cwd=files)
    if arguments[:1] == ["traced.pt"] and code == 1:
        done = run_program(programs / "run_model", *arguments, cwd=files)
    assert (done.returncode, done.stdout) == (code, "") and said in done.stderr, done.stderr


PROJECT = """
cmake_minimum_required(VERSION 3.18)
project(user LANGUAGES CXX)
find_package(torch_sigmoid_ext {version} REQUIRED)
find_package(torch_sigmoid_ext REQUIRED)
get_target_property(links torch_sigmoid_ext::torch_sigmoid_ext INTERFACE_LINK_LIBRARIES)
get_target_property(library torch_sigmoid_ext::library IMPORTED_LOCATION)
message(STATUS "version=${{torch_sigmoid_ext_VERSION}} library=${{library}} torch=${{Torch_DIR}}")
"""


@needs_cmake
def test_installed_package_finds_the_torch_beside_it(tmp_path: Path) -> None:
    """As in site-packages after `pip install`; only our own prefix is given."""
    package = copy_of_the_package(tmp_path, Path(LIBRARY).read_bytes())
    (tmp_path / "torch").symlink_to(Path(torch.__file__).parent)
    version = torch_sigmoid_ext.__version__
    (tmp_path / "CMakeLists.txt").write_text(PROJECT.format(version=version))
    done = cmake(f"-DCMAKE_PREFIX_PATH={package}/share/cmake", "-B", "build", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"version={version} library={package}/libtorch_sigmoid_ext.so" in done.stdout
    assert f"torch={tmp_path}/torch/share/cmake/Torch" in done.stdout


def refusal(folder: Path, package: Path, version: str = "", torch_prefix: str = "") -> str:
    """What find_package says, its lines joined, in a script that it ends."""
    script = folder / "find.cmake"
    script.write_text(f"find_package(torch_sigmoid_ext {version} REQUIRED CONFIG)")
    prefix = f"{package}/share/cmake;{torch_prefix}"
    done = cmake(f"-DCMAKE_PREFIX_PATH={prefix}", "-P", script, cwd=folder)
    assert done.returncode != 0
    return " ".join(done.stderr.split())


@needs_cmake
def test_cmake_refuses_what_does_not_fit_and_says_why(tmp_path: Path) -> None:
    fake = tmp_path / "prefix" / "Torch"
    fake.mkdir(parents=True)
    (fake / "TorchConfig.cmake").write_text("")
    (fake / "TorchConfigVersion.cmake").write_text(
        'set(PACKAGE_VERSION "1.0.0")\nset(PACKAGE_VERSION_COMPATIBLE TRUE)'
    )
    unbuilt = copy_of_the_package(tmp_path / "unbuilt", None)
    built = copy_of_the_package(tmp_path / "built", Path(LIBRARY).read_bytes())
    own = ".".join(torch.__version__.split(".")[:2])

    assert f"version: {torch_sigmoid_ext.__version__}" in refusal(tmp_path, built, "99")
    assert "Run `pip install -e .` in the repository" in refusal(tmp_path, unbuilt)
    assert "torch.utils.cmake_prefix_path" in refusal(tmp_path, built)
    said = refusal(tmp_path, built, torch_prefix=str(fake.parent))
    assert f"was built for torch {own}, and the Torch in {fake} is 1.0.0" in said

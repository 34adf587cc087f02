"""The native build: two libraries, by torch.utils.cpp_extension and ninja.

``libtorch_sigmoid_ext.so``, the operator library, knows nothing of Python, so that C++ programs can
load it; ``_C``, the fast entry, is the Python extension module and links it. Everything else about
the package stands in pyproject.toml.

CUDA kernels are compiled where torch is a CUDA build and nvcc is there. TORCH_SIGMOID_EXT_CUDA=1
compiles them in any case: with a CPU build of torch the library loads all the same, and its
kernels meet no tensor. TORCH_SIGMOID_EXT_CUDA=0 leaves them out. nvcc is sought in CUDA_HOME, on
the PATH and in /usr/local/cuda; TORCH_CUDA_ARCH_LIST says for which GPUs, unset the visible ones,
or without any the list below.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from glob import glob
from pathlib import Path

import torch
from setuptools import Extension, setup
from torch.utils import cpp_extension
from torch.utils.cpp_extension import BuildExtension, include_paths, library_paths

PACKAGE = "torch_sigmoid_ext"
TORCH_MINOR = ".".join(torch.__version__.split(".")[:2])
# Binaries are per torch version, and patch releases keep the binary interface. A source
# distribution is bound to none.
TORCH = "torch>=2.11" if "sdist" in sys.argv else f"torch=={TORCH_MINOR}.*"
OPERATOR_LIBRARY = "libtorch_sigmoid_ext"

COMPILE = [
    "-std=c++20",
    "-O3",
    "-g0",  # cpp_extension's own -g makes libraries of megabytes
    "-ffp-contract=off",  # a result may not depend on whether the compiler fuses multiply and add
    "-fno-math-errno",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Wno-maybe-uninitialized",  # g++ 12 sees ghosts in c10::SmallVector
    "-Wno-uninitialized",  # and in its own AVX-512 intrinsics
    *(f"-isystem{path}" for path in include_paths()),  # torch's headers, without their warnings
    "-idirafter" + os.path.abspath("csrc/absent_headers"),
    # What __FILE__ says of torch's headers and ours may not tell where this build took place.
    *(f"-ffile-prefix-map={path}=torch/include" for path in include_paths()),
    f"-ffile-prefix-map={os.getcwd()}/=",
]

COMPILE_CUDA = [
    "-std=c++20",
    "-O3",
    "--fmad=false",  # as above: fused where fma stands, and nowhere else
    "-Xcompiler=-fvisibility=hidden",
]

CUDA_SWITCH = "TORCH_SIGMOID_EXT_CUDA"
ARCHITECTURES = "8.0;9.0+PTX"  # Ampere, Hopper, and what comes later by PTX


def cuda_home() -> Path | None:
    """The CUDA toolkit: a folder with the compiler and the runtime's header."""
    found = shutil.which("nvcc")
    places = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    places += [str(Path(found).resolve().parents[1]) if found else None, "/usr/local/cuda"]
    needed = ("bin/nvcc", "include/cuda_runtime.h")
    homes = (Path(place) for place in places if place)
    return next((home for home in homes if all((home / f).exists() for f in needed)), None)


def nvcc_version(home: Path) -> tuple[int, int]:
    try:
        done = subprocess.run([home / "bin" / "nvcc", "--version"], capture_output=True, text=True)
        match = re.search(r"release (\d+)\.(\d+)", done.stdout)
    except OSError:
        match = None
    if not match:
        sys.exit(
            f"{PACKAGE}: expected {home}/bin/nvcc --version to tell its release; set "
            f"{CUDA_SWITCH}=0 to build without CUDA"
        )
    return int(match[1]), int(match[2])


def cuda_to_build_with() -> Path | None:
    """The toolkit, if CUDA kernels are to be compiled; ends the build where that cannot go well."""
    wish = os.environ.get(CUDA_SWITCH, "")
    if wish not in ("", "0", "1"):
        sys.exit(f"{PACKAGE}: expected {CUDA_SWITCH} to be 0, 1 or unset, got {wish!r}")
    home, needed = cuda_home(), torch.version.cuda
    if wish == "0" or (wish == "" and needed is None):
        return None
    if home is None:
        problem = f"found no nvcc in CUDA_HOME, on the PATH or in /usr/local/cuda (torch: {needed})"
        if wish == "1":
            sys.exit(
                f"{PACKAGE}: {CUDA_SWITCH}=1, but {problem}; install the CUDA toolkit or set "
                "CUDA_HOME"
            )
        print(f"{PACKAGE}: {problem}; building without CUDA kernels", file=sys.stderr)
        return None
    if needed is not None:
        have, want = nvcc_version(home), tuple(int(part) for part in needed.split(".")[:2])
        if have[0] != want[0] or have < want:
            sys.exit(
                f"{PACKAGE}: expected nvcc {want[0]}.{want[1]} or a newer {want[0]}.x, as torch "
                f"is built for CUDA {needed}, got {have[0]}.{have[1]} in {home}; install that "
                f"toolkit, point CUDA_HOME at it, or set {CUDA_SWITCH}=0 to build without CUDA"
            )
    return home


CUDA = cuda_to_build_with()


def extension(name: str, sources: list[str], libraries: list[str]) -> Extension:
    return Extension(
        f"{PACKAGE}.{name}",
        sorted(sources),
        library_dirs=library_paths(),
        libraries=libraries,
        extra_compile_args={"cxx": list(COMPILE), "nvcc": list(COMPILE_CUDA)},
        depends=[path for end in ("h", "cuh") for path in glob(f"csrc/**/*.{end}", recursive=True)],
        language="c++",
    )


def with_cuda(library: Extension, home: Path) -> Extension:
    """The operator library with the CUDA kernels in it."""
    library.sources += glob("csrc/kernels/cuda/*.cu")
    library.extra_compile_args["cxx"].append("-DTORCH_SIGMOID_EXT_WITH_CUDA")
    # Torch's own runtime where it has one, so that both agree on the current device.
    shared = torch.version.cuda is not None
    library.libraries += ["cudart"] if shared else ["cudart_static", "dl", "rt", "pthread"]
    library.library_dirs += [str(home / folder) for folder in ("lib64", "lib")]
    # libtorch brings torch's libraries of CUDA in, though no symbol of its own is called: linkers
    # may leave it out, unless it is named behind the flag.
    library.extra_link_args += ["-Wl,--no-as-needed", "-ltorch"]
    cpp_extension.CUDA_HOME = str(home)
    if os.environ.get("TORCH_CUDA_ARCH_LIST") in (None, "", "native") and not (
        torch.cuda.is_available()
    ):
        os.environ["TORCH_CUDA_ARCH_LIST"] = ARCHITECTURES
    return library


class BuildTwoLibraries(BuildExtension):
    """Builds the operator library first, then the fast entry against it."""

    def build_extension(self, ext: Extension) -> None:
        # macOS loads bundles and links none; there the operator library is loaded before this one.
        if ext.name == f"{PACKAGE}._C" and sys.platform != "darwin":
            built = Path(self.get_ext_fullpath(f"{PACKAGE}.{OPERATOR_LIBRARY}"))
            ext.extra_link_args += [f"-L{built.parent}", f"-l:{built.name}", "-Wl,-rpath,$ORIGIN"]
            # No symbol of it is called: it is needed for what it registers.
            ext.extra_link_args.insert(0, "-Wl,--no-as-needed")
        super().build_extension(ext)

    def get_ext_filename(self, fullname: str) -> str:
        # A library for C++ programs has no Python version in its name.
        if fullname.split(".")[-1] == OPERATOR_LIBRARY:
            return os.path.join(*fullname.split(".")) + ".so"
        return str(super().get_ext_filename(fullname))


OPERATORS = extension(
    OPERATOR_LIBRARY,
    glob("csrc/kernels/cpu/*.cpp") + glob("csrc/ops/*.cpp"),
    ["c10", "torch_cpu", "torch"],
)

setup(
    install_requires=[TORCH],
    ext_modules=[
        with_cuda(OPERATORS, CUDA) if CUDA else OPERATORS,
        extension(
            "_C",
            glob("csrc/python/*.cpp"),
            ["c10", "torch_cpu", "torch", "torch_python"],
        ),
    ],
    cmdclass={"build_ext": BuildTwoLibraries},
)

"""The native build: two libraries, by torch.utils.cpp_extension and ninja.

``libtorch_sigmoid_ext.so``, the operator library, knows nothing of Python, so that C++ programs can
load it; ``_C``, the fast entry, is the Python extension module and links it. Everything else about
the package stands in pyproject.toml.
"""

from __future__ import annotations

import os
from glob import glob
from pathlib import Path

import torch
from setuptools import Extension, setup
from torch.utils.cpp_extension import BuildExtension, include_paths, library_paths

PACKAGE = "torch_sigmoid_ext"
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
]


def extension(name: str, sources: list[str], libraries: list[str]) -> Extension:
    return Extension(
        f"{PACKAGE}.{name}",
        sorted(sources),
        library_dirs=library_paths(),
        libraries=libraries,
        extra_compile_args=COMPILE,
        depends=glob("csrc/**/*.h", recursive=True),
        language="c++",
    )


class BuildTwoLibraries(BuildExtension):
    """Builds the operator library first, then the fast entry against it."""

    def build_extension(self, ext: Extension) -> None:
        if ext.name == f"{PACKAGE}._C":
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


setup(
    # Binaries are per torch version: this one needs the torch that it was built against.
    install_requires=[f"torch=={torch.__version__.split('+')[0]}"],
    ext_modules=[
        extension(
            OPERATOR_LIBRARY,
            glob("csrc/kernels/cpu/*.cpp") + glob("csrc/ops/*.cpp"),
            ["c10", "torch_cpu", "torch"],
        ),
        extension(
            "_C",
            glob("csrc/python/*.cpp"),
            ["c10", "torch_cpu", "torch", "torch_python"],
        ),
    ],
    cmdclass={"build_ext": BuildTwoLibraries},
)

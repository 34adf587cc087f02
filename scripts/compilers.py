"""The C++ sources by every g++ and clang++ that is promised and installed: `make compilers`.

    python -m scripts.compilers > docs/compilers.txt

The kernels are compiled as they ship, linked with their own test and run; the operator and the fast
entry, which need torch's headers, are checked without making code. Both with -Wall -Wextra
-Wconversion, a warning being an error. torch's headers are precompiled once for each compiler: they
are most of the time. Compilers that are not installed are named; ends with 1 where one that is
installed refuses a file.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from torch.utils.cpp_extension import include_paths

from .environments import ROOT, commit, table

PROMISED = tuple(f"g++-{n}" for n in range(11, 15)) + tuple(f"clang++-{n}" for n in range(14, 24))
LANGUAGE = ("-std=c++20", "-ffp-contract=off", "-fno-math-errno")
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
# g++ 12 calls the undefined operand of its own AVX-512 intrinsics uninitialized.
GHOSTS = ("-Wno-maybe-uninitialized", "-Wno-uninitialized")
HEAD = ("compiler", "version", "kernels", "their test", "operator", "fast entry", "result")


class Refused(Exception):
    """What a compiler said of a file, or a test of what was compiled."""


def call(*command: str | Path) -> None:
    done = subprocess.run([str(c) for c in command], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise Refused(f"{' '.join(map(str, command))}\n{(done.stderr or done.stdout)[:4000]}")


def version(compiler: str) -> str:
    """As the compiler names itself: "12.2.0" of "g++-12 (Debian 12.2.0-14+deb12u1) 12.2.0"."""
    command = (compiler, "--version")
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    numbers = re.findall(r"\b\d+\.\d+\.\d+", printed.splitlines()[0])
    return numbers[-1] if numbers else "?"


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / "csrc" / folder).glob("*.cpp"))


def torch_headers(folder: Path, compiler: str, flags: Sequence[str]) -> Path:
    """A header with every header of torch that the sources name, precompiled; to be included."""
    files = [p for part in ("ops", "python") for p in (ROOT / "csrc" / part).iterdir()]
    pattern = re.compile(r"^#include (<(?:ATen|c10|torch)/.*>)$", re.MULTILINE)
    named = sorted({name for file in files for name in pattern.findall(file.read_text())})
    header = folder / "torch_headers.h"
    # A system header, so that its own warnings stay out.
    lines = ["#pragma once", "#pragma GCC system_header", "#include <Python.h>"]
    header.write_text("\n".join([*lines, *(f"#include {name}" for name in named), ""]))
    made = header.with_suffix(".h.pch" if "clang" in compiler else ".h.gch")
    call(compiler, *flags, "-w", "-x", "c++-header", header, "-o", made)
    return header


def compile_kernels(compiler: str, folder: Path) -> str:
    flags = (*LANGUAGE, *WARNINGS, *([] if "clang" in compiler else GHOSTS), "-O3", "-pthread")
    objects = []
    for source in sources("kernels/cpu"):
        objects.append(folder / f"{source.stem}.o")
        call(compiler, *flags, "-c", source, "-o", objects[-1])
    program = folder / "test_runs"
    test = ROOT / "tests" / "kernels" / "test_runs.cpp"
    call(compiler, *LANGUAGE, "-O1", "-pthread", test, *objects, "-o", program)
    call(program, "sample")
    return f"{len(objects)} files"


def check_operator(compiler: str, folder: Path) -> tuple[str, str]:
    flags = (
        *LANGUAGE,
        "-fPIC",
        *(f"-isystem{path}" for path in include_paths()),
        f"-isystem{sysconfig.get_path('include')}",
        f"-idirafter{ROOT / 'csrc' / 'absent_headers'}",
    )
    header = torch_headers(folder, compiler, flags)
    precompiled = header.with_suffix(".h.pch")
    use = ("-include-pch", precompiled) if "clang" in compiler else ("-include", header)
    operator, entry = (
        check_all([compiler, *flags, *WARNINGS, *use, "-fsyntax-only"], sources(part))
        for part in ("ops", "python")
    )
    return operator, entry


def check_all(command: Sequence[str | Path], files: Sequence[Path]) -> str:
    """How many files the command accepts, in words, or NO; what is refused goes to stderr."""
    refused = 0
    for file in files:
        try:
            call(*command, file)
        except Refused as error:
            refused += 1
            print(error, file=sys.stderr)
    return "NO" if refused else f"{len(files)} files"


def row(compiler: str) -> tuple[str, ...]:
    if shutil.which(compiler) is None:
        return (compiler, "-", "-", "-", "-", "-", "not installed here")
    known = version(compiler)
    with tempfile.TemporaryDirectory(prefix="torch-sigmoid-ext-") as folder:
        kernels = test = operator = entry = "NO"
        try:
            kernels = compile_kernels(compiler, Path(folder))
            test = "passed"
            operator, entry = check_operator(compiler, Path(folder))
        except Refused as error:
            print(error, file=sys.stderr)
    result = "yes" if "NO" not in (kernels, test, operator, entry) else "NO"
    return (compiler, known, kernels, test, operator, entry, result)


def main(compilers: Sequence[str]) -> int:
    began = datetime.now(timezone.utc)
    rows: list[tuple[str, ...]] = [HEAD]
    for compiler in compilers or PROMISED:
        rows.append(row(compiler))
        print("  ".join(rows[-1]), file=sys.stderr)
    print(f"{began:%F}, commit {commit()}, {platform.system()} {platform.machine()}")
    print(f"{' '.join((*LANGUAGE, *WARNINGS))}\n")
    print(table(rows))
    results = [line[-1] for line in rows[1:]]
    if "yes" not in results:
        print("expected at least one of these compilers; install one, such as g++-12")
    return 0 if "yes" in results and "NO" not in results else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

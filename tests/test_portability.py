"""What the sources include: headers of an instruction set stand in that one's files alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "csrc"
if not SOURCES.is_dir():
    pytest.skip("the sources are not beside the tests", allow_module_level=True)

FILES = sorted(p for end in ("cpp", "h", "cu", "cuh") for p in SOURCES.rglob(f"*.{end}"))
# The header's name, its files, and what surrounds all of such a file.
X86 = (
    r"(\w*mmintrin|x86\w*intrin|avx\w*|fmaintrin|f16cintrin|cpuid|x86gprintrin)\.h",
    {"vec_avx2.cpp", "vec_avx512.cpp"},
    "#if defined(__x86_64__)",
)
ARM = (r"(arm_\w+|sys/auxv|asm/hwcap)\.h", {"vec_neon.cpp"}, "#if defined(__aarch64__)")


@pytest.mark.parametrize(("header", "own", "guard"), [X86, ARM], ids=["x86", "arm"])
def test_instruction_set_headers_stand_in_their_own_files(
    header: str, own: set[str], guard: str
) -> None:
    include = re.compile(rf"^\s*#\s*include\s*<{header}>", re.MULTILINE)
    using = {path.name for path in FILES if include.search(path.read_text())}
    assert using == own
    for path in FILES:
        if path.name in own:
            lines = [line for line in path.read_text().splitlines() if line.strip()]
            code = [line for line in lines if not line.startswith("//")]
            assert code[0] == guard, f"{path.name} is to be empty elsewhere: begin with {guard}"
            assert code[-1].startswith("#endif"), path.name


def test_intrinsics_are_called_in_files_of_their_instruction_set_alone() -> None:
    call = re.compile(r"\b(_mm\d*_\w+|__m(128|256|512)[id]?\b|__cpuid\w*)")
    own = X86[1]
    stray = [p.name for p in FILES if p.name not in own and call.search(p.read_text())]
    assert not stray

"""How much of the package the tests run: `make coverage`.

    python -m scripts.coverage > docs/coverage.txt

Lines of Python, by coverage.py, over the whole suite and all processes that it starts; fail_under
in pyproject.toml is the gate. Lines of C++, by gcov, over the operator's tests, with the package
built in build/coverage/tree. What was measured stays in build/coverage: with tests as arguments,
those alone are run and their lines added. Ends with 1 where a test fails, or Python is below the
gate.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import coverage
from coverage import CoverageData

from . import measured
from .environments import OPERATOR_TESTS, ROOT, commit, run, table
from .instrumented import Copy

BUILD = ROOT / "build" / "coverage"
DATA = BUILD / "python"
# Counters that threads share, and the sources' whole names, which setup.py shortens.
GCOV = ("-O1", "--coverage", "-fprofile-update=atomic", "-ffile-prefix-map=/=/")
CPP_TESTS = (
    *OPERATOR_TESTS,
    "test_compile.py",
    "test_floating_point_environment.py",
    "test_hard_cases.py",
    "test_kernels.py",
    "test_opinfo.py",
    "test_opinfo_derivatives.py",
    "test_threads.py",
)


@dataclass(frozen=True)
class File:
    path: str
    lines: int
    missed: tuple[int, ...]

    @property
    def row(self) -> tuple[str, ...]:
        return (self.path, str(self.lines), *shares(self.lines, len(self.missed)), self.ranges)

    @property
    def ranges(self) -> str:
        """ "3-5, 9": the missed lines; runs of them as the file numbers them."""
        runs: list[list[int]] = []
        for line in self.missed:
            if runs and line == runs[-1][1] + 1:
                runs[-1][1] = line
            else:
                runs.append([line, line])
        return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def shares(lines: int, missed: int) -> tuple[str, str]:
    return str(missed), f"{percent(lines, missed):.1f}"


def percent(lines: int, missed: int) -> float:
    return 100 * (lines - missed) / lines if lines else 100.0


@contextmanager
def hook() -> Iterator[None]:
    """Has the interpreters of this environment begin with scripts/measured.py, where asked to."""
    ask = f"os.environ.get({measured.FOLDER!r})"
    start = f"__import__('runpy').run_path({measured.__file__!r}, run_name='__main__')"
    file = Path(sysconfig.get_path("purelib"), "torch_sigmoid_ext_measured.pth")
    file.write_text(f"import os; {ask} and {start}\n")
    try:
        yield
    finally:
        file.unlink()


def run_tests(
    tests: Sequence[str | Path], cwd: Path, environment: Mapping[str, str]
) -> tuple[str, bool]:
    """pytest's count, and whether all went well; what it prints goes to standard error."""
    report = BUILD / "tests.xml"
    options = ("-q", "-p", "no:cacheprovider", f"--junitxml={report}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *map(str, tests)],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=sys.stderr,
    )
    (suite,) = ET.parse(report).getroot().iter("testsuite")
    total, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
    bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    return f"{total - bad - skipped} passed, {bad} failed, {skipped} skipped", done.returncode == 0


def measure_python(tests: Sequence[str]) -> tuple[str, bool]:
    DATA.mkdir(parents=True, exist_ok=True)
    with hook():
        return run_tests(tests, ROOT, {measured.FOLDER: str(DATA)})


def python_files() -> tuple[list[File], float]:
    """Each file of the packages, imported or not; and the least share in percent that is asked."""
    combined = coverage.Coverage(data_file=None, config_file=str(ROOT / "pyproject.toml"))
    for path in sorted(DATA.iterdir()):
        if not path.stat().st_size:  # of a process that was killed
            continue
        part = CoverageData(no_disk=True)
        part.loads(path.read_bytes())
        combined.get_data().update(part)
    sources = [s for name in measured.PACKAGES for s in sorted((ROOT / name).rglob("*.py"))]
    files = []
    for source in dict.fromkeys(source.resolve() for source in sources):
        _, statements, _, missing, _ = combined.analysis2(str(source))
        files.append(File(str(source.relative_to(ROOT)), len(statements), tuple(missing)))
    return files, float(combined.get_option("report:fail_under") or 0)  # type: ignore[arg-type]


def measure_cpp() -> tuple[str, bool]:
    copy = Copy(BUILD / "tree")
    copy.build(GCOV)
    for counts in copy.objects.rglob("*.gcda"):
        counts.unlink()
    return run_tests([ROOT / "tests" / name for name in CPP_TESTS], copy.folder, copy.environment)


def cpp_files() -> list[File]:
    copy = Copy(BUILD / "tree")
    report = BUILD / "cpp.json"
    run(
        *(sys.executable, "-m", "gcovr", "--root", copy.folder, "--object-directory", copy.objects),
        *("--filter", "csrc/", "--merge-mode-functions=separate", "--json", report),
        *("--gcov-executable", os.environ.get("GCOV", "gcov"), copy.objects),
        cwd=copy.folder,
    )
    files = []
    for file in json.loads(report.read_text())["files"]:
        counts: dict[int, int] = {}
        for line in file["lines"]:  # one for each function that it is part of
            number = line["line_number"]
            counts[number] = counts.get(number, 0) + line["count"]
        missed = tuple(sorted(number for number, count in counts.items() if count == 0))
        files.append(File(file["file"], len(counts), missed))
    return sorted(files, key=lambda file: file.path)


def table_of(files: Sequence[File]) -> str:
    lines, missed = sum(f.lines for f in files), sum(len(f.missed) for f in files)
    rows = [("file", "lines", "missed", "%", "those missed"), *(f.row for f in files)]
    return table([*rows, ("all", str(lines), *shares(lines, missed), "")])


LEFT_OUT = """
Not counted: tests, benchmarks, scripts, docs and examples, which are no part of the package;
setup.py, which runs in builds of other folders; of C++, what this build has not: vec_neon.cpp,
which `make qemu-check` runs for aarch64, and CUDA, which `make test-cuda` runs on a GPU. Missed by
their nature: adapters of runtimes that are not installed here; what is done by a process that is
killed; copies of the package that tests break on purpose; what another torch or libc would need."""


def share_of(files: Sequence[File]) -> float:
    return percent(sum(f.lines for f in files), sum(len(f.missed) for f in files))


def main() -> int:
    parser = argparse.ArgumentParser(description="Lines that the tests run, of Python and of C++.")
    parser.add_argument("tests", nargs="*", help="tests to add; none: all of them, from nothing")
    tests = parser.parse_args().tests
    began = datetime.now(timezone.utc)
    if tests:
        passed, good = measure_python(tests)
        passed, passed_cpp = f"some tests ({passed}), added to those before", "as measured before"
    else:
        shutil.rmtree(DATA, ignore_errors=True)
        (passed, good), (passed_cpp, good_cpp) = measure_python(["tests"]), measure_cpp()
        passed, good = f"every test ({passed})", good and good_cpp
    (files, least), cpp = python_files(), cpp_files()

    print(f"{began:%F}, commit {commit()}")
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    print(f"\nPython: {passed}: {share_of(files):.2f} %, at least {least:g} asked for\n")
    print(table_of(files))
    print(f"\nC++: the operator's tests ({passed_cpp}): {share_of(cpp):.2f} %, not a gate\n")
    print(table_of(cpp))
    print(LEFT_OUT)
    return 0 if good and share_of(files) >= least else 1


if __name__ == "__main__":
    sys.exit(main())

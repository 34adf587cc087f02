"""`make wheel`, `make test-versions`: what is not as it should be is a NO in their tables."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "scripts").is_dir():
    pytest.skip("the scripts are not beside the tests", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from scripts.environments import Failed, table  # noqa: E402
from scripts.versions import choose  # noqa: E402
from scripts.wheel import Checks, look_into, same, without_git  # noqa: E402

NAME = "torch_sigmoid_ext-0.1.0-cp311-cp311-manylinux_2_34_x86_64.whl"
GOOD: Mapping[str, bytes] = {
    "torch_sigmoid_ext/_C.cpython-311-x86_64-linux-gnu.so": b"code",
    "torch_sigmoid_ext/libtorch_sigmoid_ext.so": b"code",
    "torch_sigmoid_ext-0.1.0.dist-info/METADATA": b"Requires-Dist: torch==2.13.*\n",
}


def pack(folder: Path, contents: Mapping[str, bytes], name: str = NAME, year: int = 1980) -> Path:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as archive:
        for member, content in contents.items():
            archive.writestr(zipfile.ZipInfo(member, (year, 1, 1, 0, 0, 0)), content)
    return folder / name


def refused(wheel: Path) -> list[str]:
    checks = Checks()
    look_into(wheel, "2.13.0+cpu", Path("/where/it/was/built"), checks)
    assert len(checks.rows) == 5
    assert checks.good == all(row[1] == "yes" for row in checks.rows)
    return [row[0] for row in checks.rows if row[1] != "yes"]


def test_wheel_as_it_should_be_is_accepted(tmp_path: Path) -> None:
    assert refused(pack(tmp_path, GOOD)) == []


LIBRARY = "torch_sigmoid_ext/libtorch_sigmoid_ext.so"
METADATA = "torch_sigmoid_ext-0.1.0.dist-info/METADATA"


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({METADATA: b"Requires-Dist: torch\n"}, "ask for the torch minor"),
        ({METADATA: b"Requires-Dist: torch==2.12.*\n"}, "ask for the torch minor"),
        ({"torch_sigmoid_ext.libs/libc10-1234.so": b"code"}, "no library in it but ours"),
        ({"torch_sigmoid_ext.libs/libgomp-1234.so.1.0.0": b"code"}, "no library in it but ours"),
        ({LIBRARY: b"at /where/it/was/built/csrc"}, "no path of the build"),
        ({LIBRARY: b"site-packages/torch/include/x.h"}, "no path of the build"),
        ({LIBRARY: bytes(1_000_000)}, "under 1,000,000 bytes"),
    ],
    ids=["unpinned", "other torch", "grafted", "openmp", "path", "torch path", "size"],
)
def test_wheel_that_is_not_as_it_should_be_is_refused(
    changed: dict[str, bytes], complaint: str, tmp_path: Path
) -> None:
    (found,) = refused(pack(tmp_path, {**GOOD, **changed}))
    assert complaint in found


def test_wheel_without_a_manylinux_tag_is_refused(tmp_path: Path) -> None:
    name = "torch_sigmoid_ext-0.1.0-cp311-cp311-linux_x86_64.whl"
    assert refused(pack(tmp_path, GOOD, name)) == ["the wheel has a manylinux tag"]


def test_builds_that_differ_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    one = pack(tmp_path / "one", GOOD)
    assert same(one, pack(tmp_path / "two", GOOD))[1]
    found, good = same(one, pack(tmp_path / "three", {**GOOD, LIBRARY: b"other"}))
    assert not good and found == f"unlike: {LIBRARY}"
    found, good = same(one, pack(tmp_path / "four", GOOD, year=1981))
    assert not good and "dates" in found


def test_build_that_calls_git_is_found_out(tmp_path: Path) -> None:
    environment, called = without_git(tmp_path)
    git = Path(environment["PATH"].split(":")[0]) / "git"
    assert git.stat().st_mode & 0o111 and not called.exists()
    assert subprocess.run([git, "describe"]).returncode == 1
    assert called.read_text() == "describe\n"


def test_step_that_fails_is_a_row_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> tuple[str, bool]:
        raise Failed("`pip install` ended with 1:\nno such wheel")

    checks = Checks()
    checks.attempt("installed", fails)
    assert not checks.good and "no such wheel" in capsys.readouterr().err
    assert table(checks.rows) == "installed  NO  `pip install` ended with 1:"


VERSIONS = ["2.15.0rc1", "2.14.10", "2.14.9", "2.13.1", "2.13.0+cpu", "2.13.0", "2.12.1", "2.12.0"]


@pytest.mark.parametrize(
    ("wish", "chosen"),
    [("newest", "2.14.10"), ("2.13", "2.13.1"), ("2.12", "2.12.1"), ("2.1", None), ("2.11", None)],
)
def test_newest_final_release_of_a_minor_version_is_chosen(wish: str, chosen: str | None) -> None:
    assert choose(wish, VERSIONS) == chosen


def test_cpu_build_of_the_same_release_is_preferred() -> None:
    assert choose("2.13", ["2.13.0", "2.13.0+cpu", "2.13.0+cu130"]) == "2.13.0+cpu"

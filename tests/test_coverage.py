"""How lines that tests run are counted: in every process, a confined one too; told in ranges."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from torch_sigmoid_ext.export.runtimes import confine

pytest.importorskip("coverage", reason="coverage.py is not installed")
ROOT = Path(__file__).parents[1]
if not (ROOT / "scripts").is_dir():
    pytest.skip("the scripts are not beside the tests", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from coverage import CoverageData  # noqa: E402

from scripts import measured  # noqa: E402
from scripts.coverage import File, percent  # noqa: E402

CONFINED = """
import pathlib, runpy, sys
runpy.run_path({start!r}, run_name="__main__")
from torch_sigmoid_ext.export.runtimes.confine import can_confine, write_only_in
folder = pathlib.Path({folder!r})
assert write_only_in(folder) == can_confine()
try:
    (folder.parent / "elsewhere").write_text("")
except PermissionError:
    print("refused")
"""


def test_confined_process_leaves_what_it_measured(tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "folder"
    data.mkdir(), folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", CONFINED.format(start=measured.__file__, folder=str(folder))],
        env={**os.environ, measured.FOLDER: str(data)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout == "refused\n") == confine.can_confine()
    (file,) = data.iterdir()
    lines = CoverageData(no_disk=True)
    lines.loads(file.read_bytes())
    source = Path(confine.__file__).resolve()
    body = [i for i, line in enumerate(source.read_text().splitlines(), 1) if "os.O_PATH" in line]
    assert (set(body) <= set(lines.lines(str(source)) or ())) == confine.can_confine()


def test_missed_lines_are_told_in_ranges() -> None:
    file = File("a.py", 20, (3, 4, 5, 9, 11, 12))
    assert file.ranges == "3-5, 9, 11-12"
    assert file.row[:4] == ("a.py", "20", "6", "70.0")
    assert File("b.py", 0, ()).ranges == "" and percent(0, 0) == 100

"""The kernels' constants are what their script derives."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parents[1] / "csrc" / "kernels" / "cpu"


def test_constants_header_is_what_the_script_derives() -> None:
    derived = subprocess.run(
        [sys.executable, str(HERE / "constants.py")], capture_output=True, text=True, check=True
    ).stdout
    assert derived == (HERE / "constants.h").read_text(encoding="utf-8"), (
        "run: python csrc/kernels/cpu/constants.py > csrc/kernels/cpu/constants.h"
    )

"""The kernels' constants are what their script derives."""

import math
import re
import subprocess
import sys
from pathlib import Path

from mpmath import mp, mpf

HERE = Path(__file__).parents[1] / "csrc" / "kernels" / "cpu"


def test_constants_header_is_what_the_script_derives() -> None:
    derived = subprocess.run(
        [sys.executable, str(HERE / "constants.py")], capture_output=True, text=True, check=True
    ).stdout
    assert derived == (HERE / "constants.h").read_text(encoding="utf-8"), (
        "run: python csrc/kernels/cpu/constants.py > csrc/kernels/cpu/constants.h"
    )


def test_polynomial_of_the_fast_kernel_errs_as_its_header_says() -> None:
    constants = (HERE / "constants.h").read_text(encoding="utf-8")
    numbers = r"(-?0x[0-9a-f.]+p[-+]\d+)f"
    (offset,) = re.findall(rf"kFastOffset = {numbers}", constants)
    (list_of_both,) = re.findall(r"kFastCoefficients\[2\].*\n\s+\{(.*)\}", constants)
    c0, c1 = (mpf(float.fromhex(c)) for c in re.findall(numbers, list_of_both))
    bound = math.log(2) / 32 + abs(float.fromhex(offset))
    with mp.workprec(200):
        points = (mpf(bound) * i / 500 for i in range(-500, 501))
        worst = max(abs(mp.expm1(r) - (r + r * r * (c0 + c1 * r))) / mp.exp(r) for r in points)
    header = (HERE / "sigmoid_f32_fast.h").read_text(encoding="utf-8")
    (stated,) = re.findall(r"polynomial of degree 3 errs by 2\^(-\d+\.\d)", header)
    assert float(stated) - 0.1 < float(mp.log(worst, 2)) < float(stated) + 0.05

"""The operator beside torch.sigmoid: ratios from one interleaved run.

    python benchmarks/operator.py [--threads 1] [--dtype float32]

Prints torch's time over ours, above 1 where ours is faster: of the medians, and of the minima in
brackets. Calls of the two alternate, so that what else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import torch

import torch_sigmoid_ext

SIZES = (6, 64, 1 << 10, 1 << 14, 1 << 17, 1 << 20, 1 << 24)
CALLS = 1 << 21  # elements a measurement goes through, so that a small size is called many times
ROUNDS = 31

DISTRIBUTIONS: dict[str, Callable[[int], torch.Tensor]] = {
    "N(0, 1)": torch.randn,
    "N(0, 5)": lambda n: torch.randn(n) * 5,
    "uniform ±10": lambda n: torch.rand(n) * 20 - 10,
    "uniform ±100": lambda n: torch.rand(n) * 200 - 100,
    "saturated": lambda n: torch.rand(n) * 50 + 18,
    "subnormal": lambda n: torch.rand(n) * -16 - 87.5,
}


def ratio(ours: Callable[[], object], theirs: Callable[[], object], numel: int) -> str:
    """theirs / ours, by median and by minimum."""
    repeat = max(1, min(2000, CALLS // numel))
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS if numel <= 1 << 20 else 9):
        for function, taken in zip((ours, theirs), times, strict=True):
            start = time.perf_counter()
            for _ in range(repeat):
                function()
            taken.append(time.perf_counter() - start)
    median, least = (f(times[1]) / f(times[0]) for f in (statistics.median, min))
    return f"{median:5.2f} [{least:5.2f}]"


def cpu_name() -> str:
    """As Linux calls it; elsewhere the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="float32", help="float16, bfloat16, float32 or float64")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    dtype = getattr(torch, options.dtype)
    print(
        f"{date.today()}, {cpu_name()}, torch {torch.__version__} "
        f"({torch.backends.cpu.get_cpu_capability()}), threads {options.threads}, "
        f"{options.dtype}\ntorch.sigmoid's time over ours, median [minimum]\n"
    )
    columns = ("fresh output", "out=")
    print(f"{'input':>14} {'numel':>9}  " + "  ".join(f"{name:>13}" for name in columns))
    with torch.no_grad():
        for name, draw in DISTRIBUTIONS.items():
            for numel in SIZES if name == "N(0, 1)" else (1 << 14, 1 << 17):
                x = draw(numel).to(dtype)
                out = torch.empty_like(x)
                ours, theirs = torch_sigmoid_ext.sigmoid, torch.sigmoid
                fresh = ratio(lambda: ours(x), lambda: theirs(x), numel)  # noqa: B023
                written = ratio(lambda: ours(x, out=out), lambda: theirs(x, out=out), numel)  # noqa: B023
                print(f"{name:>14} {numel:>9}  {fresh:>13}  {written:>13}", flush=True)


if __name__ == "__main__":
    main()

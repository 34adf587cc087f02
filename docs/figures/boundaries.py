"""How near σ comes to the middle between two float32s: counts, for docs/boundaries.json.

    python docs/figures/boundaries.py [--every N]        every float32: about ten minutes

A result can be rounded right only by who knows on which side of the middle σ lies, so this says how
exactly σ must be known, for how many inputs. It depends on σ and float32 alone and on no kernel.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from torch_sigmoid_ext.export.ulp import spacing_at, true_sigmoid

Array = NDArray[Any]

OUTPUT = Path(__file__).parents[1] / "boundaries.json"
CHUNK = 1 << 20
DEEPEST = 64  # the truth is held in 64 bits
NORMAL_INPUTS = 1 << 24


def distances(x: Array) -> Array:
    """|σ(x) - nearest middle between two float32s| / σ(x)."""
    truth = true_sigmoid(x)
    units = truth / spacing_at(truth, np.float32)
    nearest: Array = np.abs(units - np.floor(units) - np.longdouble(0.5)) / units
    return nearest


def count(relative: Array) -> Array:
    """Entry k: how many distances lie in [2^-(k + 1), 2^-k)."""
    _, exponent = np.frexp(relative)  # 2^(exponent - 1) <= distance < 2^exponent
    depth = np.clip(-exponent, 0, DEEPEST - 1)
    counts: Array = np.bincount(depth, minlength=DEEPEST)
    return counts


def bit_patterns(low: float, high: float) -> range:
    """The bit patterns of the float32s from low up to high, of one sign, by magnitude."""
    first, last = (int(np.float32(limit).view(np.uint32)) for limit in (low, high))
    return range(first, last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="take one bit pattern of so many")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()

    # Nearer to 0 the ties of 1/2 + x/4 rule; farther out σ is subnormal, or rounds to 1.
    spans = [bit_patterns(2.0**-10, 17.5), bit_patterns(-(2.0**-10), -87.33)]
    chunks = [
        np.arange(
            first, min(first + CHUNK * options.every, span.stop), options.every, dtype=np.uint32
        )
        for span in spans
        for first in range(span.start, span.stop, CHUNK * options.every)
    ]
    counts = np.zeros(DEEPEST, np.int64)
    nearest = (1.0, 0.0)
    for chunk in track(chunks, "σ of every float32"):
        x = chunk.view(np.float32)
        relative = distances(x)
        counts += count(relative)
        at = int(relative.argmin())
        nearest = min(nearest, (float(relative[at]), float(x[at])))
    normal = np.random.default_rng(2026).standard_normal(NORMAL_INPUTS, np.float32)
    drawn = np.sum([count(distances(part)) for part in normal.reshape(-1, CHUNK)], axis=0)
    found = {
        "inputs": f"one float32 of {options.every}, 2^-10 <= |x|, -87.33 < x < 17.5",
        "number": int(counts.sum()),
        "counts": counts.tolist(),
        "normal": drawn.tolist(),
        "nearest": nearest[0],
        "nearest_input": nearest[1].hex(),
    }
    lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in found.items())
    options.output.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(
        f"{found['number']:,} inputs; the nearest, {found['nearest_input']}, "
        f"lies 2^{np.log2(nearest[0]):.2f} of σ beside the middle"
    )


if __name__ == "__main__":
    main()

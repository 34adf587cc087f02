"""The inputs whose σ lies nearest to a rounding boundary of their type, of all there are.

A boundary is the middle between two neighbouring numbers of the type. The figure is the distance of
σ(x) to the nearest one, relative to σ(x), as a power of two; `make prove` prints the same
(docs/prove.txt). For small |x|, σ = 1/2 + x/4 - x³/48 ... passes right beside tie upon tie: of
those stand the nearest three, of the others the nearest six.
"""

from __future__ import annotations

import torch

# Which |x| are small.
SMALL = {torch.float32: 2.0**-10, torch.float16: 2.0**-5, torch.bfloat16: 2.0**-5}

HARD_CASES = {
    torch.float32: {
        "-0x1p-24": -76.58,
        "0x1p-23": -73.58,
        "-0x1.8p-23": -71.83,
        "-0x1.250c02p-10": -54.98,
        "0x1.437902p-5": -53.07,
        "-0x1.2082ep-3": -52.81,
        "0x1.250c08p-9": -50.87,
        "-0x1.32c9ap-1": -50.79,
        "-0x1.46c7e8p-4": -49.81,
    },
    torch.float16: {
        "-0x1p-11": -37.58,
        "0x1p-10": -34.59,
        "-0x1.8p-10": -32.83,
        "-0x1.4fcp-3": -26.70,
        "-0x1.fep+0": -24.03,
        "-0x1.8e4p-3": -23.99,
        "0x1.ad4p+2": -23.37,
        "-0x1.38cp+1": -22.48,
        "0x1.324p+1": -22.35,
    },
    torch.bfloat16: {
        "-0x1p-8": -28.58,
        "0x1p-7": -25.59,
        "-0x1.8p-7": -23.82,
        "0x1.d2p-3": -24.42,
        "-0x1.26p-2": -19.13,
        "-0x1.2p-5": -19.05,
        "0x1.4p-5": -18.65,
        "-0x1.6p-5": -18.18,
        "-0x1.3ep+4": -17.74,
    },
}

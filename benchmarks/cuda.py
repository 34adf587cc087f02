"""Speed on a GPU: the operator beside torch.sigmoid and beside a copy, in one run by turns.

    python -m benchmarks.cuda [--quick] [--output DIR]

Writes benchmarks/results/cuda-<card>.md and .json. Needs torch, numpy, and the package with its
CUDA kernels. benchmarks/CUDA.md says how to read it, and what was predicted before measuring.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from torch_sigmoid_ext import sigmoid

from .machine import describe

RESULTS = Path(__file__).parent / "results"
MIB = 1 << 20
COPY, TORCH, OURS = "copy", "torch", "ours"
backward_op = torch.ops.torch_sigmoid_ext.sigmoid_backward

Call = Callable[[], object]


@dataclass(frozen=True)
class Work:
    """What a kernel does for one element: instructions issued, and those of float64 among them.

    Counted in the disassembly for sm_90 along the usual path; CUDA.md has the table.
    """

    issued: float
    float64: float


WORK = {
    ("exact", "float32"): Work(40, 15),
    ("pairs", "float32"): Work(65, 0),  # where float64 is slow, exact is this
    ("fast", "float32"): Work(48, 0),
    ("exact", "float16"): Work(21, 0),
    ("exact", "bfloat16"): Work(21, 0),
    ("exact", "float64"): Work(100, 37),
    ("backward", "float32"): Work(19, 0),
    ("backward", "float16"): Work(14, 0),
    ("backward", "bfloat16"): Work(18, 0),
    ("backward", "float64"): Work(36, 9),
}


# By compute capability: instructions issued in the time of one of float64. Other cards: 64.
FLOAT64_RATIOS = {(6, 0): 4, (7, 0): 4, (8, 0): 4, (9, 0): 2, (10, 0): 2}
SLOW_FLOAT64 = 4


@dataclass(frozen=True)
class Row:
    """Seconds a call: the median over the rounds."""

    kernel: str
    dtype: str
    mib: int  # of one tensor
    layout: str
    bytes: int  # read and written by a call
    floor: float  # predicted: the larger of bytes / bandwidth and operations / rate
    bound: str  # which of the two that is
    seconds: dict[str, float]

    @property
    def of_copy(self) -> float:
        """Our bandwidth over the copy's, measured in the same rounds."""
        ours = self.bytes / self.seconds[OURS]
        return ours / (2 * self.mib * MIB / self.seconds[COPY])

    @property
    def of_torch(self) -> float:
        return self.seconds[TORCH] / self.seconds[OURS]


@dataclass(frozen=True)
class Card:
    name: str
    processors: int
    ratio: int  # instructions issued in the time of one of float64
    hertz: float
    bandwidth: float  # bytes a second, of the largest copy

    def floor(self, kernel: str, dtype: str, numel: int, bytes_moved: int) -> tuple[float, str]:
        if (kernel, dtype) == ("exact", "float32") and self.ratio > SLOW_FLOAT64:
            kernel = "pairs"
        work = WORK[kernel, dtype]
        issue = 128 * self.processors * self.hertz  # four warps a cycle and multiprocessor
        times = {
            "memory": bytes_moved / self.bandwidth,
            "issue": work.issued * numel / issue,
            "float64": work.float64 * numel * self.ratio / issue,
        }
        bound = max(times, key=lambda name: times[name])
        return times[bound], bound


def by_turns(calls: Mapping[str, Call], rounds: int, least: float = 2e-3) -> dict[str, float]:
    """The median time of each call; a round times a batch of each, forwards and backwards."""
    batches: dict[str, int] = {}
    for name, call in calls.items():
        call()
        once = elapsed(call, 3)
        batches[name] = max(1, min(1000, round(least / once)))
    order = list(calls)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name in order:
            taken[name].append(elapsed(calls[name], batches[name]))
        order.reverse()
    return {name: statistics.median(times) for name, times in taken.items()}


def event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def elapsed(call: Call, count: int) -> float:
    """Seconds a call on the device, by events around `count` of them."""
    begin, end = event(), event()
    begin.record()
    for _ in range(count):
        call()
    end.record()
    end.synchronize()
    milliseconds: float = begin.elapsed_time(end)
    return milliseconds / 1e3 / count


def cycling(function: Callable[..., object], sets: Sequence[tuple[Tensor, ...]]) -> Call:
    """function(*tensors) on one set after another, so that none is still in the cache."""
    at = iter(range(sys.maxsize))
    return lambda: function(*sets[next(at) % len(sets)])


def random(numel: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(numel, device="cuda", dtype=torch.float32).to(dtype)


def tensor_sets(mib: int, dtype: torch.dtype, inputs: int) -> list[tuple[Tensor, ...]]:
    """Sets of inputs and an output, at least four caches' worth together."""
    numel = mib * MIB // dtype.itemsize
    cache: int = torch.cuda.get_device_properties(0).L2_cache_size
    count = max(1, min(8, 4 * cache // (mib * MIB)))
    return [tuple(random(numel, dtype) for _ in range(inputs + 1)) for _ in range(count)]


def forward_row(card: Card, kernel: str, dtype: torch.dtype, mib: int, rounds: int) -> Row:
    sets = tensor_sets(mib, dtype, 1)
    fast = kernel == "fast"
    seconds = by_turns(
        {
            COPY: cycling(lambda x, out: out.copy_(x), sets),
            TORCH: cycling(lambda x, out: torch.sigmoid(x, out=out), sets),
            OURS: cycling(lambda x, out: sigmoid(x, fast=fast, out=out), sets),
        },
        rounds,
    )
    return row(card, kernel, dtype, mib, "dense", 2, seconds)


def backward_row(card: Card, dtype: torch.dtype, mib: int, rounds: int) -> Row:
    sets = tensor_sets(mib, dtype, 2)
    sets = [(g, sigmoid(y), out) for g, y, out in sets]
    seconds = by_turns(
        {
            COPY: cycling(lambda g, y, out: out.copy_(g), sets),
            TORCH: cycling(lambda g, y, out: torch.ops.aten.sigmoid_backward(g, y), sets),
            OURS: cycling(lambda g, y, out: backward_op(g, y), sets),
        },
        rounds,
    )
    return row(card, "backward", dtype, mib, "dense", 3, seconds)


def strided_row(card: Card, dtype: torch.dtype, mib: int, layout: str, rounds: int) -> Row:
    """To a contiguous output, from a transposed matrix or from every other element."""
    width = 4096
    height = mib * MIB // dtype.itemsize // width
    sets = []
    for x, out in tensor_sets(mib, dtype, 1):
        if layout == "transposed":
            sets.append((x.view(height, width).t(), out.view(width, height)))
        else:
            sets.append((torch.stack([x, x], dim=-1)[:, 0], out))
    seconds = by_turns(
        {
            COPY: cycling(lambda x, out: out.copy_(x), sets),
            TORCH: cycling(lambda x, out: torch.sigmoid(x, out=out), sets),
            OURS: cycling(lambda x, out: sigmoid(x, out=out), sets),
        },
        rounds,
    )
    return row(card, "exact", dtype, mib, layout, 2, seconds)


def row(
    card: Card,
    kernel: str,
    dtype: torch.dtype,
    mib: int,
    layout: str,
    tensors: int,
    seconds: dict[str, float],
) -> Row:
    name, moved = str(dtype).removeprefix("torch."), tensors * mib * MIB
    skipped = mib * MIB if layout == "every other" else 0  # memory delivers what lies between, too
    floor, bound = card.floor(kernel, name, mib * MIB // dtype.itemsize, moved + skipped)
    return Row(kernel, name, mib, layout, moved, floor, bound, seconds)


def rows(card: Card, sizes: list[int], rounds: int) -> Iterator[Row]:
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        for mib in sizes:
            for kernel in ("exact", "fast") if dtype == torch.float32 else ("exact",):
                yield forward_row(card, kernel, dtype, mib, rounds)
            yield backward_row(card, dtype, mib, rounds)
        for layout in ("transposed", "every other"):
            yield strided_row(card, dtype, sizes[min(1, len(sizes) - 1)], layout, rounds)


def small_calls(rounds: int) -> dict[str, dict[str, float]]:
    """Seconds a call of small tensors: the launch path on the host, and inside of a graph."""
    found = {}
    for numel in (6, 1 << 10, 1 << 16):
        x = random(numel, torch.float32)
        calls: dict[str, Call] = {
            TORCH: lambda x=x: torch.sigmoid(x),  # type: ignore[misc]
            OURS: lambda x=x: sigmoid(x),  # type: ignore[misc]
        }
        graphs = {name: captured(call) for name, call in calls.items()}
        found[f"{numel} elements, launch path"] = host_by_turns(calls, rounds)
        replays = by_turns({name: graph.replay for name, graph in graphs.items()}, rounds)
        found[f"{numel} elements, in a graph"] = {
            name: taken / CALLS_A_GRAPH for name, taken in replays.items()
        }
    return found


CALLS_A_GRAPH = 50


def captured(call: Call) -> torch.cuda.CUDAGraph:
    call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(CALLS_A_GRAPH):
            call()
    return graph


def host_by_turns(calls: Mapping[str, Call], rounds: int) -> dict[str, float]:
    """How long the host takes for a call, while the device keeps up."""
    batch = 500  # fewer than the launches that a stream takes before it makes the host wait
    taken: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    for _ in range(rounds):
        for name in order:
            torch.cuda.synchronize()
            begin = time.perf_counter()
            for _ in range(batch):
                calls[name]()
            taken[name].append((time.perf_counter() - begin) / batch)
        order.reverse()
    return {name: statistics.median(times) for name, times in taken.items()}


def clock() -> float:
    """The multiprocessors' highest clock in hertz, as nvidia-smi tells it; 0 where it does not."""
    query = ["--query-gpu=clocks.max.sm", "--format=csv,noheader,nounits"]
    try:
        printed = subprocess.run(
            ["nvidia-smi", *query, "-i", "0"], capture_output=True, text=True, check=True
        ).stdout
        return float(printed.split()[0]) * 1e6
    except (OSError, subprocess.CalledProcessError, IndexError, ValueError):
        return 0.0


def card_here(rounds: int) -> Card:
    properties = torch.cuda.get_device_properties(0)
    ((x, out),) = tensor_sets(2048, torch.float32, 1)[:1]
    seconds = by_turns({COPY: lambda: out.copy_(x)}, rounds)[COPY]
    ratio = FLOAT64_RATIOS.get((properties.major, properties.minor), 64)
    return Card(
        properties.name,
        properties.multi_processor_count,
        ratio,
        clock() or 1.755e9,
        2 * 2048 * MIB / seconds,
    )


def markdown(card: Card, machine: Mapping[str, str], found: list[Row], small: object) -> str:
    assert isinstance(small, dict)
    lines = [f"# Speed on {card.name}", ""]
    lines += [f"- {name}: {value}" for name, value in machine.items()]
    lines += [
        f"- copy of 2 GiB: {card.bandwidth / 1e9:.0f} GB/s read and written",
        f"- multiprocessors: {card.processors} at up to {card.hertz / 1e6:.0f} MHz",
        "",
        "Times are medians over rounds by turns, by CUDA events. `copy` is our bandwidth over that",
        "of a copy of the same tensor in the same rounds, `torch` its time over ours: above 1,",
        "ours is faster. The floor was predicted: bytes over bandwidth, or operations over rate,",
        "whichever is longer. A transposed copy is itself no fast one.",
        "",
        "| kernel | dtype | MiB | layout | floor, ms | bound | ours, ms | GB/s | copy | torch |",
        "|---|---|---:|---|---:|---|---:|---:|---:|---:|",
    ]
    for one in found:
        ours = one.seconds[OURS]
        lines.append(
            f"| {one.kernel} | {one.dtype} | {one.mib} | {one.layout} | {one.floor * 1e3:.3f} "
            f"| {one.bound} | {ours * 1e3:.3f} | {one.bytes / ours / 1e9:.0f} "
            f"| {one.of_copy:.3f} | {one.of_torch:.2f} |"
        )
    lines += ["", "| small calls | ours, µs | torch, µs | torch / ours |", "|---|---:|---:|---:|"]
    for name, times in small.items():
        ours, torchs = times[OURS], times[TORCH]
        lines.append(f"| {name} | {ours * 1e6:.2f} | {torchs * 1e6:.2f} | {torchs / ours:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuda", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two sizes, fewer rounds")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("benchmarks.cuda: skipped, torch finds no CUDA device")
        return 0
    rounds = 7 if options.quick else 25
    sizes = [64, 256] if options.quick else [64, 256, 1024, 4096]
    free = torch.cuda.mem_get_info()[0] // MIB
    sizes = [size for size in sizes if 6 * size < free]  # random 16-bit numbers begin as float32
    card = card_here(rounds)
    found = []
    with torch.no_grad():
        for one in rows(card, sizes, rounds):
            found.append(one)
            print(
                f"{one.kernel} {one.dtype} {one.mib} MiB {one.layout}: "
                f"{one.of_copy:.3f} of the copy, {one.of_torch:.2f} torch",
                flush=True,
            )
            torch.cuda.empty_cache()
        small = small_calls(rounds)
    machine = describe()
    machine["cuda"] = str(torch.version.cuda)
    options.output.mkdir(parents=True, exist_ok=True)
    slug = re.sub(r"[^a-z0-9]+", "-", card.name.lower()).strip("-")
    text = markdown(card, machine, found, small)
    (options.output / f"cuda-{slug}.md").write_text(text)
    results = {
        "machine": machine,
        "card": asdict(card),
        "rows": [asdict(one) for one in found],
        "small_calls": small,
    }
    (options.output / f"cuda-{slug}.json").write_text(json.dumps(results, indent=1) + "\n")
    print("\n" + text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What bounds the AVX-512 kernels: a vector's time, beside that of its operations with no waits.

    python -m benchmarks.bounds

Writes a C++ program with rows of independent instructions, compiles it with the kernels, and
prints how long a row takes. One unit is the time of one fma, a cycle on AMD's Zen 4 and half a
cycle on Intel's servers. The operations are counted in csrc/kernels/cpu, for one vector of the
usual range. What a row takes with nothing to wait for, a kernel cannot beat.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import describe

ROOT = Path(__file__).parent.parent

# {d}: a destination, another one for each instruction of a row.
INSTRUCTIONS = {
    "fma": "vfmadd213ps %%zmm30,%%zmm29,%%zmm{d}",
    "fma_pd": "vfmadd213pd %%zmm30,%%zmm29,%%zmm{d}",
    "add": "vaddps %%zmm30,%%zmm29,%%zmm{d}",
    "add_pd": "vaddpd %%zmm30,%%zmm29,%%zmm{d}",
    "logic": "vpxord %%zmm30,%%zmm29,%%zmm{d}",
    "ternary": "vpternlogd $0xf6,%%zmm30,%%zmm29,%%zmm{d}",
    "shift": "vpslld $18,%%zmm29,%%zmm{d}",
    "permute": "vpermps %%zmm30,%%zmm29,%%zmm{d}",
    "permute2": "vpermt2ps %%zmm30,%%zmm29,%%zmm{d}",
    "permute2_pd": "vpermt2pd %%zmm30,%%zmm29,%%zmm{d}",
    "estimate": "vrcp14ps %%zmm30,%%zmm{d}",
    "divide": "vdivps %%zmm30,%%zmm29,%%zmm{d}",
    "divide_pd": "vdivpd %%zmm30,%%zmm29,%%zmm{d}",
    "compare": "vcmpps $1,%%zmm30,%%zmm29,%%k1",
    "load": "vmovups (%0),%%zmm{d}",
    "store": "vmovups %%zmm30,64(%0)",
}
REGISTERS = 26

Row = dict[str, int]
MULTIPLY: Row = {"fma": 16}
NARROW: Row = {
    "fma": 15,
    "add": 8,
    "estimate": 1,
    "permute2": 2,
    "shift": 1,
    "logic": 5,
    "ternary": 1,
    "load": 1,
    "store": 1,
}
FAST: Row = {
    "fma": 7,
    "add": 3,
    "divide": 1,
    "permute": 1,
    "shift": 1,
    "ternary": 2,
    "load": 1,
    "store": 1,
}
FLOAT64: Row = {
    "fma_pd": 17,
    "add_pd": 12,
    "divide_pd": 1,
    "permute2_pd": 2,
    "shift": 1,
    "logic": 2,
    "compare": 1,
    "load": 1,
    "store": 1,
}

ROWS: dict[str, Row] = {
    "16 fma": MULTIPLY,
    "16 add": {"add": 16},
    "16 two-register permutations": {"permute2": 16},
    "16 divisions": {"divide": 16},
    "16 divisions, float64": {"divide_pd": 16},
    "16 fma, 8 add": {**MULTIPLY, "add": 8},
    "16 fma, 2 two-register permutations": {**MULTIPLY, "permute2": 2},
    "16 fma, 4 stores": {**MULTIPLY, "store": 4},
    "float32 exact: 15 fma, 8 add and the rest": NARROW,
    "float32 fast: 7 fma, 3 add, a division and the rest": FAST,
    "float64: 17 fma, 12 add, a division and the rest": FLOAT64,
}

PROGRAM = """
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "kernels/cpu/select.h"

using Clock = std::chrono::steady_clock;
namespace kernels = torch_sigmoid_ext::kernels;

alignas(64) float memory[64];
double unit;

template <class F>
double least(int rounds, F f) {
  double best = 1e9;
  for (int i = 0; i < rounds; ++i) {
    const auto start = Clock::now();
    f();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

template <class F>
void row(const char* name, F f) {
  const double seconds = least(30, f) / 100000;
  if (unit == 0) unit = seconds / 16;
  std::printf("| %s | %.1f |\\n", name, seconds / unit);
}

template <class T>
void kernel(const char* name, kernels::Sigmoid run, double lanes, double scale, double shift,
            double infinities = 0) {
  constexpr std::int64_t kNumel = 2048;  // in the first cache
  std::mt19937 bits(0);
  std::normal_distribution<double> normal;
  std::vector<T> x(kNumel), y(kNumel);
  std::uniform_real_distribution<double> share;
  for (auto& value : x) {
    value = static_cast<T>(normal(bits) * scale + shift);
    if (share(bits) < infinities) value = std::copysign(INFINITY, value);
  }
  const double seconds =
      least(2000, [&] { run(x.data(), sizeof(T), y.data(), sizeof(T), kNumel); }) /
      (kNumel / lanes);
  std::printf("| %s | %.1f |\\n", name, seconds / unit);
}

// Two arrays read and one written, in the second cache: by the gradient, and by one addition.
void three_arrays(const kernels::KernelSet& set) {
  constexpr std::int64_t kNumel = 16384;
  constexpr std::int64_t kSize = sizeof(float);
  std::vector<float> g(kNumel, 1.0f), y(kNumel, 0.5f), z(kNumel);
  const auto print = [&](const char* name, double seconds) {
    std::printf("| %s | %.1f |\\n", name, seconds / (kNumel / 16) / unit);
  };
  print("x + y, 16K elements", least(2000, [&] {
          for (std::int64_t i = 0; i < kNumel; i += 16) {
            asm volatile("vmovups %0,%%zmm0\\nvaddps %1,%%zmm0,%%zmm0\\nvmovups %%zmm0,%2"
                         :
                         : "m"(g[i]), "m"(y[i]), "m"(z[i])
                         : "xmm0", "memory");
          }
        }));
  print("**float32 gradient**, 16K elements", least(2000, [&] {
          set.backward[2](g.data(), kSize, y.data(), kSize, z.data(), kSize, kNumel);
        }));
}

int main() {
  const kernels::KernelSet& set = *kernels::cpu::available().front();
  asm volatile("vbroadcastss %0,%%zmm30\\nvmovaps %%zmm30,%%zmm29" ::"m"(memory[0] = 1.0f));
ROWS
  kernel<float>("**float32 exact**, N(0, 1)", set.exact[2], 16, 1, 0);
  kernel<float>("**float32 exact**, N(0, 1) and infinities", set.exact[2], 16, 1, 0, 0.2);
  kernel<float>("**float32 exact**, far below 0: N(-50, 5)", set.exact[2], 16, 5, -50);
  kernel<float>("**float32 exact**, both: N(-20, 5)", set.exact[2], 16, 5, -20);
  kernel<float>("**float32 exact**, subnormal results", set.exact[2], 16, 1, -95);
  kernel<float>("**float32 fast**, N(0, 1)", set.fast[2], 16, 1, 0);
  kernel<float>("**float32 fast**, N(0, 1) and infinities", set.fast[2], 16, 1, 0, 0.2);
  kernel<double>("**float64**, N(0, 1)", set.exact[3], 8, 1, 0);
  kernel<double>("**float64**, N(0, 1) and infinities", set.exact[3], 8, 1, 0, 0.2);
  three_arrays(set);
}
"""


def spread(row: Row) -> list[str]:
    """The row's instructions, each kind spread evenly over it."""
    places = sorted(((i + 0.5) / count, kind) for kind, count in row.items() for i in range(count))
    return [INSTRUCTIONS[kind].format(d=i % REGISTERS) for i, (_, kind) in enumerate(places)]


def statement(name: str, row: Row) -> str:
    text = "\\n".join(spread(row))
    clobbers = ", ".join(f'"xmm{i}"' for i in range(REGISTERS))
    return (
        f'  row("{name}", [] {{ for (int i = 0; i < 100000; ++i) '
        f'asm volatile("{text}" ::"r"(memory) : "memory", "k1", {clobbers}); }});'
    )


def main() -> int:
    compiler = os.environ.get("CXX", "g++")
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if shutil.which(compiler) is None or not all(f in flags for f in ("avx512dq", "avx512vl")):
        print(f"skipped: needs {compiler} and a CPU with AVX-512")
        return 0
    rows = "\n".join(statement(name, row) for name, row in ROWS.items())
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "bounds.cpp"), Path(folder, "bounds")
        source.write_text(PROGRAM.replace("ROWS", rows))
        kernels = sorted(str(path) for path in (ROOT / "csrc/kernels/cpu").glob("*.cpp"))
        options = ["-std=c++20", "-O3", "-ffp-contract=off", "-fno-math-errno", "-mavx512f", "-w"]
        subprocess.run(
            [compiler, *options, f"-I{ROOT / 'csrc'}", "-c", source, "-o", f"{program}.o"],
            check=True,
        )
        options.remove("-mavx512f")
        subprocess.run(
            [compiler, *options, f"{program}.o", *kernels, "-o", program, "-pthread"], check=True
        )
        machine = describe()
        print(f"{machine['date']}, commit {machine['commit']}, {machine['cpu']}, AVX-512\n")
        print("| a vector | in fma |\n|---|---:|", flush=True)
        subprocess.run([program], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

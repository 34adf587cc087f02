// All 2^32 float32 inputs of the scalar kernel against an independent reference. `make prove` runs
// it.
//
// Reference, with nothing of the kernel in it:
//   |x| >= 2^-10          x87 long double, expl and one division: relative error below 2^-61.5
//   2^-26 < |x| < 2^-10   the series 1/2 + x/4 - x³/48 + x⁵/480 - 17 x⁷/80640 in float128
//   |x| <= 2^-26          1/2: σ differs from it by at most 2^-28, a quarter of the distance to a
//   tie x >= 17.5, x <= -104.5    1 and 0, beyond the last roundings to anything else
// It rounds right because no float32's σ in the first range lies nearer to a rounding boundary than
// 2^-54.98 of itself (tests/test_hardest_cases.py holds the nearest ones and checks them with
// mpmath). The program reports the nearest distance it met, so that the margin is seen and not
// assumed.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

#include "../../csrc/kernels/cpu/select.h"

namespace {

namespace kernels = torch_sigmoid_ext::kernels;

static_assert(std::numeric_limits<long double>::digits >= 64, "the reference needs x87 or wider");

constexpr std::uint32_t kChunk = 1u << 20;

struct Tally {
  std::uint64_t misrounded = 0;
  std::uint64_t hash = 0;  // over (input, output), independent of order; NaN results counted as one
  double worst_ulp = 0;
  float worst_input = 0;
  double nearest =
      1;  // least relative distance of a true value to a rounding boundary, |x| >= 2^-10

  void add(const Tally& other) {
    misrounded += other.misrounded;
    hash += other.hash;
    nearest = std::min(nearest, other.nearest);
    if (other.worst_ulp > worst_ulp) {
      worst_ulp = other.worst_ulp;
      worst_input = other.worst_input;
    }
  }
};

long double reference(float input) {
  const long double x = input;
  const float magnitude = std::fabs(input);
  if (input >= 17.5f) return 1;
  if (input <= -104.5f) return 0;
  if (magnitude <= 0x1p-26f) return 0.5L;
  if (input > 0) return 1 / (1 + std::exp(-x));
  const long double e = std::exp(x);
  return e / (1 + e);
}

float rounded_series(float input) {
  const __float128 x = input;
  const __float128 x2 = x * x;
  const __float128 slope =
      __float128(1) / 4 +
      x2 * (__float128(-1) / 48 + x2 * (__float128(1) / 480 + x2 * (__float128(-17) / 80640)));
  return static_cast<float>(__float128(1) / 2 + x * slope);
}

std::uint64_t mix(std::uint64_t value) {  // splitmix64's finalizer
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

Tally check(std::uint32_t first) {
  std::vector<float> inputs(kChunk), outputs(kChunk);
  for (std::uint32_t i = 0; i < kChunk; ++i) inputs[i] = std::bit_cast<float>(first + i);
  const auto index = static_cast<std::size_t>(kernels::ElementType::kFloat32);
  kernels::cpu::scalar().exact[index](inputs.data(), sizeof(float), outputs.data(), sizeof(float),
                                      kChunk);
  Tally tally;
  for (std::uint32_t i = 0; i < kChunk; ++i) {
    const float x = inputs[i];
    const float y = outputs[i];
    const std::uint32_t bits = std::isnan(y) ? 0x7fc00000u : std::bit_cast<std::uint32_t>(y);
    tally.hash += mix(static_cast<std::uint64_t>(first + i) << 32 | bits);
    if (std::isnan(x)) {
      tally.misrounded += std::isnan(y) ? 0 : 1;
      continue;
    }
    const long double truth = reference(x);
    const float magnitude = std::fabs(x);
    const bool series = magnitude > 0x1p-26f && magnitude < 0x1p-10f;
    const float expected = series ? rounded_series(x) : static_cast<float>(truth);
    if (!(y == expected)) ++tally.misrounded;

    const float neighbour = std::nextafter(expected, truth > expected ? 2.0f : -1.0f);
    const long double spacing = std::fabs(static_cast<long double>(neighbour) - expected);
    const auto ulp = static_cast<double>(std::fabs(y - truth) / spacing);
    if (ulp > tally.worst_ulp) {
      tally.worst_ulp = ulp;
      tally.worst_input = x;
    }
    if (magnitude >= 0x1p-10f && x < 17.5f && x > -104.5f) {
      const long double boundary = (static_cast<long double>(neighbour) + expected) / 2;
      const auto distance = static_cast<double>(std::fabs(truth - boundary) / truth);
      tally.nearest = std::min(tally.nearest, distance);
    }
  }
  return tally;
}

}  // namespace

int main() {
  std::atomic<std::uint32_t> next{0};
  std::mutex lock;
  Tally total;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < std::max(1u, std::thread::hardware_concurrency()); ++t) {
    threads.emplace_back([&] {
      for (std::uint32_t chunk = next++; chunk < (1ull << 32) / kChunk; chunk = next++) {
        const Tally tally = check(chunk * kChunk);
        const std::scoped_lock guard(lock);
        total.add(tally);
        if (chunk % 256 == 0) std::fprintf(stderr, "%u of 4096 chunks\n", chunk);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  std::printf("float32, scalar kernel, all 2^32 inputs\n");
  std::printf("misrounded             %llu\n", static_cast<unsigned long long>(total.misrounded));
  std::printf("worst error            %.7f ULP at %a\n", total.worst_ulp,
              static_cast<double>(total.worst_input));
  std::printf("nearest to a boundary  2^%.2f of the value, reference good to 2^-61.5\n",
              std::log2(total.nearest));
  std::printf("hash of all outputs    %016llx\n", static_cast<unsigned long long>(total.hash));
  return total.misrounded == 0 ? 0 : 1;
}

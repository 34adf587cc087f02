// All 2^32 float32 inputs through every kernel set that this CPU runs, against an independent
// reference. `make prove` runs it.
//
// Reference, with nothing of the kernels in it:
//   |x| >= 2^-10              x87 long double, expl and one division: relative error below 2^-61.5
//   2^-26 < |x| < 2^-10       the series 1/2 + x/4 - x³/48 + x⁵/480 - 17 x⁷/80640 in float128
//   |x| <= 2^-26              1/2: σ differs from it by at most 2^-28, a quarter of the way to a tie
//   x >= 17.5, x <= -104.5    1 and 0, beyond the last roundings to anything else
// It rounds right because no float32's σ in the first range lies nearer to a rounding boundary than
// 2^-54.98 of itself (tests/truth.py holds the nearest ones, tests/test_accuracy.py checks them with
// mpmath). The program reports the nearest distance it met, so that the margin is seen and not assumed.
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

// One chunk through every set; the reference is computed once for all of them.
void check(std::uint32_t first, const std::vector<const kernels::KernelSet*>& sets,
           std::vector<Tally>& tallies) {
  constexpr auto kFloat32 = static_cast<std::size_t>(kernels::ElementType::kFloat32);
  std::vector<float> inputs(kChunk);
  std::vector<std::vector<float>> outputs(sets.size(), std::vector<float>(kChunk));
  for (std::uint32_t i = 0; i < kChunk; ++i) inputs[i] = std::bit_cast<float>(first + i);
  for (std::size_t s = 0; s < sets.size(); ++s) {
    sets[s]->exact[kFloat32](inputs.data(), sizeof(float), outputs[s].data(), sizeof(float),
                             kChunk);
  }
  for (std::uint32_t i = 0; i < kChunk; ++i) {
    const float x = inputs[i];
    const float magnitude = std::fabs(x);
    const long double truth = std::isnan(x) ? 0 : reference(x);
    const bool series = magnitude > 0x1p-26f && magnitude < 0x1p-10f;
    const float expected = series ? rounded_series(x) : static_cast<float>(truth);
    const float neighbour = std::nextafter(expected, truth > expected ? 2.0f : -1.0f);
    const long double spacing = std::fabs(static_cast<long double>(neighbour) - expected);
    for (std::size_t s = 0; s < sets.size(); ++s) {
      Tally& tally = tallies[s];
      const float y = outputs[s][i];
      const std::uint32_t bits = std::isnan(y) ? 0x7fc00000u : std::bit_cast<std::uint32_t>(y);
      tally.hash += mix(static_cast<std::uint64_t>(first + i) << 32 | bits);
      if (std::isnan(x)) {
        tally.misrounded += std::isnan(y) ? 0 : 1;
        continue;
      }
      if (!(y == expected)) ++tally.misrounded;
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
  }
}

}  // namespace

int main() {
  const std::vector<const kernels::KernelSet*> sets = kernels::cpu::available();
  std::atomic<std::uint32_t> next{0};
  std::mutex lock;
  std::vector<Tally> totals(sets.size());
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < std::max(1u, std::thread::hardware_concurrency()); ++t) {
    threads.emplace_back([&] {
      for (std::uint32_t chunk = next++; chunk < (1ull << 32) / kChunk; chunk = next++) {
        std::vector<Tally> tallies(sets.size());
        check(chunk * kChunk, sets, tallies);
        const std::scoped_lock guard(lock);
        for (std::size_t s = 0; s < sets.size(); ++s) totals[s].add(tallies[s]);
        if (chunk % 256 == 0) std::fprintf(stderr, "%u of 4096 chunks\n", chunk);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  std::printf(
      "float32, all 2^32 inputs; the reference is good to 2^-61.5, and where |x| >= 2^-10 no\n");
  std::printf("true value is nearer to a rounding boundary than 2^%.2f of itself\n\n",
              std::log2(totals.front().nearest));
  std::printf("%-8s %10s  %-28s  %s\n", "kernels", "misrounded", "worst error",
              "hash of all outputs");
  bool proved = true;
  for (std::size_t s = 0; s < sets.size(); ++s) {
    const Tally& total = totals[s];
    std::printf("%-8s %10llu  %.7f ULP at %-10a  %016llx\n", sets[s]->name,
                static_cast<unsigned long long>(total.misrounded), total.worst_ulp,
                static_cast<double>(total.worst_input),
                static_cast<unsigned long long>(total.hash));
    proved = proved && total.misrounded == 0;
  }
  return proved ? 0 : 1;
}

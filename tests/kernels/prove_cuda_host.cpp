// The CUDA backend's arithmetic, compiled for this CPU, over every float32, float16 and bfloat16 input.
// `make prove-cuda-host` runs it. With a number N as its argument, one float32 input of N and fewer gradients:
// tests/test_cuda_host.py runs that.
//
//   float32, float16, bfloat16   against the reference of reference.h: nothing may be misrounded, whatever
//                                the chip's estimates of 1/a, which are made as bad as lane.h allows
//   float32 fast, the gradients, float64, complex        against the CPU's kernels, bit for bit
//
// The hash of all float32 results is prove.cpp's: docs/prove.txt has the same figure.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <random>
#include <vector>

#include "../../csrc/kernels/cpu/select.h"
#include "../../csrc/kernels/cuda/device.h"
#include "chunks.h"
#include "reference.h"

namespace {

namespace kernels = torch_sigmoid_ext::kernels;
namespace cuda = torch_sigmoid_ext::kernels::cuda;
using kernels::ElementType;

// Errors of an estimate, in parts of their bound; the last one stands for a different part for each input.
constexpr double kScattered = 2;
constexpr std::array<double, 4> kEstimates = {0, 1, -1, kScattered};
constexpr std::array<const char*, 4> kEstimateNames = {"exact", "highest", "lowest", "scattered"};

void set_estimate(double error, std::uint32_t input) {
  const std::uint32_t hash = input * 0x9e3779b1u;
  const double part = static_cast<std::int32_t>(hash ^ (hash >> 15)) * 0x1p-31;
  cuda::estimate_error = error == kScattered ? part : error;
}

std::uint64_t mix(std::uint64_t value) {  // as in prove.cpp
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

struct Tally {
  std::uint64_t misrounded = 0;
  std::uint64_t doubts = 0;    // inputs that were decided a second time
  std::uint64_t mistaken = 0;  // of those, where the first attempt would have been wrong
  std::uint64_t hash = 0;
  double first_misrounded = 0;

  void add(const Tally& other) {
    if (misrounded == 0) first_misrounded = other.first_misrounded;
    misrounded += other.misrounded;
    doubts += other.doubts;
    mistaken += other.mistaken;
    hash += other.hash;
  }
};

template <class F>
bool is_right(typename F::Bits out, bool nan, const proof::Truth& truth) {
  if (nan) return F::is_nan(out);
  return F::value(out) == truth.rounded && (out & F::kSign) == 0;
}

template <class F>
void judge(Tally& tally, typename F::Bits input, typename F::Bits out, bool nan,
           const proof::Truth& truth) {
  const auto canonical = F::is_nan(out) ? F::kNaN : out;
  tally.hash += mix(static_cast<std::uint64_t>(input) << 32 | canonical);
  if (is_right<F>(out, nan, truth)) return;
  if (tally.misrounded++ == 0) tally.first_misrounded = F::value(input);
}

// Beyond 110 a method sees the same number for every x, and nearer to 0 than 2^-30 the results are 1/2: there
// each input has one of the estimates, by turns, which counts for all of them.
bool is_settled(float x) {
  const float magnitude = std::fabs(x);
  return magnitude > 110.0f || magnitude < 0x1p-30f;
}

// One input by one method, under each estimate.
template <class Method>
void check_float32(std::uint32_t bits, bool nan, const proof::Truth& truth, Tally* tallies) {
  using F = proof::Float32;
  using Op = cuda::SigmoidFloat32<Method>;
  const float x = std::bit_cast<float>(bits);
  for (std::size_t e = 0; e < kEstimates.size(); ++e) {
    set_estimate(kEstimates[e], bits);
    const cuda::Rounded first = Op::attempt(x);
    const float y = first.doubt ? Op::decide(x) : first.value;
    judge<F>(tallies[e], bits, std::bit_cast<std::uint32_t>(y), nan, truth);
    if (!first.doubt) continue;
    ++tallies[e].doubts;
    tallies[e].mistaken +=
        is_right<F>(std::bit_cast<std::uint32_t>(first.value), nan, truth) ? 0 : 1;
  }
}

unsigned long long count(std::uint64_t value) { return value; }

template <std::size_t kCount>
bool print_tallies(const char* method, const Tally (&tallies)[kCount]) {
  bool proved = true;
  for (std::size_t e = 0; e < kCount; ++e) {
    const Tally& t = tallies[e];
    std::printf("  %-8s %-9s %10llu %10llu %10llu  %016llx", method, kEstimateNames[e],
                count(t.misrounded), count(t.doubts), count(t.mistaken), count(t.hash));
    if (t.misrounded != 0) std::printf("  one at %a", t.first_misrounded);
    std::printf("\n");
    proved = proved && t.misrounded == 0;
  }
  return proved;
}

void print_head(const char* type, std::uint64_t inputs) {
  std::printf("%s: %llu inputs\n  %-8s %-9s %10s %10s %10s  %s\n", type, count(inputs), "method",
              "estimates", "misrounded", "in doubt", "mistaken", "hash of outputs");
}

bool prove_float32(std::uint64_t every) {
  using F = proof::Float32;
  constexpr std::size_t kCount = kEstimates.size();
  Tally in_double[kCount], in_pairs[kCount];
  std::uint64_t fast_differs = 0;
  const auto fast_kernel =
      kernels::cpu::available().front()->fast[static_cast<std::size_t>(ElementType::kFloat32)];
  std::mutex lock;
  const std::uint64_t inputs = (F::kCount + every - 1) / every;
  proof::for_each_chunk(inputs, [&](std::uint64_t first, std::uint64_t numel) {
    Tally here_double[kCount], here_pairs[kCount];
    std::uint64_t here_fast = 0;
    std::vector<float> x(numel), fast(numel);
    for (std::uint64_t i = 0; i < numel; ++i) {
      x[i] = std::bit_cast<float>(static_cast<std::uint32_t>((first + i) * every));
    }
    fast_kernel(x.data(), sizeof(float), fast.data(), sizeof(float),
                static_cast<std::int64_t>(numel));
    for (std::uint64_t i = 0; i < numel; ++i) {
      const auto bits = std::bit_cast<std::uint32_t>(x[i]);
      const bool nan = F::is_nan(bits);
      const proof::Truth truth = nan ? proof::Truth{} : proof::true_sigmoid<F>(x[i]);
      check_float32<cuda::InDouble>(bits, nan, truth, here_double);
      check_float32<cuda::InPairs>(bits, nan, truth, here_pairs);
      const float y = cuda::SigmoidFloat32Fast::apply(x[i]);
      const bool same = std::bit_cast<std::uint32_t>(y) == std::bit_cast<std::uint32_t>(fast[i]);
      here_fast += same || (std::isnan(y) && std::isnan(fast[i])) ? 0 : 1;
    }
    const std::scoped_lock guard(lock);
    for (std::size_t e = 0; e < kCount; ++e) {
      in_double[e].add(here_double[e]);
      in_pairs[e].add(here_pairs[e]);
    }
    fast_differs += here_fast;
  });
  print_head("float32", inputs);
  bool proved = print_tallies("double", in_double);
  proved = print_tallies("pairs", in_pairs) && proved;
  std::printf("  fast: %llu results differ from the CPU's\n\n", count(fast_differs));
  return proved && fast_differs == 0;
}

template <class F, class Op>
bool prove_half(const char* name) {
  Tally tallies[kEstimates.size()];
  for (std::uint32_t input = 0; input < F::kCount; ++input) {
    const auto bits = static_cast<typename F::Bits>(input);
    const bool nan = F::is_nan(bits);
    const proof::Truth truth = nan ? proof::Truth{} : proof::true_sigmoid<F>(F::value(bits));
    for (std::size_t e = 0; e < kEstimates.size(); ++e) {
      set_estimate(kEstimates[e], input);
      judge<F>(tallies[e], bits, Op::apply(bits), nan, truth);
    }
  }
  print_head(name, F::kCount);
  const bool proved = print_tallies("float32", tallies);
  std::printf("\n");
  return proved;
}

// The bits of elements of T, NaN counted as one.
template <class T>
bool same(const T& a, const T& b) {
  if constexpr (requires { a.real; }) {
    return same(a.real, b.real) && same(a.imaginary, b.imaginary);
  } else {
    return std::memcmp(&a, &b, sizeof(T)) == 0 || (std::isnan(a) && std::isnan(b));
  }
}

// Every g, and every y that is a number in [0, 1], each `every`th pair of them.
template <class F, class Op>
bool prove_half_gradient(const char* name, ElementType type, std::uint64_t every) {
  const auto kernel = kernels::cpu::scalar().backward[static_cast<std::size_t>(type)];
  const auto one = static_cast<std::uint64_t>(F::kInfinity & (F::kInfinity >> 1));
  const std::uint64_t outputs = (one & ~((1ull << F::kFractionBits) - 1)) + 1;
  const std::uint64_t pairs = outputs * 65536;
  std::uint64_t different = 0;
  std::mutex lock;
  const std::uint64_t asked = (pairs + every - 1) / every;
  proof::for_each_chunk(asked, [&](std::uint64_t first, std::uint64_t numel) {
    std::vector<std::uint16_t> g(numel), y(numel), expected(numel);
    for (std::uint64_t i = 0; i < numel; ++i) {
      const std::uint64_t pair = (first + i) * every;
      g[i] = static_cast<std::uint16_t>(pair % 65536);
      y[i] = static_cast<std::uint16_t>(pair / 65536);
    }
    kernel(g.data(), 2, y.data(), 2, expected.data(), 2, static_cast<std::int64_t>(numel));
    std::uint64_t here = 0;
    for (std::uint64_t i = 0; i < numel; ++i) {
      const std::uint16_t got = Op::apply(g[i], y[i]);
      here += got == expected[i] || (F::is_nan(got) && F::is_nan(expected[i])) ? 0 : 1;
    }
    const std::scoped_lock guard(lock);
    different += here;
  });
  std::printf("%s gradient: %llu pairs, %llu differ from the CPU's\n", name, count(asked),
              count(different));
  return different == 0;
}

// Of every exponent, near the usual range, and near the ends of it.
template <class T>
T draw(std::mt19937_64& random) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  const double reach = sizeof(T) == 4 ? 105.0 : 750.0;
  const double unit = static_cast<double>(random() >> 11) * 0x1p-53;
  switch (random() % 4) {
    case 0:
      return std::bit_cast<T>(static_cast<Bits>(random()));
    case 1:
      return static_cast<T>((2 * unit - 1) * reach);
    case 2:
      return random() % 64 == 0 ? T{0} : static_cast<T>((2 * unit - 1) * 8192);
    default:
      return static_cast<T>((2 * unit - 1) * 8);
  }
}

template <class T>
kernels::cpu::Complex<T> draw_complex(std::mt19937_64& random) {
  // Within what the CPU computes without the C library's functions, or on the real axis.
  for (;;) {
    const kernels::cpu::Complex<T> z = {draw<T>(random), draw<T>(random)};
    const bool near = std::fabs(static_cast<double>(z.real)) <= 700.0 &&
                      std::fabs(static_cast<double>(z.imaginary)) <= 8192.0;
    if (near || z.imaginary == T{0}) return z;
  }
}

template <class Op, class Draw>
bool compare(const char* name, ElementType type, std::uint64_t numel, const Draw& next) {
  using T = typename Op::Element;
  const kernels::KernelSet& cpu = *kernels::cpu::available().front();
  constexpr auto kSize = static_cast<std::int64_t>(sizeof(T));
  const auto index = static_cast<std::size_t>(type);
  std::uint64_t different = 0;
  std::mutex lock;
  proof::for_each_chunk(numel, [&](std::uint64_t first, std::uint64_t count_here) {
    std::mt19937_64 random(first);
    std::vector<T> x(count_here), y(count_here), expected(count_here);
    const auto size = static_cast<std::int64_t>(count_here);
    std::generate(x.begin(), x.end(), [&] { return next(random); });
    std::uint64_t here = 0;
    if constexpr (Op::kInputs == 1) {
      cpu.exact[index](x.data(), kSize, expected.data(), kSize, size);
      for (std::uint64_t i = 0; i < count_here; ++i) {
        here += same(Op::apply(x[i]), expected[i]) ? 0 : 1;
      }
    } else {
      cpu.exact[index](x.data(), kSize, y.data(), kSize, size);
      std::shuffle(x.begin(), x.end(), random);
      cpu.backward[index](x.data(), kSize, y.data(), kSize, expected.data(), kSize, size);
      for (std::uint64_t i = 0; i < count_here; ++i) {
        here += same(Op::apply(x[i], y[i]), expected[i]) ? 0 : 1;
      }
    }
    const std::scoped_lock guard(lock);
    different += here;
  });
  std::printf("%s: %llu elements, %llu differ from the CPU's\n", name, count(numel),
              count(different));
  return different == 0;
}

bool compare_others(std::uint64_t numel) {
  using cuda::Complex;
  bool proved =
      compare<cuda::GradientFloat32>("float32 gradient", ElementType::kFloat32, numel, draw<float>);
  proved &= compare<cuda::SigmoidOf<double>>("float64", ElementType::kFloat64, numel, draw<double>);
  proved &= compare<cuda::GradientFloat64>("float64 gradient", ElementType::kFloat64, numel,
                                           draw<double>);
  proved &= compare<cuda::SigmoidOf<Complex<float>>>("complex64", ElementType::kComplex64,
                                                     numel / 4, draw_complex<float>);
  proved &= compare<cuda::GradientComplex<float>>("complex64 gradient", ElementType::kComplex64,
                                                  numel / 4, draw_complex<float>);
  proved &= compare<cuda::SigmoidOf<Complex<double>>>("complex128", ElementType::kComplex128,
                                                      numel / 4, draw_complex<double>);
  proved &= compare<cuda::GradientComplex<double>>("complex128 gradient", ElementType::kComplex128,
                                                   numel / 4, draw_complex<double>);
  return proved;
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t every = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  if (every == 0) {
    std::fprintf(stderr, "prove_cuda_host: expected a number from 1 up, got %s\n", argv[1]);
    return 2;
  }
  bool proved = prove_half<proof::Float16, cuda::SigmoidHalf<cuda::Float16Pair>>("float16");
  proved &= prove_half<proof::BFloat16, cuda::SigmoidHalf<cuda::BFloat16Pair>>("bfloat16");
  proved &= prove_float32(every);
  proved &= prove_half_gradient<proof::Float16, cuda::GradientHalf<cuda::Float16Pair>>(
      "float16", ElementType::kFloat16, every);
  proved &= prove_half_gradient<proof::BFloat16, cuda::GradientHalf<cuda::BFloat16Pair>>(
      "bfloat16", ElementType::kBFloat16, every);
  proved &= compare_others(std::max<std::uint64_t>((1ull << 28) / every, 1 << 14));
  return proved ? 0 : 1;
}

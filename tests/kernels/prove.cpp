// Every float32, float16 and bfloat16 input through every kernel set that this CPU runs, against the
// reference of reference.h. `make prove` runs it. With a number N as its argument, one float32 input of
// N, and all of the 16-bit types: `make qemu-check` runs that.
//
// Exact kernels must misround nothing. Of the fast float32 kernel it prints what it is known by: the
// worst error, results outside of [0, 1], and where σ(x) > σ(x') for neighbours x < x'.
#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <vector>

#include "../../csrc/kernels/cpu/select.h"
#include "chunks.h"
#include "reference.h"

namespace {

namespace kernels = torch_sigmoid_ext::kernels;
using kernels::ElementType;
using Kernels = std::array<kernels::Sigmoid, kernels::kElementTypes> kernels::KernelSet::*;

struct Tally {
  std::uint64_t misrounded = 0;
  std::uint64_t hash = 0;  // over (input, output), independent of order; NaN results counted as one
  std::uint64_t outside = 0;             // of [0, 1], or NaN where the input is not
  std::uint64_t inversions = 0;          // σ(x) > σ(x') for neighbours x < x'
  std::uint64_t inversions_at_ends = 0;  // those with |x| > 16
  std::uint64_t lost = 0;                // 0, though σ(x) rounds to more
  std::uint64_t moved = 0;               // other bits in company
  double worst_ulp = 0;
  double worst_input = 0;
  double seconds = 0;  // in the kernel, summed over threads

  void add(const Tally& other) {
    misrounded += other.misrounded;
    hash += other.hash;
    outside += other.outside;
    inversions += other.inversions;
    inversions_at_ends += other.inversions_at_ends;
    lost += other.lost;
    moved += other.moved;
    seconds += other.seconds;
    worse(other.worst_ulp, other.worst_input);
  }
  void worse(double ulp, double input) {
    if (ulp > worst_ulp) {
      worst_ulp = ulp;
      worst_input = input;
    }
  }
};

// The inputs whose true values lie nearest to a rounding boundary.
struct Hardest {
  struct Case {
    double distance, input;
  };
  std::vector<Case> cases{};  // the nearest first
  std::size_t limit;

  void add(double distance, double input) {
    if (cases.size() == limit && distance >= cases.back().distance) return;
    const auto place = std::upper_bound(cases.begin(), cases.end(), distance,
                                        [](double d, const Case& c) { return d < c.distance; });
    cases.insert(place, {distance, input});
    if (cases.size() > limit) cases.pop_back();
  }
  void add(const Hardest& other) {
    for (const Case& c : other.cases) add(c.distance, c.input);
  }
  void print(const char* relation, double limit) const {
    std::printf("  nearest to a rounding boundary where |x| %s %a:\n   ", relation, limit);
    for (const Case& c : cases) std::printf(" %a 2^%.2f", c.input, std::log2(c.distance));
    std::printf("\n");
  }
};

struct Survey {
  double small_limit;              // below it σ = 1/2 + x/4 - x³/48 ... passes tie upon tie
  std::uint64_t in_binary128 = 0;  // inputs that double left undecided
  Hardest small{.limit = 3};
  Hardest others{.limit = 6};

  double nearest() const {
    return std::min(small.cases.front().distance, others.cases.front().distance);
  }
  void add(const Survey& other) {
    in_binary128 += other.in_binary128;
    small.add(other.small);
    others.add(other.others);
  }
  void add(const proof::Truth& truth, double x) {
    if (truth.wide) ++in_binary128;
    (std::fabs(x) < small_limit ? small : others).add(truth.distance, x);
  }
};

std::uint64_t mix(std::uint64_t value) {  // splitmix64's finalizer
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

struct Subject {
  const char* name;
  kernels::Sigmoid kernel;
  bool in_blocks;  // or an element at a time, whatever stands beside it
  Tally total{};
};

// Every `every`th input of the type.
template <class F>
std::uint64_t sample_size(std::uint64_t every) {
  return (F::kCount + every - 1) / every;
}

// One chunk through every subject; the truth is computed once for all of them.
template <class F>
void check(std::uint64_t every, std::uint64_t first, std::uint64_t count,
           const std::vector<Subject>& subjects, std::vector<Tally>& tallies, Survey& survey) {
  using Bits = typename F::Bits;
  // One more than `count`, where there is one, so that every pair of neighbours is compared.
  const std::uint64_t numel = std::min(count + 1, sample_size<F>(every) - first);
  static thread_local std::vector<Bits> inputs;
  static thread_local std::vector<std::vector<Bits>> outputs;
  inputs.resize(numel);
  outputs.resize(subjects.size());
  for (std::uint64_t i = 0; i < numel; ++i) inputs[i] = static_cast<Bits>((first + i) * every);
  for (std::vector<Bits>& output : outputs)
    output.assign(numel, F::kSign);  // -0, which no kernel gives
  for (std::size_t s = 0; s < subjects.size(); ++s) {
    const auto start = std::chrono::steady_clock::now();
    subjects[s].kernel(inputs.data(), sizeof(Bits), outputs[s].data(), sizeof(Bits),
                       static_cast<std::int64_t>(numel));
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    tallies[s].seconds = taken.count();
    if (!subjects[s].in_blocks) continue;
    for (const auto& company : proof::kCompany<F>) {
      static thread_local std::vector<Bits> beside;
      proof::run_in_company<F>(subjects[s].kernel, inputs, company, beside);
      for (std::uint64_t i = 0; i < count && beside != outputs[s]; ++i) {
        const bool nan = F::is_nan(beside[i]) && F::is_nan(outputs[s][i]);
        if (beside[i] != outputs[s][i] && !nan) ++tallies[s].moved;
      }
    }
  }
  // Sets whose outputs are the same bits, as they ought to be, are judged once.
  std::vector<std::size_t> judged_as(subjects.size());
  for (std::size_t s = 0; s < subjects.size(); ++s) {
    while (outputs[judged_as[s]] != outputs[s]) ++judged_as[s];
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    const Bits bits = inputs[i];
    const bool nan = F::is_nan(bits);
    const double x = F::value(bits);
    const proof::Truth truth = nan ? proof::Truth{} : proof::true_sigmoid<F>(x);
    if (!nan) survey.add(truth, x);
    // Away from zero the bits go up: the next input is farther out on the same side.
    const bool neighbours = i + 1 < numel && !nan && (bits & ~F::kSign) < F::kInfinity;
    for (std::size_t s = 0; s < subjects.size(); ++s) {
      if (judged_as[s] != s) continue;
      Tally& tally = tallies[s];
      const Bits out = outputs[s][i];
      const Bits canonical = F::is_nan(out) ? F::kNaN : out;
      tally.hash += mix(static_cast<std::uint64_t>(bits) << 32 | canonical);
      if (nan) {
        tally.misrounded += F::is_nan(out) ? 0 : 1;
        continue;
      }
      const double y = F::value(out);
      if (y == truth.rounded && !std::signbit(y)) {
        tally.worse(truth.ulp, x);
      } else {
        ++tally.misrounded;
        tally.worse(std::isnan(y) ? HUGE_VAL : std::fabs(y - truth.value) / truth.spacing, x);
      }
      if (!(y >= 0.0 && y <= 1.0)) ++tally.outside;
      if (y == 0.0 && truth.rounded != 0.0) ++tally.lost;
      if (neighbours) {
        const double next = F::value(outputs[s][i + 1]);
        if ((bits & F::kSign) != 0 ? next > y : next < y) {
          ++tally.inversions;
          if (std::fabs(x) > 16.0) ++tally.inversions_at_ends;
        }
      }
    }
  }
  for (std::size_t s = 0; s < subjects.size(); ++s) {
    const Tally own = tallies[s];
    tallies[s] = tallies[judged_as[s]];
    tallies[s].seconds = own.seconds;
    tallies[s].moved = own.moved;
  }
}

template <class F>
Survey check_all(std::uint64_t every, std::vector<Subject>& subjects, double small_limit) {
  std::mutex lock;
  Survey survey{.small_limit = small_limit};
  proof::for_each_chunk(sample_size<F>(every), [&](std::uint64_t first, std::uint64_t count) {
    std::vector<Tally> tallies(subjects.size());
    Survey here{.small_limit = small_limit};
    check<F>(every, first, count, subjects, tallies, here);
    const std::scoped_lock guard(lock);
    for (std::size_t s = 0; s < subjects.size(); ++s) subjects[s].total.add(tallies[s]);
    survey.add(here);
  });
  return survey;
}

std::vector<Subject> subjects_of(Kernels kernels, ElementType type) {
  std::vector<Subject> subjects;
  for (const kernels::KernelSet* set : kernels::cpu::available()) {
    subjects.push_back({set->name, (set->*kernels)[static_cast<std::size_t>(type)],
                        set != &kernels::cpu::scalar()});
  }
  return subjects;
}

unsigned long long count(std::uint64_t value) { return value; }

std::string moved(const Subject& subject) {
  return subject.in_blocks ? std::to_string(subject.total.moved) : "-";
}

bool print_survey(const char* name, std::uint64_t every, std::uint64_t inputs,
                  const Survey& survey) {
  if (every == 1) {
    std::printf("%s: all %llu inputs", name, count(inputs));
  } else {
    std::printf("%s: %llu inputs, one of %llu", name, count(inputs), count(every));
  }
  std::printf(", the truth of %llu of them in binary128\n", count(survey.in_binary128));
  survey.small.print("<", survey.small_limit);
  survey.others.print(">=", survey.small_limit);
  const bool good = survey.nearest() > 2 * proof::kBinary128Error;
  if (!good) std::printf("  the reference itself is too coarse for the nearest of these\n");
  return good;
}

bool print_exact(const std::vector<Subject>& subjects) {
  std::printf("  %-8s %10s  %9s %-16s  %-16s  %7s  %s\n", "exact", "misrounded", "worst ULP",
              "at x", "hash of outputs", "seconds", "moved");
  bool proved = true;
  for (const Subject& subject : subjects) {
    const Tally& total = subject.total;
    std::printf("  %-8s %10llu  %9.7f %-16a  %016llx  %7.2f  %5s\n", subject.name,
                count(total.misrounded), total.worst_ulp, total.worst_input, count(total.hash),
                total.seconds, moved(subject).c_str());
    proved = proved && total.misrounded == 0 && total.moved == 0;
  }
  return proved;
}

// What fast=True promises: at most 1.98 ULP, within [0, 1], no lost tail, no inversion, and the same bits
// from every set.
bool print_fast(const std::vector<Subject>& subjects) {
  constexpr double kWorstUlp = 1.98;
  std::printf("  %-8s %10s  %9s %-16s  %-16s  %7s  %5s  %10s  %8s  %4s  %7s\n", "fast",
              "misrounded", "worst ULP", "at x", "hash of outputs", "seconds", "moved",
              "inversions", "|x| > 16", "lost", "outside");
  bool proved = true;
  for (const Subject& subject : subjects) {
    const Tally& total = subject.total;
    std::printf("  %-8s %10llu  %9.7f %-16a  %016llx  %7.2f  %5s  %10llu  %8llu  %4llu  %7llu\n",
                subject.name, count(total.misrounded), total.worst_ulp, total.worst_input,
                count(total.hash), total.seconds, moved(subject).c_str(), count(total.inversions),
                count(total.inversions_at_ends), count(total.lost), count(total.outside));
    proved = proved && total.worst_ulp <= kWorstUlp && total.outside == 0 && total.lost == 0 &&
             total.inversions == 0 && total.moved == 0 && total.hash == subjects.front().total.hash;
  }
  std::printf(
      "  inversions: σ(x) > σ(x') for neighbours x < x'; lost: 0 where σ(x) rounds to more;\n"
      "  outside: of [0, 1]; moved: other bits beside infinities, or beside -1 and -64\n");
  return proved;
}

template <class F>
bool prove(const char* name, ElementType type, std::uint64_t every, double small_limit,
           bool with_fast) {
  std::vector<Subject> subjects = subjects_of(&kernels::KernelSet::exact, type);
  const auto exact = static_cast<std::ptrdiff_t>(subjects.size());
  if (with_fast) {
    const std::vector<Subject> fast = subjects_of(&kernels::KernelSet::fast, type);
    subjects.insert(subjects.end(), fast.begin(), fast.end());
  }
  const Survey survey = check_all<F>(every, subjects, small_limit);
  bool proved = print_survey(name, every, sample_size<F>(every), survey);
  proved = print_exact({subjects.begin(), subjects.begin() + exact}) && proved;
  if (with_fast) proved = print_fast({subjects.begin() + exact, subjects.end()}) && proved;
  std::printf("\n");
  std::fflush(stdout);
  return proved;
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t every = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  if (every == 0) {
    std::fprintf(stderr, "prove: expected a number from 1 up, got %s\n", argv[1]);
    return 2;
  }
  bool proved = prove<proof::Float16>("float16", ElementType::kFloat16, 1, 0x1p-5, false);
  proved = prove<proof::BFloat16>("bfloat16", ElementType::kBFloat16, 1, 0x1p-5, false) && proved;
  proved = prove<proof::Float32>("float32", ElementType::kFloat32, every, 0x1p-10, true) && proved;
  return proved ? 0 : 1;
}

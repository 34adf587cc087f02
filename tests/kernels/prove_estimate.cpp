// Every float32, float16 and bfloat16 input through the vector kernels while their estimates of 1/a are
// as bad as the instruction sets' documents allow (worst_estimate.h, which `make prove` puts ahead of the
// kernels' sources): the results must keep the scalar kernel's bits, which prove.cpp has shown to be
// right. So they do not hang on whose CPU ran the proof.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <vector>

#include "../../csrc/kernels/cpu/select.h"
#include "chunks.h"
#include "reference.h"
#include "worst_estimate.h"

#if defined(__x86_64__)
namespace {

namespace kernels = torch_sigmoid_ext::kernels;
using worst_estimate::Kind;

using kernels::ElementType;

struct Variant {
  const kernels::KernelSet* set;
  Kind kind;
  const char* name;
  std::uint64_t different = 0;
  double first_different = 0;
  double largest_error = 0;  // of an estimate; 0 where none was asked for
};

template <class F>
void run(kernels::Sigmoid kernel, const std::vector<typename F::Bits>& inputs,
         std::vector<typename F::Bits>& outputs) {
  constexpr std::int64_t kStride = sizeof(typename F::Bits);
  outputs.assign(inputs.size(), F::kSign);  // -0, which no kernel gives
  kernel(inputs.data(), kStride, outputs.data(), kStride, static_cast<std::int64_t>(inputs.size()));
}

template <class F>
bool prove(const char* name, ElementType type, bool fast) {
  const kernels::KernelSet& scalar = kernels::cpu::scalar();
  const auto kernel_of = [&](const kernels::KernelSet& set) {
    return (fast ? set.fast : set.exact)[static_cast<std::size_t>(type)];
  };
  std::vector<Variant> variants;
  for (const kernels::KernelSet* set : kernels::cpu::available()) {
    if (set == &scalar) continue;
    variants.push_back({set, Kind::kHighest, "highest"});
    variants.push_back({set, Kind::kLowest, "lowest"});
    variants.push_back({set, Kind::kScattered, "scattered"});
  }
  std::mutex lock;
  proof::for_each_chunk(F::kCount, [&](std::uint64_t first, std::uint64_t count) {
    using Bits = typename F::Bits;
    static thread_local std::vector<Bits> inputs, expected, outputs, beside[2];
    inputs.resize(count);
    for (std::uint64_t i = 0; i < count; ++i) inputs[i] = static_cast<Bits>(first + i);
    run<F>(kernel_of(scalar), inputs, expected);
    for (Variant& variant : variants) {
      worst_estimate::kind = variant.kind;
      worst_estimate::largest_error = 0;
      run<F>(kernel_of(*variant.set), inputs, outputs);
      for (int c = 0; c < 2; ++c) {
        proof::run_in_company<F>(kernel_of(*variant.set), inputs, proof::kCompany<F>[c], beside[c]);
      }
      worst_estimate::kind = Kind::kOwn;
      const bool equal = outputs == expected && beside[0] == expected && beside[1] == expected;
      const std::scoped_lock guard(lock);
      variant.largest_error = std::max(variant.largest_error, worst_estimate::largest_error);
      for (std::uint64_t i = 0; i < count && !equal; ++i) {
        const auto same = [&](Bits output) {
          return output == expected[i] || (F::is_nan(output) && F::is_nan(expected[i]));
        };
        if (same(outputs[i]) && same(beside[0][i]) && same(beside[1][i])) continue;
        if (variant.different++ == 0) variant.first_different = F::value(inputs[i]);
      }
    }
  });
  const char* kernel_name = fast ? "fast" : "exact";
  const auto asked = [](const Variant& v) { return v.largest_error != 0; };
  if (std::none_of(variants.begin(), variants.end(), asked)) {
    std::printf("%s, %s: no kernel starts from an estimate of 1/a\n", name, kernel_name);
    return true;
  }
  std::printf("%s, %s: all %llu inputs, with worse estimates of 1/a than any CPU's\n", name,
              kernel_name, static_cast<unsigned long long>(F::kCount));
  std::printf("  %-8s %-9s  %12s  %s\n", "kernels", "estimate", "its error", "results that change");
  bool proved = true;
  for (const Variant& variant : variants) {
    if (!asked(variant)) continue;
    std::printf("  %-8s %-9s     2^%7.3f  %llu", variant.set->name, variant.name,
                std::log2(variant.largest_error),
                static_cast<unsigned long long>(variant.different));
    if (variant.different != 0) {
      std::printf(", one at %a", variant.first_different);
      proved = false;
    }
    std::printf("\n");
  }
  return proved;
}

}  // namespace

int main() {
  bool proved = true;
  for (const bool fast : {false, true}) {
    proved = prove<proof::Float16>("float16", ElementType::kFloat16, fast) && proved;
    proved = prove<proof::BFloat16>("bfloat16", ElementType::kBFloat16, fast) && proved;
    proved = prove<proof::Float32>("float32", ElementType::kFloat32, fast) && proved;
  }
  return proved ? 0 : 1;
}

#else
int main() { std::printf("no kernel here starts from an estimate\n"); }
#endif

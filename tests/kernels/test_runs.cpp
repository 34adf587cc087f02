// Every kernel of every set this CPU runs, over runs of all short lengths, offsets and strides, in place
// and not. `make test-sanitized` runs it under the address, undefined-behaviour and thread sanitizers.
//
//   * A result is, bit for bit, what the scalar set gives for that element alone.
//   * Nothing is written between or around the elements; buffers end where the run does, so that the
//     address sanitizer sees a read or write beyond.
//   * Threads on parts of one buffer do not meet.
// Whether the scalar set is right is prove.cpp's matter and pytest's.
//
// Arguments: `threads` for that alone, `sample` for every seventh length, which still are of every remainder
// by the blocks' lengths (`make qemu-check`: an emulator takes minutes for all).
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

#include "../../csrc/kernels/cpu/select.h"

namespace {

namespace kernels = torch_sigmoid_ext::kernels;

struct Type {
  const char* name;
  std::size_t index;       // in a KernelSet
  std::size_t parts;       // 2 of a complex number
  std::int64_t size;       // bytes
  std::uint64_t infinity;  // its bits, in a part
  int range;               // exponent field of numbers from 64 up: σ's tail begins about there

  constexpr std::size_t part_size() const { return static_cast<std::size_t>(size) / parts; }
  constexpr std::uint64_t sign() const { return std::uint64_t{1} << (8 * part_size() - 1); }
};

constexpr std::array<Type, kernels::kElementTypes> kTypes = {{
    {"float16", 0, 1, 2, 0x7c00, 15 + 3},
    {"bfloat16", 1, 1, 2, 0x7f80, 127 + 6},
    {"float32", 2, 1, 4, 0x7f800000, 127 + 6},
    {"float64", 3, 1, 8, 0x7ff0000000000000, 1023 + 9},
    {"complex64", 4, 2, 8, 0x7f800000, 127 + 6},
    {"complex128", 5, 2, 16, 0x7ff0000000000000, 1023 + 9},
}};
static_assert(kTypes.back().size != 0, "a type of the contract is missing");

using Element = std::array<std::uint64_t, 2>;  // bits; the second part is 0 in real types

Element load(const std::byte* from, const Type& type) {
  Element element{};
  for (std::size_t part = 0; part < type.parts; ++part) {
    std::memcpy(&element[part], from + part * type.part_size(), type.part_size());
  }
  return element;
}

void store(std::byte* to, const Element& element, const Type& type) {
  for (std::size_t part = 0; part < type.parts; ++part) {
    std::memcpy(to + part * type.part_size(), &element[part], type.part_size());
  }
}

bool same(const Element& a, const Element& b, const Type& type) {
  const auto is_nan = [&](std::uint64_t bits) { return (bits & ~type.sign()) > type.infinity; };
  for (std::size_t part = 0; part < type.parts; ++part) {
    if (a[part] != b[part] && !(is_nan(a[part]) && is_nan(b[part]))) return false;
  }
  return true;
}

// Limits, subnormals, and random bits, half of them of numbers near enough to 0 that σ is no constant.
std::vector<Element> questions(const Type& type) {
  const std::uint64_t sign = type.sign();
  const std::uint64_t one_exponent = type.infinity & ~(type.infinity - 1);
  std::vector<std::uint64_t> values = {0,
                                       1,
                                       one_exponent - 1,
                                       one_exponent,
                                       type.infinity - 1,
                                       type.infinity,
                                       type.infinity + 1,
                                       type.infinity + (one_exponent >> 1)};
  std::mt19937_64 random(0);
  while (values.size() < 250) values.push_back(random() & (sign - 1));
  const std::uint64_t near = one_exponent * static_cast<std::uint64_t>(type.range + 1);
  while (values.size() < 500) values.push_back(near - random() % (8 * one_exponent));
  for (std::size_t i = 0; i < values.size(); i += 2) values[i] |= sign;
  for (std::size_t i = 0; i < 8; ++i) values.push_back(values[i] ^ sign);
  std::shuffle(values.begin(), values.end(), random);
  std::vector<Element> elements;
  for (std::size_t i = 0; i < values.size(); ++i) {
    elements.push_back({values[i], type.parts == 2 ? values[7 * i % values.size()] : 0});
  }
  return elements;
}

// What backward may be given beside any gradient.
std::vector<Element> outputs_for(const std::vector<Element>& inputs, const Type& type) {
  std::vector<Element> outputs;
  for (const Element& input : inputs) {
    std::array<std::byte, 16> bytes{};
    store(bytes.data(), input, type);
    kernels::cpu::scalar().exact[type.index](bytes.data(), type.size, bytes.data(), type.size, 1);
    outputs.push_back(load(bytes.data(), type));
  }
  return outputs;
}

// Elements in memory that ends where they do.
class Run {
 public:
  Run(const Type& type, std::int64_t numel, std::int64_t stride, std::int64_t offset)
      : type_(type), numel_(numel), stride_(stride * type.size) {
    const std::int64_t span = numel == 0 ? 0 : (numel - 1) * std::abs(stride_) + type.size;
    bytes_.assign(static_cast<std::size_t>(offset * type.size + span), kUntouched);
    first_ = offset * type.size + (stride_ < 0 && numel > 0 ? -(numel - 1) * stride_ : 0);
  }

  std::byte* first() { return bytes_.data() + first_; }
  std::int64_t stride() const { return stride_; }
  Element get(std::int64_t i) { return load(first() + i * stride_, type_); }
  void set(std::int64_t i, const Element& element) { store(first() + i * stride_, element, type_); }

  // Whether all but the elements still holds what it was filled with. Spends the elements.
  bool rest_is_untouched() {
    for (std::int64_t i = 0; i < numel_; ++i) {
      std::fill_n(first() + i * stride_, type_.size, kUntouched);
    }
    return std::all_of(bytes_.begin(), bytes_.end(), [](std::byte b) { return b == kUntouched; });
  }

 private:
  static constexpr std::byte kUntouched{0xa5};
  const Type& type_;
  std::int64_t numel_, stride_, first_;
  std::vector<std::byte> bytes_;
};

int failures = 0;

void fail(const char* set, const char* kind, const Type& type, std::int64_t numel,
          const std::array<std::int64_t, 3>& strides, std::int64_t offset, const char* what) {
  if (++failures > 10) return;
  std::printf("%s %s %s: numel %lld, strides %lld, %lld -> %lld, offset %lld: %s\n", set, kind,
              type.name, static_cast<long long>(numel), static_cast<long long>(strides[0]),
              static_cast<long long>(strides[1]), static_cast<long long>(strides[2]),
              static_cast<long long>(offset), what);
}

// In elements: of the first input, the second, and the output.
constexpr std::array<std::array<std::int64_t, 3>, 10> kStrides = {{{1, 1, 1},
                                                                   {0, 0, 1},
                                                                   {2, 1, 1},
                                                                   {1, 3, 2},
                                                                   {-1, -1, -1},
                                                                   {1, 1, -1},
                                                                   {-2, 3, 1},
                                                                   {3, 0, -3},
                                                                   {0, 1, 2},
                                                                   {65, -2, 63}}};
constexpr std::int64_t kLongest = 200;

// A kernel over all lengths, strides and some offsets. `seconds` is empty where it has one input;
// call(kernels, first, second, output, numel) runs it, of the set or, an element at a time, of the scalar
// set. in_place is the input that is the output too, or -1.
template <class Call>
void check(const kernels::KernelSet& set, const char* kind, const Type& type, int in_place,
           std::int64_t length_step, const std::vector<Element>& firsts,
           const std::vector<Element>& seconds, const Call& call) {
  const bool two = !seconds.empty();
  Run a(type, 1, 1, 0), b(type, 1, 1, 0), alone(type, 1, 1, 0);
  std::size_t next = 0;
  const auto fill = [&](Run& run, const std::vector<Element>& values, std::int64_t numel) {
    for (std::int64_t i = 0; i < numel; ++i) run.set(i, values[next++ % values.size()]);
  };
  for (std::int64_t numel = 0; numel <= kLongest; numel += length_step) {
    for (std::array<std::int64_t, 3> strides : kStrides) {
      if (in_place >= 0) strides[static_cast<std::size_t>(in_place)] = strides[2];
      for (const std::int64_t offset : {std::int64_t{0}, 1 + numel % 7}) {
        Run first(type, numel, strides[0], offset);
        Run second(type, two ? numel : 0, strides[1], (offset + 1) % 4);
        Run fresh(type, numel, strides[2], (offset * 3) % 8);
        Run& output = in_place < 0 ? fresh : in_place == 0 ? first : second;
        fill(first, firsts, numel);
        if (two) fill(second, seconds, numel);
        std::vector<Element> expected(static_cast<std::size_t>(numel));
        for (std::int64_t i = 0; i < numel; ++i) {
          a.set(0, first.get(i));
          if (two) b.set(0, second.get(i));
          call(kernels::cpu::scalar(), a, b, alone, 1);
          expected[static_cast<std::size_t>(i)] = alone.get(0);
        }
        call(set, first, second, output, numel);
        for (std::int64_t i = 0; i < numel; ++i) {
          if (!same(output.get(i), expected[static_cast<std::size_t>(i)], type)) {
            fail(set.name, kind, type, numel, strides, offset, "not what each element alone gives");
            break;
          }
        }
        if (!output.rest_is_untouched()) {
          fail(set.name, kind, type, numel, strides, offset, "wrote outside of the elements");
        }
      }
    }
  }
}

void check_runs(std::int64_t length_step) {
  for (const Type& type : kTypes) {
    const std::vector<Element> values = questions(type);
    const std::vector<Element> outputs = outputs_for(values, type);
    const auto exact = [&](const kernels::KernelSet& set, Run& x, Run&, Run& y, std::int64_t n) {
      set.exact[type.index](x.first(), x.stride(), y.first(), y.stride(), n);
    };
    const auto fast = [&](const kernels::KernelSet& set, Run& x, Run&, Run& y, std::int64_t n) {
      set.fast[type.index](x.first(), x.stride(), y.first(), y.stride(), n);
    };
    const auto backward = [&](const kernels::KernelSet& set, Run& grad_output, Run& y,
                              Run& grad_input, std::int64_t n) {
      set.backward[type.index](grad_output.first(), grad_output.stride(), y.first(), y.stride(),
                               grad_input.first(), grad_input.stride(), n);
    };
    for (const kernels::KernelSet* set : kernels::cpu::available()) {
      for (const int in_place : {-1, 0}) {
        check(*set, "exact", type, in_place, length_step, values, {}, exact);
        check(*set, "fast", type, in_place, length_step, values, {}, fast);
      }
      for (const int in_place : {-1, 0, 1}) {
        check(*set, "backward", type, in_place, length_step, values, outputs, backward);
      }
    }
  }
}

// Threads on neighbouring parts of one buffer, of lengths that share cache lines and vectors.
void check_threads() {
  constexpr std::int64_t kNumel = 20'011;
  constexpr int kThreads = 4;
  for (const Type& type : kTypes) {
    const std::vector<Element> values = questions(type);
    Run input(type, kNumel, 1, 0), alone(type, kNumel, 1, 0);
    for (std::int64_t i = 0; i < kNumel; ++i) {
      input.set(i, values[static_cast<std::size_t>(i) % values.size()]);
    }
    for (const kernels::KernelSet* set : kernels::cpu::available()) {
      for (const bool fast : {false, true}) {
        const kernels::Sigmoid kernel = fast ? set->fast[type.index] : set->exact[type.index];
        kernel(input.first(), type.size, alone.first(), type.size, kNumel);
        Run output(type, kNumel, 1, 0), gradient(type, kNumel, 1, 0);
        std::vector<std::thread> threads;
        for (int t = 0; t < kThreads; ++t) {
          threads.emplace_back([&, t] {
            const std::int64_t begin = kNumel * t / kThreads, end = kNumel * (t + 1) / kThreads;
            const std::int64_t at = begin * type.size;
            kernel(input.first() + at, type.size, output.first() + at, type.size, end - begin);
            set->backward[type.index](input.first() + at, type.size, output.first() + at, type.size,
                                      gradient.first() + at, type.size, end - begin);
          });
        }
        for (std::thread& thread : threads) thread.join();
        for (std::int64_t i = 0; i < kNumel; ++i) {
          if (!same(output.get(i), alone.get(i), type)) {
            fail(set->name, "threaded", type, kNumel, {1, 1, 1}, i, "not what one thread gives");
            break;
          }
        }
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view part = argc > 1 ? argv[1] : "all";
  if (part != "threads") check_runs(part == "sample" ? 7 : 1);
  check_threads();
  std::printf("%s:", part == "threads" ? "threads" : "runs and threads");
  for (const kernels::KernelSet* set : kernels::cpu::available()) std::printf(" %s", set->name);
  std::printf(": %d failures\n", failures);
  return failures == 0 ? 0 : 1;
}

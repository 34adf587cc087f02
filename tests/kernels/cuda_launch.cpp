// The CUDA backend's launches on this CPU: tests/test_cuda_host.py puts launch.cu into LAUNCH, with its
// launch spelled as a call, and emulated/cuda_runtime.h in the place of CUDA.
//
//   * Each output is what the operation gives for its element alone, wherever inputs and output lie.
//   * Nothing else is written: other bytes keep their value.
//   * Nothing is read or written beyond a buffer: it ends at a page that may not be touched.
//   * Elements on multiples of 16 bytes are read and written 16 bytes at once, a fresh output always.
// What the operation gives is the matter of prove_cuda_host.cpp.
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <string>
#include <type_traits>

#include LAUNCH

namespace {

namespace cuda = torch_sigmoid_ext::kernels::cuda;
using cuda::Operation;
using torch_sigmoid_ext::kernels::ElementType;

constexpr unsigned char kUntouched = 0xa5;
int failures = 0;

void expect(bool right, const std::string& what) {
  if (right) return;
  if (++failures <= 20) std::fprintf(stderr, "%s\n", what.c_str());
}

// Memory that ends where a page begins that may not be touched. Pages are there once they are used.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes, bool fill = true) : bytes_(bytes) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    room_ = (bytes + page - 1) / page * page;
    map_ = static_cast<unsigned char*>(mmap(nullptr, room_ + page, PROT_READ | PROT_WRITE,
                                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (map_ == MAP_FAILED || mprotect(map_ + room_, page, PROT_NONE) != 0) {
      std::perror("mmap");
      std::exit(2);
    }
    mapped_ = room_ + page;
    if (fill) std::memset(begin(), kUntouched, bytes);
  }
  ~Buffer() { munmap(map_, mapped_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  unsigned char* begin() const { return map_ + room_ - bytes_; }
  std::size_t size() const { return bytes_; }

 private:
  std::size_t bytes_, room_, mapped_;
  unsigned char* map_;
};

// An operation on elements of one type, and numbers to ask it: of every size, many in doubt.
template <class Op>
struct Asked {
  using T = typename Op::Element;
  static constexpr auto kSize = static_cast<std::int64_t>(sizeof(T));
  Operation operation;
  ElementType type;
  const char* name;

  static T draw(std::mt19937_64& random, int input) {
    T value;
    if constexpr (std::is_same_v<T, std::uint16_t>) {
      value = static_cast<T>(random());
    } else if constexpr (requires { value.real; }) {
      value = {real<decltype(value.real)>(random, input),
               real<decltype(value.real)>(random, input)};
    } else {
      value = real<T>(random, input);
    }
    return value;
  }

  T expected(const T (&x)[2]) const {
    if constexpr (Op::kInputs == 1) return Op::apply(x[0]);
    if constexpr (Op::kInputs == 2) return Op::apply(x[0], x[1]);
  }

  // One NaN is as good as another.
  bool is_right(const unsigned char* at, const T (&x)[2]) const {
    const T right = expected(x);
    T got;
    std::memcpy(&got, at, sizeof(T));
    return std::memcmp(&got, &right, sizeof(T)) == 0 || (is_nan(got) && is_nan(right));
  }

 private:
  bool is_nan([[maybe_unused]] const T& value) const {
    if constexpr (std::is_same_v<T, std::uint16_t>) {
      return (value & 0x7fff) > (type == ElementType::kFloat16 ? 0x7c00 : 0x7f80);
    } else if constexpr (std::is_floating_point_v<T>) {
      return value != value;
    } else {
      return false;  // draw() gives no complex one
    }
  }

  template <class Real>
  static Real real(std::mt19937_64& random, int input) {
    if (random() % 8 == 0) return static_cast<Real>(-0x1.250c02p-10);  // in doubt
    const double unit = static_cast<double>(random() >> 11) * 0x1p-53;
    return static_cast<Real>(input == 1 ? unit : 60 * unit - 30);
  }
};

template <class Op>
void check_dense(const Asked<Op>& asked, std::int64_t numel, const std::int64_t (&offsets)[3],
                 bool in_place) {
  using T = typename Op::Element;
  std::mt19937_64 random(static_cast<std::uint64_t>(numel));
  const auto bytes = static_cast<std::size_t>(numel * asked.kSize);
  const Buffer first(bytes + offsets[0]), second(bytes + offsets[1]), apart(bytes + offsets[2]);
  // Offsets count back from the page's end; what lies behind the elements stays untouched.
  unsigned char* inputs[2] = {first.begin(), second.begin()};
  unsigned char* output = in_place ? inputs[0] : apart.begin();
  std::vector<T> x[2];
  for (int o = 0; o < Op::kInputs; ++o) {
    for (std::int64_t i = 0; i < numel; ++i) x[o].push_back(asked.draw(random, o));
    if (numel != 0) std::memcpy(inputs[o], x[o].data(), bytes);
  }
  cuda::Dense tensors{};
  for (int o = 0; o < Op::kInputs; ++o) tensors.inputs[o] = inputs[o];
  tensors.output = output;
  tensors.numel = numel;
  emulated::vector_loads = emulated::vector_stores = 0;
  const char* error = cuda::launch(asked.operation, asked.type, tensors, nullptr);

  const std::string what = std::string(asked.name) + ", dense, " + std::to_string(numel) +
                           " elements, " + std::to_string(offsets[0]) + ", " +
                           std::to_string(offsets[1]) + " and " + std::to_string(offsets[2]) +
                           " bytes before the end" + (in_place ? ", in place" : "");
  expect(error == nullptr, what + ": not launched");
  for (std::int64_t i = 0; i < numel; ++i) {
    const T element[2] = {x[0][i], Op::kInputs == 2 ? x[1][i] : T{}};
    if (asked.is_right(output + i * asked.kSize, element)) continue;
    expect(false, what + ": element " + std::to_string(i));
    break;
  }
  const Buffer& written = in_place ? first : apart;
  expect(std::all_of(output + bytes, written.begin() + written.size(),
                     [](unsigned char byte) { return byte == kUntouched; }),
         what + ": bytes beyond the output changed");

  const auto past = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16; };
  const bool output_can = past(output) % asked.kSize == 0;
  bool inputs_can = output_can;
  for (int o = 0; o < Op::kInputs; ++o) inputs_can &= past(inputs[o]) == past(output);
  const std::int64_t packs =
      std::max<std::int64_t>(0,
                             numel * asked.kSize - static_cast<std::int64_t>(-past(output) % 16)) /
      16;
  expect(emulated::vector_stores == (output_can ? packs : 0), what + ": not stored by 16 bytes");
  expect(emulated::vector_loads == (inputs_can ? packs * Op::kInputs : 0),
         what + ": not loaded by 16 bytes");
}

struct Axis {
  std::int64_t size, strides[3];  // of the inputs and the output, in bytes
};

template <class Op>
void check_strided(const Asked<Op>& asked, const std::vector<Axis>& axes, const std::string& kind) {
  using T = typename Op::Element;
  std::size_t spans[3];
  std::int64_t numel = 1;
  for (int o = 0; o < 3; ++o) {
    std::int64_t span = asked.kSize;
    for (const Axis& axis : axes) span += (axis.size - 1) * axis.strides[o];
    spans[o] = static_cast<std::size_t>(span);
  }
  for (const Axis& axis : axes) numel *= axis.size;
  const bool huge = std::max({spans[0], spans[1], spans[2]}) > std::size_t{1} << 26;
  const Buffer first(spans[0], !huge), second(spans[1], !huge), output(spans[2], !huge);
  const Buffer* buffers[3] = {&first, &second, &output};

  // Each element's places, dimension by dimension.
  std::vector<std::array<std::int64_t, 3>> places(1, {0, 0, 0});
  for (const Axis& axis : axes) {
    std::vector<std::array<std::int64_t, 3>> more;
    for (std::int64_t i = 0; i < axis.size; ++i) {
      for (auto place : places) {
        for (int o = 0; o < 3; ++o) place[o] += i * axis.strides[o];
        more.push_back(place);
      }
    }
    places.swap(more);
  }
  std::mt19937_64 random(static_cast<std::uint64_t>(numel));
  for (int o = 0; o < Op::kInputs; ++o) {
    for (const auto& place : places) {
      const T value = asked.draw(random, o);
      std::memcpy(buffers[o]->begin() + place[o], &value, sizeof(T));
    }
  }
  cuda::Strided tensors{};
  tensors.dimensions = static_cast<int>(axes.size());
  for (int o = 0; o < Op::kInputs; ++o) tensors.inputs[o] = buffers[o]->begin();
  tensors.output = output.begin();
  std::string what = std::string(asked.name) + ", " + kind + ":";
  for (std::size_t d = 0; d < axes.size(); ++d) {
    tensors.sizes[d] = axes[d].size;
    for (int o = 0; o < Op::kInputs; ++o) tensors.input_strides[o][d] = axes[d].strides[o];
    tensors.output_strides[d] = axes[d].strides[2];
    what += " " + std::to_string(axes[d].size) + " at " + std::to_string(axes[d].strides[0]) + "," +
            std::to_string(axes[d].strides[1]) + "," + std::to_string(axes[d].strides[2]);
  }
  expect(cuda::launch(asked.operation, asked.type, tensors, nullptr) == nullptr,
         what + ": not launched");
  std::int64_t wrong = 0;
  for (const auto& place : places) {
    T element[2] = {};
    for (int o = 0; o < Op::kInputs; ++o) {
      std::memcpy(&element[o], buffers[o]->begin() + place[o], sizeof(T));
    }
    wrong += asked.is_right(output.begin() + place[2], element) ? 0 : 1;
    if (!huge) std::memset(output.begin() + place[2], kUntouched, sizeof(T));
  }
  expect(wrong == 0, what + ": " + std::to_string(wrong) + " of " + std::to_string(numel));
  if (huge) return;
  expect(std::all_of(output.begin(), output.begin() + output.size(),
                     [](unsigned char byte) { return byte == kUntouched; }),
         what + ": bytes between the outputs changed");
}

// Elements that do not meet, the dimensions in this order, each with a gap of its own.
void lay_out(std::vector<Axis>& axes, int operand, const std::vector<int>& order, std::int64_t size,
             const std::vector<std::int64_t>& gaps) {
  std::int64_t next = size;
  for (std::size_t i = 0; i < order.size(); ++i) {
    Axis& axis = axes[static_cast<std::size_t>(order[i])];
    axis.strides[operand] = next * gaps[i];
    next = axis.strides[operand] * axis.size;
  }
}

template <class Op>
void check_any_layout(const Asked<Op>& asked) {
  std::mt19937_64 random(7);
  constexpr std::int64_t kSizes[] = {1, 2, 3, 7, 8, 31, 33, 65};
  for (int round = 0; round < 60; ++round) {
    const std::size_t dimensions = 1 + random() % 4;
    std::vector<Axis> axes(dimensions);
    std::int64_t numel = 1;
    for (Axis& axis : axes) {
      axis.size = kSizes[random() % std::size(kSizes)];
      if (numel * axis.size > 20000) axis.size = 1;
      numel *= axis.size;
    }
    std::vector<int> order(dimensions);
    for (std::size_t d = 0; d < dimensions; ++d) order[d] = static_cast<int>(d);
    for (const int operand : {2, 0, 1}) {  // the output's dimensions are in order
      if (operand != 2) std::shuffle(order.begin(), order.end(), random);
      std::vector<std::int64_t> gaps(dimensions);
      for (auto& gap : gaps) gap = random() % 3 == 0 ? 2 : 1;
      lay_out(axes, operand, order, asked.kSize, gaps);
      if (operand != 2 && random() % 4 == 0) axes[random() % dimensions].strides[operand] = 0;
    }
    check_strided(asked, axes, "strided");
  }
  // Offsets that 32 bits do not hold.
  constexpr std::int64_t kFar = (std::int64_t{1} << 31) - 16;
  for (const std::int64_t width : {5, 40}) {
    std::vector<Axis> axes = {{width, {}}, {33, {}}, {2, {}}};
    lay_out(axes, 2, {0, 1, 2}, asked.kSize, {1, 1, 1});
    lay_out(axes, 0, {1, 0, 2}, asked.kSize, {1, 1, 1});
    lay_out(axes, 1, {0, 1, 2}, asked.kSize, {1, 1, 1});
    axes[2].strides[0] = kFar;
    check_strided(asked, axes, "far apart");
    axes[2].strides[0] = width * 33 * asked.kSize;
    axes[2].strides[2] = kFar;
    check_strided(asked, axes, "far apart");
  }
}

template <class Op>
void check(Operation operation, ElementType type, const char* name) {
  const Asked<Op> asked{operation, type, name};
  constexpr std::int64_t kPart =
      requires(typename Op::Element e) { e.real; } ? asked.kSize / 2 : asked.kSize;
  for (const std::int64_t numel : {0, 1, 2, 7, 8, 9, 17, 255, 1025, 9001}) {
    for (const auto& [x, y, out] : {std::array<int, 3>{0, 0, 0},
                                    {1, 1, 1},
                                    {1, 1, 0},
                                    {0, 0, 1},
                                    {0, 1, 0},
                                    {2, 2, 2},
                                    {3, 0, 1}}) {
      const std::int64_t offsets[3] = {x * kPart, y * kPart, out * kPart};
      check_dense(asked, numel, offsets, false);
      if (x == y) check_dense(asked, numel, offsets, true);
    }
  }
  check_any_layout(asked);

  emulated::error = cudaErrorLaunchFailure;
  alignas(16) typename Op::Element element[1] = {};
  const char* error = cuda::launch(
      operation, type, cuda::Dense{.inputs = {element, element}, .output = element, .numel = 1},
      nullptr);
  expect(error != nullptr && std::strcmp(error, "an emulated error") == 0,
         std::string(name) + ": a launch's error was not told");
}

}  // namespace

int main() {
  using namespace cuda;
  check<SigmoidHalf<Float16Pair>>(Operation::kExact, ElementType::kFloat16, "float16");
  check<SigmoidHalf<BFloat16Pair>>(Operation::kExact, ElementType::kBFloat16, "bfloat16");
  check<SigmoidFloat32<InDouble>>(Operation::kExact, ElementType::kFloat32, "float32");
  check<SigmoidFloat32Fast>(Operation::kFast, ElementType::kFloat32, "float32 fast");
  check<SigmoidOf<double>>(Operation::kExact, ElementType::kFloat64, "float64");
  check<SigmoidOf<Complex<float>>>(Operation::kExact, ElementType::kComplex64, "complex64");
  check<SigmoidOf<Complex<double>>>(Operation::kExact, ElementType::kComplex128, "complex128");
  check<GradientHalf<Float16Pair>>(Operation::kBackward, ElementType::kFloat16, "float16 gradient");
  check<GradientHalf<BFloat16Pair>>(Operation::kBackward, ElementType::kBFloat16,
                                    "bfloat16 gradient");
  check<GradientFloat32>(Operation::kBackward, ElementType::kFloat32, "float32 gradient");
  check<GradientFloat64>(Operation::kBackward, ElementType::kFloat64, "float64 gradient");
  check<GradientComplex<float>>(Operation::kBackward, ElementType::kComplex64,
                                "complex64 gradient");
  check<GradientComplex<double>>(Operation::kBackward, ElementType::kComplex128,
                                 "complex128 gradient");
  if (failures != 0) std::fprintf(stderr, "%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}

// Serves a TorchScript file or an AOTInductor package to piped.py, which documents the protocol.
//
//   serve LIBRARY MODEL IN OUT
//
//   LIBRARY   the operator library
//   MODEL     a TorchScript file, or an AOTInductor package, whose name ends in .pt2
//   IN, OUT   file descriptors of two pipes
//
// It ends with exit code 0 when IN is closed.
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>
#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using Tensors = std::vector<at::Tensor>;
using Run = std::function<Tensors(const Tensors&)>;

constexpr size_t kMostCalls = 100'000;  // timed in one request

// A dtype's number in the protocol is its place here: DTYPES of piped.py.
constexpr std::array kDtypes = {
    at::kHalf, at::kFloat, at::kDouble, at::kChar,   at::kShort,  at::kInt,
    at::kLong, at::kByte,  at::kUInt16, at::kUInt32, at::kUInt64, at::kBool,
};

struct Closed {};  // nobody is at the other end

class Pipes {
 public:
  Pipes(int in, int out) : in_(in), out_(out) {}

  void read(void* to, size_t length) {
    for (auto* at = static_cast<char*>(to); length > 0;) {
      const ssize_t got = ::read(in_, at, length);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) throw Closed();
      at += got;
      length -= static_cast<size_t>(got);
    }
  }

  void write(const void* from, size_t length) {
    for (auto* at = static_cast<const char*>(from); length > 0;) {
      const ssize_t put = ::write(out_, at, length);
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) throw Closed();
      at += put;
      length -= static_cast<size_t>(put);
    }
  }

  template <class T>
  T read() {
    T value;
    read(&value, sizeof value);
    return value;
  }

  template <class T>
  void write(T value) {
    write(&value, sizeof value);
  }

  Tensors read_tensors() {
    Tensors tensors(read<uint32_t>());
    for (at::Tensor& tensor : tensors) {
      const auto dtype = kDtypes.at(read<uint32_t>());
      std::vector<int64_t> sizes(read<uint32_t>());
      for (int64_t& size : sizes) size = static_cast<int64_t>(read<uint64_t>());
      tensor = at::empty(sizes, dtype);
      read(tensor.mutable_data_ptr(), tensor.nbytes());
    }
    return tensors;
  }

  // Looks at every tensor before it writes one, so that an answer is whole or an error.
  void write_tensors(const Tensors& tensors) {
    std::vector<uint32_t> dtypes;
    for (const at::Tensor& tensor : tensors) dtypes.push_back(number_of(tensor.scalar_type()));
    write<uint32_t>(0);
    write(static_cast<uint32_t>(tensors.size()));
    for (size_t i = 0; i < tensors.size(); ++i) {
      const at::Tensor tensor = tensors[i].contiguous();
      write(dtypes[i]);
      write(static_cast<uint32_t>(tensor.dim()));
      for (const int64_t size : tensor.sizes()) write(static_cast<uint64_t>(size));
      write(tensor.const_data_ptr(), tensor.nbytes());
    }
  }

  void write_error(const std::string& message) {
    write<uint32_t>(1);
    write(static_cast<uint32_t>(message.size()));
    write(message.data(), message.size());
  }

 private:
  static uint32_t number_of(at::ScalarType dtype) {
    for (uint32_t i = 0; i < kDtypes.size(); ++i) {
      if (kDtypes[i] == dtype) return i;
    }
    throw std::runtime_error(std::string("numpy has no dtype for an output of ") +
                             c10::toString(dtype));
  }

  int in_, out_;
};

// The tensors of lists, tuples and dicts, in the order of torch.utils._pytree.
void collect(const c10::IValue& value, Tensors& outputs) {
  if (value.isTensor()) {
    outputs.push_back(value.toTensor());
  } else if (value.isTuple()) {
    for (const auto& element : value.toTupleRef().elements()) collect(element, outputs);
  } else if (value.isGenericDict()) {
    for (const auto& entry : value.toGenericDict()) collect(entry.value(), outputs);
  } else {
    for (const c10::IValue& element : value.toListRef()) collect(element, outputs);
  }
}

Run load(const std::string& library, const std::string& model) {
  if (!dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL)) throw std::runtime_error(dlerror());
  if (model.ends_with(".pt2")) {
    auto package = std::make_shared<torch::inductor::AOTIModelPackageLoader>(model);
    return [package](const Tensors& inputs) { return package->run(inputs); };
  }
  auto module = std::make_shared<torch::jit::Module>(torch::jit::load(model));
  module->eval();
  return [module](const Tensors& inputs) {
    Tensors outputs;
    collect(module->forward({inputs.begin(), inputs.end()}), outputs);
    return outputs;
  };
}

// Seconds of each call, for so many seconds and at least once.
at::Tensor times(const Run& run, const Tensors& inputs, double seconds) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> taken;
  const Clock::time_point start = Clock::now();
  for (Clock::time_point before = start, after; taken.size() < kMostCalls; before = after) {
    run(inputs);
    after = Clock::now();
    taken.push_back(std::chrono::duration<double>(after - before).count());
    if (std::chrono::duration<double>(after - start).count() >= seconds) break;
  }
  return at::tensor(taken, at::kDouble);
}

// Calls what answers, and answers with the error where it throws.
void answer(Pipes& pipes, const std::function<Tensors()>& what) {
  try {
    pipes.write_tensors(what());
  } catch (const c10::Error& error) {
    pipes.write_error(error.what_without_backtrace());
  } catch (const std::exception& error) {
    pipes.write_error(error.what());
  }
}

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  Pipes pipes(std::atoi(argv[3]), std::atoi(argv[4]));
  const c10::InferenceMode no_gradients;
  Run run;
  try {
    answer(pipes, [&] {
      run = load(argv[1], argv[2]);
      return Tensors();
    });
    while (run) {
      const double seconds = pipes.read<double>();
      const Tensors inputs = pipes.read_tensors();
      answer(pipes,
             [&] { return seconds > 0 ? Tensors{times(run, inputs, seconds)} : run(inputs); });
    }
  } catch (const Closed&) {
  }
  return 0;
}

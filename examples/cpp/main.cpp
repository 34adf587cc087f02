// Runs a TorchScript file or an AOTInductor package on the inputs given on the command line.
//
//   run_model [--library FILE] MODEL INPUT...
//
//   FILE    the operator library, for a program that is not linked with it
//   MODEL   a TorchScript file, or an AOTInductor package, whose name ends in .pt2
//   INPUT   sizes, a colon, values: 2x3:0.1,-1,nan,0x1p-3,-inf,5 is a float32 tensor [2, 3]
//
// Each output is a line: dtype, sizes, and the values as hexadecimal floats, which are exact.
// Exit code: 0 done; 1 the model does not load or run; 2 wrong usage; 3 the operator library is missing.
#include <ATen/core/dispatch/Dispatcher.h>
#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/script.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

using Tensors = std::vector<at::Tensor>;

struct WrongUsage : std::runtime_error {
  using std::runtime_error::runtime_error;
};

bool has_operators() {
  return c10::Dispatcher::singleton().findSchema({"torch_sigmoid_ext::sigmoid", ""}).has_value();
}

// Registering the operators is all that the library does, so loading it is enough.
void load_library(const std::string& file) {
  if (has_operators()) return;  // a second copy would register them twice, which ends the program
  const std::string path = std::filesystem::absolute(file);  // a bare name, dlopen would search
  if (!dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL)) throw WrongUsage(dlerror());
}

at::Tensor parse(const std::string& input) {
  const WrongUsage error("expected an input like 2x3:1,2,3,4,5,6, got " + input);
  const char* at = input.c_str();
  char* end = nullptr;
  std::vector<int64_t> sizes;
  for (;; at = end + 1) {
    sizes.push_back(std::strtoll(at, &end, 10));
    if (end == at || sizes.back() < 0) throw error;
    if (*end == ':') break;
    if (*end != 'x') throw error;
  }
  std::vector<float> values;
  while (*end++) {
    at = end;
    if (!*at && values.empty()) break;  // no values: an empty batch
    values.push_back(std::strtof(at, &end));
    if (end == at || (*end && *end != ',')) throw error;
  }
  if (static_cast<int64_t>(values.size()) != c10::multiply_integers(sizes)) throw error;
  return at::tensor(values).reshape(sizes);
}

void collect(const c10::IValue& value, Tensors& outputs) {
  if (value.isTensor()) {
    outputs.push_back(value.toTensor());
  } else if (value.isTuple()) {
    for (const auto& element : value.toTupleRef().elements()) collect(element, outputs);
  } else {
    for (const at::Tensor& element : value.toTensorVector()) outputs.push_back(element);
  }
}

Tensors run(const std::string& model, const Tensors& inputs) {
  const c10::InferenceMode no_gradients;
  if (model.ends_with(".pt2")) {
    return torch::inductor::AOTIModelPackageLoader(model).run(inputs);
  }
  Tensors outputs;
  collect(torch::jit::load(model).forward({inputs.begin(), inputs.end()}), outputs);
  return outputs;
}

void print_line(const at::Tensor& output) {
  std::printf("%s[", c10::toString(output.scalar_type()));
  for (int64_t i = 0; i < output.dim(); ++i) std::printf(i ? ", %ld" : "%ld", long(output.size(i)));
  std::printf("]");
  const at::Tensor values = output.to(at::kDouble).contiguous();
  for (int64_t i = 0; i < values.numel(); ++i) {
    std::printf(" %a", values.const_data_ptr<double>()[i]);
  }
  std::printf("\n");
}

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  try {
    if (arguments.size() > 1 && arguments[0] == "--library") {
      load_library(arguments[1]);
      arguments.erase(arguments.begin(), arguments.begin() + 2);
    }
    if (arguments.size() < 2) throw WrongUsage("expected a model and its inputs");
    Tensors inputs;
    for (size_t i = 1; i < arguments.size(); ++i) inputs.push_back(parse(arguments[i]));
    for (const at::Tensor& output : run(arguments[0], inputs)) print_line(output);
  } catch (const WrongUsage& error) {
    std::fprintf(stderr, "run_model: %s\nusage: run_model [--library FILE] MODEL INPUT...\n",
                 error.what());
    return 2;
  } catch (const std::exception& error) {
    const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
    const std::string text = torch_error ? torch_error->what_without_backtrace() : error.what();
    if (!has_operators() && text.find("torch_sigmoid_ext::") != std::string::npos) {
      std::fprintf(
          stderr,
          "run_model: %s calls the operators of torch_sigmoid_ext, and their library is not "
          "loaded. Link torch_sigmoid_ext::torch_sigmoid_ext (CMakeLists.txt), or give "
          "--library the file that this prints: python -c 'import torch_sigmoid_ext as t; "
          "print(t.library_path())'\n",
          arguments[0].c_str());
      return 3;
    }
    std::fprintf(stderr, "run_model: %s: %s\n", arguments[0].c_str(), text.c_str());
    return 1;
  }
}

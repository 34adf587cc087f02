// What a program may ask of the library without torch: dlsym, or ctypes in Python.
#include <torch/version.h>

#include "../kernels/cpu/select.h"

// The kernel set that this CPU got: "scalar", "avx2", "avx512", "neon".
extern "C" __attribute__((visibility("default"))) const char* torch_sigmoid_ext_kernels() {
  return torch_sigmoid_ext::kernels::cpu::select().name;
}

// The torch that it was built for. _library.py and torch_sigmoid_extConfig.cmake read this text in
// the file itself, because with another torch the library may not load.
extern "C" __attribute__((visibility("default"))) const char* torch_sigmoid_ext_built_for() {
  return "torch_sigmoid_ext: built for torch " TORCH_VERSION;
}

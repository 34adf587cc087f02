// What a program may ask of the library without torch: dlsym, or ctypes in Python.
#include "../kernels/cpu/select.h"

// The kernel set that this CPU got: "scalar", "avx2", "avx512", "neon".
extern "C" __attribute__((visibility("default"))) const char* torch_sigmoid_ext_kernels() {
  return torch_sigmoid_ext::kernels::cpu::select().name;
}

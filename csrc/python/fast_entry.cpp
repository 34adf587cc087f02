// The fast entry: builtins in front of the Python functions of torch_sigmoid_ext.functional.
//
// A call on plain tensors goes straight to the dispatcher, a microsecond sooner than through torch.ops.
// Whatever is not that plain case (subclasses and duck types, a torch-function mode, the TorchScript
// tracer, a wrong type or name) goes to the Python function, which is complete without this file. The
// only code here that knows Python.h.
#include <ATen/PythonTorchFunctionTLS.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/jit/frontend/tracer.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "../ops/operators.h"

namespace {

namespace ops = torch_sigmoid_ext::ops;

// One per builtin, for the life of the process: CPython keeps pointers into it.
struct Entry {
  PyObject* function = nullptr;  // the Python function behind the builtin
  std::string name;
  std::string doc;
  PyMethodDef definition = {};
};

Entry sigmoid_entry;
Entry sigmoid_inplace_entry;

// The arguments of a plain call; `plain` is false where Python has to look at them.
struct Arguments {
  bool plain = false;
  PyObject* input = nullptr;
  bool fast = false;
  bool has_out = false;
  PyObject* out = nullptr;  // nullptr for None

  Arguments(PyObject* const* values, Py_ssize_t count, PyObject* keywords) {
    if (count != 1 || !THPVariable_CheckExact(values[0]) ||
        at::impl::torch_function_mode_enabled() || torch::jit::tracer::isTracing()) {
      return;
    }
    input = values[0];
    const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
    for (Py_ssize_t i = 0; i < named; ++i) {
      PyObject* name = PyTuple_GET_ITEM(keywords, i);
      PyObject* value = values[count + i];
      if (PyUnicode_CompareWithASCIIString(name, "fast") == 0 && PyBool_Check(value)) {
        fast = value == Py_True;
      } else if (PyUnicode_CompareWithASCIIString(name, "out") == 0 &&
                 (value == Py_None || THPVariable_CheckExact(value))) {
        has_out = true;
        out = value == Py_None ? nullptr : value;
      } else {
        return;
      }
    }
    plain = true;
  }
};

// Lets other Python threads run meanwhile, but for a call that is over sooner than that takes.
class ReleasedGil {
 public:
  explicit ReleasedGil(const at::Tensor& input) {
    if (!is_quick(input)) release_.emplace();
  }

 private:
  static bool is_quick(const at::Tensor& input) {
    return input.is_cpu() && !input.is_nested() &&
           !input.unsafeGetTensorImpl()->has_symbolic_sizes_strides() && input.numel() <= kQuick;
  }

  static constexpr std::int64_t kQuick = 2048;  // elements; no dtype has a second thread below it
  std::optional<pybind11::gil_scoped_release> release_;
};

PyObject* sigmoid(PyObject*, PyObject* const* values, Py_ssize_t count, PyObject* keywords) {
  HANDLE_TH_ERRORS
  const Arguments arguments(values, count, keywords);
  if (!arguments.plain) {
    return PyObject_Vectorcall(sigmoid_entry.function, values, static_cast<std::size_t>(count),
                               keywords);
  }
  const at::Tensor& input = THPVariable_Unpack(arguments.input);
  at::Tensor output;
  if (arguments.out != nullptr) {
    at::Tensor out = THPVariable_Unpack(arguments.out);
    const ReleasedGil released(input);
    output = ops::sigmoid_out().call(input, arguments.fast, out);
  } else {
    const ReleasedGil released(input);
    output = ops::sigmoid().call(input, arguments.fast);
  }
  return THPVariable_Wrap(std::move(output));
  END_HANDLE_TH_ERRORS
}

PyObject* sigmoid_(PyObject*, PyObject* const* values, Py_ssize_t count, PyObject* keywords) {
  HANDLE_TH_ERRORS
  const Arguments arguments(values, count, keywords);
  if (!arguments.plain || arguments.has_out) {
    return PyObject_Vectorcall(sigmoid_inplace_entry.function, values,
                               static_cast<std::size_t>(count), keywords);
  }
  at::Tensor input = THPVariable_Unpack(arguments.input);
  {
    const ReleasedGil released(input);
    ops::sigmoid_().call(input, arguments.fast);
  }
  return THPVariable_Wrap(std::move(input));
  END_HANDLE_TH_ERRORS
}

using FastCall = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);

// The attribute as text, "" for None (a docstring under python -OO); "" with an exception set on
// failure.
std::string text_of(PyObject* object, const char* attribute) {
  PyObject* value = PyObject_GetAttrString(object, attribute);
  const bool is_text = value != nullptr && value != Py_None;
  const char* text = is_text ? PyUnicode_AsUTF8(value) : nullptr;
  std::string result = text == nullptr ? "" : text;
  Py_XDECREF(value);
  return result;
}

// fast_entry(function): a builtin with the function's name, module, signature and docstring.
PyObject* fast_entry(PyObject*, PyObject* function) {
  const std::string name = text_of(function, "__name__");
  Entry* entry = name == "sigmoid"    ? &sigmoid_entry
                 : name == "sigmoid_" ? &sigmoid_inplace_entry
                                      : nullptr;
  if (entry == nullptr) {
    if (!PyErr_Occurred()) {
      PyErr_Format(PyExc_ValueError,
                   "fast_entry: expected the function sigmoid or sigmoid_, got %R", function);
    }
    return nullptr;
  }
  const FastCall call = entry == &sigmoid_entry ? sigmoid : sigmoid_;
  const char* signature =
      entry == &sigmoid_entry ? "(input, *, fast=False, out=None)" : "(input, *, fast=False)";
  const std::string doc = text_of(function, "__doc__");
  PyObject* module = PyObject_GetAttrString(function, "__module__");
  if (module == nullptr || PyErr_Occurred()) {
    Py_XDECREF(module);
    return nullptr;
  }
  Py_INCREF(function);
  Py_XSETREF(entry->function, function);
  entry->name = name;
  entry->doc = name + signature + "\n--\n\n" + doc;  // CPython reads the signature off this form
  entry->definition = {entry->name.c_str(),
                       reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call)),
                       METH_FASTCALL | METH_KEYWORDS, entry->doc.c_str()};
  PyObject* builtin = PyCFunction_NewEx(&entry->definition, nullptr, module);
  Py_DECREF(module);
  return builtin;
}

PyMethodDef methods[] = {
    {"fast_entry", fast_entry, METH_O, "A builtin in front of a Python function of this package."},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_C", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__C() { return PyModule_Create(&module); }

// Stands in for a header that torch's own ATen/functorch/Interpreter.h includes and torch does not install:
// the JSON library that its inline functions for serializing would need. Nothing here calls those, so
// declarations are enough. setup.py searches this folder last of all: the true header, where there is one,
// is taken.
#pragma once

#include <string>

namespace nlohmann {

class json {
 public:
  json();
  template <class T>
  explicit json(const T& value);
  static json parse(const std::string& text);
  std::string dump() const;
  template <class T>
  T get() const;
};

}  // namespace nlohmann

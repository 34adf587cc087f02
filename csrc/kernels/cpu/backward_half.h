// The gradient of the 16-bit types: grad_input = g · y · (1 - y), g = grad_output, y = σ(x), correctly
// rounded for every g and every y in [0, 1].
//
//   p = g · y                of 22 or 16 bits: exact
//   u = 1 - y                exact, or, for bfloat16's smallest y, rounded, but never to 1
//   h = p · u                rounded to odd: an inexact h ends in 1, so that it is neither a number of
//                            the 16-bit type nor the middle between two of them, and rounding it to
//                            nearest is rounding p · u itself
//
// Never to 1: where y is so small that 1 - y would be 1, p · (1 - y) still is less than p, and p may be
// a middle. How much less does not matter: p is a middle or at least 2^-16 of itself away.
// Zeros, infinities and NaN come out as in the plain formula.
#pragma once

#include <cstdint>

namespace torch_sigmoid_ext::kernels::cpu {

// float16: all products are normal in float32, and 1 - y is exact.
template <class V, class Io>
struct BackwardFloat16 {
  static constexpr int kBlock = 2 * V::kLanes;

  // `grad_input` may be `grad_output` or `output`.
  VECTOR_INLINE static void block(const std::uint16_t* grad_output, const std::uint16_t* output,
                                  std::uint16_t* grad_input) {
    typename V::Float g[2], y[2], p[2], u[2];
    Io::load(grad_output, g);
    Io::load(output, y);
    for (int v = 0; v < 2; ++v) {
      p[v] = V::mul(g[v], y[v]);
      u[v] = V::sub(V::set(1.0f), y[v]);
    }
    Io::store_product(grad_input, p, u);
  }
};

// bfloat16 has float32's range: a product that comes near its lower end is scaled up.
template <class V, class Io>
struct BackwardBFloat16 {
  static constexpr int kPair = 2 * V::kLanes;
  static constexpr int kBlock = 2 * kPair;

  VECTOR_INLINE static void block(const std::uint16_t* grad_output, const std::uint16_t* output,
                                  std::uint16_t* grad_input) {
    Float p[2][2], y[2][2];
    for (int pair = 0; pair < 2; ++pair) {
      Float g[2];
      Io::load(grad_output + pair * kPair, g);
      Io::load(output + pair * kPair, y[pair]);
      for (int v = 0; v < 2; ++v) p[pair][v] = V::mul(g[v], y[pair][v]);
    }
    if (__builtin_expect(V::any_tiny(p, kTiny), 0)) {
      return tiny_block(grad_output, output, grad_input);
    }
    for (int pair = 0; pair < 2; ++pair) {
      Float u[2];
      for (int v = 0; v < 2; ++v) u[v] = V::one_minus(y[pair][v]);
      Io::store_product(grad_input + pair * kPair, p[pair], u);
    }
  }

 private:
  using Float = typename V::Float;

  // From here up, p · u is a multiple of 2^-126, and so is what float32 loses of it.
  static constexpr float kTiny = 0x1p-87f;

  __attribute__((noinline)) static void tiny_block(const std::uint16_t* grad_output,
                                                   const std::uint16_t* output,
                                                   std::uint16_t* grad_input) {
    for (int i = 0; i < kBlock; i += kPair) {
      tiny_pair(grad_output + i, output + i, grad_input + i);
    }
  }

  VECTOR_INLINE static void tiny_pair(const std::uint16_t* grad_output, const std::uint16_t* output,
                                      std::uint16_t* grad_input) {
    Float g[2], y[2], h[2];
    Io::load(grad_output, g);
    Io::load(output, y);
    for (int v = 0; v < 2; ++v) {
      const Float p = V::mul(g[v], y[v]);
      const Float scaled = V::mul(g[v], V::mul(y[v], V::set(0x1p100f)));
      h[v] = V::mul_to_odd(V::where_near(p, kTiny, scaled, p), V::one_minus(y[v]));
      // To a multiple of bfloat16's spacing, 2^-33 or more here: adding 3/2 · 2^23 spacings rounds.
      const Float spacings = V::mul(V::power_of_two_below(h[v]), V::set(0x1.8p16f));
      const Float shift = V::max(spacings, V::set(0x1.8p-10f));
      const Float near = V::copy_sign(V::sub(V::add(h[v], shift), shift), h[v]);
      h[v] = V::where_near(p, kTiny, V::mul(near, V::set(0x1p-100f)), h[v]);
    }
    Io::store(grad_input, h);
  }
};

}  // namespace torch_sigmoid_ext::kernels::cpu

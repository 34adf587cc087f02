// σ(x) = 1 / (1 + e^-x), float16 and bfloat16, correctly rounded, over vectors of float32.
//
//   t = round(x · log2 e · n) / n            t = k + j/n
//   r = t · ln 2 - x
//   σ = 2^k / (2^k + T · e^r),  T = 2^(-j/n)           no branch on the sign of x
//
// float32 arithmetic errs by less than 2^-21.5, which is far less than a result of 11 or 8 bits needs,
// but where σ lies right beside the middle between two results:
//   |x| < 2^-5    σ = 1/2 + x/4 - x³/48 ...; 1/2 + x · slope, with a slope a hair under 1/4, falls on
//                 the right side, as in sigmoid_f32.h
//   kHardest      the nearest elsewhere: 2^-26.7 of the value in float16, 2^-24.4 in bfloat16, and
//                 next 2^-24.0 in float16, 2^-19.1 in bfloat16
// tests/test_kernels.py takes all 65,536 inputs of both types through every instruction set.
#pragma once

#include <cstdint>

#include "constants.h"
#include "exp2_index.h"

namespace torch_sigmoid_ext::kernels::cpu {

struct Float16Sigmoid {
  static constexpr float kZero = -19.0f;  // results below are 0
  static constexpr float kHardest = -0x1.4fcp-3f;
  static constexpr float kHardestOutput = 0x1.d6p-2f;
};

struct BFloat16Sigmoid {
  static constexpr float kZero = -94.0f;
  static constexpr float kHardest = 0x1.d2p-3f;
  static constexpr float kHardestOutput = 0x1.1cp-1f;
};

// Io widens V::kLanes numbers of a 16-bit type to float32 and narrows them to nearest even; Type is
// what the mathematics must know of the type.
template <class V, class Io, class Type>
struct SigmoidHalf {
  static constexpr int kBlock = 2 * V::kLanes;

  VECTOR_INLINE static void block(const std::uint16_t* input, std::uint16_t* output) {
    for (int v = 0; v < 2; ++v) {
      Io::store(output + v * V::kLanes, sigmoid(Io::load(input + v * V::kLanes)));
    }
  }

 private:
  using Float = typename V::Float;
  using Int = typename V::Int;

  VECTOR_INLINE static Float sigmoid(Float x) {
    const Float clamped = V::clamp(x, Type::kZero, 20.0f);
    const Float shifted = V::fmadd(clamped, V::set(kLog2EFloat), V::set(Exp2Index<V>::kShift));
    const Float t = V::sub(shifted, V::set(Exp2Index<V>::kShift));
    const Float r = V::fmsub(t, V::set(kLn2HighFloat), clamped);
    const Int index = V::bits(shifted);
    const Float table = V::lookup(V::kExp2.table, index);
    const Float scale = Exp2Index<V>::scale(index);

    const auto& c = V::kExp2.coefficients;
    const Float q = V::fmadd(r, V::set(c[1]), V::set(c[0]));
    const Float expm1 = V::fmadd(V::mul(r, r), q, r);
    const Float y = V::div(scale, V::add(scale, V::fmadd(table, expm1, table)));
    const Float near_half = V::fmadd(x, V::set(0x1.ffep-3f), V::set(0.5f));
    return V::where_equal(x, Type::kHardest, V::set(Type::kHardestOutput),
                          V::where_near(x, 0x1p-5f, near_half, y));
  }
};

}  // namespace torch_sigmoid_ext::kernels::cpu

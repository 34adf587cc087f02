// Written by constants.py; do not edit.
// clang-format off
#pragma once

#include <cstdint>

#include "../portable.h"

namespace torch_sigmoid_ext::kernels::cpu {

// Adding it rounds a double of magnitude below 2^51 to an integer, to nearest even,
// and leaves that integer in the low bits of the sum.
inline constexpr double kRoundToInteger = 0x1.8000000000000p+52;  // 1.5 · 2^52

inline constexpr double kLog2E = 0x1.71547652b82fep+0;  // log2 e
inline constexpr double kLn2High = 0x1.62e42fefa4000p-1;  // ln 2 in 41 bits
inline constexpr double kLn2Low = -0x1.8432a1b0e2634p-43;  // ln 2 - kLn2High

inline constexpr double kLog2ETimes16 = 0x1.71547652b82fep+4;  // 16 log2 e
inline constexpr double kLn2By16High = 0x1.62e42fefa0000p-5;  // ln 2 / 16 in 37 bits
inline constexpr double kLn2By16Low = 0x1.cf79abc9e3b3ap-44;  // ln 2 / 16 - kLn2By16High

// e^r = 1 + r + r² · q(r) on |r| <= ln 2 / 2: q, lowest first.
alignas(64) KERNEL_ARRAY double kExpCoefficients[10] = {
    0x1.0000000000001p-1,  // 0.5000000000000001
    0x1.5555555555556p-3,  // 0.16666666666666667
    0x1.5555555553d68p-5,  // 0.041666666666624162
    0x1.11111111109b5p-7,  // 0.0083333333333300644
    0x1.6c16c17889ef1p-10,  // 0.0013888888917196719
    0x1.a01a01a7c2efep-13,  // 0.00019841269863040545
    0x1.a019b9149a41cp-16,  // 2.4801521322368693e-5
    0x1.71de0db2f6b19p-19,  // 2.7557268480310026e-6
    0x1.28917c89a43a7p-22,  // 2.7620075879983367e-7
    0x1.af389ecfc4b9cp-26,  // 2.5100375832561234e-8
};

// e^r = 1 + r + r² · q(r) on |r| <= ln 2 / 32: q, lowest first.
alignas(64) KERNEL_ARRAY double kExpm1Coefficients[6] = {
    0x1.0000000000001p-1,  // 0.50000000000000008
    0x1.5555555555556p-3,  // 0.16666666666666668
    0x1.55555554e9468p-5,  // 0.041666666663595473
    0x1.11111110e10a8p-7,  // 0.0083333333329920901
    0x1.6c17ed4cc4834p-10,  // 0.0013889063440655326
    0x1.a01b0c2edab7cp-13,  // 0.0001984146378747018
};

// 2^(-j/16).
alignas(64) KERNEL_ARRAY double kExp2Double[16] = {
    0x1.0000000000000p+0,  // 1.0
    0x1.ea4afa2a490dap-1,  // 0.9576032806985737
    0x1.d5818dcfba487p-1,  // 0.91700404320467122
    0x1.c199bdd85529cp-1,  // 0.87812608018664973
    0x1.ae89f995ad3adp-1,  // 0.8408964152537145
    0x1.9c49182a3f090p-1,  // 0.80524516597462714
    0x1.8ace5422aa0dbp-1,  // 0.77110541270397037
    0x1.7a11473eb0187p-1,  // 0.73841307296974967
    0x1.6a09e667f3bcdp-1,  // 0.70710678118654757
    0x1.5ab07dd485429p-1,  // 0.67712777346844633
    0x1.4bfdad5362a27p-1,  // 0.64841977732550482
    0x1.3dea64c123422p-1,  // 0.620928906036742
    0x1.306fe0a31b715p-1,  // 0.59460355750136051
    0x1.2387a6e756238p-1,  // 0.56939431737834578
    0x1.172b83c7d517bp-1,  // 0.54525386633262884
    0x1.0b5586cf9890fp-1,  // 0.52213689121370688
};

// 2^(-j/16) / kExp2Double[j] - 1.
alignas(64) KERNEL_ARRAY double kExp2DoubleErrors[16] = {
    0x0.0p+0,  // 0.0
    -0x1.ff7128fd391f0p-55,  // -5.545065618639427e-17
    0x1.4a385a63d07a7p-56,  // 1.7901269076045133e-17
    0x1.36eae30af0cb3p-56,  // 1.6854872906289732e-17
    0x1.c1a7792cb3387p-55,  // 4.8751605262270616e-17
    0x1.1affc2b91ce27p-56,  // 1.5341410053603724e-17
    0x1.db72fc1f0eab4p-55,  // 5.1548301170786786e-17
    -0x1.b32dcb94da51dp-56,  // -2.3591094770850052e-17
    -0x1.3b3efbf5e2228p-54,  // -6.8358086576619225e-17
    0x1.063e1e21c5409p-54,  // 5.6864809579117404e-17
    0x1.690cebb7aafb0p-56,  // 1.9572585293112037e-17
    0x1.59f48a72a4c6dp-55,  // 3.7508542013031269e-17
    0x1.34d754db0abb6p-55,  // 3.3484623336251524e-17
    0x1.68efde3a8a894p-54,  // 7.8265732586360759e-17
    -0x1.01b15eaa59348p-55,  // -2.7939114859515731e-17
    0x1.79aa65d837b6dp-54,  // 8.1893176381955144e-17
};

inline constexpr double kTwoByPi = 0x1.45f306dc9c883p-1;  // 2 / π
inline constexpr double kHalfPiHigh = 0x1.921fb54443000p+0;  // π / 2 in 41 bits
inline constexpr double kHalfPiMiddle = -0x1.73dcb3b39a000p-43;  // π / 2 - kHalfPiHigh in 41 bits
inline constexpr double kHalfPiLow = 0x1.45c06e0e68948p-86;  // π / 2 - kHalfPiHigh - kHalfPiMiddle

// sin r = r + r³ · p(r²) on |r| <= π / 4: p, lowest first.
alignas(64) KERNEL_ARRAY double kSinCoefficients[7] = {
    -0x1.5555555555555p-3,  // -0.16666666666666667
    0x1.111111111111bp-7,  // 0.0083333333333333503
    -0x1.a01a01a01a01cp-13,  // -0.00019841269841269846
    0x1.71de3a549f217p-19,  // 2.7557319220424165e-6
    -0x1.ae64567f07760p-26,  // -2.505210838440028e-8
    0x1.61256f070e969p-33,  // 1.6059231047448294e-10
    -0x1.ae80086798ec5p-41,  // -7.6472184717103901e-13
};

// cos r = 1 - r² / 2 + r⁴ · p(r²) on |r| <= π / 4: p, lowest first.
alignas(64) KERNEL_ARRAY double kCosCoefficients[7] = {
    0x1.5555555555555p-5,  // 0.041666666666666667
    -0x1.6c16c16c16c1bp-10,  // -0.0013888888888888898
    0x1.a01a01a01a01bp-16,  // 2.4801587301587304e-5
    -0x1.27e4fb772eb50p-22,  // -2.7557319222007156e-7
    0x1.1eed8eff6eccap-29,  // 2.087675698734738e-9
    -0x1.93983a5e3e1fep-37,  // -1.1470849603570819e-11
    0x1.ae7fe003824a6p-45,  // 4.7795047023224629e-14
};

// What the double core cannot decide; the reasons stand in sigmoid_f32.h.
inline constexpr float kNearZero = 0x1.0000000000000p-11f;  // |x| below it: 1/2 + x · a slope a hair under 1/4
inline constexpr float kHardestInput = -0x1.250c020000000p-10f;  // 2^-54.98 beside a boundary
inline constexpr float kHardestOutput = 0x1.ffb6be0000000p-2f;  // its sigmoid

inline constexpr float kLog2EFloat = 0x1.7154760000000p+0f;  // log2 e
inline constexpr float kLn2HighFloat = 0x1.62e4300000000p-1f;  // ln 2
inline constexpr float kLn2LowFloat = -0x1.05c6100000000p-29f;  // ln 2 - kLn2HighFloat

// e^r · 2^(-j/entries) in float32, for the vector kernels.
template <int kEntries, int kTerms>
struct Exp2Float {
  float table[kEntries];       // 2^(26 + log2(entries) - j/entries)
  float errors[kEntries];      // 2^(-j/entries) / its float32 - 1
  float powers[kEntries];      // 2^(j/entries)
  float power_errors[kEntries];
  float coefficients[kTerms];  // e^r = 1 + r + r² · q(r): q, lowest first
};

// |r| <= ln 2 / 64
alignas(64) KERNEL_ARRAY Exp2Float<32, 3> kExp2Float32 = {
    {0x1.0000000000000p+31f, 0x1.f507660000000p+30f, 0x1.ea4afa0000000p+30f, 0x1.dfc9740000000p+30f, 0x1.d5818e0000000p+30f, 0x1.cb720e0000000p+30f, 0x1.c199be0000000p+30f, 0x1.b7f7700000000p+30f, 0x1.ae89fa0000000p+30f, 0x1.a5503c0000000p+30f, 0x1.9c49180000000p+30f, 0x1.93737c0000000p+30f, 0x1.8ace540000000p+30f, 0x1.82589a0000000p+30f, 0x1.7a11480000000p+30f, 0x1.71f75e0000000p+30f, 0x1.6a09e60000000p+30f, 0x1.6247ec0000000p+30f, 0x1.5ab07e0000000p+30f, 0x1.5342b60000000p+30f, 0x1.4bfdae0000000p+30f, 0x1.44e0860000000p+30f, 0x1.3dea640000000p+30f, 0x1.371a740000000p+30f, 0x1.306fe00000000p+30f, 0x1.29e9e00000000p+30f, 0x1.2387a60000000p+30f, 0x1.1d48740000000p+30f, 0x1.172b840000000p+30f, 0x1.11301e0000000p+30f, 0x1.0b55860000000p+30f, 0x1.059b0e0000000p+30f},
    {0x0.0p+0f, -0x1.2ad5f80000000p-27f, 0x1.61428e0000000p-28f, -0x1.ab71320000000p-26f, -0x1.a5217c0000000p-28f, -0x1.b5151e0000000p-28f, -0x1.6961b40000000p-28f, -0x1.e4c8860000000p-26f, -0x1.f9c3040000000p-27f, -0x1.0b7ec80000000p-25f, 0x1.a3b5e40000000p-28f, -0x1.348e560000000p-25f, 0x1.67a1ca0000000p-28f, -0x1.1c21420000000p-26f, -0x1.05cb440000000p-25f, 0x1.8b2bb80000000p-26f, 0x1.26055c0000000p-26f, -0x1.6cb2840000000p-25f, -0x1.00d8ac0000000p-27f, -0x1.c541b40000000p-26f, -0x1.0a35500000000p-25f, 0x1.336de20000000p-30f, 0x1.370be40000000p-25f, -0x1.cde8ce0000000p-26f, 0x1.1250020000000p-25f, -0x1.2b0dbc0000000p-25f, 0x1.9649040000000p-25f, -0x1.a2fbb20000000p-25f, -0x1.9c0c220000000p-27f, -0x1.dda2fc0000000p-25f, 0x1.8d96d40000000p-25f, -0x1.9474140000000p-25f},
    {0x1.0000000000000p+0f, 0x1.059b0e0000000p+0f, 0x1.0b55860000000p+0f, 0x1.11301e0000000p+0f, 0x1.172b840000000p+0f, 0x1.1d48740000000p+0f, 0x1.2387a60000000p+0f, 0x1.29e9e00000000p+0f, 0x1.306fe00000000p+0f, 0x1.371a740000000p+0f, 0x1.3dea640000000p+0f, 0x1.44e0860000000p+0f, 0x1.4bfdae0000000p+0f, 0x1.5342b60000000p+0f, 0x1.5ab07e0000000p+0f, 0x1.6247ec0000000p+0f, 0x1.6a09e60000000p+0f, 0x1.71f75e0000000p+0f, 0x1.7a11480000000p+0f, 0x1.82589a0000000p+0f, 0x1.8ace540000000p+0f, 0x1.93737c0000000p+0f, 0x1.9c49180000000p+0f, 0x1.a5503c0000000p+0f, 0x1.ae89fa0000000p+0f, 0x1.b7f7700000000p+0f, 0x1.c199be0000000p+0f, 0x1.cb720e0000000p+0f, 0x1.d5818e0000000p+0f, 0x1.dfc9740000000p+0f, 0x1.ea4afa0000000p+0f, 0x1.f507660000000p+0f},
    {0x0.0p+0f, -0x1.9474140000000p-25f, 0x1.8d96d40000000p-25f, -0x1.dda2fc0000000p-25f, -0x1.9c0c220000000p-27f, -0x1.a2fbb20000000p-25f, 0x1.9649040000000p-25f, -0x1.2b0dbc0000000p-25f, 0x1.1250020000000p-25f, -0x1.cde8ce0000000p-26f, 0x1.370be40000000p-25f, 0x1.336de20000000p-30f, -0x1.0a35500000000p-25f, -0x1.c541b40000000p-26f, -0x1.00d8ac0000000p-27f, -0x1.6cb2840000000p-25f, 0x1.26055c0000000p-26f, 0x1.8b2bb80000000p-26f, -0x1.05cb440000000p-25f, -0x1.1c21420000000p-26f, 0x1.67a1ca0000000p-28f, -0x1.348e560000000p-25f, 0x1.a3b5e40000000p-28f, -0x1.0b7ec80000000p-25f, -0x1.f9c3040000000p-27f, -0x1.e4c8860000000p-26f, -0x1.6961b40000000p-28f, -0x1.b5151e0000000p-28f, -0x1.a5217c0000000p-28f, -0x1.ab71320000000p-26f, 0x1.61428e0000000p-28f, -0x1.2ad5f80000000p-27f},
    {0x1.0000000000000p-1f, 0x1.5555b80000000p-3f, 0x1.5555960000000p-5f}};

// |r| <= ln 2 / 32
alignas(64) KERNEL_ARRAY Exp2Float<16, 4> kExp2Float16 = {
    {0x1.0000000000000p+30f, 0x1.ea4afa0000000p+29f, 0x1.d5818e0000000p+29f, 0x1.c199be0000000p+29f, 0x1.ae89fa0000000p+29f, 0x1.9c49180000000p+29f, 0x1.8ace540000000p+29f, 0x1.7a11480000000p+29f, 0x1.6a09e60000000p+29f, 0x1.5ab07e0000000p+29f, 0x1.4bfdae0000000p+29f, 0x1.3dea640000000p+29f, 0x1.306fe00000000p+29f, 0x1.2387a60000000p+29f, 0x1.172b840000000p+29f, 0x1.0b55860000000p+29f},
    {0x0.0p+0f, 0x1.61428e0000000p-28f, -0x1.a5217c0000000p-28f, -0x1.6961b40000000p-28f, -0x1.f9c3040000000p-27f, 0x1.a3b5e40000000p-28f, 0x1.67a1ca0000000p-28f, -0x1.05cb440000000p-25f, 0x1.26055c0000000p-26f, -0x1.00d8ac0000000p-27f, -0x1.0a35500000000p-25f, 0x1.370be40000000p-25f, 0x1.1250020000000p-25f, 0x1.9649040000000p-25f, -0x1.9c0c220000000p-27f, 0x1.8d96d40000000p-25f},
    {0x1.0000000000000p+0f, 0x1.0b55860000000p+0f, 0x1.172b840000000p+0f, 0x1.2387a60000000p+0f, 0x1.306fe00000000p+0f, 0x1.3dea640000000p+0f, 0x1.4bfdae0000000p+0f, 0x1.5ab07e0000000p+0f, 0x1.6a09e60000000p+0f, 0x1.7a11480000000p+0f, 0x1.8ace540000000p+0f, 0x1.9c49180000000p+0f, 0x1.ae89fa0000000p+0f, 0x1.c199be0000000p+0f, 0x1.d5818e0000000p+0f, 0x1.ea4afa0000000p+0f},
    {0x0.0p+0f, 0x1.8d96d40000000p-25f, -0x1.9c0c220000000p-27f, 0x1.9649040000000p-25f, 0x1.1250020000000p-25f, 0x1.370be40000000p-25f, -0x1.0a35500000000p-25f, -0x1.00d8ac0000000p-27f, 0x1.26055c0000000p-26f, -0x1.05cb440000000p-25f, 0x1.67a1ca0000000p-28f, 0x1.a3b5e40000000p-28f, -0x1.f9c3040000000p-27f, -0x1.6961b40000000p-28f, -0x1.a5217c0000000p-28f, 0x1.61428e0000000p-28f},
    {0x1.0000000000000p-1f, 0x1.5555560000000p-3f, 0x1.5556b40000000p-5f, 0x1.1111d80000000p-7f}};

// The same for fast=True; fast_table.py says why a factor and an offset, and finds them.
inline constexpr float kFastFactor = 0x1.8000000000000p+0f;  // c
inline constexpr float kFastOffset = -0x1.d68e600000000p-10f;  // δ
alignas(64) KERNEL_ARRAY float kFastExp2[16] =  // c · 2^(30 - j/16) · e^-δ
    {0x1.80b09e0000000p+30f, 0x1.70615c0000000p+30f, 0x1.60c3200000000p+30f, 0x1.51ce660000000p+30f, 0x1.437c000000000p+30f, 0x1.35c50a0000000p+30f, 0x1.28a2f00000000p+30f, 0x1.1c0f600000000p+30f, 0x1.1004500000000p+30f, 0x1.047bf60000000p+30f, 0x1.f2e1900000000p+29f, 0x1.ddbaec0000000p+29f, 0x1.c979da0000000p+29f, 0x1.b6149c0000000p+29f, 0x1.a381e00000000p+29f, 0x1.91b8ba0000000p+29f};
KERNEL_ARRAY float kFastCoefficients[2] =  // on |r| <= ln 2 / 32 + |δ|
    {0x1.0001800000000p-1f, 0x1.55568a0000000p-3f};

// e^-x for the 16-bit types' vector kernels; half_table.py says how it is found.
template <int kEntries, int kTerms>
struct HalfExp2 {
  std::int32_t table[kEntries];  // bits of 2^(j/entries), moved, less j · 2^23 / entries
  float coefficients[kTerms];    // e^-r, lowest first
};

// |r| <= ln 2 / 16; moved, in units in the last place: 2 by +2, 4 by +1, 5 by +1
alignas(64) KERNEL_ARRAY HalfExp2<8, 4> kHalfExp2By8 = {
    {0x3f800000, 0x3f7b95c2, 0x3f7837f2, 0x3f75fed7, 0x3f7504f4, 0x3f75672b, 0x3f7744fd, 0x3f7ac0c7},
    {0x1.0000000000000p+0f, -0x1.0000000000000p+0f, 0x1.0000000000000p-1f, -0x1.5555560000000p-3f}};

// |r| <= ln 2 / 32; moved, in units in the last place: 1 by -3, 4 by +1, 7 by -8, 8 by +11, 15 by +9
alignas(64) KERNEL_ARRAY HalfExp2<16, 3> kHalfExp2By16 = {
    {0x3f800000, 0x3f7daac0, 0x3f7b95c2, 0x3f79c3d3, 0x3f7837f1, 0x3f76f532, 0x3f75fed7, 0x3f755837, 0x3f7504fe, 0x3f7508a4, 0x3f75672a, 0x3f76248c, 0x3f7744fd, 0x3f78ccdf, 0x3f7ac0c7, 0x3f7d2586},
    {0x1.0000000000000p+0f, -0x1.0000000000000p+0f, 0x1.0000000000000p-1f}};

}  // namespace torch_sigmoid_ext::kernels::cpu

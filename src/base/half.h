// The small floating-point formats that weights and activations are stored in, as plain bit patterns.
//
// Conversions only: arithmetic is done in float. Rounding is to nearest, ties to even, as PyTorch does it.
// Bulk conversions with vector instructions live in the CPU backend; these are the readable definition.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace darkroom {

struct BFloat16 {  // 1 sign, 8 exponent, 7 mantissa bits: the upper half of a float
  uint16_t bits = 0;
};
struct Float16 {  // IEEE binary16
  uint16_t bits = 0;
};
struct Float8E4M3 {  // e4m3fn: bias 7, no infinity, NaN = 0x7F or 0xFF, largest 448
  uint8_t bits = 0;
};
struct Float8E5M2 {  // IEEE-like: bias 15, infinity and NaN, largest finite 57344
  uint8_t bits = 0;
};

inline float to_float(float x) { return x; }
inline float to_float(int8_t x) { return static_cast<float>(x); }

inline float to_float(BFloat16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16); }

inline float to_float(Float16 x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000u) << 16;
  const uint32_t exponent = (x.bits >> 10) & 0x1Fu;
  const uint32_t mantissa = x.bits & 0x3FFu;
  if (exponent == 0x1F) return std::bit_cast<float>(sign | 0x7F800000u | (mantissa << 13));
  if (exponent == 0) {  // zero or subnormal: mantissa · 2^-24
    const float magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-8f;
    return sign ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

inline float to_float(Float8E4M3 x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x80u) << 24;
  const uint32_t exponent = (x.bits >> 3) & 0xFu;
  const uint32_t mantissa = x.bits & 0x7u;
  if (exponent == 0xF && mantissa == 0x7) return std::bit_cast<float>(sign | 0x7FC00000u);
  if (exponent == 0) {  // mantissa · 2^-9
    const float magnitude = static_cast<float>(mantissa) * 0.001953125f;
    return sign ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 120) << 23) | (mantissa << 20));
}

// e5m2 is the upper byte of binary16.
inline float to_float(Float8E5M2 x) { return to_float(Float16{static_cast<uint16_t>(x.bits << 8)}); }

inline BFloat16 to_bfloat16(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  if ((u & 0x7FFFFFFFu) > 0x7F800000u) return {static_cast<uint16_t>((u >> 16) | 0x40u)};  // keep NaN quiet
  return {static_cast<uint16_t>((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16)};
}

inline Float16 to_float16(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  const uint16_t sign = static_cast<uint16_t>((u >> 16) & 0x8000u);
  const uint32_t magnitude = u & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return {static_cast<uint16_t>(sign | 0x7E00u)};
  if (magnitude >= 0x477FF000u) return {static_cast<uint16_t>(sign | 0x7C00u)};  // rounds to 65536 or more
  if (magnitude < 0x38800000u) {  // subnormal: a multiple of 2^-24
    const float scaled = std::bit_cast<float>(magnitude) * 16777216.0f;
    return {static_cast<uint16_t>(sign | static_cast<uint16_t>(std::nearbyint(scaled)))};
  }
  const uint32_t rounded = magnitude + 0xFFFu + ((magnitude >> 13) & 1u);
  return {static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

// Saturates: a magnitude above 448, infinity too, becomes 448. NaN stays NaN. Written without branches, for
// loops over whole models.
inline Float8E4M3 to_float8_e4m3(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  const uint32_t sign = (u >> 24) & 0x80u, magnitude = u & 0x7FFFFFFFu;
  // Adding 2^14, whose last bit is worth 2^-9, rounds a subnormal to a multiple of that; 8 of them
  // are the least normal.
  const uint32_t subnormal =
      std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 16384.0f) - 0x46800000u;
  const uint32_t normal = ((magnitude + 0x7FFFFu + ((magnitude >> 20) & 1u)) >> 20) - (120u << 3);
  uint32_t bits = magnitude < 0x3C800000u ? subnormal : normal;  // 2^-6
  bits = magnitude >= 0x43E00000u ? 0x7Eu : bits;                // 448
  bits = magnitude > 0x7F800000u ? 0x7Fu : bits;
  return {static_cast<uint8_t>(sign | bits)};
}

// What a value becomes when it is stored as bf16 and read back.
inline float round_to_bfloat16(float x) { return to_float(to_bfloat16(x)); }

}  // namespace darkroom

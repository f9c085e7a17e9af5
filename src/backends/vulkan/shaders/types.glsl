// What tensors are stored in: the numbers of enum DType, and one value of each floating type from its bits.
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_8bit_storage : require

const uint kF32 = 0, kF16 = 1, kBF16 = 2, kF8E4M3 = 3, kF8E5M2 = 4, kI8 = 8;

float from_bf16(uint bits) { return uintBitsToFloat(bits << 16); }

// To nearest, ties to even; NaN stays NaN.
uint to_bf16(float x) {
  const uint u = floatBitsToUint(x);
  if ((u & 0x7FFFFFFFu) > 0x7F800000u) return (u >> 16) | 0x40u;
  return (u + 0x7FFFu + ((u >> 16) & 1u)) >> 16;
}

// By integers: unpackHalf2x16 may flush subnormal values.
float from_f16(uint bits) {
  const uint sign = (bits & 0x8000u) << 16, exponent = (bits >> 10) & 0x1Fu, mantissa = bits & 0x3FFu;
  if (exponent == 0x1Fu) return uintBitsToFloat(sign | 0x7F800000u | (mantissa << 13));
  if (exponent == 0u) {
    const float magnitude = float(mantissa) * 5.9604644775390625e-8;  // 2^-24
    return sign != 0u ? -magnitude : magnitude;
  }
  return uintBitsToFloat(sign | ((exponent + 112u) << 23) | (mantissa << 13));
}

float from_f8_e4m3(uint bits) {
  const uint sign = (bits & 0x80u) << 24, exponent = (bits >> 3) & 0xFu, mantissa = bits & 7u;
  if (exponent == 0xFu && mantissa == 7u) return uintBitsToFloat(sign | 0x7FC00000u);
  if (exponent == 0u) {
    const float magnitude = float(mantissa) * 0.001953125;  // 2^-9
    return sign != 0u ? -magnitude : magnitude;
  }
  return uintBitsToFloat(sign | ((exponent + 120u) << 23) | (mantissa << 20));
}

float from_f8_e5m2(uint bits) { return from_f16(bits << 8); }

// The small floating-point formats in integer arithmetic: drivers may flush subnormals in conversions of their own.
// What src/base/half.h says, for every bit pattern.

// DType's numbers (src/tensor/dtype.h).
const uint kF32 = 0, kF16 = 1, kBF16 = 2, kF8E4M3 = 3, kF8E5M2 = 4, kI8 = 8;

float from_bf16(uint bits) { return uintBitsToFloat(bits << 16); }

float from_f16(uint bits) {
  const uint sign = (bits & 0x8000u) << 16, rest = bits & 0x7FFFu;
  uint magnitude = (rest << 13) + (rest < 0x7C00u ? 0x38000000u : 0x70000000u);
  if (rest < 0x400u) magnitude = floatBitsToUint(float(rest) * 5.9604644775390625e-8);
  return uintBitsToFloat(sign | magnitude);
}

float from_f8_e4m3(uint bits) {
  const uint sign = (bits & 0x80u) << 24, rest = bits & 0x7Fu;
  uint magnitude = (rest << 20) + 0x3C000000u;
  if (rest < 8u) magnitude = floatBitsToUint(float(rest) * 0.001953125);
  if (rest == 0x7Fu) magnitude = 0x7FC00000u;
  return uintBitsToFloat(sign | magnitude);
}

float from_f8_e5m2(uint bits) { return from_f16(bits << 8); }

uint to_bf16(float x) {
  const uint u = floatBitsToUint(x);
  if ((u & 0x7FFFFFFFu) > 0x7F800000u) return (u >> 16) | 0x40u;
  return (u + 0x7FFFu + ((u >> 16) & 1u)) >> 16;
}

// Factors of f16 from wider types, multiplied by powers of two.

float inverse_of(float power) { return uintBitsToFloat((254u << 23) - floatBitsToUint(power)); }

// To 11 significant bits, ties to even: packHalf2x16 rounds as it likes.
uvec4 rounded_11(uvec4 bits) { return (bits + 0xFFFu + (bits >> 13 & 1u)) & ~0x1FFFu; }
vec4 rounded_11(vec4 x) { return uintBitsToFloat(rounded_11(floatBitsToUint(x))); }

uvec2 four_halves(vec4 x) { return uvec2(packHalf2x16(x.xy), packHalf2x16(x.zw)); }

vec4 four_of_bf16(uvec2 w) {
  return uintBitsToFloat(uvec4(w.x << 16, w.x & 0xFFFF0000u, w.y << 16, w.y & 0xFFFF0000u));
}
uvec4 halves_of_bf16(uvec4 bits, float power) {
  return uvec4(four_halves(four_of_bf16(bits.xy) * power), four_halves(four_of_bf16(bits.zw) * power));
}

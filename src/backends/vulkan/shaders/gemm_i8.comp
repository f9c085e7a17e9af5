#version 450
#extension GL_GOOGLE_include_directive : require
// In f32, where four products are exact: cards without an instruction for them multiply integers slowly.
vec4 signed_bytes(uint word) {
  const int i = int(word);
  return vec4(bitfieldExtract(i, 0, 8), bitfieldExtract(i, 8, 8), bitfieldExtract(i, 16, 8), i >> 24);
}
int dot4(uint a, uint b) {
  const vec4 s = signed_bytes(a), t = signed_bytes(b);
  return int(fma(s.x, t.x, fma(s.y, t.y, fma(s.z, t.z, s.w * t.w))));
}
#include "gemm_i8.glsl"

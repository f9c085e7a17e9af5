#version 450
#extension GL_GOOGLE_include_directive : require
int dot4(uint a, uint b) {
  const int s = int(a), t = int(b);
  return bitfieldExtract(s, 0, 8) * bitfieldExtract(t, 0, 8) + bitfieldExtract(s, 8, 8) * bitfieldExtract(t, 8, 8) +
         bitfieldExtract(s, 16, 8) * bitfieldExtract(t, 16, 8) + (s >> 24) * (t >> 24);
}
#include "gemm_i8.glsl"

#version 450
// Rows of a table by their numbers, one after the other.
#extension GL_GOOGLE_include_directive : require
#include "types.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint kIn = kF32;
layout(constant_id = 1) const uint kOut = kF32;

const uint kPerThread = 4;

layout(push_constant) uniform Push {
  uint cols, blocks_per_row;
  uint table_stride, table_first, out_stride, out_first;
  uint ids[26];
};

layout(binding = 0) readonly buffer Table32 { float table32[]; };
layout(binding = 0) readonly buffer Table16 { uint16_t table16[]; };
layout(binding = 0) readonly buffer Table8 { uint8_t table8[]; };
layout(binding = 1) writeonly buffer Out32 { float out32[]; };
layout(binding = 1) writeonly buffer Out16 { uint16_t out16[]; };

float value_at(uint i) {
  if (kIn == kF32) return table32[i];
  if (kIn == kBF16) return from_bf16(uint(table16[i]));
  if (kIn == kF16) return from_f16(uint(table16[i]));
  if (kIn == kF8E4M3) return from_f8_e4m3(uint(table8[i]));
  return from_f8_e5m2(uint(table8[i]));
}

void main() {
  const uint row = gl_WorkGroupID.x / blocks_per_row;
  uint col = (gl_WorkGroupID.x % blocks_per_row) * (256u * kPerThread) + gl_LocalInvocationID.x;
  for (uint i = 0u; i < kPerThread && col < cols; ++i, col += 256u) {
    const float value = value_at(table_first + ids[row] * table_stride + col);
    const uint at = out_first + row * out_stride + col;
    if (kOut == kF32) {
      out32[at] = value;
    } else {
      out16[at] = uint16_t(to_bf16(value));
    }
  }
}

#version 450
// Ops whose results depend on one value each of up to three tensors.
#extension GL_GOOGLE_include_directive : require
#include "types.glsl"
#include "activation.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint kIn = kF32;   // of x, y and z
layout(constant_id = 1) const uint kOut = kF32;

const uint kAdd = 0, kActivate = 1, kGatedGelu = 2;
const uint kPerThread = 4;

layout(push_constant) uniform Push {
  uint op, activation, has_z;
  uint cols, blocks_per_row, blocks;
  uint x_stride, y_stride, z_stride, out_stride;
  uint x_first, y_first, z_first, out_first;
  float y_scale, z_scale;
};

layout(binding = 0) readonly buffer X32 { float x32[]; };
layout(binding = 0) readonly buffer X16 { uint16_t x16[]; };
layout(binding = 0) readonly buffer X8 { uint8_t x8[]; };
layout(binding = 1) readonly buffer Y32 { float y32[]; };
layout(binding = 1) readonly buffer Y16 { uint16_t y16[]; };
layout(binding = 2) readonly buffer Z32 { float z32[]; };
layout(binding = 2) readonly buffer Z16 { uint16_t z16[]; };
layout(binding = 3) writeonly buffer Out32 { float out32[]; };
layout(binding = 3) writeonly buffer Out16 { uint16_t out16[]; };

float load_x(uint i) {
  if (kIn == kF32) return x32[i];
  if (kIn == kBF16) return from_bf16(uint(x16[i]));
  if (kIn == kF16) return from_f16(uint(x16[i]));
  if (kIn == kF8E4M3) return from_f8_e4m3(uint(x8[i]));
  if (kIn == kF8E5M2) return from_f8_e5m2(uint(x8[i]));
  return float(int(uint(x8[i]) << 24) >> 24);
}
float load_y(uint i) { return kIn == kF32 ? y32[i] : from_bf16(uint(y16[i])); }
float load_z(uint i) { return kIn == kF32 ? z32[i] : from_bf16(uint(z16[i])); }

float value_at(uint row, uint col) {
  const float x = load_x(x_first + row * x_stride + col);
  if (op == kActivate) return activated(x, activation);
  const float y = load_y(y_first + row * y_stride + col);
  if (op == kGatedGelu) return activated(x, kGeluTanh) * y;
  const float sum = fma(y_scale, y, x);
  return has_z == 0u ? sum : fma(z_scale, load_z(z_first + row * z_stride + col), sum);
}

void main() {
  const uint block = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
  if (block >= blocks) return;
  const uint row = block / blocks_per_row;
  uint col = (block % blocks_per_row) * (256u * kPerThread) + gl_LocalInvocationID.x;
  for (uint i = 0u; i < kPerThread && col < cols; ++i, col += 256u) {
    const float value = value_at(row, col);
    const uint at = out_first + row * out_stride + col;
    if (kOut == kF32) {
      out32[at] = value;
    } else {
      out16[at] = uint16_t(to_bf16(value));
    }
  }
}

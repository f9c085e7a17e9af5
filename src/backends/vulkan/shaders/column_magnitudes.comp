#version 450
// column_magnitudes: a thread for each column, the rows in their order.
#extension GL_GOOGLE_include_directive : require
#include "types.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 0) const bool kXBF16 = false;

layout(push_constant) uniform Arguments {
  uint rows, columns;
  uint x_at, x_stride;
  uint out_at;
  uint first_row;  // in the tensor
} args;

layout(binding = 0) readonly buffer X32 { float x32[]; };
layout(binding = 0) readonly buffer X16 { uint16_t x16[]; };
layout(binding = 1) buffer Out { float magnitudes[]; };
layout(binding = 2) buffer Alarm { uint first_bad_row; };

void main() {
  const uint column = gl_GlobalInvocationID.x;
  if (column >= args.columns) return;
  const uint squares_at = args.out_at + args.columns + column;
  float largest = magnitudes[args.out_at + column];
  precise float squares = magnitudes[squares_at];
  for (uint row = 0; row < args.rows; ++row) {
    const uint at = args.x_at + row * args.x_stride + column;
    const float x = kXBF16 ? from_bf16(uint(x16[at])) : x32[at];
    if ((floatBitsToUint(x) & 0x7FFFFFFFu) >= 0x7F800000u) {
      atomicMin(first_bad_row, args.first_row + row);
      return;
    }
    largest = max(largest, abs(x));
    squares = squares + x * x;
  }
  magnitudes[args.out_at + column] = largest;
  magnitudes[squares_at] = squares;
}

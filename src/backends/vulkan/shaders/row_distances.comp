// Σ|x − y| and Σ|y| of each row, one workgroup a row.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "operands.glsl"
#include "row_sum.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint kType = 0;

READABLE(0, x)
READABLE(1, y)
layout(binding = 2) writeonly buffer Out { float outputs[]; };

layout(push_constant) uniform Push { uint rows, cols, x_first, x_stride, y_first, y_stride, out_first, out_stride; };

void main() {
  const uint row = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x, t = gl_LocalInvocationIndex;
  if (row >= rows) return;
  float difference = 0.0, size = 0.0;
  for (uint c = t; c < cols; c += 256u) {
    const float b = y_at(kType, y_first + row * y_stride + c);
    difference += abs(x_at(kType, x_first + row * x_stride + c) - b);
    size += abs(b);
  }
  difference = sum_of_all(difference);
  size = sum_of_all(size);
  if (t > 0u) return;
  outputs[out_first + row * out_stride] = difference;
  outputs[out_first + row * out_stride + 1u] = size;
}

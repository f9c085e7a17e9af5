// layer_norm, norm_modulate and rms_norm: one workgroup a row. The variance is of distances from the mean, in a
// second pass, as its contract says; a row is read from memory once and then from a cache.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "operands.glsl"
#include "row_sum.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint kType = 0;  // of x and out

READABLE(0, x)
WRITABLE(1, out)
READABLE(2, weight)
READABLE(3, bias)

const uint kCentred = 1, kOnePlusWeight = 2, kBias = 4;

layout(push_constant) uniform Push {
  uint rows, cols;
  uint x_first, x_stride, out_first, out_stride, weight_first, bias_first;
  uint weight_type, bias_type, flags;
  float epsilon;
};

void main() {
  const uint row = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x, t = gl_LocalInvocationIndex;
  if (row >= rows) return;
  const uint from = x_first + row * x_stride, to = out_first + row * out_stride;
  float mean = 0.0;
  if ((flags & kCentred) != 0u) {
    for (uint c = t; c < cols; c += 256u) mean += x_at(kType, from + c);
    mean = sum_of_all(mean) / float(cols);
  }
  float squares = 0.0;
  for (uint c = t; c < cols; c += 256u) {
    const float distance = x_at(kType, from + c) - mean;
    squares = fma(distance, distance, squares);
  }
  const float inverse = 1.0 / sqrt(sum_of_all(squares) / float(cols) + epsilon);
  for (uint c = t; c < cols; c += 256u) {
    float w = weight_at(weight_type, weight_first + c);
    if ((flags & kOnePlusWeight) != 0u) w += 1.0;
    const float b = (flags & kBias) != 0u ? bias_at(bias_type, bias_first + c) : 0.0;
    out_set(kType, to + c, (x_at(kType, from + c) - mean) * inverse * w + b);
  }
}

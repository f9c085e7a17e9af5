// Moments of rows -> mean and 1/√(variance + epsilon) of each group, in two f32 a number instead of f64. A workgroup a
// group; thread t adds a run of rows in their order, then the runs are added as a tree. A sum is within
// (rows/64 + 6)·2^-46 of the sum of magnitudes, the root within 2^-42 of itself, before they are rounded to f32.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "double_float.glsl"

layout(local_size_x = 64) in;

layout(binding = 0) readonly buffer Moments { float moments[]; };
layout(binding = 1) writeonly buffer Out { float outputs[]; };

layout(push_constant) uniform Push {
  uint rows, groups, first, stride, out_first, out_stride;
  vec2 one_by_rows, count, one_by_values;  // two f32 each, the larger first
  float epsilon;
};

shared Double sums[64];

Double sum_of_all(Double value) {
  const uint t = gl_LocalInvocationIndex;
  sums[t] = value;
  barrier();
  for (uint step = 32u; step > 0u; step /= 2u) {
    if (t < step) sums[t] = plus(sums[t], sums[t + step]);
    barrier();
  }
  const Double total = sums[0];
  barrier();  // before the next sum begins
  return total;
}

void main() {
  const uint t = gl_LocalInvocationIndex, group = gl_WorkGroupID.x;
  const uint run = (rows + 63u) / 64u, begin = min(t * run, rows), end = min(begin + run, rows);
  Double mean = Double(0.0, 0.0);
  for (uint y = begin; y < end; ++y) mean = plus(mean, Double(moments[first + y * stride + group], 0.0));
  mean = times(sum_of_all(mean), Double(one_by_rows.x, one_by_rows.y));
  Double squares = Double(0.0, 0.0);
  for (uint y = begin; y < end; ++y) {
    const uint i = first + y * stride + group;
    const Double distance = plus(Double(moments[i], 0.0), negated(mean));
    squares = plus(squares, Double(moments[i + groups], 0.0));
    squares = plus(squares, times(Double(count.x, count.y), times(distance, distance)));
  }
  squares = times(sum_of_all(squares), Double(one_by_values.x, one_by_values.y));
  if (t > 0u) return;
  if (squares.high < 0.0) squares = Double(0.0, 0.0);  // written so that NaN stays NaN
  const Double variance = plus(squares, Double(epsilon, 0.0));
  outputs[out_first + group] = mean.high;
  const bool root = variance.high > 0.0;  // of 0 it is infinite, and NaN stays NaN
  outputs[out_first + out_stride + group] = root ? inverse_sqrt(variance).high : inversesqrt(variance.high);
}

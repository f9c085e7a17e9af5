// qk_norm_rope in place: 2^lanes_log2 threads a head, 256 >> lanes_log2 heads a workgroup.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "operands.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint kType = 0;

WRITABLE(0, x)
READABLE(1, weight)
layout(binding = 2) readonly buffer Cos { float cosines[]; };
layout(binding = 3) readonly buffer Sin { float sines[]; };

layout(push_constant) uniform Push {
  uint rows, heads, head_dim, lanes_log2;
  uint x_first, x_stride, weight_first, weight_type, cos_first, cos_stride, sin_first, sin_stride;
  float epsilon;
};

shared float sums[256];

void main() {
  const uint t = gl_LocalInvocationIndex, lanes = 1u << lanes_log2, lane = t & (lanes - 1u);
  const uint group = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
  const uint head = group * (256u >> lanes_log2) + (t >> lanes_log2), row = head / heads;
  const bool inside = row < rows;
  const uint first = x_first + row * x_stride + (head % heads) * head_dim, pairs = head_dim / 2u;
  float squares = 0.0;
  for (uint j = lane; inside && j < pairs; j += lanes) {
    const float even = x_at(kType, first + 2u * j), odd = x_at(kType, first + 2u * j + 1u);
    squares = fma(odd, odd, fma(even, even, squares));
  }
  sums[t] = squares;
  barrier();
  for (uint step = lanes / 2u; step > 0u; step /= 2u) {
    if (lane < step) sums[t] += sums[t + step];
    barrier();
  }
  const float inverse = 1.0 / sqrt(sums[t - lane] / float(head_dim) + epsilon);
  for (uint j = lane; inside && j < pairs; j += lanes) {
    const uint i = first + 2u * j, w = weight_first + 2u * j;
    const float even = x_at(kType, i) * (inverse * weight_at(weight_type, w));
    const float odd = x_at(kType, i + 1u) * (inverse * weight_at(weight_type, w + 1u));
    const float co = cosines[cos_first + row * cos_stride + j], si = sines[sin_first + row * sin_stride + j];
    x_set(kType, i, even * co - odd * si);
    x_set(kType, i + 1u, odd * co + even * si);
  }
}

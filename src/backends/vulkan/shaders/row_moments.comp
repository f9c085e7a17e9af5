// Of some groups of channels of a row of pixels: means, then sums of squared distances from them. A workgroup's
// threads lie over `lanes` pixels × its channels, so that neighbours read neighbours; a group wider than the
// workgroup has it alone. Sums of a group's threads are put together in their order.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "operands.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint kType = 0;

READABLE(0, x)
layout(binding = 1) writeonly buffer Out { float outputs[]; };

layout(push_constant) uniform Push {
  uint pixels, channels, groups, size, groups_here, x_first, out_first, out_stride;
};

shared float sums[256];
shared float totals[256];

// `value` of each thread summed by group, into totals[]; width threads lie side by side.
void sum_by_group(float value, uint width, uint lanes, uint wanted) {
  const uint t = gl_LocalInvocationIndex;
  sums[t] = value;
  barrier();
  if (t < wanted) {
    const uint each = min(size, 256u);
    float total = 0.0;
    for (uint p = 0u; p < lanes; ++p) {
      for (uint c = 0u; c < each; ++c) total += sums[p * width + t * each + c];
    }
    totals[t] = total;
  }
  barrier();
}

void main() {
  const uint t = gl_LocalInvocationIndex, row = gl_WorkGroupID.x;
  const uint first_group = gl_WorkGroupID.y * groups_here, wanted = min(groups_here, groups - first_group);
  const uint width = min(wanted * size, 256u), lanes = 256u / width, lane = t / width;
  const uint first = x_first + row * pixels * channels + first_group * size;
  const uint group = min(t % width / size, wanted - 1u), last = wanted * size;
  const bool inside = lane < lanes;
  float sum = 0.0;
  for (uint p = lane; inside && p < pixels; p += lanes) {
    for (uint c = t % width; c < last; c += width) sum += x_at(kType, first + p * channels + c);
  }
  sum_by_group(inside ? sum : 0.0, width, lanes, wanted);
  const float count = float(pixels * size), mean = totals[group] / count;
  if (t < wanted) outputs[out_first + row * out_stride + first_group + t] = totals[t] / count;
  barrier();  // before totals[] is written again
  float squares = 0.0;
  for (uint p = lane; inside && p < pixels; p += lanes) {
    for (uint c = t % width; c < last; c += width) {
      const float distance = x_at(kType, first + p * channels + c) - mean;
      squares = fma(distance, distance, squares);
    }
  }
  sum_by_group(inside ? squares : 0.0, width, lanes, wanted);
  if (t < wanted) outputs[out_first + row * out_stride + groups + first_group + t] = totals[t];
}

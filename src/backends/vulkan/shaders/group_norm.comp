// (x − mean)·factor + bias by channel, then SiLU if asked. A thread keeps to one channel and takes some pixels, so
// that what belongs to a channel is read once.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "operands.glsl"

layout(local_size_x = 256) in;
layout(constant_id = 0) const uint kType = 0;

READABLE(0, x)
WRITABLE(1, out)
layout(binding = 2) readonly buffer Statistics { float statistics[]; };
READABLE(3, weight)
READABLE(4, bias)

layout(push_constant) uniform Push {
  uint pixels, channels, size, pixels_here;
  uint x_first, out_first, statistics_first, statistics_stride, weight_first, bias_first;
  uint weight_type, bias_type, silu;
};

void main() {
  const uint t = gl_LocalInvocationIndex, first_channel = gl_WorkGroupID.y * 256u;
  const uint width = min(channels - first_channel, 256u), lanes = 256u / width, lane = t / width;
  if (lane >= lanes) return;
  const uint c = first_channel + t % width, s = statistics_first + c / size;
  const float mean = statistics[s];
  const float factor = statistics[s + statistics_stride] * weight_at(weight_type, weight_first + c);
  const float shift = bias_at(bias_type, bias_first + c);
  const uint first = gl_WorkGroupID.x * pixels_here, end = min(first + pixels_here, pixels);
  for (uint p = first + lane; p < end; p += lanes) {
    float value = (x_at(kType, x_first + p * channels + c) - mean) * factor + shift;
    if (silu != 0u) value = value / (1.0 + exp(min(-value, 80.0)));  // e^80 fits f32, with room
    out_set(kType, out_first + p * channels + c, value);
  }
}

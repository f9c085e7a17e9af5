#version 450
// Of each row the power of two that takes its largest magnitude to [2^14, 2^15). So multiplied, values of 8 significant
// bits are exact in f16 down to 2^-32 of that magnitude, and no sum of products leaves f32.
#extension GL_GOOGLE_include_directive : require
#define WEIGHTS_BINDING 0
#define WEIGHTS_ID 1
#include "weights.glsl"
layout(local_size_x_id = 0) in;
const uint kMostThreads = 128;

// Strides and places in elements, of a block type in bytes.
layout(push_constant) uniform Arguments {
  uint rows, columns;
  uint at, stride;
  uint out_at;
} args;
layout(set = 0, binding = 1) writeonly buffer Out { float scales[]; };

shared uint largest_of[kMostThreads];

uint magnitude(float x) { return floatBitsToUint(x) & 0x7FFFFFFFu; }
uint magnitude(vec4 x) { return max(max(magnitude(x.x), magnitude(x.y)), max(magnitude(x.z), magnitude(x.w))); }

uint largest_in_runs(uint row) {
  uint largest = 0;
  for (uint c = gl_LocalInvocationIndex * 8; c < args.columns; c += gl_WorkGroupSize.x * 8) {
    const Run run = weight_run(row, c);
    largest = max(largest, max(magnitude(run.first), magnitude(run.last)));
  }
  return largest;
}

uint largest_in_elements(uint row) {
  uint largest = 0;
  for (uint c = gl_LocalInvocationIndex; c < args.columns; c += gl_WorkGroupSize.x)
    largest = max(largest, magnitude(weight_element(row + c)));
  return largest;
}

void main() {
  const uint row = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x, thread = gl_LocalInvocationIndex;
  if (row >= args.rows) return;  // the whole workgroup
  const uint begin = args.at + row * args.stride;
  largest_of[thread] = weight_has_runs() ? largest_in_runs(begin) : largest_in_elements(begin);
  for (uint half_of = gl_WorkGroupSize.x / 2; half_of > 0; half_of /= 2) {
    barrier();
    if (thread < half_of) largest_of[thread] = max(largest_of[thread], largest_of[thread + half_of]);
  }
  if (thread != 0) return;
  // By integers, so that rows of subnormal numbers or of infinities give a power of two, too, and so does its inverse.
  const uint exponent = largest_of[0] >> 23;
  scales[args.out_at + row] = uintBitsToFloat(min(268 - exponent, 253) << 23);
}

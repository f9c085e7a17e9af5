#version 450
// Vectors of 16 bytes from one buffer to another; the number of them is a multiple of what a workgroup copies.
layout(local_size_x = 256) in;
layout(push_constant) uniform Push { uint vectors; };
layout(binding = 0) readonly buffer From { uvec4 from[]; };
layout(binding = 1) writeonly buffer To { uvec4 to[]; };

const uint kPerThread = 4;

void main() {
  const uint group = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
  uint at = group * (256u * kPerThread) + gl_LocalInvocationID.x;
  for (uint i = 0u; i < kPerThread; ++i, at += 256u) {
    if (at < vectors) to[at] = from[at];
  }
}

#version 450
// Rows of a table by their numbers, one after the other. A thread has a run of 8 columns of a block type, else every
// 256th element.
#extension GL_GOOGLE_include_directive : require
#define WEIGHTS_BINDING 0
#define WEIGHTS_ID 0
#include "weights.glsl"

layout(local_size_x = 256) in;

const uint kPerThread = 8;

layout(push_constant) uniform Push {
  uint cols, blocks_per_row;
  uint table_stride, table_first, out_stride, out_first;  // of a table of blocks in bytes, else in elements
  uint out_type;  // no constant: drivers compile slowly
  uint ids[25];
};

layout(binding = 1) writeonly buffer Out32 { float out32[]; };
layout(binding = 1) writeonly buffer Out16 { uint16_t out16[]; };

void store(uint at, float value) {
  if (out_type == kF32) {
    out32[at] = value;
  } else {
    out16[at] = uint16_t(to_bf16(value));
  }
}

void main() {
  const uint block = gl_WorkGroupID.x, row = block / blocks_per_row, thread = gl_LocalInvocationID.x;
  const uint first = (block % blocks_per_row) * (256u * kPerThread);
  const uint from = table_first + ids[row] * table_stride, to = out_first + row * out_stride;
  if (weight_is_block()) {
    const uint col = first + 8u * thread;
    if (col >= cols) return;
    const Run run = weight_run(from, col);
    for (uint i = 0u; i < 4u; ++i) {
      store(to + col + i, run.first[i]);
      store(to + col + 4u + i, run.last[i]);
    }
    return;
  }
  for (uint col = first + thread; col < min(cols, first + 256u * kPerThread); col += 256u) {
    store(to + col, weight_element(from + col));
  }
}

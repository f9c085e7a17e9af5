#version 450
// linear for M > 8: tiles in shared memory, sums in registers. The sum of an element runs over k in order, so its bits
// do not depend on the sizes of tiles.
#extension GL_GOOGLE_include_directive : require
#define WEIGHTS_BINDING 1
#define WEIGHTS_ID 6
#include "weights.glsl"
#include "linear.glsl"
layout(constant_id = 8) const uint kX = 2;  // 0: f32, 1: bf16, 2: either, as the flags say, for drivers that compile slowly
#define X_BF16 (kX == 2 ? (args.flags & kXBF16) != 0 : kX == 1)
#include "activation_rows.glsl"
#include "tile.glsl"

// The next columns, on their way while the last are multiplied.
RawRun next_a[kRunsA], next_b[kRunsB];

void fetch(uint k) {
  [[unroll]] for (uint r = 0; r < kRunsA; ++r) {
    const uint run = run_of(r), column = k + run_column(run);
    next_a[r] = RawRun(uvec4(0), uvec4(0));
    if (x_has_runs() && run_in_a(run) && column < args.k) next_a[r] = x_raw(tile_row() + run / kRunsDeep, column);
  }
  [[unroll]] for (uint r = 0; r < kRunsB; ++r) {
    const uint run = run_of(r), n = tile_column() + run / kRunsDeep, column = k + run_column(run);
    next_b[r] = RawRun(uvec4(0), uvec4(0));
    if (weight_has_runs() && run_in_b(run) && column < args.k)
      next_b[r] = weight_raw(args.weight_at + n * args.weight_stride, column);
  }
}

void put_elements_a(uint k0) {
  for (uint i = gl_LocalInvocationIndex; i < kTileRows * kDepth; i += kThreads) {
    const uint m = tile_row() + element_row(i), k = k0 + element_column(i);
    a_tile[at_a(i)] = m < args.m && k < args.k ? floatBitsToUint(x_element(m, k)) : 0;
  }
}

void put_elements_b(uint k0) {
  for (uint i = gl_LocalInvocationIndex; i < kTileColumns * kDepth; i += kThreads) {
    const uint n = tile_column() + element_row(i), k = k0 + element_column(i);
    const uint at = args.weight_at + n * args.weight_stride + k;
    b_tile[at_b(i)] = n < args.n && k < args.k ? floatBitsToUint(weight_element(at)) : 0;
  }
}

void put(uint k) {
  if (x_has_runs()) {
    [[unroll]] for (uint r = 0; r < kRunsA; ++r) put_a(run_of(r), x_values(next_a[r]));
  } else {
    put_elements_a(k);
  }
  if (weight_has_runs()) {
    [[unroll]] for (uint r = 0; r < kRunsB; ++r) put_b(run_of(r), weight_values(next_b[r]));
  } else {
    put_elements_b(k);
  }
}

void main() {
  clear_sums();
  // Rounds of k, then of the LoRA, whose products come to scaled sums. The first one only fetches.
  const uint of_k = (args.k + kDepth - 1) / kDepth, rounds = of_k + (args.rank + kDepth - 1) / kDepth;
  for (uint round = 0; round <= rounds; ++round) {
    if (round > 0) {
      barrier();
      if (round <= of_k) {
        put((round - 1) * kDepth);
      } else {
        put_lora((round - 1 - of_k) * kDepth);
      }
      barrier();
    }
    if (round < of_k) fetch(round * kDepth);
    if (round == of_k + 1) scale_sums();
    if (round > 0) multiply_floats();
  }
  finish_tile();
}

#version 450
// linear for M > 8: tiles in shared memory, sums in registers. The sum of an element runs over k in order, so its bits
// do not depend on the sizes of tiles.
#extension GL_GOOGLE_include_directive : require
#define WEIGHTS_BINDING 1
#define WEIGHTS_ID 6
#include "weights.glsl"
#include "linear.glsl"
// x, and whether it has runs: 1 f32, 2 bf16, 3 f32 in runs, 4 bf16 in runs; 0: as the flags say, for drivers that
// compile slowly.
layout(constant_id = 8) const uint kX = 0;
#define X_BF16 (kX == 0 ? (args.flags & kXBF16) != 0 : kX % 2 == 0)
#define X_HAS_RUNS (kX == 0 ? (args.flags & kXWide) != 0 : kX >= 3)
#include "activation_rows.glsl"
#include "tile.glsl"

// The next columns, on their way while the last are multiplied.
RawRun next_a[kRunsA], next_b[kRunsB];

// From places that are always there: no branch waits for a load. What is beyond rows is not stored, what is beyond
// columns becomes zeros later.
void fetch(uint k) {
  if (X_HAS_RUNS) {
    [[unroll]] for (uint r = 0; r < kRunsA; ++r) {
      const uint run = run_of(r), m = min(tile_row() + run / kRunsDeep, args.m - 1), column = k + run_column(run);
      next_a[r] = x_raw(m, column < args.k ? column : 0);
    }
  }
  if (weight_has_runs()) {
    [[unroll]] for (uint r = 0; r < kRunsB; ++r) {
      const uint run = run_of(r), n = min(tile_column() + run / kRunsDeep, args.n - 1), column = k + run_column(run);
      next_b[r] = weight_raw(args.weight_at + n * args.weight_stride, column < args.k ? column : 0);
    }
  }
}

Run kept(Run run, bool inside) { return Run(inside ? run.first : vec4(0), inside ? run.last : vec4(0)); }

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
  if (X_HAS_RUNS) {
    [[unroll]] for (uint r = 0; r < kRunsA; ++r) {
      const uint run = run_of(r);
      put_a(run, kept(x_values(next_a[r]), k + run_column(run) < args.k));
    }
  } else {
    put_elements_a(k);
  }
  if (weight_has_runs()) {
    [[unroll]] for (uint r = 0; r < kRunsB; ++r) {
      const uint run = run_of(r);
      put_b(run, kept(weight_values(next_b[r]), k + run_column(run) < args.k));
    }
  } else {
    put_elements_b(k);
  }
}

void main() {
  clear_sums();
  // Rounds of k, then of the LoRA, whose products come to scaled sums. The first one only fetches, the last in vain.
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
    fetch(round * kDepth);
    if (round == of_k + 1) scale_sums();
    if (round > 0) multiply_floats();
  }
  finish_tile();
}

#version 450
// linear for x and weights of 8 bits on cooperative matrices: sums of products are exact in i32, and each f32 operation
// after them is rounded on its own, run after run of columns, so all backends have the same bits.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_int8 : require
#include "../types.glsl"
#include "../run.glsl"
#include "../linear.glsl"
#define WORD uvec2
#define WORDS 2
#define PAD 2
#define FACTOR int8_t
#define SUM int
#include "tile.glsl"
layout(constant_id = 9) const bool kWide = false;  // rows and runs are whole words of eight columns
layout(constant_id = 10) const bool kManyRuns = false;

layout(set = 0, binding = 0) readonly buffer X8 { uint8_t x8[]; };
layout(set = 0, binding = 0) readonly buffer XPairs { uvec2 x64[]; };
layout(set = 0, binding = 1) readonly buffer Weight8 { uint8_t weight8[]; };
layout(set = 0, binding = 1) readonly buffer WeightPairs { uvec2 weight64[]; };
layout(set = 0, binding = 9) readonly buffer XScales { float x_scales[]; };

const uint kKept = kManyRuns ? kFragments : 1;
coopmat<float, gl_ScopeSubgroup, kFragmentM, kFragmentN, gl_MatrixUseAccumulator> totals[kKept];

uvec2 next_a[kRunsA], next_b[kRunsB];

// Columns [k, k + 8), zeros from `end` on.
uvec2 x_word(uint m, uint k, uint end) {
  const uint at = args.x_at + m * args.x_stride + k;
  if (kWide) return x64[at / 8];
  uvec2 word = uvec2(0);
  for (uint i = 0; i < min(end - k, 8); ++i) word[i / 4] |= uint(x8[at + i]) << 8 * (i % 4);
  return word;
}

uvec2 weight_word(uint n, uint k, uint end) {
  const uint at = args.weight_at + n * args.weight_stride + k;
  if (kWide) return weight64[at / 8];
  uvec2 word = uvec2(0);
  for (uint i = 0; i < min(end - k, 8); ++i) word[i / 4] |= uint(weight8[at + i]) << 8 * (i % 4);
  return word;
}

void fetch(uint k, uint end) {
  [[unroll]] for (uint r = 0; r < kRunsA; ++r) {
    const uint run = run_of(r), column = k + run_column(run);
    next_a[r] = uvec2(0);
    if (run_in_a(run) && column < end) next_a[r] = x_word(tile_row() + run_row(run), column, end);
  }
  [[unroll]] for (uint r = 0; r < kRunsB; ++r) {
    const uint run = run_of(r), column = k + run_column(run);
    next_b[r] = uvec2(0);
    if (run_in_b(run) && column < end) next_b[r] = weight_word(tile_column() + run_row(run), column, end);
  }
}

void put() {
  [[unroll]] for (uint r = 0; r < kRunsA; ++r) put_a(run_of(r), next_a[r]);
  [[unroll]] for (uint r = 0; r < kRunsB; ++r) put_b(run_of(r), next_b[r]);
}

// Counts of the run that begins there.
void multiply_run(uint first, uint end) {
  const uint rounds = (end - first + kDepth - 1) / kDepth;
  for (uint round = 0; round <= rounds; ++round) {
    if (round > 0) {
      barrier();
      put();
      barrier();
    }
    if (round < rounds) fetch(first + round * kDepth, end);
    if (round > 0) multiply();
  }
}

float x_scale(uint m, uint r) {
  return m < args.m ? x_scales[args.x_scales_at + m * args.x_scales_stride + r] : 0;
}

// totals += f32(counts)·scale. The scales of a fragment's rows are a fragment too, through the patch: so they lie as the
// counts do, whatever the device's layout.
void add_counts(uint r) {
  barrier();
  [[unroll]] for (uint i = 0; i < kFragmentsDown; ++i) {
    const uint row = tile_row() + part_row() + i * kFragmentM;
    for (uint e = gl_SubgroupInvocationID; e < kFragmentM * kFragmentN; e += gl_SubgroupSize)
      tiles[patch_at() + e / kWords][e % kWords] = floatBitsToUint(x_scale(row + e / kFragmentN, r));
    exchange();
    coopmat<float, gl_ScopeSubgroup, kFragmentM, kFragmentN, gl_MatrixUseAccumulator> scale;
    coopMatLoad(scale, tiles, patch_at(), kPatchStride, gl_CooperativeMatrixLayoutRowMajor);
    [[unroll]] for (uint j = 0; j < kFragmentsAcross; ++j) {
      const uint f = i * kFragmentsAcross + j, at = kManyRuns ? f : 0;
      coopmat<float, gl_ScopeSubgroup, kFragmentM, kFragmentN, gl_MatrixUseAccumulator> counts =
          coopmat<float, gl_ScopeSubgroup, kFragmentM, kFragmentN, gl_MatrixUseAccumulator>(sums[f]);
      for (uint e = 0; e < counts.length(); ++e) {
        precise const float product = counts[e] * scale[e];
        precise const float total = totals[at][e] + product;
        totals[at][e] = total;
      }
    }
    exchange();
  }
}

void store_fragment(uint f) {
  if (kManyRuns) {
    coopMatStore(totals[kManyRuns ? f : 0], tiles, patch_at(), kPatchStride, gl_CooperativeMatrixLayoutRowMajor);
  } else {
    coopMatStore(sums[f], tiles, patch_at(), kPatchStride, gl_CooperativeMatrixLayoutRowMajor);
  }
}

float unscaled(uint m, uint n, uint bits) {
  if (kManyRuns) return uintBitsToFloat(bits);
  precise const float product = float(int(bits)) * x_scale(m, 0);
  return product;
}

#include "finish.glsl"

void main() {
  find_tile();
  if (kManyRuns) {
    [[unroll]] for (uint f = 0; f < kKept; ++f)
      totals[f] = coopmat<float, gl_ScopeSubgroup, kFragmentM, kFragmentN, gl_MatrixUseAccumulator>(0);
    uint r = 0;
    for (uint first = 0; first < args.k; first += args.group) {
      clear_sums();
      multiply_run(first, min(args.k, first + args.group));
      add_counts(r++);
    }
  } else {
    clear_sums();
    multiply_run(0, args.k);
  }
  finish_tile();
}

// linear for x and weights of 8 bits: sums of products are exact in i32; each f32 operation after them is rounded on
// its own and runs come in their order, so all backends have the same bits.
//
// To be defined before: dot4(uint, uint), of four signed bytes each.
#include "types.glsl"
#include "run.glsl"
#include "linear.glsl"
#include "tile.glsl"
layout(constant_id = 6) const bool kWide = false;  // rows and runs are whole words of four columns
layout(constant_id = 7) const bool kManyRuns = false;

layout(set = 0, binding = 0) readonly buffer X8 { uint8_t x8[]; };
layout(set = 0, binding = 0) readonly buffer XWords { uint x_words[]; };
layout(set = 0, binding = 1) readonly buffer Weight8 { uint8_t weight8[]; };
layout(set = 0, binding = 1) readonly buffer WeightWords { uint weight_words[]; };
layout(set = 0, binding = 9) readonly buffer XScales { float x_scales[]; };

ivec4 counts[kThreadRows][kFoursAcross];

void clear_counts() {
  [[unroll]] for (uint i = 0; i < kThreadRows; ++i) {
    [[unroll]] for (uint j = 0; j < kFoursAcross; ++j) counts[i][j] = ivec4(0);
  }
}

// Columns [k, k + 4), zeros from `end` on.
uint x_word(uint m, uint k, uint end) {
  const uint at = args.x_at + m * args.x_stride + k;
  if (m >= args.m || k >= end) return 0;
  if (kWide) return x_words[at / 4];
  uint word = 0;
  [[unroll]] for (uint i = 0; i < 4; ++i) {
    if (k + i < end) word |= uint(x8[at + i]) << 8 * i;
  }
  return word;
}

uint weight_word(uint n, uint k, uint end) {
  const uint at = args.weight_at + n * args.weight_stride + k;
  if (n >= args.n || k >= end) return 0;
  if (kWide) return weight_words[at / 4];
  uint word = 0;
  [[unroll]] for (uint i = 0; i < 4; ++i) {
    if (k + i < end) word |= uint(weight8[at + i]) << 8 * i;
  }
  return word;
}

void put_words(uint k, uint end) {
  for (uint i = gl_LocalInvocationIndex; i < kTileRows * kDepth; i += kThreads)
    a_tile[at_a(i)] = x_word(tile_row() + element_row(i), k + 4 * element_column(i), end);
  for (uint i = gl_LocalInvocationIndex; i < kTileColumns * kDepth; i += kThreads)
    b_tile[at_b(i)] = weight_word(tile_column() + element_row(i), k + 4 * element_column(i), end);
}

void multiply_bytes() {
  for (uint k0 = 0; k0 < kDepth; k0 += kUnrolled) {
    [[unroll]] for (uint u = 0; u < kUnrolled; ++u) {
      const uint k = k0 + u;
      uvec4 a[kFoursDown], b[kFoursAcross];
      [[unroll]] for (uint i = 0; i < kFoursDown; ++i) a[i] = four_of_a(k * kStrideA + down(4 * i));
      [[unroll]] for (uint j = 0; j < kFoursAcross; ++j) b[j] = four_of_b(k * kStrideB + across(4 * j));
      [[unroll]] for (uint i = 0; i < kThreadRows; ++i) {
        [[unroll]] for (uint j = 0; j < kThreadColumns; ++j)
          counts[i][j / 4][j % 4] += dot4(a[i / 4][i % 4], b[j / 4][j % 4]);
      }
    }
  }
}

// The counts of run r of columns, with its scales.
void add_counts(uint r) {
  [[unroll]] for (uint i = 0; i < kThreadRows; ++i) {
    const uint m = tile_row() + down(i);
    const float scale = m < args.m ? x_scales[args.x_scales_at + m * args.x_scales_stride + r] : 0;
    [[unroll]] for (uint j = 0; j < kFoursAcross; ++j) {
      precise vec4 sum = vec4(counts[i][j]) * scale;
      if (kManyRuns) sum = sums[i][j] + sum;
      sums[i][j] = sum;
    }
  }
}

void main() {
  clear_sums();
  uint first = 0, r = 0;
  do {
    const uint end = min(args.k, first + args.group);
    clear_counts();
    for (uint k = first; k < end; k += 4 * kDepth) {
      barrier();
      put_words(k, end);
      barrier();
      multiply_bytes();
    }
    add_counts(r++);
    first = end;
  } while (kManyRuns && first < args.k);
  if (args.rank > 0) scale_sums();
  for (uint r = 0; r < args.rank; r += kDepth) {
    barrier();
    put_lora(r);
    barrier();
    multiply_floats();
  }
  finish_tile();
}

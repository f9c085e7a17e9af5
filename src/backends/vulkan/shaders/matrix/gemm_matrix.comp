#version 450
// linear for bf16 activations on cooperative matrices of f16 with sums in f32. Each row of x is multiplied by a power of
// two (row_scales.comp) and so is each row of weights whose type reaches further than f16; so bf16 values are exact, and
// what has more bits is rounded to 11. Where kBF16Matrices, the same of bf16, without scales: tools/matrix_spirv.sh makes
// that variant from this one by the type of the factors.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define WEIGHTS_BINDING 1
#define WEIGHTS_ID 9
#define X_BF16 true
#include "../weights.glsl"
#include "../linear.glsl"
#include "../activation_rows.glsl"
#define WORD uvec4
#define WORDS 4
#define PAD 1
#define FACTOR float16_t
#define SUM float
#include "tile.glsl"
#include "halves.glsl"
layout(constant_id = 11) const bool kBF16Matrices = false;

// Powers of two: of rows of x, then of rows of weights.
layout(set = 0, binding = 9) readonly buffer RowScales { float row_scales[]; };

bool has_x_scales() { return !kBF16Matrices; }
bool has_weight_scales() {
  return !kBF16Matrices && (kWeightType == kF32 || kWeightType == kBF16 || weight_is_block());
}
float x_row_scale(uint m) { return has_x_scales() ? row_scales[args.x_scales_at + m] : 1; }
float weight_row_scale(uint n) { return has_weight_scales() ? row_scales[args.x_scales_at + args.m + n] : 1; }

bool weight_is_packed() { return kWeightWide && !weight_is_block() && kWeightType != kF32; }

uvec4 next_a[kRunsA];
RawRun next_b[kRunsB];  // read element by element: values
float a_scale[kRunsA], b_scale[kRunsB];

uvec4 x_bits(uint m, uint column) {
  const uint at = args.x_at + m * args.x_stride + column;
  if ((args.flags & kXWide) != 0) return x128[at / 8];
  uint bits[8];
  for (uint i = 0; i < 8; ++i) bits[i] = column + i < args.k ? uint(x16[at + i]) : 0;
  return uvec4(bits[0] | bits[1] << 16, bits[2] | bits[3] << 16, bits[4] | bits[5] << 16, bits[6] | bits[7] << 16);
}

RawRun weight_elements(uint at, uint column) {
  uint bits[8];
  for (uint i = 0; i < 8; ++i) bits[i] = column + i < args.k ? floatBitsToUint(weight_element(at + column + i)) : 0;
  return RawRun(uvec4(bits[0], bits[1], bits[2], bits[3]), uvec4(bits[4], bits[5], bits[6], bits[7]));
}

void fetch(uint k) {
  [[unroll]] for (uint r = 0; r < kRunsA; ++r) {
    const uint run = run_of(r), column = k + run_column(run);
    next_a[r] = uvec4(0);
    if (run_in_a(run) && column < args.k) next_a[r] = x_bits(tile_row() + run_row(run), column);
  }
  [[unroll]] for (uint r = 0; r < kRunsB; ++r) {
    const uint run = run_of(r), column = k + run_column(run);
    next_b[r] = RawRun(uvec4(0), uvec4(0));
    if (!run_in_b(run) || column >= args.k) continue;
    const uint row = args.weight_at + (tile_column() + run_row(run)) * args.weight_stride;
    if (weight_has_runs()) {
      next_b[r] = weight_raw(row, column);
    } else {
      next_b[r] = weight_elements(row, column);
    }
  }
}

uvec2 four_bf16(vec4 x) { return uvec2(to_bf16(x.x) | to_bf16(x.y) << 16, to_bf16(x.z) | to_bf16(x.w) << 16); }

uvec4 factors(Run run, float scale, bool exact) {
  if (kBF16Matrices) return uvec4(four_bf16(run.first), four_bf16(run.last));
  run.first *= scale;
  run.last *= scale;
  if (!exact) run = Run(rounded_11(run.first), rounded_11(run.last));
  return uvec4(four_halves(run.first), four_halves(run.last));
}

uvec4 x_factors(uvec4 bits, float scale) {
  if (kBF16Matrices) return bits;
  return halves_of_bf16(bits, scale);
}

// f8_e5m2 is the upper half of f16.
uvec2 halves_of_e5m2(uint w) { return uvec2((w & 255) << 8 | (w & 0xFF00u) << 16, (w >> 8 & 0xFF00u) | w & 0xFF000000u); }

uvec4 weight_factors(RawRun raw, float scale) {
  const bool exact = kWeightType != kF32 && !weight_is_block();
  if (!weight_is_packed()) {
    return factors(Run(uintBitsToFloat(raw.first), uintBitsToFloat(raw.last)), scale, exact);
  }
  if (kWeightType == (kBF16Matrices ? kBF16 : kF16)) return raw.first;
  if (kWeightType == kF8E5M2 && !kBF16Matrices) return uvec4(halves_of_e5m2(raw.first.x), halves_of_e5m2(raw.first.y));
  return factors(weight_values(raw), scale, true);
}

void put() {
  [[unroll]] for (uint r = 0; r < kRunsA; ++r) put_a(run_of(r), x_factors(next_a[r], a_scale[r]));
  [[unroll]] for (uint r = 0; r < kRunsB; ++r)
    put_b(run_of(r), weight_factors(next_b[r], b_scale[r]));
}

void read_scales() {
  [[unroll]] for (uint r = 0; r < kRunsA; ++r)
    a_scale[r] = run_in_a(run_of(r)) ? x_row_scale(tile_row() + run_row(run_of(r))) : 1;
  [[unroll]] for (uint r = 0; r < kRunsB; ++r)
    b_scale[r] = run_in_b(run_of(r)) ? weight_row_scale(tile_column() + run_row(run_of(r))) : 1;
}

float unscaled(uint m, uint n, uint bits) {
  float sum = uintBitsToFloat(bits);
  if (has_x_scales()) sum *= inverse_of(x_row_scale(m));
  if (has_weight_scales()) sum *= inverse_of(weight_row_scale(n));
  return sum;
}

void store_fragment(uint f) {
  coopMatStore(sums[f], tiles, patch_at(), kPatchStride, gl_CooperativeMatrixLayoutRowMajor);
}

#include "finish.glsl"

void main() {
  find_tile();
  clear_sums();
  read_scales();
  const uint rounds = (args.k + kDepth - 1) / kDepth;
  // The first round only fetches: what a later one multiplies has been on its way during the one before.
  for (uint round = 0; round <= rounds; ++round) {
    if (round > 0) {
      barrier();
      put();
      barrier();
    }
    if (round < rounds) fetch(round * kDepth);
    if (round > 0) multiply();
  }
  finish_tile();
}

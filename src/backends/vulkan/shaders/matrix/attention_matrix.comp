#version 450
// Attention of one head for a tile of rows of q, bf16, on cooperative matrices of f16 with sums in f32: softmax streamed
// over blocks of keys (arXiv 1805.02867, 2205.14135). Rows of q and k are multiplied by powers of two, v by one for all of
// it (row_scales.comp), so that they are exact in f16; weights e^(score − maximum) have 11 bits.
//
// A subgroup has the rows of one fragment. Its scores go through its patch of shared memory, where a few threads have a
// row, and return from there as weights. What is to be done to a fragment row by row is a fragment too, from the patch: so
// nothing depends on how a device lays out its fragments.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#include "../types.glsl"
#include "halves.glsl"
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint kSubgroup = 8;  // its threads
layout(constant_id = 2) const uint kHeadDim = 64;
layout(constant_id = 3) const uint kKeys = 16;  // of a step
layout(constant_id = 4) const uint kFragmentM = 8;
layout(constant_id = 5) const uint kFragmentN = 8;
layout(constant_id = 6) const uint kFragmentK = 8;

const uint kSubgroups = 4, kThreads = kSubgroups * kSubgroup, kRows = kSubgroups * kFragmentM;
const uint kLanes = kSubgroup / kFragmentM, kPart = kKeys / kLanes;  // threads of a row, and keys of each

// Offsets and strides in elements.
layout(push_constant) uniform Arguments {
  uint rows, keys;
  uint q_at, q_stride;
  uint k_at, k_stride;
  uint v_at, v_stride;
  uint out_at, out_stride;
  uint scales_at;
  float scale;  // of scores, with log₂e
} args;
layout(set = 0, binding = 0) readonly buffer Q { uvec4 q128[]; };
layout(set = 0, binding = 1) readonly buffer K { uvec4 k128[]; };
layout(set = 0, binding = 2) readonly buffer V { uvec4 v128[]; };
layout(set = 0, binding = 3) writeonly buffer Out { uint16_t out16[]; };
// Powers of two: of rows of q, of k, of v.
layout(set = 0, binding = 4) readonly buffer RowScales { float row_scales[]; };

// Keys and values of a step, at first the rows of q. Rows are a word longer, so that they begin in other banks.
const uint kRuns = kHeadDim / 8, kRowWords = kRuns + 1, kValues = kKeys * kRowWords;
shared uvec4 tiles[(2 * kKeys > kRows ? 2 * kKeys : kRows) * kRowWords];
const uint kScoreWords = kKeys / 4 + 1, kWeightWords = kKeys / 8 + 1, kSumWords = kFragmentN / 4;
const uint kPatchWords = kFragmentM * (kScoreWords > kSumWords ? kScoreWords : kSumWords);
shared uvec4 patches[kSubgroups * kPatchWords];
shared vec4 key_factors[kKeys / 4];
shared float lanes[kThreads];

const uint kAcross = kHeadDim / kFragmentN, kDeep = kHeadDim / kFragmentK;
coopmat<float16_t, gl_ScopeSubgroup, kFragmentM, kFragmentK, gl_MatrixUseA> q[kDeep];
coopmat<float, gl_ScopeSubgroup, kFragmentM, kFragmentN, gl_MatrixUseAccumulator> sums[kAcross];

const uint kRunsOfThread = (kKeys * kRuns + kThreads - 1) / kThreads;
uvec4 next_k[kRunsOfThread], next_v[kRunsOfThread];
float next_scale[kRunsOfThread], next_factor;

const float kMasked = -3e38;
float value_scale;                            // of all of v
float row_factor, largest = kMasked, total = 0;  // of this thread's row; the total of its keys only

uint head_at() { return gl_WorkGroupID.y * kHeadDim; }
uint tile_row() { return gl_WorkGroupID.x * kRows; }
uint patch_at() { return gl_SubgroupID * kPatchWords; }
uint row_of_lane() { return gl_SubgroupInvocationID / kLanes; }
uint part_of_lane() { return gl_SubgroupInvocationID % kLanes; }

void exchange() {
  controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
}

// Over the threads of a row.
float largest_of_row(float x) {
  if (kLanes == 1) return x;
  lanes[gl_SubgroupID * kSubgroup + gl_SubgroupInvocationID] = x;
  exchange();
  const uint first = gl_SubgroupID * kSubgroup + row_of_lane() * kLanes;
  for (uint i = 0; i < kLanes; ++i) x = max(x, lanes[first + i]);
  exchange();
  return x;
}
float sum_of_row(float x) {
  if (kLanes == 1) return x;
  lanes[gl_SubgroupID * kSubgroup + gl_SubgroupInvocationID] = x;
  exchange();
  const uint first = gl_SubgroupID * kSubgroup + row_of_lane() * kLanes;
  float sum = 0;
  for (uint i = 0; i < kLanes; ++i) sum += lanes[first + i];
  exchange();
  return sum;
}

// The least of v's rows' powers of two takes none of them past f16.
void find_value_scale() {
  float least = 3e38;
  for (uint i = gl_LocalInvocationIndex; i < args.keys; i += kThreads)
    least = min(least, row_scales[args.scales_at + args.rows + args.keys + i]);
  lanes[gl_LocalInvocationIndex] = least;
  barrier();
  for (uint i = 0; i < kThreads; ++i) least = min(least, lanes[i]);
  value_scale = least;
}

void load_q() {
  for (uint i = gl_LocalInvocationIndex; i < kRows * kRuns; i += kThreads) {
    const uint row = tile_row() + i / kRuns, at = args.q_at + row * args.q_stride + head_at();
    uvec4 word = uvec4(0);
    if (row < args.rows) word = halves_of_bf16(q128[at / 8 + i % kRuns], row_scales[args.scales_at + row]);
    tiles[i / kRuns * kRowWords + i % kRuns] = word;
  }
  barrier();
  [[unroll]] for (uint d = 0; d < kDeep; ++d) {
    const uint at = gl_SubgroupID * kFragmentM * kRowWords + d * kFragmentK / 8;
    coopMatLoad(q[d], tiles, at, kRowWords, gl_CooperativeMatrixLayoutRowMajor);
  }
  const uint row = tile_row() + gl_SubgroupID * kFragmentM + row_of_lane();
  row_factor = row < args.rows ? args.scale * inverse_of(row_scales[args.scales_at + row]) : 0;
}

float key_scale(uint key) { return key < args.keys ? row_scales[args.scales_at + args.rows + key] : 1; }

void fetch(uint first) {
  [[unroll]] for (uint r = 0; r < kRunsOfThread; ++r) {
    const uint i = gl_LocalInvocationIndex + r * kThreads, key = first + i / kRuns;
    next_k[r] = next_v[r] = uvec4(0);
    next_scale[r] = key_scale(key);
    if (i >= kKeys * kRuns || key >= args.keys) continue;
    next_k[r] = k128[(args.k_at + key * args.k_stride + head_at()) / 8 + i % kRuns];
    next_v[r] = v128[(args.v_at + key * args.v_stride + head_at()) / 8 + i % kRuns];
  }
  next_factor = inverse_of(key_scale(first + gl_LocalInvocationIndex));
}

void put() {
  [[unroll]] for (uint r = 0; r < kRunsOfThread; ++r) {
    const uint i = gl_LocalInvocationIndex + r * kThreads, at = i / kRuns * kRowWords + i % kRuns;
    if (i >= kKeys * kRuns) continue;
    tiles[at] = halves_of_bf16(next_k[r], next_scale[r]);
    tiles[kValues + at] = halves_of_bf16(next_v[r], value_scale);
  }
  if (gl_LocalInvocationIndex < kKeys) key_factors[gl_LocalInvocationIndex / 4][gl_LocalInvocationIndex % 4] = next_factor;
}

void find_scores() {
  for (uint j = 0; j < kKeys / kFragmentN; ++j) {
    coopmat<float, gl_ScopeSubgroup, kFragmentM, kFragmentN, gl_MatrixUseAccumulator> scores =
        coopmat<float, gl_ScopeSubgroup, kFragmentM, kFragmentN, gl_MatrixUseAccumulator>(0);
    [[unroll]] for (uint d = 0; d < kDeep; ++d) {
      coopmat<float16_t, gl_ScopeSubgroup, kFragmentK, kFragmentN, gl_MatrixUseB> k;
      const uint at = j * kFragmentN * kRowWords + d * kFragmentK / 8;
      coopMatLoad(k, tiles, at, kRowWords, gl_CooperativeMatrixLayoutColumnMajor);
      scores = coopMatMulAdd(q[d], k, scores);
    }
    coopMatStore(scores, patches, patch_at() + j * kSumWords, kScoreWords, gl_CooperativeMatrixLayoutRowMajor);
  }
  exchange();
}

// Every column of row r of the sums is multiplied by what the threads of row r have.
void multiply_rows(float factor) {
  for (uint c = part_of_lane(); c < kSumWords; c += kLanes)
    patches[patch_at() + row_of_lane() * kSumWords + c] = uvec4(floatBitsToUint(factor));
  exchange();
  coopmat<float, gl_ScopeSubgroup, kFragmentM, kFragmentN, gl_MatrixUseAccumulator> factors;
  coopMatLoad(factors, patches, patch_at(), kSumWords, gl_CooperativeMatrixLayoutRowMajor);
  exchange();
  [[unroll]] for (uint n = 0; n < kAcross; ++n) {
    for (uint e = 0; e < factors.length(); ++e) sums[n][e] *= factors[e];
  }
}

// Scores become weights, times 2^15 so that f16 has small ones, too; sums are corrected for the new maxima.
void weigh(uint first) {
  vec4 scores[kPart / 4];
  float most = largest;
  [[unroll]] for (uint i = 0; i < kPart / 4; ++i) {
    const uint word = part_of_lane() * (kPart / 4) + i, key = first + 4 * word;
    const vec4 raw = uintBitsToFloat(patches[patch_at() + row_of_lane() * kScoreWords + word]);
    scores[i] = raw * row_factor * key_factors[word];
    const bvec4 beyond = greaterThanEqual(uvec4(key, key + 1, key + 2, key + 3), uvec4(args.keys));
    scores[i] = mix(scores[i], vec4(kMasked), beyond);
    most = max(most, max(max(scores[i].x, scores[i].y), max(scores[i].z, scores[i].w)));
  }
  most = largest_of_row(most);
  exchange();
  const float correction = exp2(largest - most);
  largest = most;
  multiply_rows(correction);
  total *= correction;
  [[unroll]] for (uint i = 0; i < kPart / 4; ++i) {
    scores[i] = rounded_11(exp2(scores[i] - most + 15));
    total += scores[i].x + scores[i].y + scores[i].z + scores[i].w;
  }
  [[unroll]] for (uint i = 0; i < kPart / 8; ++i) {
    const uint at = patch_at() + row_of_lane() * kWeightWords + part_of_lane() * (kPart / 8) + i;
    patches[at] = uvec4(four_halves(scores[2 * i]), four_halves(scores[2 * i + 1]));
  }
  exchange();
}

void add_values() {
  for (uint k = 0; k < kKeys; k += kFragmentK) {
    coopmat<float16_t, gl_ScopeSubgroup, kFragmentM, kFragmentK, gl_MatrixUseA> weights;
    coopMatLoad(weights, patches, patch_at() + k / 8, kWeightWords, gl_CooperativeMatrixLayoutRowMajor);
    [[unroll]] for (uint n = 0; n < kAcross; ++n) {
      coopmat<float16_t, gl_ScopeSubgroup, kFragmentK, kFragmentN, gl_MatrixUseB> v;
      const uint at = kValues + k * kRowWords + n * kFragmentN / 8;
      coopMatLoad(v, tiles, at, kRowWords, gl_CooperativeMatrixLayoutRowMajor);
      sums[n] = coopMatMulAdd(weights, v, sums[n]);
    }
  }
  exchange();
}

void store() {
  multiply_rows(inverse_of(value_scale) / sum_of_row(total));
  for (uint n = 0; n < kAcross; ++n) {
    [[unroll]] for (uint g = 0; g < kAcross; ++g) {
      if (g == n) coopMatStore(sums[g], patches, patch_at(), kSumWords, gl_CooperativeMatrixLayoutRowMajor);
    }
    exchange();
    const uint first = tile_row() + gl_SubgroupID * kFragmentM;
    for (uint e = gl_SubgroupInvocationID; e < kFragmentM * kFragmentN; e += kSubgroup) {
      const uint row = first + e / kFragmentN, column = n * kFragmentN + e % kFragmentN;
      const float value = uintBitsToFloat(patches[patch_at() + e / 4][e % 4]);
      if (row < args.rows) out16[args.out_at + row * args.out_stride + head_at() + column] = uint16_t(to_bf16(value));
    }
    exchange();
  }
}

void main() {
  find_value_scale();
  load_q();
  [[unroll]] for (uint n = 0; n < kAcross; ++n)
    sums[n] = coopmat<float, gl_ScopeSubgroup, kFragmentM, kFragmentN, gl_MatrixUseAccumulator>(0);
  fetch(0);
  for (uint first = 0; first < args.keys; first += kKeys) {
    barrier();
    put();
    barrier();
    if (first + kKeys < args.keys) fetch(first + kKeys);
    find_scores();
    weigh(first);
    add_values();
  }
  store();
}

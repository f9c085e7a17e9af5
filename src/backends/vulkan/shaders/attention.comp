// Attention of one head for a tile of rows of q: softmax streamed over blocks of keys (arXiv 1805.02867, 2205.14135).
//
// 128 threads as kLanes × kEights. A thread has eight rows; of the scores four keys, of the result kCols times four
// columns. A step takes 4·kLanes keys, which divides 256, so that keys in parts give the bytes of one call:
//   1. scores: q and k go through `stage` sixteen columns at a time, four elements (a quad) a load;
//   2. the rows' maxima, then the weights e^(score − maximum) into `weights`, key by key, and their sums. Threads
//      put them together by themselves, all in the same order;
//   3. the result: v goes through `stage`, some keys at a time.
// Threads of a row keep the same maximum and total, each for itself.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "operands.glsl"

layout(local_size_x = 128) in;
layout(constant_id = 0) const uint kKnownType = 0;  // f32, bf16 or kEither
#define kType (kKnownType == kEither ? type : kKnownType)
layout(constant_id = 1) const uint kLanes = 16;     // 16 or 32
layout(constant_id = 2) const uint kCols = 2;       // quads of columns of a thread: 1 or 2

const uint kThreads = 128, kEights = kThreads / kLanes, kRows = 8 * kEights, kKeys = 4 * kLanes;
const uint kDepth = 16;                // columns of q and k in `stage`
const uint kQuads = kLanes * kCols;    // of a row of v in `stage`
const uint kValueKeys = 512 / kQuads;  // rows of v in `stage`
const uint kQ = kRows / 4 + 1, kK = kLanes + 1;  // rows of `stage` and `weights`, one longer against bank conflicts
// Left rolled: a driver that unrolls what it can takes seconds to compile this.
#define ROLLED [[dont_unroll]]
#define UNROLLED [[unroll]]
const uint kQuadsOfQ = 4 * kRows / kThreads, kQuadsOfK = 4 * kKeys / kThreads;  // that a thread loads
const uint kQuadsOfV = kValueKeys * kQuads / kThreads;
const float kMasked = -3e38;

layout(push_constant) uniform Push {
  uint rows, keys, head_dim;
  uint q_first, q_stride, k_first, k_stride, v_first, v_stride, out_first, out_stride;
  uint bias_first, bias_stride;  // of row 0 with key 0
  uint state_first, state_stride;
  uint first_row;     // of q's rows in the whole, for the causal mask
  uint first_column;  // of a head: heads wider than 4·kQuads take several dispatches
  uint aligned;       // quads begin at multiples of four elements
  uint type, flags;
  float scale;
};
const uint kCausal = 1, kBias = 2, kFirst = 4, kLast = 8, kStatistics = 16;

QUADS(0, q)
QUADS(1, k)
QUADS(2, v)
WRITABLE(3, out)
layout(binding = 4) readonly buffer Bias { float biases[]; };
layout(binding = 5) buffer State { float state[]; };

shared vec4 stage[kDepth * (kQ + kK)];  // never below 512
shared vec4 weights[kKeys * kQ];

uint t, lane, eight;  // this thread, among those of its rows, and which rows
// Of this thread: scores of rows 4·h.. with key j in scores[2·j + h]; columns c of row r of the result in
// sums[8·c + r]; by row the largest score so far and the sum of weights. Arrays of such sizes cannot be arguments.
vec4 scores[8], sums[8 * kCols], largest[2], total[2];

// Elements left of `count` from i on.
uint left(uint i, uint count) { return i < count ? count - i : 0u; }

// Columns [depth, depth + kDepth) of this tile's rows of q and of a block of keys, as rows of `stage`. All loads
// come before the first store. Where quads are aligned, rows beyond the last are the last: of q they are not
// stored, of k they are masked.
void stage_q_and_k(uint tile, uint first_key, uint head, uint depth) {
  const uint column = depth + t % 4u * 4u, here = left(column, head_dim);
  vec4 a[kQuadsOfQ], b[kQuadsOfK];
  if (aligned != 0u) {
    const uint at = head * head_dim + min(column, head_dim - 4u);
    UNROLLED for (uint n = 0u; n < kQuadsOfQ; ++n) {
      const uint row = min(tile + t / 4u + n * (kThreads / 4u), rows - 1u);
      a[n] = q_quad(q_first + row * q_stride + at);
    }
    UNROLLED for (uint n = 0u; n < kQuadsOfK; ++n) {
      const uint key = min(first_key + t / 4u + n * (kThreads / 4u), keys - 1u);
      b[n] = k_quad(k_first + key * k_stride + at);
    }
  } else {
    const uint at = head * head_dim + column;
    UNROLLED for (uint n = 0u; n < kQuadsOfQ; ++n) {
      const uint row = tile + t / 4u + n * (kThreads / 4u);
      a[n] = q_few(q_first + row * q_stride + at, row < rows ? here : 0u);
    }
    UNROLLED for (uint n = 0u; n < kQuadsOfK; ++n) {
      const uint key = first_key + t / 4u + n * (kThreads / 4u);
      b[n] = k_few(k_first + key * k_stride + at, key < keys ? here : 0u);
    }
  }
  UNROLLED for (uint n = 0u; n < kQuadsOfQ; ++n) {
    const uint r = t / 4u + n * (kThreads / 4u);
    UNROLLED for (uint c = 0u; c < 4u; ++c) {
      stage[(t % 4u * 4u + c) * kQ + r / 4u][r % 4u] = here > 0u ? a[n][c] : 0.0;
    }
  }
  UNROLLED for (uint n = 0u; n < kQuadsOfK; ++n) {
    const uint j = t / 4u + n * (kThreads / 4u);
    UNROLLED for (uint c = 0u; c < 4u; ++c) {
      stage[kDepth * kQ + (t % 4u * 4u + c) * kK + j / 4u][j % 4u] = here > 0u ? b[n][c] : 0.0;
    }
  }
}

// Keys [first_key, first_key + kValueKeys) of v; beyond the last, zeros or the last, whose weights are 0.
void stage_v(uint first_key, uint head) {
  vec4 values[kQuadsOfV];
  UNROLLED for (uint n = 0u; n < kQuadsOfV; ++n) {
    const uint i = t + n * kThreads, key = first_key + i / kQuads, column = first_column + i % kQuads * 4u;
    if (aligned != 0u) {
      const uint at = v_first + min(key, keys - 1u) * v_stride + head * head_dim;
      values[n] = v_quad(at + min(column, head_dim - 4u));
    } else {
      const uint here = key < keys ? left(column, head_dim) : 0u;
      values[n] = v_few(v_first + key * v_stride + head * head_dim + column, here);
    }
  }
  UNROLLED for (uint n = 0u; n < kQuadsOfV; ++n) stage[t + n * kThreads] = values[n];
}

// Of this thread's rows with each of its four keys.
void dot_products(uint tile, uint first_key, uint head) {
  UNROLLED for (uint j = 0u; j < 8u; ++j) scores[j] = vec4(0.0);
  for (uint depth = 0u; depth < head_dim; depth += kDepth) {
    stage_q_and_k(tile, first_key, head, depth);
    barrier();
    ROLLED for (uint d = 0u; d < kDepth; d += 2u) {
      UNROLLED for (uint e = 0u; e < 2u; ++e) {
        const uint at = (d + e) * kQ + 2u * eight;
        const vec4 a0 = stage[at], a1 = stage[at + 1u], b = stage[kDepth * kQ + (d + e) * kK + lane];
        UNROLLED for (uint j = 0u; j < 4u; ++j) {
          scores[2u * j] = fma(a0, vec4(b[j]), scores[2u * j]);
          scores[2u * j + 1u] = fma(a1, vec4(b[j]), scores[2u * j + 1u]);
        }
      }
    }
    barrier();
  }
}

// It depends on key − row alone: of eight rows with four keys there are eleven.
void add_bias(uint tile, uint first_key, uint head) {
  const int distance = int(first_key + 4u * lane) - int(tile + 8u * eight), at = int(bias_first + head * bias_stride);
  float values[11];
  UNROLLED for (int i = 0; i < 11; ++i) {
    // Beyond the last row or key any will do.
    values[i] = biases[at + clamp(distance + i - 7, 1 - int(rows), int(keys) - 1)];
  }
  UNROLLED for (uint i = 0u; i < 32u; ++i) scores[i / 4u][i % 4u] += values[i / 8u + 7u - i % 8u];
}

// Scaled, with the bias, and kMasked where a key takes no part.
void finish_scores(uint tile, uint first_key, uint head) {
  UNROLLED for (uint i = 0u; i < 8u; ++i) scores[i] *= scale;
  if ((flags & kBias) != 0u) add_bias(tile, first_key, head);
  const bool causal = (flags & kCausal) != 0u;
  if (first_key + kKeys <= keys && !causal) return;
  UNROLLED for (uint i = 0u; i < 32u; ++i) {
    const uint key = first_key + 4u * lane + i / 8u, row = first_row + tile + 8u * eight + i % 8u;
    if (key >= keys || (causal && key > row)) scores[i / 4u][i % 4u] = kMasked;
  }
}

// Scores become weights, in `weights`; what was summed before is corrected for the new maxima.
void weigh() {
  UNROLLED for (uint h = 0u; h < 2u; ++h) {
    stage[2u * t + h] = max(max(scores[h], scores[2u + h]), max(scores[4u + h], scores[6u + h]));
  }
  barrier();
  vec4 most[2] = largest;
  ROLLED for (uint i = 0u; i < kLanes; ++i) {
    UNROLLED for (uint h = 0u; h < 2u; ++h) most[h] = max(most[h], stage[2u * (eight * kLanes + i) + h]);
  }
  UNROLLED for (uint h = 0u; h < 2u; ++h) {
    vec4 sum = vec4(0.0);
    UNROLLED for (uint j = 0u; j < 4u; ++j) {
      const vec4 score = scores[2u * j + h];
      const vec4 weight = mix(exp(score - most[h]), vec4(0.0), equal(score, vec4(kMasked)));
      weights[(4u * lane + j) * kQ + 2u * eight + h] = weight;
      sum += weight;
    }
    stage[256u + 2u * t + h] = sum;
  }
  barrier();
  vec4 sum[2] = vec4[2](vec4(0.0), vec4(0.0));
  ROLLED for (uint i = 0u; i < kLanes; ++i) {
    UNROLLED for (uint h = 0u; h < 2u; ++h) sum[h] += stage[256u + 2u * (eight * kLanes + i) + h];
  }
  barrier();
  UNROLLED for (uint h = 0u; h < 2u; ++h) {
    const vec4 correction = exp(largest[h] - most[h]);
    largest[h] = most[h];
    total[h] = fma(total[h], correction, sum[h]);
    UNROLLED for (uint i = 0u; i < 4u * kCols; ++i) sums[8u * (i / 4u) + 4u * h + i % 4u] *= correction[i % 4u];
  }
}

void add_values(uint first_key, uint head) {
  ROLLED for (uint first = 0u; first < kKeys; first += kValueKeys) {
    stage_v(first_key + first, head);
    barrier();
    ROLLED for (uint j = 0u; j < kValueKeys; ++j) {
      const uint at = (first + j) * kQ + 2u * eight;
      const vec4 weight[2] = vec4[2](weights[at], weights[at + 1u]);
      UNROLLED for (uint c = 0u; c < kCols; ++c) {
        const vec4 value = stage[j * kQuads + c * kLanes + lane];
        UNROLLED for (uint r = 0u; r < 8u; ++r) {
          sums[8u * c + r] = fma(vec4(weight[r / 4u][r % 4u]), value, sums[8u * c + r]);
        }
      }
    }
    barrier();
  }
}

// Rows of the state: `head_dim` sums, the largest score and the total.
uint state_of(uint row, uint head) { return state_first + row * state_stride + head * (head_dim + 2u); }

// A quad of columns of all threads goes through `weights`, from where neighbours load and store neighbours.
const uint kWide = 4 * kLanes, kElements = kRows * kWide;
uint row_of(uint i) { return i / kWide; }
uint slot_of(uint i) { return (row_of(i) / 8u * kLanes + i % kWide / 4u) * 8u + row_of(i) % 8u; }

void load_statistics(uint tile, uint head) {
  UNROLLED for (uint r = 0u; r < 8u; ++r) {
    const uint row = tile + 8u * eight + r, at = state_of(row, head) + head_dim;
    if (row >= rows) continue;
    largest[r / 4u][r % 4u] = state[at];
    total[r / 4u][r % 4u] = state[at + 1u];
  }
}

void load_state(uint tile, uint head) {
  UNROLLED for (uint i = 0u; i < 8u * kCols; ++i) sums[i] = vec4(0.0);
  UNROLLED for (uint h = 0u; h < 2u; ++h) {
    largest[h] = vec4(kMasked);
    total[h] = vec4(0.0);
  }
  if ((flags & kFirst) != 0u) return;
  load_statistics(tile, head);
  ROLLED for (uint c = 0u; c < kCols; ++c) {
    ROLLED for (uint i = t; i < kElements; i += kThreads) {
      const uint row = tile + row_of(i), column = first_column + c * kWide + i % kWide;
      const bool inside = row < rows && column < head_dim;
      weights[slot_of(i)][i % 4u] = inside ? state[state_of(row, head) + column] : 0.0;
    }
    barrier();
    UNROLLED for (uint i = 0u; i < 8u * kCols; ++i) {
      if (i / 8u == c) sums[i] = weights[8u * t + i % 8u];
    }
    barrier();
  }
}

void store_statistics(uint tile, uint head) {
  UNROLLED for (uint r = 0u; r < 8u; ++r) {
    const uint row = tile + 8u * eight + r, at = state_of(row, head) + head_dim;
    if (row >= rows) continue;
    state[at] = largest[r / 4u][r % 4u];
    state[at + 1u] = total[r / 4u][r % 4u];
  }
}

void store(uint tile, uint head) {
  const bool last = (flags & kLast) != 0u;
  if (!last && lane == 0u && (flags & kStatistics) != 0u) store_statistics(tile, head);
  if (last) {
    UNROLLED for (uint i = 0u; i < 8u * kCols; ++i) sums[i] /= total[i / 4u % 2u][i % 4u];
  }
  ROLLED for (uint c = 0u; c < kCols; ++c) {
    UNROLLED for (uint i = 0u; i < 8u * kCols; ++i) {
      if (i / 8u == c) weights[8u * t + i % 8u] = sums[i];
    }
    barrier();
    ROLLED for (uint i = t; i < kElements; i += kThreads) {
      const uint row = tile + row_of(i), column = first_column + c * kWide + i % kWide;
      if (row >= rows || column >= head_dim) continue;
      const float value = weights[slot_of(i)][i % 4u];
      if (last) {
        out_set(kType, out_first + row * out_stride + head * head_dim + column, value);
      } else {
        state[state_of(row, head) + column] = value;
      }
    }
    barrier();
  }
}

void main() {
  t = gl_LocalInvocationIndex;
  lane = t % kLanes;
  eight = t / kLanes;
  const uint tile = gl_WorkGroupID.x * kRows, head = gl_WorkGroupID.y;
  load_state(tile, head);
  const uint end = (flags & kCausal) != 0u ? min(keys, first_row + tile + kRows) : keys;
  for (uint first_key = 0u; first_key < end; first_key += kKeys) {
    dot_products(tile, first_key, head);
    finish_scores(tile, first_key, head);
    weigh();
    add_values(first_key, head);
  }
  store(tile, head);
}

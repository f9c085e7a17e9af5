#version 450
// linear for M up to 8, which takes as long as reading the weights: a workgroup has kColumns columns of the result; its
// threads share k, and their sums are added in a fixed order. Weights and x both have runs, or neither.
#extension GL_GOOGLE_include_directive : require
#define WEIGHTS_BINDING 1
#define WEIGHTS_ID 2
#include "weights.glsl"
#include "linear.glsl"
#define X_BF16 ((args.flags & kXBF16) != 0)
#include "activation_rows.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint kThreads = 64;  // not less than kRows·kColumns
layout(constant_id = 1) const uint kColumns = 4;
const uint kRows = 8;

// The sums of this thread, of which only it knows until the end: in shared memory, as rows are counted by a loop.
shared float parts[kRows * kColumns * (kThreads + 1)];
uint part_of(uint m, uint c) { return (m * kColumns + c) * (kThreads + 1) + gl_LocalInvocationIndex; }

// Beyond the last column the last: that sum is not stored.
uint column_of(uint c) { return min(gl_WorkGroupID.y * kColumns + c, args.n - 1); }

void add_run(uint k) {
  Run w[kColumns];
  [[unroll]] for (uint c = 0; c < kColumns; ++c) {
    w[c] = weight_run(args.weight_at + column_of(c) * args.weight_stride, k);
  }
  for (uint m = 0; m < args.m; ++m) {
    const Run x = x_run(m, k);
    [[unroll]] for (uint c = 0; c < kColumns; ++c) {
      float sum = parts[part_of(m, c)];
      [[unroll]] for (uint i = 0; i < 4; ++i) sum = fma(x.first[i], w[c].first[i], sum);
      [[unroll]] for (uint i = 0; i < 4; ++i) sum = fma(x.last[i], w[c].last[i], sum);
      parts[part_of(m, c)] = sum;
    }
  }
}

void add_element(uint k) {
  for (uint c = 0; c < kColumns; ++c) {
    const float w = weight_element(args.weight_at + column_of(c) * args.weight_stride + k);
    for (uint m = 0; m < args.m; ++m) parts[part_of(m, c)] = fma(x_element(m, k), w, parts[part_of(m, c)]);
  }
}

void add_lora() {
  for (uint c = 0; c < kColumns; ++c) {
    const uint n = column_of(c);
    for (uint m = 0; m < args.m; ++m) {
      float sum = parts[part_of(m, c)] * scale_of(n);
      for (uint r = gl_LocalInvocationIndex; r < args.rank; r += kThreads)
        sum = fma(lora_hidden_at(m, r), lora_up_at(n, r), sum);
      parts[part_of(m, c)] = sum;
    }
  }
}

// Of all threads, in their order.
float total(uint result) {
  float sum = 0;
  for (uint t = 0; t < kThreads; ++t) sum += parts[result * (kThreads + 1) + t];
  return sum;
}

void main() {
  const uint t = gl_LocalInvocationIndex;
  for (uint m = 0; m < args.m; ++m) {
    for (uint c = 0; c < kColumns; ++c) parts[part_of(m, c)] = 0;
  }
  if (weight_has_runs()) {
    for (uint k = 8 * t; k < args.k; k += 8 * kThreads) add_run(k);
  } else {
    for (uint k = t; k < args.k; k += kThreads) add_element(k);
  }
  if (args.rank > 0) add_lora();
  barrier();
  const uint n = gl_WorkGroupID.y * kColumns + t % kColumns;
  if (t / kColumns < args.m && n < args.n) finish(t / kColumns, n, total(t));
}

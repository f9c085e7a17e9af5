// A tile of the result per workgroup, of which a thread has kThreadRows × kThreadColumns in registers, in fours: so
// that a subgroup reads shared memory in whole vectors beside each other.
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint kTileRows = 32;
layout(constant_id = 2) const uint kTileColumns = 32;
layout(constant_id = 3) const uint kThreadRows = 4;  // and columns, multiples of 4
layout(constant_id = 4) const uint kThreadColumns = 4;
// Columns of k at once, so that loads overlap with products; 1 where compiling counts for more. Loops should be few:
// llvmpipe ends them, silently, when a thread has gone round 65535 times in all, and K = 65536 are 1024 tiles.
layout(constant_id = 5) const uint kUnrolled = 1;

const uint kThreadsAcross = kTileColumns / kThreadColumns, kThreadsDown = kTileRows / kThreadRows;
const uint kThreads = kThreadsAcross * kThreadsDown;
const uint kFoursDown = kThreadRows / 4, kFoursAcross = kThreadColumns / 4;

// Columns of k in shared memory, one behind the other: floats, or words of four 8-bit numbers.
const uint kDepth = 16;
const uint kStrideA = kTileRows + 4, kStrideB = kTileColumns + 4;
shared uint a_tile[kDepth * kStrideA];
shared uint b_tile[kDepth * kStrideB];

vec4 sums[kThreadRows][kFoursAcross];

// Where the tile begins. The grid's first dimension goes down, so that weights are read once.
uint tile_row() { return gl_WorkGroupID.x * kTileRows; }
uint tile_column() { return gl_WorkGroupID.y * kTileColumns; }

// Row i, or column j, of a thread's results in its tile.
uint down(uint i) { return (i / 4 * kThreadsDown + gl_LocalInvocationIndex / kThreadsAcross) * 4 + i % 4; }
uint across(uint j) { return (j / 4 * kThreadsAcross + gl_LocalInvocationIndex % kThreadsAcross) * 4 + j % 4; }

void clear_sums() {
  [[unroll]] for (uint i = 0; i < kThreadRows; ++i) {
    [[unroll]] for (uint j = 0; j < kFoursAcross; ++j) sums[i][j] = vec4(0);
  }
}

void scale_sums() {
  [[unroll]] for (uint j = 0; j < kThreadColumns; ++j) {
    const uint n = tile_column() + across(j);
    const float scale = n < args.n ? scale_of(n) : 0;
    [[unroll]] for (uint i = 0; i < kThreadRows; ++i) {
      precise const float scaled = sums[i][j / 4][j % 4] * scale;
      sums[i][j / 4][j % 4] = scaled;
    }
  }
}

// The tiles in runs of 8 floats: which of them a thread has is r, at row run / kRunsDeep and column run % kRunsDeep · 8.
const uint kRunsDeep = kDepth / 8;
const uint kRunsA = (kTileRows * kRunsDeep + kThreads - 1) / kThreads;
const uint kRunsB = (kTileColumns * kRunsDeep + kThreads - 1) / kThreads;
uint run_of(uint r) { return gl_LocalInvocationIndex + r * kThreads; }
uint run_column(uint run) { return run % kRunsDeep * 8; }

void put_a(uint run, Run values) {
  if (run / kRunsDeep >= kTileRows) return;
  const uint at = run_column(run) * kStrideA + run / kRunsDeep;
  [[unroll]] for (uint c = 0; c < 4; ++c) {
    a_tile[at + c * kStrideA] = floatBitsToUint(values.first[c]);
    a_tile[at + (c + 4) * kStrideA] = floatBitsToUint(values.last[c]);
  }
}

void put_b(uint run, Run values) {
  if (run / kRunsDeep >= kTileColumns) return;
  const uint at = run_column(run) * kStrideB + run / kRunsDeep;
  [[unroll]] for (uint c = 0; c < 4; ++c) {
    b_tile[at + c * kStrideB] = floatBitsToUint(values.first[c]);
    b_tile[at + (c + 4) * kStrideB] = floatBitsToUint(values.last[c]);
  }
}

// Element by element: where element i of a tile is in it, and in its array.
uint element_row(uint i) { return i / kDepth; }
uint element_column(uint i) { return i % kDepth; }
uint at_a(uint i) { return element_column(i) * kStrideA + element_row(i); }
uint at_b(uint i) { return element_column(i) * kStrideB + element_row(i); }

void put_lora(uint first) {
  for (uint i = gl_LocalInvocationIndex; i < kTileRows * kDepth; i += kThreads) {
    const uint m = tile_row() + element_row(i), r = first + element_column(i);
    a_tile[at_a(i)] = m < args.m && r < args.rank ? floatBitsToUint(lora_hidden_at(m, r)) : 0;
  }
  for (uint i = gl_LocalInvocationIndex; i < kTileColumns * kDepth; i += kThreads) {
    const uint n = tile_column() + element_row(i), r = first + element_column(i);
    b_tile[at_b(i)] = n < args.n && r < args.rank ? floatBitsToUint(lora_up_at(n, r)) : 0;
  }
}

uvec4 four_of_a(uint at) { return uvec4(a_tile[at], a_tile[at + 1], a_tile[at + 2], a_tile[at + 3]); }
uvec4 four_of_b(uint at) { return uvec4(b_tile[at], b_tile[at + 1], b_tile[at + 2], b_tile[at + 3]); }

// sums += a·bᵀ of the floats in the tiles.
void multiply_floats() {
  for (uint k0 = 0; k0 < kDepth; k0 += kUnrolled) {
    [[unroll]] for (uint u = 0; u < kUnrolled; ++u) {
      const uint k = k0 + u;
      vec4 a[kFoursDown], b[kFoursAcross];
      [[unroll]] for (uint i = 0; i < kFoursDown; ++i) a[i] = uintBitsToFloat(four_of_a(k * kStrideA + down(4 * i)));
      [[unroll]] for (uint j = 0; j < kFoursAcross; ++j) b[j] = uintBitsToFloat(four_of_b(k * kStrideB + across(4 * j)));
      [[unroll]] for (uint i = 0; i < kThreadRows; ++i) {
        [[unroll]] for (uint j = 0; j < kFoursAcross; ++j) sums[i][j] = fma(vec4(a[i / 4][i % 4]), b[j], sums[i][j]);
      }
    }
  }
}

// Row by row of each thread through shared memory: so the code behind the product is there once, not for each element,
// and neighbours write to neighbouring places.
void finish_tile() {
  for (uint row = 0; row < kThreadRows; ++row) {
    barrier();
    [[unroll]] for (uint i = 0; i < kThreadRows; ++i) {
      if (i != row) continue;
      [[unroll]] for (uint j = 0; j < kThreadColumns; ++j) {
        const uint at = gl_LocalInvocationIndex / kThreadsAcross * kTileColumns + across(j);
        a_tile[at] = floatBitsToUint(sums[i][j / 4][j % 4]);
      }
    }
    barrier();
    for (uint i = gl_LocalInvocationIndex; i < kThreadsDown * kTileColumns; i += kThreads) {
      const uint thread = i / kTileColumns, n = tile_column() + i % kTileColumns;
      const uint m = tile_row() + (row / 4 * kThreadsDown + thread) * 4 + row % 4;
      if (m < args.m && n < args.n) finish(m, n, uintBitsToFloat(a_tile[i]));
    }
  }
}

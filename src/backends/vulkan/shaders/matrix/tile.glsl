// A tile of the result per workgroup, by subgroups, in fragments: cooperative matrices, whose shapes are the device's.
//
// To be defined before: WORD, the type of which shared memory is, of 8 values, in WORDS numbers of 32 bits; FACTOR,
// the type of those values; PAD, how many words follow a row there, so
// that rows begin in other banks; SUM, what sums are of.
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint kTileRows = 16;
layout(constant_id = 2) const uint kTileColumns = 16;
layout(constant_id = 3) const uint kDepth = 16;  // columns of k in shared memory
layout(constant_id = 4) const uint kSubgroupRows = 8;  // of the tile, a subgroup's
layout(constant_id = 5) const uint kSubgroupColumns = 8;
layout(constant_id = 6) const uint kFragmentM = 8;
layout(constant_id = 7) const uint kFragmentN = 8;
layout(constant_id = 8) const uint kFragmentK = 8;

const uint kThreads = gl_WorkGroupSize.x;
const uint kSubgroupsAcross = kTileColumns / kSubgroupColumns, kSubgroupsDown = kTileRows / kSubgroupRows;
const uint kFragmentsDown = kSubgroupRows / kFragmentM, kFragmentsAcross = kSubgroupColumns / kFragmentN;
const uint kFragments = kFragmentsDown * kFragmentsAcross;

// Rows of x, then of weights; behind the product, a patch of one fragment for each subgroup.
const uint kWords = WORDS;  // numbers of 32 bits in a word
const uint kRowWords = kDepth / 8 + PAD;
const uint kBegin = kTileRows * kRowWords;  // of weights
const uint kPatchStride = kFragmentN / kWords, kPatchWords = kFragmentM * kPatchStride;
const uint kProductWords = (kTileRows + kTileColumns) * kRowWords;
const uint kPatchesWords = kPatchWords * kSubgroupsDown * kSubgroupsAcross;
shared WORD tiles[kProductWords > kPatchesWords ? kProductWords : kPatchesWords];

coopmat<SUM, gl_ScopeSubgroup, kFragmentM, kFragmentN, gl_MatrixUseAccumulator> sums[kFragments];

// Which tile: down, then across. Those that run at the same time lie in bands eight tiles high, near to a square, so that
// they read few rows of x and of weights together. The grid's first dimension goes down.
const uint kBand = 8;
uvec2 tile_place() {
  const uint down = gl_NumWorkGroups.x, across = gl_NumWorkGroups.y;
  const uint number = gl_WorkGroupID.y * down + gl_WorkGroupID.x, band = number / (kBand * across);
  const uint height = min(kBand, down - band * kBand), in_band = number % (kBand * across);
  return uvec2(band * kBand + in_band % height, in_band / height);
}
uvec2 tile_begin;  // main() sets it
void find_tile() { tile_begin = tile_place() * uvec2(kTileRows, kTileColumns); }
uint tile_row() { return tile_begin.x; }
uint tile_column() { return tile_begin.y; }
// Where a subgroup's part begins in it.
uint part_row() { return gl_SubgroupID / kSubgroupsAcross * kSubgroupRows; }
uint part_column() { return gl_SubgroupID % kSubgroupsAcross * kSubgroupColumns; }

// A tile in runs of 8 values: which of them a thread has is r, at row run / kRunsDeep and column run % kRunsDeep · 8.
const uint kRunsDeep = kDepth / 8;
const uint kRunsA = (kTileRows * kRunsDeep + kThreads - 1) / kThreads;
const uint kRunsB = (kTileColumns * kRunsDeep + kThreads - 1) / kThreads;
uint run_of(uint r) { return gl_LocalInvocationIndex + r * kThreads; }
uint run_row(uint run) { return run / kRunsDeep; }
uint run_column(uint run) { return run % kRunsDeep * 8; }
bool run_in_a(uint run) { return run_row(run) < kTileRows && tile_row() + run_row(run) < args.m; }
bool run_in_b(uint run) { return run_row(run) < kTileColumns && tile_column() + run_row(run) < args.n; }

void put_a(uint run, WORD values) {
  if (run_row(run) < kTileRows) tiles[run_row(run) * kRowWords + run % kRunsDeep] = values;
}
void put_b(uint run, WORD values) {
  if (run_row(run) < kTileColumns) tiles[kBegin + run_row(run) * kRowWords + run % kRunsDeep] = values;
}

void clear_sums() {
  [[unroll]] for (uint i = 0; i < kFragments; ++i)
    sums[i] = coopmat<SUM, gl_ScopeSubgroup, kFragmentM, kFragmentN, gl_MatrixUseAccumulator>(0);
}

// sums += a·bᵀ of what the tiles hold.
void multiply() {
  for (uint k = 0; k < kDepth; k += kFragmentK) {
    coopmat<FACTOR, gl_ScopeSubgroup, kFragmentM, kFragmentK, gl_MatrixUseA> a[kFragmentsDown];
    [[unroll]] for (uint i = 0; i < kFragmentsDown; ++i) {
      const uint at = (part_row() + i * kFragmentM) * kRowWords + k / 8;
      coopMatLoad(a[i], tiles, at, kRowWords, gl_CooperativeMatrixLayoutRowMajor);
    }
    [[unroll]] for (uint j = 0; j < kFragmentsAcross; ++j) {
      coopmat<FACTOR, gl_ScopeSubgroup, kFragmentK, kFragmentN, gl_MatrixUseB> b;
      const uint at = kBegin + (part_column() + j * kFragmentN) * kRowWords + k / 8;
      coopMatLoad(b, tiles, at, kRowWords, gl_CooperativeMatrixLayoutColumnMajor);
      [[unroll]] for (uint i = 0; i < kFragmentsDown; ++i) {
        const uint f = i * kFragmentsAcross + j;
        sums[f] = coopMatMulAdd(a[i], b, sums[f]);
      }
    }
  }
}

// What a subgroup writes to its patch, its threads read from there.
void exchange() {
  controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
}

uint patch_at() { return gl_SubgroupID * kPatchWords; }
uint patch_word(uint e) { return tiles[patch_at() + e / kWords][e % kWords]; }

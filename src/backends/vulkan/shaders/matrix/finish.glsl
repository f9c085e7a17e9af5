// A tile's fragments through the subgroups' patches: the code behind the product is there once, and neighbours write to
// neighbouring places.
//
// To be defined before: void store_fragment(uint f), to the patch; float unscaled(uint m, uint n, uint bits), of a sum there.

// A thread's elements of a fragment lie in one column: subgroups are whole rows of fragments wide.
const uint kSubgroup = kThreads / (kSubgroupsDown * kSubgroupsAcross);
const uint kElements = kFragmentM * kFragmentN / kSubgroup, kElementStep = kSubgroup / kFragmentN;

// In f32, as hidden values are: what is read of `up` serves all elements of a thread.
void add_lora(uint row, uint column) {
  const uint first = gl_SubgroupInvocationID / kFragmentN, n = column + gl_SubgroupInvocationID % kFragmentN;
  if (n >= args.n) return;
  const float scale = scale_of(n);
  float y[kElements];
  [[unroll]] for (uint i = 0; i < kElements; ++i) {
    const uint m = min(row + first + i * kElementStep, args.m - 1);
    y[i] = unscaled(m, n, patch_word(gl_SubgroupInvocationID + i * kSubgroup)) * scale;
  }
  for (uint r = 0; r < args.rank; ++r) {
    const float up = lora_up_at(n, r);
    [[unroll]] for (uint i = 0; i < kElements; ++i)
      y[i] = fma(lora_hidden_at(min(row + first + i * kElementStep, args.m - 1), r), up, y[i]);
  }
  [[unroll]] for (uint i = 0; i < kElements; ++i) {
    const uint e = gl_SubgroupInvocationID + i * kSubgroup;
    tiles[patch_at() + e / kWords][e % kWords] = floatBitsToUint(y[i]);
  }
}

void finish_tile() {
  barrier();
  for (uint f = 0; f < kFragments; ++f) {
    [[unroll]] for (uint g = 0; g < kFragments; ++g) {
      if (g == f) store_fragment(g);
    }
    exchange();
    const uint row = tile_row() + part_row() + f / kFragmentsAcross * kFragmentM;
    const uint column = tile_column() + part_column() + f % kFragmentsAcross * kFragmentN;
    if (args.rank > 0) add_lora(row, column);
    // Each thread reads what it wrote.
    for (uint e = gl_SubgroupInvocationID; e < kFragmentM * kFragmentN; e += kSubgroup) {
      const uint m = row + e / kFragmentN, n = column + e % kFragmentN;
      if (m >= args.m || n >= args.n) continue;
      finish(m, n, args.rank > 0 ? uintBitsToFloat(patch_word(e)) : unscaled(m, n, patch_word(e)));
    }
    exchange();
  }
}

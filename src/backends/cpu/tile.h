// Tiles of a product's result: how it is cut up, and what a task has while it computes one. Private to this
// room; the drivers are gemm.cc and int8_gemm.cc.
#pragma once

#include "backends/cpu/engine.h"

namespace darkroom::cpu {

// Packing costs about a hundredth of the product at this size; the f32 tile (2.4 MB) and the strips (0.8 MB)
// live in L3.
inline constexpr int64_t kMaxTile = 768;
// Rows of packed A that stay in L2 while all strips pass by: 96 KiB.
inline constexpr int64_t kGroupRows = 96;

struct TileGrid {
  int64_t rows, cols;  // of a tile, multiples of mr and nr
  int64_t down, across;
};

// [m, n] in tiles of up to kMaxTile rows and max_cols columns, in small tiles of [mr][nr].
TileGrid choose_tiles(int64_t m, int64_t n, int64_t mr, int64_t nr, int threads, int64_t max_cols = kMaxTile);

// The sums of a tile. Those of a small tile are rows row_stride apart.
struct Sums {
  float* data;
  int64_t row_stride, col_stride;
  float* at(int64_t row, int64_t col) const { return data + row * row_stride + col * col_stride; }
};

// One tile of the result, and its worker's memory.
struct Tile {
  const Gemm& job;
  const KernelTable& table;
  int64_t row, rows, col, cols;
  float* strips;  // [cols/nr][steps][nr]
  float* packed;  // [kGroupRows][kDepth]
  Sums sums;
};

// Adds the job's LoRA, in f32, to sums that are scaled, and finishes the tile. `sums` must have room for rows
// rounded up to mr and columns to nr of the f32 kernels.
void add_lora(const Tile& tile);

}  // namespace darkroom::cpu

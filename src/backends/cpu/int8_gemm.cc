// The tiled product of 8 bits behind linear(), and the quantising of its rows.
//
// As gemm.cc, but a unit holds four values, sums are i32, and a run of columns with a scale of its own must end
// before the next begins: its sums are exact, so they and all f32 operations after them are the same on every
// instruction set. A block of K is up to 4·kDepth values: whole runs, or a part of one.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "backends/cpu/tile.h"

namespace darkroom::cpu {
namespace {

constexpr int64_t kBlock = 4 * kDepth;
constexpr int64_t kMaxRuns = 32;             // of a block
constexpr int64_t kLoraUnit = 96;            // a multiple of every set's nr, in f32 and in 8 bits
constexpr int64_t kLoraRows = 16;            // no set's mr is more
constexpr int64_t kWideCols = kMaxTile / 2;  // of tiles that have sums in i32 and in f32

// Of which no number of either is beyond.
int32_t levels_of(const Tensor& x, const Tensor& weight) {
  return weight.levels == 0 ? kInt8Levels : std::max(x.levels, weight.levels);
}

// How K is cut up.
struct Runs {
  int64_t size, depth;  // of a run; of a block that holds whole runs, or most of a block within one
  bool several;         // in a row
};

Runs runs_of(const Tensor& x) {
  const int64_t size = x.scale_cols == 0 ? x.cols() : x.scale_cols;
  if (size >= kBlock) return {size, kBlock, size < x.cols()};
  // Parts of a block begin at a unit.
  const int64_t fit = size % 4 == 0 ? std::min(kMaxRuns, kBlock / size) : 1;
  return {size, size * fit, size < x.cols()};
}

// Asks for the part of a matrix that will be packed next, a few cache lines at a time while the one before it
// is multiplied: short pieces of many rows, which the processor does not see coming.
class Ahead {
 public:
  Ahead(const Tensor& matrix, int64_t row, int64_t rows, int64_t first, int64_t depth, int64_t steps)
      : matrix_(matrix), row_(row), end_(row + rows), first_(first), col_(first), end_col_(first + depth) {
    if (depth > 0) per_step_ = ceil_div(rows * ceil_div(depth, kLine), std::max<int64_t>(1, steps));
  }
  void step() {
    for (int64_t i = 0; i < per_step_ && row_ < end_; ++i) {
      __builtin_prefetch(matrix_.row<int8_t>(row_) + col_, 0, 2);
      col_ += kLine;
      if (col_ < end_col_) continue;
      col_ = first_;
      ++row_;
    }
  }

 private:
  static constexpr int64_t kLine = 64;
  const Tensor& matrix_;
  int64_t row_, end_, first_, col_, end_col_, per_step_ = 0;
};

// One tile while its product is computed.
struct Int8Tile {
  const Tile& tile;
  const Int8Kernels& kernels;
  const Tensor& x;
  Runs runs;
  int32_t* ints;        // sums of runs that reach over blocks; those of the tile, where a row has one run
  int8_t* rows;         // [rows][4·kDepth]: a block of the tile's rows of A
  float* strip;         // [steps][nr]
  int32_t* start;       // [runs of a block][rows]: what the products of a run begin at
  int64_t padded_rows;  // to mr
};

// Where the sums of a run lie: at the tile's place, or in `small`.
struct IntSums {
  int32_t* data;
  int64_t stride;
};
IntSums int_sums(const Int8Tile& t, int64_t row, int64_t col, int32_t* small) {
  if (t.runs.several && t.runs.size <= kBlock) return {small, t.kernels.nr};
  const Sums& sums = t.tile.sums;
  return {t.ints + row * sums.row_stride + col * sums.col_stride, sums.row_stride};
}

void pack_strip(const Int8Tile& t, int64_t col, int64_t first, int64_t depth) {
  const Tensor& weight = t.tile.job.weight;
  const int64_t row = t.tile.col + col, rows = std::min(t.kernels.nr, t.tile.cols - col);
  require(t.kernels.pack_b(weight.row<int8_t>(row) + first, weight.row_stride, rows, depth, t.strip),
          ErrorCode::kFailure, "linear: weight {} has numbers beyond ±{}, its levels, in rows {} to {}",
          weight, weight.levels, row, row + rows - 1);
}

// Rows of A as they are, zeros after them.
void pack_rows(const Int8Tile& t, int64_t first, int64_t depth) {
  for (int64_t r = 0; r < t.padded_rows; ++r) {
    int8_t* to = t.rows + r * kBlock;
    const int64_t count = r < t.tile.rows ? depth : 0;
    if (count > 0) {
      std::memcpy(to, t.x.row<int8_t>(t.tile.row + r) + first, static_cast<std::size_t>(count));
    }
    std::memset(to + count, 0, static_cast<std::size_t>(round_up(depth, 4) - count));
    if (!t.kernels.sum) continue;
    for (int64_t at = 0, run = 0; at < depth; at += t.runs.size, ++run) {
      t.start[run * t.padded_rows + r] =
          -t.kernels.offset * t.kernels.sum(to + at, round_up(std::min(t.runs.size, depth - at), 4));
    }
  }
}

// The block [first, first + depth) of K for one small tile.
void add_block(const Int8Tile& t, int64_t row, int64_t col, int64_t rows, int64_t first, int64_t depth) {
  alignas(kBufferAlignment) int32_t small[kLoraRows * kLoraUnit];
  const Tile& tile = t.tile;
  const IntSums ints = int_sums(t, row, col, small);
  const int64_t nr = t.kernels.nr, each = t.x.scales_per_row();
  for (int64_t at = 0, number = 0; at < depth; ++number) {
    const int64_t run = (first + at) / t.runs.size, run_end = std::min(t.x.cols(), (run + 1) * t.runs.size);
    const int64_t count = std::min(depth - at, run_end - first - at);
    t.kernels.micro(t.rows + row * kBlock + at, t.strip + at / 4 * nr, ceil_div(count, 4),
                    t.start + number * t.padded_rows + row, ints.data, ints.stride,
                    first + at > run * t.runs.size);
    at += count;
    if (first + at < run_end) return;
    tile.table.scale_sums(ints.data, ints.stride, rows, nr, t.x.scales + (tile.row + row) * each + run, each,
                          tile.sums.at(row, col), tile.sums.row_stride, run > 0);
  }
}

// Once a small tile's sums are in f32.
void finish(const Tile& t, int64_t row, int64_t col, int64_t rows, int64_t cols) {
  float* sums = t.sums.at(row, col);
  const EpilogueArgs& epilogue = t.job.epilogue;
  if (!t.job.hidden) {
    t.table.epilogue(advanced(epilogue, t.row + row, t.col + col), sums, t.sums.row_stride, rows, cols);
  } else if (epilogue.scale) {
    apply_scale(t.table, epilogue.scale + t.col + col, sums, t.sums.row_stride, rows, cols);
  }
}

struct Block {
  int64_t first, depth;
};
Block block_at(const Int8Tile& t, int64_t first) {
  const int64_t run_end = t.runs.size > kBlock ? (first / t.runs.size + 1) * t.runs.size : t.x.cols();
  return {first, std::min({t.runs.depth, run_end - first, t.x.cols() - first})};
}

// The strip after that of `col`: of the same block, of the next, or the first of the tile after this one.
Ahead strip_ahead(const Int8Tile& t, int64_t col, const Block& block, int64_t steps) {
  const Tensor& weight = t.tile.job.weight;
  const int64_t nr = t.kernels.nr, next = block.first + block.depth;
  const bool same = col + nr < t.tile.cols, last = next >= t.x.cols();
  const Block of = same ? block : block_at(t, last ? 0 : next);
  const int64_t row = t.tile.col + (same ? col + nr : last ? t.tile.cols : 0);
  return {weight, row, std::min(nr, weight.rows() - row), of.first, of.depth, steps};
}

// All rows of A are packed for a block of K and stay in L2, while the strips of W are packed and pass by.
void run_tile(const Int8Tile& t) {
  const Tile& tile = t.tile;
  const int64_t mr = t.kernels.mr, nr = t.kernels.nr, down = t.padded_rows / mr;
  for (Block block = block_at(t, 0); block.depth > 0; block = block_at(t, block.first + block.depth)) {
    const int64_t next = block.first + block.depth;
    pack_rows(t, block.first, block.depth);
    Ahead rows_ahead(t.x, tile.row, tile.rows, next, std::min(kBlock, t.x.cols() - next),
                     down * ceil_div(tile.cols, nr));
    for (int64_t c = 0; c < tile.cols; c += nr) {
      pack_strip(t, c, block.first, block.depth);
      Ahead weights = strip_ahead(t, c, block, down);
      for (int64_t r = 0; r < tile.rows; r += mr) {
        const int64_t rows = std::min(mr, tile.rows - r);
        weights.step();
        rows_ahead.step();
        add_block(t, r, c, rows, block.first, block.depth);
        if (next == t.x.cols()) finish(tile, r, c, rows, std::min(nr, tile.cols - c));
      }
    }
  }
  if (tile.job.hidden) add_lora(tile);
}

// A worker's scratch: what is packed, in 8 bits or of a LoRA, and after it the sums.
constexpr int64_t kRowFloats = (kMaxTile + kLoraRows) * kDepth, kStripFloats = kLoraUnit * kDepth,
                  kStartFloats = kMaxRuns * (kMaxTile + kLoraRows);
constexpr int64_t kLoraStripFloats = (kMaxTile + kLoraUnit) * kDepth;
constexpr int64_t kPackedFloats =
    std::max(kRowFloats + kStripFloats + kStartFloats, kLoraStripFloats + kGroupRows * kDepth);
// Room for whole small tiles of 8 bits and of a LoRA.
constexpr int64_t sum_floats(int64_t rows, int64_t cols) {
  return (round_up(rows, kLoraRows) + kLoraRows) * round_up(cols, kLoraUnit);
}

}  // namespace

// One kind of sums in up to twice as many columns, two kinds, or plain rows for a LoRA.
std::size_t int8_gemm_scratch_floats() {
  constexpr int64_t kSums = std::max({kMaxTile * kMaxTile + kLoraRows * 2 * kMaxTile,
                                      2 * sum_floats(kMaxTile, kWideCols), sum_floats(kMaxTile, kMaxTile)});
  return static_cast<std::size_t>(kPackedFloats + kSums);
}

void int8_gemm(Engine& engine, const Gemm& job, const Tensor& x) {
  const Int8Kernels& kernels = engine.int8_kernels(levels_of(x, job.weight));
  const Runs runs = runs_of(x);
  const bool wide = runs.several && runs.size > kBlock;
  // Columns cost no memory but that of their sums, and rows are packed again for each tile.
  const int64_t rows_at_most = ceil_div(job.m, ceil_div(job.m, kMaxTile));
  const int64_t max_cols =
      wide         ? kWideCols
      : job.hidden ? kMaxTile
                   : kMaxTile * kMaxTile / std::max(rows_at_most, kMaxTile / 2) / kLoraUnit * kLoraUnit;
  const TileGrid grid = choose_tiles(job.m, job.n, kernels.mr, kernels.nr, engine.threads(), max_cols);
  engine.run(grid.down * grid.across, [&](int64_t task, int worker) {
    const int64_t row = task / grid.across * grid.rows, col = task % grid.across * grid.cols;
    const int64_t rows = std::min(grid.rows, job.m - row), cols = std::min(grid.cols, job.n - col);
    float *scratch = engine.scratch(worker), *strip = scratch + kRowFloats, *data = scratch + kPackedFloats;
    // The LoRA's small tiles have another shape: plain rows suit both.
    const Sums by_strips{data, kernels.nr, round_up(rows, kernels.mr)},
        by_rows{data, round_up(cols, kLoraUnit), 1};
    const Tile tile{job,
                    engine.kernels(),
                    row,
                    rows,
                    col,
                    cols,
                    scratch,
                    scratch + kLoraStripFloats,
                    job.hidden ? by_rows : by_strips};
    run_tile({tile, kernels, x, runs,
              reinterpret_cast<int32_t*>(wide ? data + sum_floats(rows, grid.cols) : data),
              reinterpret_cast<int8_t*>(scratch), strip, reinterpret_cast<int32_t*>(strip + kStripFloats),
              round_up(rows, kernels.mr)});
  });
}

namespace {

// The first row for which something failed.
class FirstRow {
 public:
  explicit FirstRow(int64_t rows) : row_(rows) {}
  void lower_to(int64_t row) {
    for (int64_t seen = row_; row < seen && !row_.compare_exchange_weak(seen, row);) {
    }
  }
  void fail_before(const Tensor& x) const {
    if (row_ < x.rows()) fail_not_finite(x, row_);
  }

 private:
  std::atomic<int64_t> row_;
};

}  // namespace

void quantize_rows(Engine& engine, const QuantizeRowsArgs& a) {
  const float* const smooth = a.smooth.present() ? a.smooth.row<float>(0) : nullptr;
  FirstRow bad(a.x.rows());
  engine.run_rows(a.x.rows(), a.x.cols(), [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r) {
      if (!engine.kernels().quantize_row(a.x.dtype, element(a.x, r, 0), smooth, a.x.cols(), a.group,
                                         a.out.levels, a.out.row<int8_t>(r), a.scales.row<float>(r)))
        bad.lower_to(r);
    }
  });
  bad.fail_before(a.x);
}

// A task has some columns of all rows, so that none meets another.
void column_magnitudes(Engine& engine, const ColumnMagnitudesArgs& a) {
  constexpr int64_t kColumns = 512;
  FirstRow bad(a.x.rows());
  engine.run(ceil_div(a.x.cols(), kColumns), [&](int64_t task, int) {
    const int64_t first = task * kColumns, count = std::min(kColumns, a.x.cols() - first);
    for (int64_t r = 0; r < a.x.rows(); ++r) {
      if (!engine.kernels().add_magnitudes(a.x.dtype, element(a.x, r, first), count,
                                           a.out.row<float>(0) + first, a.out.row<float>(1) + first))
        bad.lower_to(r);
    }
  });
  bad.fail_before(a.x);
}

}  // namespace darkroom::cpu

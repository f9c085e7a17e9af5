// The tiled product behind linear() and conv2d().
//
// A task computes one tile of the result. For each block of kDepth units of K it packs its strips of W (16 or
// 32 columns each), then goes through its rows in groups that stay in L2, and multiplies strip by group. The
// K blocks come in ascending order and each starts from zero before it is added, so an element's bits depend
// on kDepth only: not on the tile it falls into, nor on the number of threads, which therefore may choose the
// tiles.
#include <algorithm>
#include <cstring>

#include "backends/cpu/tile.h"

namespace darkroom::cpu {
namespace {

// Smallest tile worth splitting to, when there are more threads than tiles.
constexpr int64_t kMinTile = 96;

}  // namespace

TileGrid choose_tiles(int64_t m, int64_t n, int64_t mr, int64_t nr, int threads, int64_t max_cols) {
  const auto even_share = [](int64_t extent, int64_t limit, int64_t unit) {
    return round_up(ceil_div(extent, ceil_div(extent, limit)), unit);
  };
  int64_t row_limit = kMaxTile, col_limit = max_cols;
  for (;;) {
    TileGrid grid{};
    grid.rows = even_share(m, row_limit, mr);
    grid.cols = even_share(n, col_limit, nr);
    grid.down = ceil_div(m, grid.rows);
    grid.across = ceil_div(n, grid.cols);
    const bool row_splits = row_limit > kMinTile && grid.rows > kMinTile;
    const bool col_splits = col_limit > kMinTile && grid.cols > kMinTile;
    // Four tiles a thread: the last ones to finish then idle at most a few percent.
    if (grid.down * grid.across >= 4 * threads || (!row_splits && !col_splits)) return grid;
    if (row_splits && (grid.rows >= grid.cols || !col_splits)) {
      row_limit = std::max(kMinTile, grid.rows / 2);
    } else {
      col_limit = std::max(kMinTile, grid.cols / 2);
    }
  }
}

namespace {

// A product that goes into the sums of a tile.
struct Product {
  const GemmKernels& kernels;
  const RowSource& a;
  const Tensor& weight;  // [n, k]
  int64_t k;
  bool begins;  // the sums; otherwise it is added to them
};

// Blocks of K begin where blocks of every block type begin.
static_assert(kDepth % 256 == 0);

void pack_strips(const Tile& t, const Product& p, int64_t first, int64_t depth, int64_t steps) {
  const Tensor& weight = p.weight;
  const auto pack = is_block(weight.dtype) ? p.kernels.pack_blocks : p.kernels.pack_b;
  for (int64_t c = 0; c < t.cols; c += p.kernels.nr) {
    pack(weight.dtype, stored_at(weight, t.col + c, first), weight.row_stride,
         std::min(p.kernels.nr, t.cols - c), depth, t.strips + c * steps);
  }
}

void pack_group(const Tile& t, const Product& p, int64_t group, int64_t rows, int64_t first, int64_t depth,
                int64_t steps) {
  for (int64_t r = 0; r < round_up(rows, p.kernels.mr); ++r) {
    float* to = t.packed + r * kDepth;
    if (r < rows) {
      p.a.pack(t.row + group + r, first, depth, p.kernels.form, to);
    } else {
      std::memset(to, 0, static_cast<std::size_t>(steps) * sizeof(float));
    }
  }
}

// Calls finish(row, col, sums, rows, cols) for each small tile once its sums are complete.
template <typename Finish>
void add_product(const Tile& t, const Product& p, const Finish& finish) {
  const int64_t mr = p.kernels.mr, nr = p.kernels.nr;
  const int64_t per_unit = p.kernels.form == Form::kPairs ? 2 : 1;
  const int64_t block = kDepth * per_unit, group_rows = kGroupRows / mr * mr;
  for (int64_t first = 0; first < p.k; first += block) {
    const int64_t depth = std::min(block, p.k - first), steps = ceil_div(depth, per_unit);
    const bool last = first + depth == p.k;
    pack_strips(t, p, first, depth, steps);
    for (int64_t group = 0; group < t.rows; group += group_rows) {
      const int64_t rows = std::min(group_rows, t.rows - group);
      pack_group(t, p, group, rows, first, depth, steps);
      for (int64_t c = 0; c < t.cols; c += nr) {
        for (int64_t r = 0; r < rows; r += mr) {
          float* sums = t.sums.at(group + r, c);
          p.kernels.micro(t.packed + r * kDepth, t.strips + c * steps, steps, sums, t.sums.row_stride,
                          first > 0 || !p.begins);
          if (last) finish(group + r, c, sums, std::min(mr, rows - r), std::min(nr, t.cols - c));
        }
      }
    }
  }
}

void run_tile(const Tile& t, const GemmKernels& kernels) {
  const Gemm& job = t.job;
  const Product product{kernels, *job.a, job.weight, job.k, true};
  if (!job.hidden) {
    return add_product(t, product, [&](int64_t row, int64_t col, float* sums, int64_t rows, int64_t cols) {
      t.table.epilogue(advanced(job.epilogue, t.row + row, t.col + col), sums, t.sums.row_stride, rows, cols);
    });
  }
  add_product(t, product, [&](int64_t, int64_t col, float* sums, int64_t rows, int64_t cols) {
    if (job.epilogue.scale) {
      apply_scale(t.table, job.epilogue.scale + t.col + col, sums, t.sums.row_stride, rows, cols);
    }
  });
  add_lora(t);
}

class MatrixRows final : public RowSource {
 public:
  MatrixRows(const Tensor& x, const KernelTable& kernels) : x_(x), kernels_(kernels) {}
  void pack(int64_t row, int64_t first, int64_t depth, Form form, void* out) const override {
    const void* in = element(x_, row, first);
    if (form == Form::kF32) return kernels_.convert(x_.dtype, in, DType::kF32, out, depth);
    std::memcpy(out, in, static_cast<std::size_t>(depth) * 2);
    if (depth % 2 != 0) static_cast<BFloat16*>(out)[depth] = {};
  }

 private:
  const Tensor& x_;
  const KernelTable& kernels_;
};

// Floats of the three parts of a worker's scratch.
int64_t strip_floats(const GemmKernels& kernels) { return (kMaxTile + kernels.nr) * kDepth; }
constexpr int64_t kPackedFloats = kGroupRows * kDepth;

}  // namespace

// A LoRA has no share in the scales, and is small: f32, whose small tiles are those of pairs.
void add_lora(const Tile& t) {
  EpilogueArgs epilogue = t.job.epilogue;
  epilogue.scale = nullptr;
  add_product(t, {t.table.gemm, *t.job.hidden, t.job.up, t.job.up.cols(), false},
              [&](int64_t row, int64_t col, float* sums, int64_t rows, int64_t cols) {
                t.table.epilogue(advanced(epilogue, t.row + row, t.col + col), sums, t.sums.row_stride, rows,
                                 cols);
              });
}

std::size_t gemm_scratch_floats(const GemmKernels& kernels) {
  const int64_t sums = (kMaxTile + kernels.mr) * (kMaxTile + kernels.nr);
  return static_cast<std::size_t>(strip_floats(kernels) + kPackedFloats + sums);
}

void gemm(Engine& engine, const GemmKernels& kernels, const Gemm& job) {
  const TileGrid grid = choose_tiles(job.m, job.n, kernels.mr, kernels.nr, engine.threads());
  engine.run(grid.down * grid.across, [&](int64_t task, int worker) {
    const int64_t row = task / grid.across * grid.rows, col = task % grid.across * grid.cols;
    float* strips = engine.scratch(worker);
    float* packed = strips + strip_floats(kernels);
    const int64_t rows = std::min(grid.rows, job.m - row), padded_rows = round_up(rows, kernels.mr);
    run_tile({job,
              engine.kernels(),
              row,
              rows,
              col,
              std::min(grid.cols, job.n - col),
              strips,
              packed,
              {packed + kPackedFloats, kernels.nr, padded_rows}},
             kernels);
  });
}

void linear(Engine& engine, const LinearArgs& args) {
  const int64_t m = args.x.rows(), n = args.weight.shape[0], k = args.x.cols();
  if (m == 0 || n == 0) return;
  const bool int8 = args.x.dtype == DType::kI8, few = m <= kSmallM && !int8;
  engine.reset_shared(3 * Engine::shared_bytes(n) + (few ? small_m_shared_bytes(args) : 0));
  EpilogueArgs epilogue;
  epilogue.activation = args.activation;
  epilogue.scale = engine.column_scales(args.weight);
  epilogue.bias = engine.as_f32(args.bias);
  epilogue.gate = engine.as_f32(args.gate);
  epilogue.dtype = args.out.dtype;
  if (args.residual.present()) {
    epilogue.residual = args.residual.data;
    epilogue.residual_stride = args.residual.row_stride;
  }
  epilogue.out = args.out.data;
  epilogue.out_stride = args.out.row_stride;
  if (few) return small_m_linear(engine, args, epilogue);
  const MatrixRows rows(args.x, engine.kernels()), hidden(args.lora_hidden, engine.kernels());
  Gemm job{.a = &rows, .m = m, .n = n, .k = k, .weight = args.weight, .epilogue = epilogue};
  if (args.lora_up.present()) {
    job.hidden = &hidden;
    job.up = args.lora_up;
  }
  if (int8) return int8_gemm(engine, job, args.x);
  gemm(engine, engine.gemm_kernels(args.x.dtype, args.weight.dtype), job);
}

}  // namespace darkroom::cpu

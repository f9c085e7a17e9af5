// Attention with both products in 8 bits, as AttentionArgs writes its arithmetic down.
//
// K and V are centred, quantised and packed once for all queries, in three runs over the threads: means of the
// columns, packing, products. A task of the last is one head and a block of queries; a group of these at a time
// meets each block of keys, so that its scores stay in L2. Scores become weights in 8 bits in the front of their
// own rows, which then are rows of packed A; their products with V are added up in f32 block by block.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <utility>

#include "backends/cpu/engine.h"
#include "base/half.h"

namespace darkroom::cpu {
namespace {

constexpr int64_t kQueries = 192;      // of a task: 128 columns of results are 96 KiB
constexpr int64_t kGroupQueries = 48;  // scores of a group: 48 KiB
constexpr int64_t kMostCols = 64;      // of a strip
constexpr int64_t kSumCols = 1024;     // of k or v that a task adds up
constexpr int64_t kPackHeads = 4;      // of a task that packs: neighbours in memory
constexpr int64_t kUnit = 4;           // bytes
static_assert(kInt8KeyBlock == kDepth && kMaxInt8HeadDim == kUnit * kDepth);

// Shapes, and what follows from them.
struct Shapes {
  int64_t heads, dim, keys, queries;
  int64_t units;        // of a row of q or k
  int64_t width;        // dim to whole strips
  int64_t blocks;       // of keys
  int64_t padded_keys;  // to whole strips
  int64_t head_bytes;   // of K and V in 8 bits
};

Shapes shapes_of(const AttentionArgs& a) {
  const int64_t dim = a.q.cols() / a.heads, keys = a.k.rows();
  return {a.heads,
          dim,
          keys,
          a.q.rows(),
          ceil_div(dim, kUnit),
          round_up(dim, kMostCols),
          ceil_div(keys, kInt8KeyBlock),
          round_up(keys, kMostCols),
          int8_attention_head_bytes(keys, dim)};
}

// K and V of one head in 8 bits, in AttentionArgs::int8_memory.
class HeadMemory {
 public:
  HeadMemory(const AttentionArgs& args, const Shapes& s, int64_t head) : shapes_(s) {
    keys_ = static_cast<std::byte*>(args.int8_memory.data) + head * s.head_bytes;
    values_ = keys_ + s.padded_keys * s.units * kUnit;
    key_scales = reinterpret_cast<float*>(values_ + s.padded_keys * s.width);
    value_scales_ = key_scales + s.padded_keys;
    key_mean = value_scales_ + 2 * s.blocks * s.width;
    value_mean = key_mean + s.width;
  }
  // Packed B: strips of keys, first a multiple of nr; strips of values, beginning with a block.
  void* keys(int64_t first) const { return keys_ + first * shapes_.units * kUnit; }
  void* values(int64_t block) const { return values_ + block * kInt8KeyBlock * shapes_.width; }
  float* value_scales(int64_t block) const { return value_scales_ + 2 * block * shapes_.width; }
  // What the sums of products with weights less kWeightOffset lack.
  int32_t* value_offsets(int64_t block) const {
    return reinterpret_cast<int32_t*>(value_scales(block) + shapes_.width);
  }
  float *key_scales, *key_mean, *value_mean;

 private:
  const Shapes& shapes_;
  std::byte *keys_, *values_;
  float* value_scales_;
};

// Where things are in a worker's scratch, in floats.
struct Layout {
  int64_t task_queries, group;  // multiples of mr
  int64_t query, scores, tile, result, factor, max, sum, keep, add, query_start, start, total = 0;
  // While keys and values are packed.
  int64_t centred, largest, inverse, rows;
};

Layout layout_for(const Int8Kernels& kernels, int64_t dim, int64_t queries) {
  Layout l{};
  const int64_t limit = kQueries / kernels.mr * kernels.mr, width = round_up(dim, kMostCols);
  l.task_queries = round_up(ceil_div(queries, std::max<int64_t>(1, ceil_div(queries, limit))), kernels.mr);
  l.group = std::min(l.task_queries, kGroupQueries / kernels.mr * kernels.mr);
  const auto take = [&](int64_t floats) {
    const int64_t at = l.total;
    l.total += round_up(floats, 16);
    return at;
  };
  l.centred = take(kInt8KeyBlock * width);
  l.largest = take(width);
  l.inverse = take(width);
  l.rows = take(kernels.nr * round_up(dim, kUnit) / kUnit);
  const int64_t packing = std::exchange(l.total, 0);
  l.query = take(l.task_queries * kDepth);
  l.scores = take(l.group * kDepth);
  l.tile = take(kernels.mr * kernels.nr);
  l.result = take(l.task_queries * width);
  for (int64_t* of_task : {&l.factor, &l.max, &l.sum, &l.query_start}) *of_task = take(l.task_queries);
  for (int64_t* of_group : {&l.keep, &l.add, &l.start}) *of_group = take(l.group);
  l.total = std::max(l.total, packing);
  return l;
}

// The lesser of what was seen and `row`.
void keep_first(std::atomic<int64_t>& first, int64_t row) {
  for (int64_t seen = first; row < seen && !first.compare_exchange_weak(seen, row);) {
  }
}

// One call: what its tasks share.
struct Call {
  const AttentionArgs& args;
  const KernelTable& table;
  const Int8Kernels& kernels;
  const Shapes& shapes;
  const Layout& layout;
};

// Where the columns of k or v are added up: f64, those of each block of keys by themselves.
double* column_sums(const Call& c, bool values, int64_t block) {
  const Shapes& s = c.shapes;
  const int64_t width = round_up(s.heads * s.dim, kMostCols);
  std::byte* behind = static_cast<std::byte*>(c.args.int8_memory.data) + s.heads * s.head_bytes;
  return reinterpret_cast<double*>(behind) + ((values ? s.blocks : 0) + block) * width;
}

// Columns [col, col + count) of a block; false if a number does not fit.
bool sum_block(const Call& c, bool values, int64_t block, int64_t col, int64_t count) {
  const Tensor& x = values ? c.args.v : c.args.k;
  const int64_t first = block * kInt8KeyBlock, keys = std::min(kInt8KeyBlock, c.shapes.keys - first);
  double* sums = column_sums(c, values, block) + col;
  std::fill_n(sums, round_up(count, kMostCols), 0.0);
  return c.table.sum_columns(x.dtype, element(x, first, col), x.row_stride, keys, count, sums);
}

void take_mean(const Call& c, bool values, int64_t head, float* mean) {
  const Shapes& s = c.shapes;
  std::fill_n(mean, s.width, 0.0f);
  for (int64_t i = 0; i < s.dim; ++i) {
    double sum = 0;
    for (int64_t b = 0; b < s.blocks; ++b) sum += column_sums(c, values, b)[head * s.dim + i];
    mean[i] = static_cast<float>(sum / static_cast<double>(s.keys));
  }
}

[[noreturn]] void fail_for(const char* what, const Tensor& x) {
  const auto bad = [&](int64_t row) {
    for (int64_t c = 0; c < x.cols(); ++c) {
      const float value = x.dtype == DType::kF32 ? x.row<float>(row)[c] : to_float(x.row<BFloat16>(row)[c]);
      if (!(std::fabs(value) <= kMostInt8Attended)) return true;
    }
    return false;
  };
  int64_t row = 0;
  while (row + 1 < x.rows() && !bad(row)) ++row;
  fail_attended(what, x, row);
}

// Whole rows, as far as there are tasks enough: memory is then read in its order.
void take_means(Engine& engine, const Call& c) {
  const Shapes& s = c.shapes;
  const int64_t cols = s.heads * s.dim, parts = ceil_div(cols, kSumCols);
  std::atomic<bool> keys_fit = true, values_fit = true;
  engine.run(2 * s.blocks * parts, [&](int64_t task, int) {
    const int64_t col = task % parts * kSumCols;
    const bool values = task / parts % 2 == 1;
    if (sum_block(c, values, task / parts / 2, col, std::min(kSumCols, cols - col))) return;
    (values ? values_fit : keys_fit) = false;
  });
  if (!keys_fit) fail_for("k", c.args.k);
  if (!values_fit) fail_for("v", c.args.v);
  engine.run(s.heads, [&](int64_t head, int) {
    const HeadMemory memory(c.args, s, head);
    take_mean(c, false, head, memory.key_mean);
    take_mean(c, true, head, memory.value_mean);
  });
}

// Keys [first, first + count), a block.
void pack_keys(const Call& c, int64_t head, int64_t first, int64_t count, float* scratch) {
  const Shapes& s = c.shapes;
  const HeadMemory memory(c.args, s, head);
  int8_t* rows = reinterpret_cast<int8_t*>(scratch + c.layout.rows);
  float* centred = scratch + c.layout.centred;
  for (int64_t strip = first; strip < first + count; strip += c.kernels.nr) {
    const int64_t n = std::min(c.kernels.nr, first + count - strip);
    c.table.centre_rows(c.args.k.dtype, element(c.args.k, strip, head * s.dim), c.args.k.row_stride, n, s.dim,
                        memory.key_mean, centred, s.width, nullptr);
    for (int64_t r = 0; r < n; ++r) {
      c.table.quantize_row(DType::kF32, centred + r * s.width, nullptr, s.dim, s.dim, kInt8Levels,
                           rows + r * s.dim, memory.key_scales + strip + r);
    }
    c.kernels.pack_b(rows, s.dim, n, s.dim, memory.keys(strip));
  }
}

void pack_values(const Call& c, int64_t head, int64_t first, int64_t count, float* scratch) {
  const Shapes& s = c.shapes;
  const HeadMemory memory(c.args, s, head);
  float *centred = scratch + c.layout.centred, *largest = scratch + c.layout.largest,
        *inverse = scratch + c.layout.inverse;
  const int64_t block = first / kInt8KeyBlock;
  float* scales = memory.value_scales(block);
  int32_t* offsets = memory.value_offsets(block);
  std::fill_n(largest, s.width, 0.0f);
  for (int64_t r = 0; r < count; ++r) std::fill_n(centred + r * s.width + s.dim, s.width - s.dim, 0.0f);
  c.table.centre_rows(c.args.v.dtype, element(c.args.v, first, head * s.dim), c.args.v.row_stride, count,
                      s.dim, memory.value_mean, centred, s.width, largest);
  for (int64_t i = 0; i < s.width; ++i) {
    scales[i] = largest[i] < kLeastQuantised ? 1.0f : largest[i] / 127.0f;
    inverse[i] = 1.0f / scales[i];
    offsets[i] = 0;
  }
  const uint32_t flip = c.kernels.sum ? 0x80808080u : 0;
  c.table.pack_values(centred, s.width, count, s.width, inverse, flip, c.kernels.nr, memory.values(block),
                      offsets);
  for (int64_t i = 0; i < s.width; ++i) offsets[i] *= kWeightOffset;
}

// Block `first` of the keys of some heads.
void pack_heads(const Call& c, int64_t head, int64_t heads, int64_t first, float* scratch) {
  const int64_t count = std::min(kInt8KeyBlock, c.shapes.keys - first);
  for (int64_t h = head; h < head + heads; ++h) pack_keys(c, h, first, count, scratch);
  for (int64_t h = head; h < head + heads; ++h) pack_values(c, h, first, count, scratch);
}

// One head and queries [first, first + queries).
struct Task {
  const Call& call;
  const HeadMemory& memory;
  int64_t head, first, queries;
  float* scratch;

  int8_t* query(int64_t row) const {
    return reinterpret_cast<int8_t*>(scratch + call.layout.query + row * kDepth);
  }
  int32_t* scores(int64_t row) const { return ints(call.layout.scores + row * kDepth); }
  float* result(int64_t row) const { return scratch + call.layout.result + row * call.shapes.width; }
  int32_t* ints(int64_t at) const { return reinterpret_cast<int32_t*>(scratch + at); }
};

// Returns the first row that is not finite, or a negative number.
int64_t quantize_queries(const Task& t) {
  const Call& c = t.call;
  const int64_t dim = c.shapes.dim, bytes = c.shapes.units * kUnit;
  for (int64_t r = 0; r < round_up(t.queries, c.kernels.mr); ++r) {
    int8_t* row = t.query(r);
    std::memset(row + dim, 0, static_cast<std::size_t>(bytes - dim));
    float scale = 1;
    if (r >= t.queries) {
      std::memset(row, 0, static_cast<std::size_t>(dim));
    } else if (!c.table.quantize_row(c.args.q.dtype, element(c.args.q, t.first + r, t.head * dim), nullptr,
                                     dim, dim, kInt8Levels, row, &scale)) {
      return t.first + r;
    }
    t.scratch[c.layout.factor + r] = scale * c.args.scale * kLog2E;
    t.ints(c.layout.query_start)[r] = c.kernels.sum ? -c.kernels.offset * c.kernels.sum(row, bytes) : 0;
  }
  return -1;
}

void multiply_keys(const Task& t, int64_t row, int64_t rows, int64_t first, int64_t keys) {
  const Call& c = t.call;
  for (int64_t col = 0; col < keys; col += c.kernels.nr) {
    for (int64_t r = 0; r < rows; r += c.kernels.mr) {
      c.kernels.micro(t.query(row + r), t.memory.keys(first + col), c.shapes.units,
                      t.ints(c.layout.query_start) + row + r, t.scores(r) + col, kDepth, false);
    }
  }
}

void multiply_values(const Task& t, int64_t row, int64_t rows, int64_t first, int64_t keys) {
  const Call& c = t.call;
  const int64_t block = first / kInt8KeyBlock, units = c.table.weight_units(keys), nr = c.kernels.nr;
  const std::byte* values = static_cast<const std::byte*>(t.memory.values(block));
  Int8ValuesArgs add{.products = t.ints(c.layout.tile), .stride = nr, .rows = c.kernels.mr, .cols = nr};
  add.result_stride = c.shapes.width;
  for (int64_t col = 0; col < c.shapes.dim; col += nr) {
    add.offsets = t.memory.value_offsets(block) + col;
    add.scale = t.memory.value_scales(block) + col;
    for (int64_t r = 0; r < rows; r += c.kernels.mr) {
      c.kernels.micro(t.scores(r), values + col * units * kUnit, units, t.ints(c.layout.start) + r,
                      t.ints(c.layout.tile), nr, false);
      add.keep = t.scratch + c.layout.keep + r;
      add.add = t.scratch + c.layout.add + r;
      add.result = t.result(row + r) + col;
      c.table.add_int8_values(add);
    }
  }
}

// All queries against one block of keys, a group at a time.
void multiply_block(const Task& t, int64_t first, int64_t keys) {
  const Call& c = t.call;
  const Layout& l = c.layout;
  for (int64_t row = 0; row < t.queries; row += l.group) {
    const int64_t rows = std::min(l.group, round_up(t.queries - row, c.kernels.mr));
    multiply_keys(t, row, rows, first, keys);
    c.table.int8_softmax_block({.scores = t.scores(0),
                                .rows = rows,
                                .cols = keys,
                                .first = first == 0,
                                .key_scale = t.memory.key_scales + first,
                                .factor = t.scratch + l.factor + row,
                                .max = t.scratch + l.max + row,
                                .sum = t.scratch + l.sum + row,
                                .keep = t.scratch + l.keep,
                                .add = t.scratch + l.add,
                                .start = t.ints(l.start)});
    multiply_values(t, row, rows, first, keys);
  }
}

void run_task(const Task& t) {
  const Call& c = t.call;
  const Layout& l = c.layout;
  const int64_t rows = round_up(t.queries, c.kernels.mr);
  std::fill_n(t.result(0), rows * c.shapes.width, 0.0f);
  std::fill_n(t.scratch + l.sum, rows, 0.0f);
  for (int64_t first = 0; first < c.shapes.keys; first += kInt8KeyBlock) {
    multiply_block(t, first, std::min(kInt8KeyBlock, c.shapes.keys - first));
  }
  for (int64_t r = 0; r < t.queries; ++r) {
    c.table.scale_add_store(c.args.out.dtype, t.result(r), 1.0f / t.scratch[l.sum + r], t.memory.value_mean,
                            c.shapes.dim, mutable_element(c.args.out, t.first + r, t.head * c.shapes.dim));
  }
}

void multiply(Engine& engine, const Call& c) {
  const int64_t each = c.layout.task_queries, blocks = ceil_div(c.shapes.queries, each);
  std::atomic<int64_t> bad_row = c.shapes.queries;
  engine.run(c.shapes.heads * blocks, [&](int64_t task, int worker) {
    const int64_t head = task / blocks, first = task % blocks * each;
    const HeadMemory memory(c.args, c.shapes, head);
    const Task t{c, memory, head, first, std::min(each, c.shapes.queries - first), engine.scratch(worker)};
    const int64_t bad = quantize_queries(t);
    bad < 0 ? run_task(t) : keep_first(bad_row, bad);
  });
  if (bad_row < c.shapes.queries) fail_attended("q", c.args.q, bad_row);
}

}  // namespace

std::size_t int8_attention_scratch_floats(const Int8Kernels& kernels, int64_t head_dim) {
  return static_cast<std::size_t>(layout_for(kernels, head_dim, kQueries).total);
}

void int8_attention(Engine& engine, const AttentionArgs& args) {
  const Shapes shapes = shapes_of(args);
  if (shapes.queries == 0 || shapes.dim == 0) return;
  const Int8Kernels& kernels = engine.attention_int8_kernels();
  const Layout layout = layout_for(kernels, shapes.dim, shapes.queries);
  engine.reserve_scratch(static_cast<std::size_t>(layout.total));
  const Call call{args, engine.kernels(), kernels, shapes, layout};
  take_means(engine, call);
  const int64_t parts = ceil_div(shapes.heads, kPackHeads);
  engine.run(shapes.blocks * parts, [&](int64_t task, int worker) {
    const int64_t head = task % parts * kPackHeads;
    pack_heads(call, head, std::min(kPackHeads, shapes.heads - head), task / parts * kInt8KeyBlock,
               engine.scratch(worker));
  });
  multiply(engine, call);
}

}  // namespace darkroom::cpu

// Attention by blocks of keys with a running softmax (arXiv 1805.02867, 2205.14135), on the kernels of the
// matmul.
//
// A task is one head and one block of queries. Each block of kDepth keys is packed by every task that needs
// it, K as columns and V as rows, so that tasks stay independent; it then serves all queries of the task, a
// group at a time, so that a group's scores stay in L2 beside it. Scores live in the layout of packed A, so
// the probabilities are multiplied by V where they stand.
#include <algorithm>
#include <cstring>
#include <limits>

#include "backends/cpu/engine.h"
#include "ops/ops.h"

namespace darkroom::cpu {
namespace {

constexpr int64_t kQueries = 384;     // of a task: packing is then about 3 % of the products it serves
constexpr int64_t kMinQueries = 192;  // where heads are few
constexpr int64_t kManyTasks = 32;
constexpr int64_t kGroupQueries = 96;  // scores of a group: 96 KiB
constexpr int64_t kKeys = kDepth;
static_assert(kKeys == ops::AttentionOptions::kKeyBlock);

// Depends on the shapes only, as the end of a causal task is that of its last query.
int64_t queries_per_task(const GemmKernels& kernels, int64_t heads, int64_t rows) {
  const bool few = heads * ceil_div(rows, kQueries) < kManyTasks;
  const int64_t limit = (few ? kMinQueries : kQueries) / kernels.mr * kernels.mr;
  return round_up(ceil_div(rows, ceil_div(rows, limit)), kernels.mr);
}

// Where things are in a worker's scratch, in floats.
struct Layout {
  int64_t queries;       // per task, a multiple of mr
  int64_t group;         // queries whose scores exist at a time, a multiple of mr
  int64_t depth_blocks;  // of q and k, kDepth each
  int64_t keys_padded;   // to whole strips
  int64_t width_padded;  // head_dim to whole strips
  int64_t query, keys, values, scores, result, stats, total;
};

Layout layout_for(const GemmKernels& kernels, int64_t head_dim, int64_t queries) {
  Layout l{};
  l.queries = queries;
  l.group = std::min(queries, kGroupQueries / kernels.mr * kernels.mr);
  l.depth_blocks = ceil_div(head_dim, kDepth);
  l.keys_padded = round_up(kKeys, kernels.nr);
  l.width_padded = round_up(head_dim, kernels.nr);
  const auto take = [&](int64_t floats) {
    const int64_t at = l.total;
    l.total += round_up(floats, 16);
    return at;
  };
  l.query = take(l.depth_blocks * l.queries * kDepth);
  l.keys = take(l.keys_padded * head_dim);
  l.values = take(kKeys * l.width_padded);
  l.scores = take(l.group * kDepth);
  l.result = take(l.queries * l.width_padded);
  l.stats = take(3 * l.queries);
  return l;
}

struct HeadBlock {
  const AttentionArgs& args;
  const GemmKernels& kernels;
  const KernelTable& table;
  const Layout& layout;
  int64_t head, dim, first_query, queries, rows;  // rows: queries rounded up to whole tiles
  float* scratch;

  float* query(int64_t depth_block, int64_t row) const {
    return scratch + layout.query + (depth_block * layout.queries + row) * kDepth;
  }
  float* key_strip(int64_t depth_block, int64_t key, int64_t depth) const {
    return scratch + layout.keys + depth_block * kDepth * layout.keys_padded + key * depth;
  }
  float* scores(int64_t row) const { return scratch + layout.scores + row * kDepth; }
  float* result(int64_t row) const { return scratch + layout.result + row * layout.width_padded; }
};

void pack_queries(const HeadBlock& b) {
  for (int64_t block = 0; block < b.layout.depth_blocks; ++block) {
    const int64_t depth = std::min(kDepth, b.dim - block * kDepth);
    for (int64_t r = 0; r < b.rows; ++r) {
      if (r < b.queries) {
        const void* in = element(b.args.q, b.first_query + r, b.head * b.dim + block * kDepth);
        b.table.convert(b.args.q.dtype, in, DType::kF32, b.query(block, r), depth);
      } else {
        std::memset(b.query(block, r), 0, static_cast<std::size_t>(depth) * sizeof(float));
      }
    }
  }
}

void pack_keys(const HeadBlock& b, int64_t first, int64_t keys) {
  const int64_t nr = b.kernels.nr;
  for (int64_t block = 0; block < b.layout.depth_blocks; ++block) {
    const int64_t depth = std::min(kDepth, b.dim - block * kDepth);
    for (int64_t c = 0; c < keys; c += nr) {
      b.kernels.pack_b(b.args.k.dtype, element(b.args.k, first + c, b.head * b.dim + block * kDepth),
                       b.args.k.row_stride, std::min(nr, keys - c), depth, b.key_strip(block, c, depth));
    }
  }
}

// scores = q·kᵀ for the queries from `row` on and the packed keys.
void multiply_keys(const HeadBlock& b, int64_t row, int64_t rows, int64_t keys) {
  for (int64_t block = 0; block < b.layout.depth_blocks; ++block) {
    const int64_t depth = std::min(kDepth, b.dim - block * kDepth);
    for (int64_t c = 0; c < keys; c += b.kernels.nr) {
      for (int64_t r = 0; r < rows; r += b.kernels.mr) {
        b.kernels.micro(b.query(block, row + r), b.key_strip(block, c, depth), depth, b.scores(r) + c, kDepth,
                        block > 0);
      }
    }
  }
}

// result (+)= scores·v for the queries from `row` on.
void multiply_values(const HeadBlock& b, int64_t row, int64_t rows, int64_t keys, bool accumulate) {
  const float* values = b.scratch + b.layout.values;
  for (int64_t c = 0; c < b.dim; c += b.kernels.nr) {
    for (int64_t r = 0; r < rows; r += b.kernels.mr) {
      b.kernels.micro(b.scores(r), values + c * keys, keys, b.result(row + r) + c, b.layout.width_padded,
                      accumulate);
    }
  }
}

// All queries against the packed keys [first, first + keys). `softmax` is that of the task's first row.
void multiply_block(const HeadBlock& b, const SoftmaxArgs& softmax, int64_t first, int64_t keys) {
  const bool goes_on = first > 0 || !b.args.first;
  for (int64_t row = 0; row < b.queries; row += b.layout.group) {
    const int64_t queries = std::min(b.layout.group, b.queries - row);
    const int64_t rows = std::min(b.layout.group, b.rows - row);
    SoftmaxArgs group = softmax;
    group.rows = queries;
    group.cols = keys;
    if (group.bias) group.bias += first - row;
    group.causal_limit += row - first;
    group.max += row;
    group.sum += row;
    group.correction += row;
    multiply_keys(b, row, rows, keys);
    b.table.softmax_block(group);
    if (goes_on) {
      b.table.scale_rows(b.result(row), b.layout.width_padded, queries, b.layout.width_padded,
                         group.correction);
    }
    multiply_values(b, row, rows, keys, goes_on);
  }
}

// What the keys of earlier calls came to, and what is handed to the next call.
void load_state(const HeadBlock& b, const SoftmaxArgs& softmax) {
  for (int64_t r = 0; r < b.queries; ++r) {
    const float* from = b.args.state.row<float>(b.first_query + r) + b.head * (b.dim + 2);
    std::copy_n(from, b.dim, b.result(r));
    std::fill(b.result(r) + b.dim, b.result(r) + b.layout.width_padded, 0.0f);
    softmax.max[r] = from[b.dim];
    softmax.sum[r] = from[b.dim + 1];
  }
}

void store_state(const HeadBlock& b, const SoftmaxArgs& softmax) {
  for (int64_t r = 0; r < b.queries; ++r) {
    float* to = b.args.state.row<float>(b.first_query + r) + b.head * (b.dim + 2);
    std::copy_n(b.result(r), b.dim, to);
    to[b.dim] = softmax.max[r];
    to[b.dim + 1] = softmax.sum[r];
  }
}

void run_block(const HeadBlock& b) {
  const AttentionArgs& a = b.args;
  const int64_t lq = a.q.rows(), lk = a.k.rows();
  SoftmaxArgs softmax;
  softmax.scores = b.scores(0);
  softmax.scale = a.scale;
  softmax.causal = a.causal;
  softmax.causal_limit = b.first_query + 1;
  softmax.max = b.scratch + b.layout.stats;
  softmax.sum = softmax.max + b.layout.queries;
  softmax.correction = softmax.sum + b.layout.queries;
  if (a.relative_bias.present()) softmax.bias = a.relative_bias.row<float>(b.head) - b.first_query + lq - 1;
  std::fill_n(softmax.max, b.rows, -std::numeric_limits<float>::infinity());
  std::fill_n(softmax.sum, b.rows, 0.0f);
  if (!a.first) load_state(b, softmax);
  pack_queries(b);
  const int64_t end = a.causal ? std::min(lk, b.first_query + b.queries) : lk;
  for (int64_t first = 0; first < end; first += kKeys) {
    const int64_t keys = std::min(kKeys, end - first);
    pack_keys(b, first, keys);
    b.table.pack_rows(a.v.dtype, element(a.v, first, b.head * b.dim), a.v.row_stride, keys, b.dim,
                      b.scratch + b.layout.values);
    multiply_block(b, softmax, first, keys);
  }
  if (!a.last) return store_state(b, softmax);
  for (int64_t r = 0; r < b.queries; ++r) {
    b.table.scale_store(a.out.dtype, b.result(r), 1.0f / softmax.sum[r], b.dim,
                        mutable_element(a.out, b.first_query + r, b.head * b.dim));
  }
}

}  // namespace

std::size_t attention_scratch_floats(const GemmKernels& kernels, int64_t head_dim) {
  return static_cast<std::size_t>(layout_for(kernels, head_dim, kQueries / kernels.mr * kernels.mr).total);
}

void attention(Engine& engine, const AttentionArgs& args) {
  const int64_t lq = args.q.rows(), dim = args.q.cols() / args.heads;
  if (lq == 0 || dim == 0) return;
  const GemmKernels& kernels = engine.kernels().gemm;
  const Layout layout = layout_for(kernels, dim, queries_per_task(kernels, args.heads, lq));
  engine.reserve_scratch(static_cast<std::size_t>(layout.total));
  const int64_t blocks = ceil_div(lq, layout.queries);
  engine.run(args.heads * blocks, [&](int64_t task, int worker) {
    const int64_t first = task % blocks * layout.queries, queries = std::min(layout.queries, lq - first);
    run_block({args, kernels, engine.kernels(), layout, task / blocks, dim, first, queries,
               round_up(queries, kernels.mr), engine.scratch(worker)});
  });
}

}  // namespace darkroom::cpu

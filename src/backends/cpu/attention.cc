// Attention by blocks of keys with a running softmax (arXiv 1805.02867, 2205.14135), on the kernels of the
// matmul.
//
// A task is one head and one block of queries. Each block of kDepth keys is packed by every task that needs
// it, K as columns and V as rows: with ~192 queries per task that is 2 % of the products it serves, and tasks
// stay independent. Scores live in the layout of packed A, so the probabilities are multiplied by V where
// they stand.
#include <algorithm>
#include <cstring>
#include <limits>

#include "backends/cpu/engine.h"

namespace darkroom::cpu {
namespace {

constexpr int64_t kQueries = 192;
constexpr int64_t kKeys = kDepth;

// Where things are in a worker's scratch, in floats.
struct Layout {
  int64_t queries;       // per task, a multiple of mr
  int64_t depth_blocks;  // of q and k, kDepth each
  int64_t keys_padded;   // to whole strips
  int64_t width_padded;  // head_dim to whole strips
  int64_t query, keys, values, scores, result, stats, total;
};

Layout layout_for(const GemmKernels& kernels, int64_t head_dim) {
  Layout l{};
  l.queries = kQueries / kernels.mr * kernels.mr;
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
  l.scores = take(l.queries * kDepth);
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

// scores[rows][kDepth] = q·kᵀ for keys [first, first + keys).
void multiply_keys(const HeadBlock& b, int64_t first, int64_t keys) {
  const int64_t mr = b.kernels.mr, nr = b.kernels.nr;
  for (int64_t block = 0; block < b.layout.depth_blocks; ++block) {
    const int64_t depth = std::min(kDepth, b.dim - block * kDepth);
    for (int64_t c = 0; c < keys; c += nr) {
      float* strip = b.scratch + b.layout.keys + block * kDepth * b.layout.keys_padded + c * depth;
      b.kernels.pack_b(b.args.k.dtype, element(b.args.k, first + c, b.head * b.dim + block * kDepth),
                       b.args.k.row_stride, std::min(nr, keys - c), depth, strip);
      for (int64_t r = 0; r < b.rows; r += mr) {
        b.kernels.micro(b.query(block, r), strip, depth, b.scores(r) + c, kDepth, block > 0);
      }
    }
  }
}

// result (+)= scores·v for keys [first, first + keys).
void multiply_values(const HeadBlock& b, int64_t first, int64_t keys) {
  const int64_t mr = b.kernels.mr, nr = b.kernels.nr;
  float* values = b.scratch + b.layout.values;
  b.table.pack_rows(b.args.v.dtype, element(b.args.v, first, b.head * b.dim), b.args.v.row_stride, keys,
                    b.dim, values);
  for (int64_t c = 0; c < b.dim; c += nr) {
    for (int64_t r = 0; r < b.rows; r += mr) {
      b.kernels.micro(b.scores(r), values + c * keys, keys, b.result(r) + c, b.layout.width_padded,
                      first > 0);
    }
  }
}

void run_block(const HeadBlock& b) {
  const AttentionArgs& a = b.args;
  const int64_t lq = a.q.rows(), lk = a.k.rows();
  SoftmaxArgs softmax;
  softmax.scores = b.scores(0);
  softmax.rows = b.queries;
  softmax.scale = a.scale;
  softmax.causal = a.causal;
  softmax.max = b.scratch + b.layout.stats;
  softmax.sum = softmax.max + b.layout.queries;
  softmax.correction = softmax.sum + b.layout.queries;
  std::fill_n(softmax.max, b.rows, -std::numeric_limits<float>::infinity());
  std::fill_n(softmax.sum, b.rows, 0.0f);
  pack_queries(b);
  const int64_t end = a.causal ? std::min(lk, b.first_query + b.queries) : lk;
  for (int64_t first = 0; first < end; first += kKeys) {
    const int64_t keys = std::min(kKeys, end - first);
    multiply_keys(b, first, keys);
    softmax.cols = keys;
    softmax.causal_limit = b.first_query - first + 1;
    if (a.relative_bias.present()) {
      softmax.bias = a.relative_bias.row<float>(b.head) + first - b.first_query + lq - 1;
    }
    b.table.softmax_block(softmax);
    if (first > 0) {
      b.table.scale_rows(b.result(0), b.layout.width_padded, b.queries, b.layout.width_padded,
                         softmax.correction);
    }
    multiply_values(b, first, keys);
  }
  for (int64_t r = 0; r < b.queries; ++r) {
    b.table.scale_store(a.out.dtype, b.result(r), 1.0f / softmax.sum[r], b.dim,
                        mutable_element(a.out, b.first_query + r, b.head * b.dim));
  }
}

}  // namespace

std::size_t attention_scratch_floats(const GemmKernels& kernels, int64_t head_dim) {
  return static_cast<std::size_t>(layout_for(kernels, head_dim).total);
}

void attention(Engine& engine, const AttentionArgs& args) {
  const int64_t lq = args.q.rows(), dim = args.q.cols() / args.heads;
  if (lq == 0 || dim == 0) return;
  const GemmKernels& kernels = engine.kernels().gemm;
  const Layout layout = layout_for(kernels, dim);
  engine.reserve_scratch(static_cast<std::size_t>(layout.total));
  const int64_t blocks = ceil_div(lq, layout.queries);
  engine.run(args.heads * blocks, [&](int64_t task, int worker) {
    const int64_t first = task % blocks * layout.queries, queries = std::min(layout.queries, lq - first);
    run_block({args, kernels, engine.kernels(), layout, task / blocks, dim, first, queries,
               round_up(queries, kernels.mr), engine.scratch(worker)});
  });
}

}  // namespace darkroom::cpu

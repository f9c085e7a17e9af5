// linear() for a few rows, where reading the weights once is all the time there is (modulation, embedding of
// time).
#include <algorithm>

#include "backends/cpu/engine.h"

namespace darkroom::cpu {
namespace {

constexpr int64_t kTaskRows = 64;  // rows of W per task
constexpr int64_t kBlockK = 4096;  // x of a block is at most 136 KiB

// One of the two products: x widened, [m][stride].
struct Product {
  Tensor weight;
  const float* x;
  int64_t m, k, stride;
};

// In place, from the last run to the first. Codes are multiplied where they stand in four bytes, but for the
// last (block_kernels.cc); NF4 and FP4 have none.
void to_runs(DType weight, float* x, int64_t count) {
  const bool codes = weight != DType::kNF4 && weight != DType::kFP4;
  const float share[4] = {1, codes ? 0x1p-8f : 1, codes ? 0x1p-16f : 1, 1};
  for (int64_t first = count - kRun; first >= 0; first -= kRun) {
    float run[kRun], sum = 0;
    std::copy_n(x + first, kRun, run);
    float* out = x + run_floats(first);
    for (int64_t i = 0; i < kRun; ++i) {
      sum += run[i];
      out[i] = run[i] * share[i % 4];
    }
    out[kRun] = sum;
  }
}

// Once for all rows of the weight, in shared memory.
Product widened(Engine& engine, const Tensor& x, const Tensor& weight) {
  const bool blocks = is_block(weight.dtype);
  const int64_t m = x.rows(), k = x.cols(), stride = blocks ? run_floats(k) : k;
  float* wide = static_cast<float*>(engine.take_shared(Engine::shared_bytes(m * stride)));
  for (int64_t i = 0; i < m; ++i) {
    engine.kernels().convert(x.dtype, element(x, i, 0), DType::kF32, wide + i * stride, k);
    if (blocks) to_runs(weight.dtype, wide + i * stride, k);
  }
  return {weight, wide, m, k, stride};
}

// sums[m][kTaskRows] (+)= rows [row, row + rows) of W times x.
void add_product(const KernelTable& table, const Product& p, int64_t row, int64_t rows, float* sums,
                 bool begins) {
  const bool blocks = is_block(p.weight.dtype);
  const Dot dot = blocks ? table.dot_blocks : table.dot;
  for (int64_t first = 0; first < p.k; first += kBlockK) {
    dot(p.weight.dtype, stored_at(p.weight, row, first), p.weight.row_stride, rows,
        p.x + (blocks ? run_floats(first) : first), p.stride, p.m, std::min(kBlockK, p.k - first), sums,
        kTaskRows, first > 0 || !begins);
  }
}

}  // namespace

std::size_t small_m_scratch_floats() { return static_cast<std::size_t>(kSmallM * kTaskRows); }

std::size_t small_m_shared_bytes(const LinearArgs& args) {
  const auto floats = [](const Tensor& x) { return x.rows() * (x.cols() + x.cols() / kRun); };
  return Engine::shared_bytes(floats(args.x)) +
         (args.lora_up.present() ? Engine::shared_bytes(floats(args.lora_hidden)) : 0);
}

void small_m_linear(Engine& engine, const LinearArgs& args, const EpilogueArgs& given) {
  const KernelTable& table = engine.kernels();
  const int64_t m = args.x.rows(), n = args.weight.shape[0];
  const bool has_lora = args.lora_up.present();
  EpilogueArgs epilogue = given;
  if (has_lora) epilogue.scale = nullptr;  // which the LoRA has no share in
  const Product product = widened(engine, args.x, args.weight);
  const Product lora = has_lora ? widened(engine, args.lora_hidden, args.lora_up) : Product{};
  engine.run(ceil_div(n, kTaskRows), [&](int64_t task, int worker) {
    const int64_t row = task * kTaskRows, rows = std::min(kTaskRows, n - row);
    float* sums = engine.scratch(worker);
    add_product(table, product, row, rows, sums, true);
    if (has_lora) {
      if (given.scale) apply_scale(table, given.scale + row, sums, kTaskRows, m, rows);
      add_product(table, lora, row, rows, sums, false);
    }
    table.epilogue(advanced(epilogue, 0, row), sums, kTaskRows, m, rows);
  });
}

}  // namespace darkroom::cpu

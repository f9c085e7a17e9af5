// linear() for a few rows, where reading the weights once is all the time there is (modulation, embedding of
// time).
#include <algorithm>

#include "backends/cpu/engine.h"

namespace darkroom::cpu {
namespace {

constexpr int64_t kTaskRows = 64;  // rows of W per task
constexpr int64_t kBlockK = 4096;  // x widened to f32: at most 128 KiB

}  // namespace

std::size_t small_m_scratch_floats() { return static_cast<std::size_t>(kSmallM * (kBlockK + kTaskRows)); }

void small_m_linear(Engine& engine, const LinearArgs& args, const EpilogueArgs& given) {
  const KernelTable& table = engine.kernels();
  const int64_t m = args.x.rows(), n = args.weight.shape[0];
  EpilogueArgs epilogue = given;
  if (args.lora_up.present()) epilogue.scale = nullptr;  // which the LoRA has no share in
  engine.run(ceil_div(n, kTaskRows), [&](int64_t task, int worker) {
    const int64_t row = task * kTaskRows, rows = std::min(kTaskRows, n - row);
    float* wide = engine.scratch(worker);
    float* sums = wide + kSmallM * kBlockK;
    const auto add_product = [&](const Tensor& x, const Tensor& weight, bool begins) {
      const Dot dot = is_block(weight.dtype) ? table.dot_blocks : table.dot;
      for (int64_t first = 0; first < x.cols(); first += kBlockK) {
        const int64_t depth = std::min(kBlockK, x.cols() - first);
        for (int64_t i = 0; i < m; ++i) {
          table.convert(x.dtype, element(x, i, first), DType::kF32, wide + i * kBlockK, depth);
        }
        dot(weight.dtype, stored_at(weight, row, first), weight.row_stride, rows, wide, kBlockK, m, depth,
            sums, kTaskRows, first > 0 || !begins);
      }
    };
    add_product(args.x, args.weight, true);
    if (args.lora_up.present()) {
      if (given.scale) apply_scale(table, given.scale + row, sums, kTaskRows, m, rows);
      add_product(args.lora_hidden, args.lora_up, false);
    }
    table.epilogue(advanced(epilogue, 0, row), sums, kTaskRows, m, rows);
  });
}

}  // namespace darkroom::cpu

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

void small_m_linear(Engine& engine, const LinearArgs& args, const EpilogueArgs& epilogue) {
  const KernelTable& table = engine.kernels();
  const int64_t m = args.x.rows(), n = args.weight.shape[0], k = args.x.cols();
  const Dot dot = is_block(args.weight.dtype) ? table.dot_blocks : table.dot;
  engine.run(ceil_div(n, kTaskRows), [&](int64_t task, int worker) {
    const int64_t row = task * kTaskRows, rows = std::min(kTaskRows, n - row);
    float* x = engine.scratch(worker);
    float* sums = x + kSmallM * kBlockK;
    for (int64_t first = 0; first < k; first += kBlockK) {
      const int64_t depth = std::min(kBlockK, k - first);
      for (int64_t i = 0; i < m; ++i) {
        table.convert(args.x.dtype, element(args.x, i, first), DType::kF32, x + i * kBlockK, depth);
      }
      dot(args.weight.dtype, stored_at(args.weight, row, first), args.weight.row_stride, rows, x, kBlockK, m,
          depth, sums, kTaskRows, first > 0);
    }
    table.epilogue(advanced(epilogue, 0, row), sums, kTaskRows, m, rows);
  });
}

}  // namespace darkroom::cpu

#include "weights/check_finite.h"

#include <algorithm>

#include "weights/finite.h"
#include "weights/quantize.h"
#include "weights/scales.h"

namespace darkroom {
namespace {

constexpr int64_t kPieceElements = 1 << 20;

}  // namespace

void check_finite(WeightSource& source, const Param& param) {
  const Tensor stored = source.describe(param);
  const std::vector<float> scales = source.read_scales(param);
  const int64_t all = param.shape[0], cols = param.cols();
  const int64_t step = std::min(all, std::max<int64_t>(1, kPieceElements / std::max<int64_t>(cols, 1)));
  Buffer bytes(std::max<std::size_t>(1, row_bytes(stored.dtype, step * cols)));
  std::vector<float> wide(static_cast<std::size_t>(step * cols));
  for (int64_t first = 0; first < all && cols > 0; first += step) {
    const RowRange rows{first, std::min(step, all - first)};
    const Shape shape{rows.count, cols};
    source.read_rows(param, rows,
                     {bytes.data(), static_cast<std::size_t>(rows.count) * row_bytes(stored.dtype, cols)});
    dequantize_rows(Tensor(bytes.data(), stored.dtype, shape), scales_of_rows(scales, rows),
                    Tensor(wide.data(), DType::kF32, shape));
    for (int64_t row = 0; row < rows.count; ++row) {
      const float* const values = wide.data() + row * cols;
      if (largest_bits(values, cols) >= kInfinityBits) fail_not_finite(values, cols, first + row, 0);
    }
  }
}

}  // namespace darkroom

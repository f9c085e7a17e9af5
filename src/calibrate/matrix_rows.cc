#include "calibrate/matrix_rows.h"

#include <algorithm>

#include "base/error.h"
#include "weights/quantize.h"
#include "weights/scales.h"

namespace darkroom {

void for_matrix_rows(WeightSource& source, const Param& param, const std::atomic<bool>& cancel,
                     const std::function<void(int64_t row, std::span<const float> values)>& use) {
  constexpr int64_t kValues = 1 << 20;  // in memory at once
  const int64_t cols = param.cols(), step = std::max<int64_t>(1, kValues / std::max<int64_t>(cols, 1));
  const DType dtype = source.describe(param).dtype;
  const std::vector<float> scales = source.read_scales(param);
  std::vector<float> wide;
  for (int64_t first = 0; first < param.shape[0]; first += step) {
    if (cancel.load(std::memory_order_relaxed)) throw Error(ErrorCode::kCancelled, "stopped on request");
    const RowRange rows{first, std::min(step, param.shape[0] - first)};
    const Buffer stored(static_cast<std::size_t>(rows.count) * row_bytes(dtype, cols));
    source.read_rows(param, rows, {stored.data(), stored.size()});
    wide.resize(static_cast<std::size_t>(rows.count * cols));
    const Shape shape{rows.count, cols};
    dequantize_rows(Tensor(stored.data(), dtype, shape), scales_of_rows(scales, rows),
                    Tensor(wide.data(), DType::kF32, shape));
    for (int64_t r = 0; r < rows.count; ++r)
      use(first + r,
          std::span(wide).subspan(static_cast<std::size_t>(r * cols), static_cast<std::size_t>(cols)));
  }
}

std::vector<float> read_vector(WeightSource& source, const Param& param) {
  std::vector<float> out;
  const std::atomic<bool> never{false};
  for_matrix_rows(source, param, never,
                  [&](int64_t, std::span<const float> value) { out.push_back(value[0]); });
  return out;
}

}  // namespace darkroom

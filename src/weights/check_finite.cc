#include "weights/check_finite.h"

#include <algorithm>

#include "base/error.h"
#include "weights/quantize.h"

namespace darkroom {

namespace {

constexpr int64_t kPieceElements = 1 << 20;

// Scales of these rows: all of a tensor's one, or those that are theirs.
std::span<const float> scales_of_rows(const std::vector<float>& scales, const RowRange& rows) {
  if (scales.size() <= 1) return scales;
  return std::span(scales).subspan(static_cast<std::size_t>(rows.first),
                                   static_cast<std::size_t>(rows.count));
}

}  // namespace

void check_finite(WeightSource& source, const Param& param) {
  const Tensor stored = source.describe(param);
  const std::vector<float> scales = source.read_scales(param);
  const int64_t all = param.shape[0], cols = all == 0 ? 0 : param.shape.numel() / all;
  const int64_t step = std::max<int64_t>(1, kPieceElements / std::max<int64_t>(cols, 1));
  Buffer bytes(std::max<std::size_t>(1, row_bytes(stored.dtype, std::min(step, all) * cols)));
  std::vector<float> wide(static_cast<std::size_t>(std::min(step, all) * cols));
  for (int64_t first = 0; first < all && cols > 0; first += step) {
    const RowRange rows{first, std::min(step, all - first)};
    const Shape shape{rows.count, cols};
    const std::size_t size = static_cast<std::size_t>(rows.count) * row_bytes(stored.dtype, cols);
    source.read_rows(param, rows, {bytes.data(), size});
    const Tensor values(wide.data(), DType::kF32, shape);
    dequantize_rows(Tensor(bytes.data(), stored.dtype, shape), scales_of_rows(scales, rows), values);
    try {
      absmax(values);
    } catch (const Error& e) {
      fail(e.code(), "{}{}", first > 0 ? fmt::format("counted from row {}: ", first) : "", e.what());
    }
  }
}

}  // namespace darkroom

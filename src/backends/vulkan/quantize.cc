// Rows in 8 bits, and the magnitudes that smoothing is chosen by.
#include <algorithm>

#include "backends/vulkan/kernels.h"
#include "backends/vulkan/tensors.h"

namespace darkroom::vulkan {
namespace {

constexpr uint32_t kThreads = 128;

struct QuantizePush {
  uint32_t runs = 0, groups = 0;
  uint32_t columns = 0, group = 0;
  uint32_t x_at = 0, x_stride = 0;
  uint32_t smooth_at = 0, smoothed = 0;
  uint32_t out_at = 0, scales_at = 0;
  uint32_t first_row = 0;
  uint32_t levels = 0;
};

struct MagnitudesPush {
  uint32_t rows = 0, columns = 0;
  uint32_t x_at = 0, x_stride = 0;
  uint32_t out_at = 0;
  uint32_t first_row = 0;
};

uint32_t number(int64_t value) { return static_cast<uint32_t>(value); }

// What to do when a kernel met NaN or infinity. The tensor is named by its shape: its data may be gone by then.
std::function<void(uint32_t)> not_finite(const Tensor& x) {
  return [x](uint32_t row) { fail_not_finite(x, row); };
}

void quantize(Recorder& recorder, const QuantizeRowsArgs& a, int64_t first, int64_t count) {
  const Binding x = binding_of(a.x, Access::kRead, first, count),
                smooth = binding_of(a.smooth, Access::kRead),
                out = binding_of(a.out, Access::kWrite, first, count),
                scales = binding_of(a.scales, Access::kWrite, first, count);
  const int64_t runs = a.scales.cols();
  const QuantizePush push = {.runs = number(runs),
                             .groups = number(runs * count),
                             .columns = number(a.x.cols()),
                             .group = number(a.group),
                             .x_at = elements_before(recorder, x, a.x.dtype),
                             .x_stride = number(a.x.row_stride),
                             .smooth_at = elements_before(recorder, smooth, DType::kF32),
                             .smoothed = a.smooth.present(),
                             .out_at = elements_before(recorder, out, DType::kI8),
                             .scales_at = elements_before(recorder, scales, DType::kF32),
                             .first_row = number(first),
                             .levels = number(a.out.levels)};
  recorder.dispatch({.shader = Shader::kQuantizeRows,
                     .constants = {kThreads, a.x.dtype == DType::kBF16},
                     .bindings = {x, smooth, out, scales},
                     .push = push_of(push),
                     .groups = grid_of(runs * count),
                     .work = 4.0 * static_cast<double>(count * a.x.cols()),
                     .alarm = not_finite(a.x)});
}

void magnitudes(Recorder& recorder, const ColumnMagnitudesArgs& a, int64_t first, int64_t count) {
  constexpr int64_t kColumns = 64;  // of a workgroup
  const Binding x = binding_of(a.x, Access::kRead, first, count), out = binding_of(a.out, Access::kReadWrite);
  const MagnitudesPush push = {.rows = number(count),
                               .columns = number(a.x.cols()),
                               .x_at = elements_before(recorder, x, a.x.dtype),
                               .x_stride = number(a.x.row_stride),
                               .out_at = elements_before(recorder, out, DType::kF32),
                               .first_row = number(first)};
  recorder.dispatch({.shader = Shader::kColumnMagnitudes,
                     .constants = {a.x.dtype == DType::kBF16},
                     .bindings = {x, out},
                     .push = push_of(push),
                     .groups = {number((a.x.cols() + kColumns - 1) / kColumns), 1, 1},
                     .work = 4.0 * static_cast<double>(count * a.x.cols()),
                     .alarm = not_finite(a.x)});
}

}  // namespace

void quantize_rows(Recorder& recorder, const QuantizeRowsArgs& a) {
  const int64_t rows = a.x.rows(), step = rows_that_fit(recorder, {&a.x, &a.out, &a.scales});
  for (int64_t first = 0; first < rows; first += step)
    quantize(recorder, a, first, std::min(step, rows - first));
}

void column_magnitudes(Recorder& recorder, const ColumnMagnitudesArgs& a) {
  constexpr int64_t kMost = 16384;  // as many as a thread has, one after the other
  const int64_t rows = a.x.rows(), step = std::min(kMost, rows_that_fit(recorder, {&a.x}));
  for (int64_t first = 0; first < rows; first += step)
    magnitudes(recorder, a, first, std::min(step, rows - first));
}

}  // namespace darkroom::vulkan

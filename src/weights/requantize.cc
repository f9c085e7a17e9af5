#include "weights/requantize.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "base/error.h"
#include "weights/quantize.h"

namespace darkroom {
namespace {

constexpr int64_t kTaskElements = 1 << 17;  // at least a row

bool is_plain_float(const Tensor& rows) { return is_float(rows.dtype) && rows.scale_count == 0; }

void multiply_columns(const Tensor& rows, std::span<const float> factors) {
  if (factors.empty()) return;
  for (int64_t r = 0; r < rows.rows(); ++r) {
    float* const row = rows.row<float>(r);
    for (std::size_t c = 0; c < factors.size(); ++c) row[c] *= factors[c];
  }
}

int64_t task_rows(int64_t cols) { return std::max<int64_t>(1, kTaskElements / std::max<int64_t>(1, cols)); }

// Calls use(first row, rows) for pieces of a run, in a floating type without scales.
template <typename Use>
void for_pieces(const Requantization& work, int64_t first, const Tensor& run, Use use) {
  const int64_t step = task_rows(run.cols());
  const auto task = [&](int64_t number) {
    const int64_t begin = number * step;
    Tensor rows = run.slice_rows(begin, std::min(step, run.rows() - begin));
    std::vector<float> wide;
    if (!is_plain_float(rows) || !work.columns.empty()) {
      wide.resize(static_cast<std::size_t>(rows.shape.numel()));
      const Tensor out(wide.data(), DType::kF32, rows.shape);
      dequantize_rows(rows, {rows.scales, static_cast<std::size_t>(rows.scale_count)}, out);
      multiply_columns(out, work.columns);
      rows = out;
    }
    try {
      use(first + begin, rows);
    } catch (const Error& e) {
      const std::string from = first + begin > 0 ? fmt::format(", counted from row {}", first + begin) : "";
      fail(e.code(), "{}{}: {}", work.place, from, e.what());
    }
  };
  const int64_t tasks = (run.rows() + step - 1) / step;
  if (work.run_tasks) return work.run_tasks(tasks, task);
  for (int64_t number = 0; number < tasks; ++number) task(number);
}

template <typename Use>
void for_runs(const Requantization& work, Use use) {
  const int64_t all = work.shape.rows();
  for (int64_t first = 0; first < all && work.shape.cols() > 0;) {
    const Tensor run = work.read(first, std::min(work.run_rows, all - first));
    use(first, run);
    first += run.rows();
  }
}

float largest_of_all(const Requantization& work) {
  std::atomic<float> largest = 0;
  for_runs(work, [&](int64_t first, const Tensor& run) {
    for_pieces(work, first, run, [&](int64_t, const Tensor& rows) {
      const float here = absmax(rows);
      float so_far = largest;
      while (so_far < here && !largest.compare_exchange_weak(so_far, here)) {
      }
    });
  });
  return largest;
}

// What the type holds at most, where values may lie beyond it.
float limit_of(DType dtype, bool scaled) {
  if (dtype == DType::kF16) return kLargestF16;
  return dtype == DType::kF8E4M3 && !scaled ? kLargestF8E4M3 : 0;
}

}  // namespace

bool requantize(const Requantization& work, std::span<float> scales) {
  if (work.dtype == DType::kF8E4M3 && !scales.empty()) scales[0] = f8_scale(largest_of_all(work));
  const float limit = limit_of(work.dtype, !scales.empty());
  std::atomic<bool> clamps = false;
  for_runs(work, [&](int64_t first, const Tensor& run) {
    const Tensor out = work.room(first, run.rows());
    for_pieces(work, first, run, [&](int64_t begin, const Tensor& rows) {
      const Tensor to = out.slice_rows(begin - first, rows.rows());
      if (work.dtype == DType::kF32) return dequantize_rows(rows, {}, to);
      std::span<const float> own = scales;
      if (work.dtype == DType::kI8) {
        const auto of_rows =
            scales.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(rows.rows()));
        i8_scales(rows, of_rows, to.levels == 0 ? kInt8Levels : to.levels);
        own = of_rows;
      }
      if (limit > 0 && absmax(rows) > limit) clamps = true;
      quantize_rows(rows, own, to);
    });
    if (work.done) work.done(first, out);
  });
  return clamps;
}

std::size_t requantize_bytes(const Tensor& stored, bool columns) {
  if (is_plain_float(stored) && !columns) return 0;
  const int64_t rows = std::min(task_rows(stored.cols()), stored.rows());
  return static_cast<std::size_t>(rows * stored.cols()) * sizeof(float);
}

std::string clamped_note(DType dtype, std::size_t tensors, const std::string& place) {
  const bool f16 = dtype == DType::kF16;
  return fmt::format("values beyond {0} became {0} in {1} tensor(s), first in {2}; {3} keeps them",
                     limit_of(dtype, false), tensors, place, f16 ? "bf16" : "fp8-scaled");
}

}  // namespace darkroom

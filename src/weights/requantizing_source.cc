#include "weights/requantizing_source.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "weights/quantize.h"

namespace darkroom {
namespace {

// Matrices that are quantised already are widened piece by piece, at least a row.
constexpr int64_t kPieceElements = 1 << 18;

bool is_plain_float(const Tensor& matrix) { return is_float(matrix.dtype) && matrix.scale_count == 0; }
int64_t piece_rows(const Tensor& matrix) {
  return std::max<int64_t>(1, kPieceElements / std::max<int64_t>(1, matrix.cols()));
}

// Calls use(first row, rows) for runs of rows in a floating type without scales: all at once if the matrix is
// of that kind, else from a buffer.
template <typename Use>
void for_float_rows(const Tensor& matrix, Use use) {
  if (is_plain_float(matrix)) return use(0, matrix);
  std::vector<float> wide;
  for (int64_t first = 0; first < matrix.rows(); first += piece_rows(matrix)) {
    const Tensor rows = matrix.slice_rows(first, std::min(piece_rows(matrix), matrix.rows() - first));
    wide.resize(static_cast<std::size_t>(rows.shape.numel()));
    const Tensor out(wide.data(), DType::kF32, rows.shape);
    dequantize_rows(rows, {rows.scales, static_cast<std::size_t>(rows.scale_count)}, out);
    use(first, out);
  }
}

// `from` in the storage that `to` and `scales` (its own, to be filled) are made for.
void requantize(const Tensor& from, const Tensor& to, std::span<float> scales) {
  if (to.dtype == DType::kF8E4M3 && !scales.empty()) {
    float largest = 0;
    for_float_rows(from, [&](int64_t, const Tensor& rows) { largest = std::max(largest, absmax(rows)); });
    scales[0] = f8_scale(largest);
  }
  for_float_rows(from, [&](int64_t first, const Tensor& rows) {
    std::span<float> own = scales;
    if (to.dtype == DType::kI8) {
      own = scales.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(rows.rows()));
      i8_scales(rows, own);
    }
    quantize_rows(rows, own, to.slice_rows(first, rows.rows()));
  });
}

}  // namespace

bool RequantizingSource::changes(const Param& param, const Tensor& stored) const {
  if (!param.quantizable()) return false;
  switch (storage_) {
    case WeightStorage::kAsStored:
      return false;
    case WeightStorage::kBF16:
      return stored.dtype != DType::kBF16;
    case WeightStorage::kF8:
    case WeightStorage::kF8Scaled:
      return stored.dtype != DType::kF8E4M3 && stored.dtype != DType::kF8E5M2;
    case WeightStorage::kI8:
      return stored.dtype != DType::kI8;
    case WeightStorage::kQ8_0:
    case WeightStorage::kQ4_0:
    case WeightStorage::kQ4K:
    case WeightStorage::kQ5K:
    case WeightStorage::kQ6K: {
      const DType blocks = storage_dtype(storage_);
      return stored.dtype != blocks && stored.cols() % block_size(blocks).elements == 0;
    }
  }
  return false;
}

Tensor RequantizingSource::describe(const Param& param) {
  Tensor tensor = base_->describe(param);
  if (!changes(param, tensor)) return tensor;
  tensor.dtype = storage_dtype(storage_);
  tensor.scale_count = storage_scales(storage_, tensor.rows());
  return tensor;
}

void RequantizingSource::read(const Param& param, std::span<std::byte> out) {
  Tensor from = base_->describe(param);
  if (!changes(param, from)) return base_->read(param, out);
  Tensor to = describe(param);
  require(out.size() == to.bytes_with_scales(), ErrorCode::kFailure, "'{}' has {} bytes, {} were asked for",
          param.name, to.bytes_with_scales(), out.size());
  float* const scales = reinterpret_cast<float*>(out.data() + to.scales_offset());
  const std::span<float> own(scales, static_cast<std::size_t>(to.scale_count));
  to.scale_count = 0;  // while it is written: the numbers alone
  to.data = out.data();
  const std::lock_guard lock(mutex_);
  const std::size_t bytes = from.bytes_with_scales();
  if (staging_.size() < bytes) {
    staging_ = Buffer();  // given back before the larger one is asked for
    staging_ = Buffer(bytes);
  }
  base_->read(param, {staging_.data(), bytes});
  from.lay_into(staging_.data());
  try {
    requantize(from, to, own);
  } catch (const Error& e) {
    fail(e.code(), "'{}' as {}: {}", param.name, storage_name(storage_), e.what());
  }
}

std::size_t RequantizingSource::staging_bytes(const Param& param) {
  const Tensor stored = base_->describe(param);
  if (!changes(param, stored)) return base_->staging_bytes(param);
  const int64_t widened =
      is_plain_float(stored) ? 0 : std::min(piece_rows(stored), stored.rows()) * stored.cols();
  return stored.bytes_with_scales() + static_cast<std::size_t>(widened) * sizeof(float) +
         base_->staging_bytes(param);
}

}  // namespace darkroom

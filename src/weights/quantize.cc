#include "weights/quantize.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "tensor/blocks.h"
#include "weights/finite.h"
#include "weights/quantize_blocks.h"

namespace darkroom {
namespace {

constexpr int64_t kChunk = 1024;  // values widened at a time, on the stack: whole blocks of any type

// Calls use(row, first column, values, count) for pieces of all rows, in f32.
template <typename Use>
void for_pieces(const Tensor& rows, Use use) {
  std::array<float, kChunk> wide;
  if (is_block(rows.dtype)) {
    for (int64_t r = 0; r < rows.rows(); ++r) {
      for (int64_t first = 0; first < rows.cols(); first += kChunk) {
        const int64_t count = std::min(kChunk, rows.cols() - first);
        dequantize_blocks(rows.dtype, rows.row_data(r) + row_bytes(rows.dtype, first), count, wide.data());
        use(r, first, wide.data(), count);
      }
    }
    return;
  }
  dispatch_matrix_storage(rows.dtype, [&]<typename T>() {
    for (int64_t r = 0; r < rows.rows(); ++r) {
      for (int64_t first = 0; first < rows.cols(); first += kChunk) {
        const int64_t count = std::min(kChunk, rows.cols() - first);
        const T* from = rows.row<T>(r) + first;
        for (int64_t i = 0; i < count; ++i) wide[static_cast<std::size_t>(i)] = to_float(from[i]);
        use(r, first, wide.data(), count);
      }
    }
  });
}

// The same for weights in floating-point, checked to be finite.
template <typename Use>
void for_finite_pieces(const Tensor& rows, Use use) {
  require(is_float(rows.dtype), ErrorCode::kFailure, "quantising {}: expected a floating-point tensor", rows);
  for_pieces(rows, [&](int64_t row, int64_t first, float* values, int64_t count) {
    const uint32_t largest = largest_bits(values, count);
    if (largest >= kInfinityBits) fail_not_finite(values, count, row, first);
    use(row, first, values, count, std::bit_cast<float>(largest));
  });
}

float safe_scale(float largest, float stored) {
  if (largest == 0) return 1;  // nothing to scale, and 0/1 is 0
  return std::max(largest / stored, std::numeric_limits<float>::min());
}

// To the nearest integer, ties to even, within ±most. Adding 3·2^22 leaves no bits for a fraction.
int8_t to_i8(float x, float most) {
  const float clamped = std::min(std::max(x, -most), most);
  return static_cast<int8_t>(std::bit_cast<int32_t>(clamped + 12582912.0f) - 0x4B400000);
}

void store(const float* values, int64_t count, const Tensor& out, void* to) {
  switch (out.dtype) {
    case DType::kBF16:
      std::transform(values, values + count, static_cast<BFloat16*>(to), to_bfloat16);
      break;
    case DType::kF16:
      std::transform(values, values + count, static_cast<Float16*>(to),
                     [](float value) { return to_float16(std::clamp(value, -kLargestF16, kLargestF16)); });
      break;
    case DType::kF8E4M3:
      std::transform(values, values + count, static_cast<Float8E4M3*>(to), to_float8_e4m3);
      break;
    case DType::kI8: {
      const float most = static_cast<float>(out.levels == 0 ? kInt8Levels : out.levels);
      std::transform(values, values + count, static_cast<int8_t*>(to),
                     [most](float x) { return to_i8(x, most); });
      break;
    }
    default:
      quantize_blocks(out.dtype, values, count, static_cast<std::byte*>(to));
      break;
  }
}

void check_shapes(const Tensor& rows, std::span<const float> scales, const Tensor& out) {
  require(rows.shape == out.shape, ErrorCode::kFailure, "quantising {} into {}: the shapes differ", rows,
          out);
  const auto count = static_cast<int64_t>(scales.size());
  require(count <= 1 || count == rows.rows(), ErrorCode::kFailure,
          "quantising {}: {} scales, expected none, one or one for each row", rows, count);
}

float scale_of(std::span<const float> scales, int64_t row) {
  if (scales.empty()) return 1;
  return scales.size() == 1 ? scales[0] : scales[static_cast<std::size_t>(row)];
}

}  // namespace

float absmax(const Tensor& rows) {
  float largest = 0;
  for_finite_pieces(rows, [&](int64_t, int64_t, const float*, int64_t, float magnitude) {
    largest = std::max(largest, magnitude);
  });
  return largest;
}

float f8_scale(float largest) { return safe_scale(largest, kLargestF8E4M3); }
float i8_scale(float largest, int32_t levels) { return safe_scale(largest, static_cast<float>(levels)); }

void i8_scales(const Tensor& rows, std::span<float> scales, int32_t levels) {
  require(static_cast<int64_t>(scales.size()) == rows.rows(), ErrorCode::kFailure,
          "quantising {}: room for {} scales, expected one for each row", rows, scales.size());
  std::ranges::fill(scales, 0.0f);
  for_finite_pieces(rows, [&](int64_t row, int64_t, const float*, int64_t, float magnitude) {
    float& largest = scales[static_cast<std::size_t>(row)];
    largest = std::max(largest, magnitude);
  });
  for (float& scale : scales) scale = i8_scale(scale, levels);
}

void quantize_rows(const Tensor& rows, std::span<const float> scales, const Tensor& out) {
  check_shapes(rows, scales, out);
  const bool to_blocks = is_quantizable_block(out.dtype);
  require(to_blocks || out.dtype == DType::kBF16 || out.dtype == DType::kF16 || out.dtype == DType::kF8E4M3 ||
              out.dtype == DType::kI8,
          ErrorCode::kFailure, "quantising to {} is not supported", dtype_name(out.dtype));
  require(!to_blocks || (scales.empty() && rows.cols() % block_size(out.dtype).elements == 0),
          ErrorCode::kFailure, "quantising {} to {}, expected no scales and rows of whole blocks", rows,
          dtype_name(out.dtype));
  for (const float scale : scales) {
    require(std::isfinite(scale) && scale > 0, ErrorCode::kFailure, "quantising {} with the scale {}", rows,
            scale);
  }
  for_finite_pieces(rows, [&](int64_t row, int64_t first, float* values, int64_t count, float) {
    if (const float scale = scale_of(scales, row); scale != 1) {
      for (int64_t i = 0; i < count; ++i) values[i] /= scale;
    }
    store(values, count, out, out.row_data(row) + row_bytes(out.dtype, first));
  });
}

void dequantize_rows(const Tensor& rows, std::span<const float> scales, const Tensor& out) {
  check_shapes(rows, scales, out);
  require(out.dtype == DType::kF32, ErrorCode::kFailure, "dequantising to {}, expected f32",
          dtype_name(out.dtype));
  for_pieces(rows, [&](int64_t row, int64_t first, const float* values, int64_t count) {
    const float scale = scale_of(scales, row);
    float* to = out.row<float>(row) + first;
    for (int64_t i = 0; i < count; ++i) to[i] = values[i] * scale;
  });
}

}  // namespace darkroom

#include "tensor/tensor.h"

#include <algorithm>

#include "base/error.h"

namespace darkroom {

std::string_view dtype_name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kF16:
      return "f16";
    case DType::kBF16:
      return "bf16";
    case DType::kF8E4M3:
      return "f8_e4m3";
    case DType::kF8E5M2:
      return "f8_e5m2";
    case DType::kI64:
      return "i64";
    case DType::kI32:
      return "i32";
    case DType::kU8:
      return "u8";
    case DType::kI8:
      return "i8";
    case DType::kQ8_0:
      return "q8_0";
    case DType::kQ4_0:
      return "q4_0";
    case DType::kQ4_1:
      return "q4_1";
    case DType::kQ5_0:
      return "q5_0";
    case DType::kQ5_1:
      return "q5_1";
    case DType::kQ2K:
      return "q2_k";
    case DType::kQ3K:
      return "q3_k";
    case DType::kQ4K:
      return "q4_k";
    case DType::kQ5K:
      return "q5_k";
    case DType::kQ6K:
      return "q6_k";
    case DType::kIQ4NL:
      return "iq4_nl";
    case DType::kIQ4XS:
      return "iq4_xs";
    case DType::kNF4:
      return "nf4";
    case DType::kFP4:
      return "fp4";
  }
  return "unknown";
}

Shape::Shape(std::span<const int64_t> extents) {
  require(extents.size() <= kMaxRank, ErrorCode::kFailure, "a shape of {} extents, at most {} are supported",
          extents.size(), static_cast<int>(kMaxRank));
  int64_t product = 1;
  for (const int64_t extent : extents) {
    require(extent >= 0, ErrorCode::kFailure, "a shape with the extent {}", extent);
    extents_[static_cast<std::size_t>(rank_++)] = extent;
    const bool overflows = __builtin_mul_overflow(product, std::max<int64_t>(extent, 1), &product);
    if (overflows || product > kMaxElements) product = kMaxElements + 1;
  }
  require(product <= kMaxElements, ErrorCode::kFailure, "a shape of {} has more than 2^55 elements", *this);
}

int64_t Shape::numel() const { return rank_ == 0 ? 0 : rows() * cols(); }

int64_t Shape::cols() const { return rank_ == 0 ? 0 : (*this)[rank_ - 1]; }

int64_t Shape::rows() const {
  int64_t product = rank_ == 0 ? 0 : 1;
  for (int i = 0; i + 1 < rank_; ++i) product *= (*this)[i];
  return product;
}

std::string Shape::str() const {
  std::string text = "[";
  for (int i = 0; i < rank_; ++i) text += (i ? ", " : "") + std::to_string((*this)[i]);
  return text + "]";
}

namespace {

// A view that starts `elements` further on, a whole number of blocks. Tensors without data stay without data.
Tensor advanced(const Tensor& tensor, int64_t elements) {
  Tensor out = tensor;
  if (out.data) out.data = static_cast<std::byte*>(out.data) + row_bytes(out.dtype, elements);
  return out;
}

}  // namespace

std::size_t Tensor::bytes_with_scales() const {
  return scale_count == 0 ? bytes() : scales_offset() + static_cast<std::size_t>(scale_count) * sizeof(float);
}

void Tensor::lay_into(std::byte* memory) {
  data = memory;
  scales = memory && scale_count > 0 ? reinterpret_cast<const float*>(memory + scales_offset()) : nullptr;
}

Tensor Tensor::slice_rows(int64_t first, int64_t count) const {
  require(shape.rank() == 2 && first >= 0 && count >= 0 && count <= rows() - first, ErrorCode::kFailure,
          "{} rows from {} of {}", count, first, *this);
  Tensor out = advanced(*this, first * row_stride);
  out.shape = {count, cols()};
  if (const int64_t each = scales_per_row(); scale_count == each * rows()) {
    out.scale_count = each * count;
    if (scales) out.scales += each * first;
  }
  return out;
}

Tensor Tensor::slice_cols(int64_t first, int64_t count) const {
  require(shape.rank() == 2 && first >= 0 && count >= 0 && count <= cols() - first && scale_cols == 0,
          ErrorCode::kFailure, "{} columns from {} of {}", count, first, *this);
  const int64_t block = block_size(dtype).elements;
  require(first % block == 0 && count % block == 0, ErrorCode::kFailure,
          "{} columns from {} of {}, whose blocks have {}", count, first, *this, block);
  Tensor out = advanced(*this, first);
  out.shape = {rows(), count};
  return out;
}

Tensor Tensor::reshape(const Shape& new_shape) const {
  const bool scales_fit = (scale_count <= 1 && scale_cols == 0) || new_shape.rows() == rows();
  const bool blocks_fit = new_shape.cols() % block_size(dtype).elements == 0;
  require(dense() && new_shape.numel() == shape.numel() && scales_fit && blocks_fit, ErrorCode::kFailure,
          "cannot reshape {} to {}", *this, new_shape);
  Tensor out = *this;
  out.shape = new_shape;
  out.row_stride = new_shape.cols();
  return out;
}

std::string describe(const Tensor& tensor) {
  return fmt::format("{} {}", dtype_name(tensor.dtype), tensor.shape);
}

}  // namespace darkroom

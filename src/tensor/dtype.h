// The element types of tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/half.h"

namespace darkroom {

enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kF8E4M3,
  kF8E5M2,
  kI64,
  kI32,
  kU8,
  kI8,
  // Block types: runs of a row's elements share scales (tensor/blocks.h). Only matrices and tables have them.
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ2K,
  kQ3K,
  kQ4K,
  kQ5K,
  kQ6K,
  kIQ4NL,
  kIQ4XS,
  kNF4,
  kFP4,
};

inline constexpr int kDTypes = 23;

// What a row is stored in: `bytes` for each `elements`. Of all types but the block types one element.
struct BlockSize {
  int64_t elements;
  std::size_t bytes;
};

constexpr BlockSize block_size(DType dtype) {
  switch (dtype) {
    case DType::kI64:
      return {1, 8};
    case DType::kF32:
    case DType::kI32:
      return {1, 4};
    case DType::kF16:
    case DType::kBF16:
      return {1, 2};
    case DType::kF8E4M3:
    case DType::kF8E5M2:
    case DType::kU8:
    case DType::kI8:
      return {1, 1};
    case DType::kQ8_0:
      return {32, 34};
    case DType::kQ4_0:
    case DType::kIQ4NL:
      return {32, 18};
    case DType::kQ4_1:
      return {32, 20};
    case DType::kQ5_0:
      return {32, 22};
    case DType::kQ5_1:
      return {32, 24};
    case DType::kQ2K:
      return {256, 84};
    case DType::kQ3K:
      return {256, 110};
    case DType::kQ4K:
      return {256, 144};
    case DType::kQ5K:
      return {256, 176};
    case DType::kQ6K:
      return {256, 210};
    case DType::kIQ4XS:
      return {256, 136};
    case DType::kNF4:
    case DType::kFP4:
      return {64, 36};
  }
  return {1, 0};
}

constexpr bool is_block(DType dtype) { return block_size(dtype).elements > 1; }

// Bytes of `elements` that lie side by side in a row; of a block type a multiple of its block's elements.
constexpr std::size_t row_bytes(DType dtype, int64_t elements) {
  const BlockSize block = block_size(dtype);
  return static_cast<std::size_t>(elements / block.elements) * block.bytes;
}

// Bytes of one element. Not of a block type, which has no such number: 0.
constexpr std::size_t dtype_bytes(DType dtype) { return is_block(dtype) ? 0 : block_size(dtype).bytes; }

// The name used in messages, plans and metadata: "f32", "bf16", "f8_e4m3", …
std::string_view dtype_name(DType dtype);

// Not the block types.
constexpr bool is_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 || dtype == DType::kF8E4M3 ||
         dtype == DType::kF8E5M2;
}

// What the matrix of a Linear may be stored as: a floating type, a block type, or i8, which means something
// only with a scale.
constexpr bool is_matrix_storage(DType dtype) {
  return is_float(dtype) || is_block(dtype) || dtype == DType::kI8;
}

// DType of a C++ element type.
template <typename T>
inline constexpr DType kDTypeOf = DType::kU8;
template <>
inline constexpr DType kDTypeOf<float> = DType::kF32;
template <>
inline constexpr DType kDTypeOf<Float16> = DType::kF16;
template <>
inline constexpr DType kDTypeOf<BFloat16> = DType::kBF16;
template <>
inline constexpr DType kDTypeOf<Float8E4M3> = DType::kF8E4M3;
template <>
inline constexpr DType kDTypeOf<Float8E5M2> = DType::kF8E5M2;
template <>
inline constexpr DType kDTypeOf<int64_t> = DType::kI64;
template <>
inline constexpr DType kDTypeOf<int32_t> = DType::kI32;
template <>
inline constexpr DType kDTypeOf<int8_t> = DType::kI8;

// Calls visitor.operator()<T>() with the C++ type of a floating dtype. Errors: kFailure for integer types.
template <typename Visitor>
decltype(auto) dispatch_float(DType dtype, Visitor&& visitor) {
  switch (dtype) {
    case DType::kF32:
      return visitor.template operator()<float>();
    case DType::kF16:
      return visitor.template operator()<Float16>();
    case DType::kBF16:
      return visitor.template operator()<BFloat16>();
    case DType::kF8E4M3:
      return visitor.template operator()<Float8E4M3>();
    case DType::kF8E5M2:
      return visitor.template operator()<Float8E5M2>();
    default:
      fail(ErrorCode::kFailure, "expected a floating-point tensor, found {}", dtype_name(dtype));
  }
}

// The same, and int8_t for i8: whatever is_matrix_storage() allows except the block types.
template <typename Visitor>
decltype(auto) dispatch_matrix_storage(DType dtype, Visitor&& visitor) {
  if (dtype == DType::kI8) return visitor.template operator()<int8_t>();
  return dispatch_float(dtype, std::forward<Visitor>(visitor));
}

}  // namespace darkroom

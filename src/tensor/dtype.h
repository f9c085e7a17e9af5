// The element types of tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/half.h"

namespace darkroom {

enum class DType : uint8_t { kF32, kF16, kBF16, kF8E4M3, kF8E5M2, kI64, kI32, kU8, kI8 };

constexpr std::size_t dtype_bytes(DType dtype) {
  switch (dtype) {
    case DType::kI64:
      return 8;
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kF8E4M3:
    case DType::kF8E5M2:
    case DType::kU8:
    case DType::kI8:
      return 1;
  }
  return 0;
}

// The name used in messages, plans and metadata: "f32", "bf16", "f8_e4m3", …
std::string_view dtype_name(DType dtype);

constexpr bool is_float(DType dtype) {
  return dtype != DType::kI64 && dtype != DType::kI32 && dtype != DType::kU8 && dtype != DType::kI8;
}

// What the matrix of a Linear may be stored as: a floating type, or i8, which means something only with a
// scale.
constexpr bool is_matrix_storage(DType dtype) { return is_float(dtype) || dtype == DType::kI8; }

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

// The same, and int8_t for i8: whatever is_matrix_storage() allows.
template <typename Visitor>
decltype(auto) dispatch_matrix_storage(DType dtype, Visitor&& visitor) {
  if (dtype == DType::kI8) return visitor.template operator()<int8_t>();
  return dispatch_float(dtype, std::forward<Visitor>(visitor));
}

}  // namespace darkroom

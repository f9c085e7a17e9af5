// The types of tensors that a GGUF file can hold: ggml's numbers and names for them (ggml.h, enum ggml_type).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "tensor/dtype.h"

namespace darkroom {

struct GgufType {
  uint32_t id;
  std::string_view name;
  BlockSize block;
  std::optional<DType> dtype;  // absent: listed, not used
};

constexpr GgufType gguf_type(uint32_t id, std::string_view name, DType dtype) {
  return {id, name, block_size(dtype), dtype};
}

// Numbers that are left out were types that ggml has dropped.
inline constexpr GgufType kGgufTypes[] = {
    gguf_type(0, "F32", DType::kF32),
    gguf_type(1, "F16", DType::kF16),
    gguf_type(2, "Q4_0", DType::kQ4_0),
    gguf_type(3, "Q4_1", DType::kQ4_1),
    gguf_type(6, "Q5_0", DType::kQ5_0),
    gguf_type(7, "Q5_1", DType::kQ5_1),
    gguf_type(8, "Q8_0", DType::kQ8_0),
    {9, "Q8_1", {32, 40}, {}},
    gguf_type(10, "Q2_K", DType::kQ2K),
    gguf_type(11, "Q3_K", DType::kQ3K),
    gguf_type(12, "Q4_K", DType::kQ4K),
    gguf_type(13, "Q5_K", DType::kQ5K),
    gguf_type(14, "Q6_K", DType::kQ6K),
    {15, "Q8_K", {256, 292}, {}},
    {16, "IQ2_XXS", {256, 66}, {}},
    {17, "IQ2_XS", {256, 74}, {}},
    {18, "IQ3_XXS", {256, 98}, {}},
    {19, "IQ1_S", {256, 50}, {}},
    gguf_type(20, "IQ4_NL", DType::kIQ4NL),
    {21, "IQ3_S", {256, 110}, {}},
    {22, "IQ2_S", {256, 82}, {}},
    gguf_type(23, "IQ4_XS", DType::kIQ4XS),
    gguf_type(24, "I8", DType::kI8),
    {25, "I16", {1, 2}, {}},
    gguf_type(26, "I32", DType::kI32),
    gguf_type(27, "I64", DType::kI64),
    {28, "F64", {1, 8}, {}},
    {29, "IQ1_M", {256, 56}, {}},
    gguf_type(30, "BF16", DType::kBF16),
    {34, "TQ1_0", {256, 54}, {}},
    {35, "TQ2_0", {256, 66}, {}},
    {39, "MXFP4", {32, 17}, {}},
    {40, "NVFP4", {64, 36}, {}},
    {41, "Q1_0", {128, 18}, {}},
};

}  // namespace darkroom

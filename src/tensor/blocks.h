// What the block types (tensor/dtype.h) mean. The readable definition: backends have their own loops, which
// tests hold against it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "tensor/code_values.h"
#include "tensor/dtype.h"

namespace darkroom {

inline constexpr std::array<int8_t, 16> kIQ4Values = {DARKROOM_IQ4_VALUES};
inline constexpr std::array<float, 16> kNF4Values = {DARKROOM_NF4_VALUES};
inline constexpr std::array<float, 16> kFP4Values = {DARKROOM_FP4_VALUES};

// Where in a block its scale stands, f16 or of NF4 and FP4 f32, and the f16 factor of its minima; −1: none.
struct BlockScales {
  int scale, minimum;
};
constexpr BlockScales block_scales(DType dtype) {
  switch (dtype) {
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4K:
    case DType::kQ5K:
      return {0, 2};
    case DType::kQ2K:
      return {80, 82};
    case DType::kQ3K:
      return {108, -1};
    case DType::kQ6K:
      return {208, -1};
    default:
      return {0, -1};
  }
}

// Gives a block whose other bits are anything scales with which its largest magnitude is about `largest`:
// random weights for tests and the bench.
void scale_block(DType dtype, std::byte* block, float largest);

// `elements` values from whole blocks that lie side by side, in f32 as ggml computes them: d·q, d·sc·q −
// dmin·m, … Errors: kFailure for what is no block type, or for elements that are no whole blocks.
void dequantize_blocks(DType dtype, const std::byte* blocks, int64_t elements, float* out);

}  // namespace darkroom

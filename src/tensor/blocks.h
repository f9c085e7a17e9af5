// What the block types (tensor/dtype.h) mean. The readable definition: backends have their own loops, which
// tests hold against it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace darkroom {

// The values of 4-bit codes: whole numbers of IQ4_NL and IQ4_XS as in GGUF; NF4 and FP4 as in bitsandbytes.
inline constexpr std::array<int8_t, 16> kIQ4Values = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                      1,    13,   25,  38,  53,  69,  89,  113};
inline constexpr std::array<float, 16> kNF4Values = {-1.0f,
                                                     -0.6961928009986877f,
                                                     -0.5250730514526367f,
                                                     -0.39491748809814453f,
                                                     -0.28444138169288635f,
                                                     -0.18477343022823334f,
                                                     -0.09105003625154495f,
                                                     0.0f,
                                                     0.07958029955625534f,
                                                     0.16093020141124725f,
                                                     0.24611230194568634f,
                                                     0.33791524171829224f,
                                                     0.44070982933044434f,
                                                     0.5626170039176941f,
                                                     0.7229568362236023f,
                                                     1.0f};
inline constexpr std::array<float, 16> kFP4Values = {
    0.0f,  0.0625f / 12,  8.0f / 12,  1.0f,  4.0f / 12,  0.5f,  2.0f / 12,  0.25f,
    -0.0f, -0.0625f / 12, -8.0f / 12, -1.0f, -4.0f / 12, -0.5f, -2.0f / 12, -0.25f};

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

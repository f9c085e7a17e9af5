// Weights into GGUF's block types, each to the block with (nearly) the least squared error.
//
// Pure functions on host memory, no threads. A block depends on its own values alone, so the bytes do not
// depend on how a matrix was cut, nor on the instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace darkroom {

// Whether quantize_blocks() makes this type.
bool is_quantizable_block(DType dtype);

// out[row_bytes(dtype, elements)] = the blocks of these values, one after the other, as GGUF lays them out
// and dequantize_blocks() reads them. elements: a multiple of the block's. out needs no alignment.
//
// Scales are f16. Beyond 65504 they, and so the values, saturate: no block has an infinity. The least are
// 2^-24, so that values below 2^-25 become 0; blocks of zeros have scales of 0. A block whose type represents
// its values exactly comes back as it was, if it uses the range: its groups have the outermost codes, and in
// K types one group has the outermost scale.
//
// Errors: kModel for NaN or infinity, "row 0, column 5 is nan, a weight must be finite"; kFailure for a type
// that is not is_quantizable_block() and for elements that fill no block.
void quantize_blocks(DType dtype, const float* values, int64_t elements, std::byte* out);

}  // namespace darkroom

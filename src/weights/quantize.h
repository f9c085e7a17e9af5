// Fewer bits for a weight matrix, and back: plain and scaled fp8 (e4m3fn), int8 with a scale per row, bf16,
// and block types, whose scales are in the blocks (weights/quantize_blocks.h).
//
// Pure functions on host memory: no files, no names, no threads. Each works on any run of rows, so that a
// model of any size passes through a buffer of a few rows; the numbers do not depend on how the rows were
// cut. What is stored means stored · scale, as ops/ops.h's Linear reads it. Called by whoever converts or
// requantises:
//
//     plain fp8, bf16, f16, blocks
//                       quantize_rows(rows, {}, out);
//     scaled fp8        largest = max(largest, absmax(rows)) over all rows, scale = f8_scale(largest), and
//     then
//                       quantize_rows(rows, {&scale, 1}, out) over all rows again;
//     int8 per row      i8_scales(rows, scales); quantize_rows(rows, scales, out);
//
// Rows that are quantised already go through dequantize_rows() into f32 first. Errors are kModel, one line
// without the tensor's name, which the caller puts in front: "row 3, column 5 is nan, a weight must be
// finite".
#pragma once

#include <span>

#include "tensor/tensor.h"

namespace darkroom {

inline constexpr float kLargestF8E4M3 = 448;  // -448 is there too
inline constexpr float kLargestF16 = 65504;

// The largest magnitude of `rows` (any floating dtype, rows may be strided); 0 without rows. Errors: kModel
// for NaN or infinity.
float absmax(const Tensor& rows);

// largest/448 and largest/levels, so that the largest value is kept; never 0, subnormal or infinite: 1 for 0,
// and at least the least normal f32. largest must be finite and not negative.
float f8_scale(float largest);
float i8_scale(float largest, int32_t levels = kInt8Levels);
// scales[r] = i8_scale(absmax of row r, levels); scales.size() must be rows.rows(). Errors: as absmax().
void i8_scales(const Tensor& rows, std::span<float> scales, int32_t levels = kInt8Levels);

// out = rows/scale, to the nearest value of out's dtype, ties to even; what lies beyond its largest is
// clamped, of i8 beyond its levels, 127 where they are not known: -128 is never written (bf16: rounds to
// infinity, as f32 values beyond 3.39e38 do). rows: any floating dtype. out: same shape, kBF16, kF16,
// kF8E4M3, kI8 or what is_quantizable_block(), not overlapping. scales: none, one, or one for each of these
// rows, positive and finite; none for a block type, whose rows are whole blocks. Errors: kModel for NaN or
// infinity in rows; kFailure for anything else that breaks this contract.
//
// The error of a value, |stored·scale − w|, is at most, with s the scale and apart from two roundings of f32
// (no such bound for block types):
//   f8   s·2^-10 below 2^-6·s in magnitude, |w|·2^-4 above (halves of an ulp);   i8   s/2;   bf16   |w|·2^-8;
//   f16  2^-25 below 2^-14 in magnitude, |w|·2^-11 above.
void quantize_rows(const Tensor& rows, std::span<const float> scales, const Tensor& out);

// out[r] = rows[r]·scale in f32. rows: any matrix storage, of a block type whole blocks. out: f32 of the same
// shape, not overlapping. scales as above, but any number will do that a file gives. Errors: kFailure.
void dequantize_rows(const Tensor& rows, std::span<const float> scales, const Tensor& out);

}  // namespace darkroom

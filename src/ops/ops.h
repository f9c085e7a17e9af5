// The contract of every op: about fifteen coarse, fused operations that the models are written in.
//
// ops.cc checks shapes, dtypes and devices once for all backends, then calls the context's backend; the
// formulas stand on the argument structs in ops/backend.h. A name ending in _into writes where it is told;
// the others allocate their result, dense and in the dtype of x, from ctx.arena. Errors: kFailure with the
// op, the tensor and both numbers.
#pragma once

#include <cstdint>
#include <span>

#include "ops/context.h"

namespace darkroom {

// The parameters of a linear layer as the model files store them.
struct Linear {
  Tensor weight;  // [out, in]; may be quantised, with scales
  Tensor bias;    // [out], or absent
  // A LoRA beside the weight (arXiv 2106.09685), or both absent: down [R, in], which may have scales, and up
  // [out, R].
  Tensor lora_down = {}, lora_up = {};
  // Of the first of the layers that multiply the same x, f32 [in], or absent: what quantised x is multiplied by
  // before, and the weight's columns are divided by (ops::quantize_rows).
  Tensor smooth = {};
  int64_t out_features() const { return weight.shape[0]; }
  int64_t in_features() const { return weight.shape[1]; }
};

// The parameters of a convolution: weight [out, in, kh, kw] (PyTorch's OIHW), bias [out] or absent.
struct Conv2d {
  Tensor weight;
  Tensor bias;
};

// The rows [M,K] that linear layers multiply. Where they are to do so in 8 bits: the same from
// quantize_rows() beside them. A LoRA takes the exact ones, and results have their dtype.
struct LinearInput {
  Tensor x;
  Tensor quantised = {};
  LinearInput(const Tensor& exact) : x(exact) {}
  LinearInput(const Tensor& exact, const Tensor& in_8_bits) : x(exact), quantised(in_8_bits) {}
};

namespace ops {

// act(x[M,K]·Wᵀ + b) -> [M,N]. With a LoRA W is W + up·down, in this and the next three; that takes f32
// [M,R] of ctx.arena while it runs. A quantised input takes weights in i8 with scales, K up to kMaxInt8Depth.
Tensor linear(const Context& ctx, const LinearInput& x, const Linear& w,
              Activation activation = Activation::kNone);
void linear_into(const Context& ctx, const LinearInput& x, const Linear& w, Activation activation,
                 const Tensor& out);
// x[M,N] += input[M,K]·Wᵀ + b, in place, rounded once.
void linear_residual(const Context& ctx, const LinearInput& input, const Linear& w, const Tensor& x);
// x[M,N] += gate ⊙ (input[M,K]·Wᵀ + b), in place, rounded once; gate f32 [N] (adaLN-Zero, arXiv 2212.09748).
void linear_gate_residual(const Context& ctx, const LinearInput& input, const Linear& w, const Tensor& gate,
                          const Tensor& x);

// x[M,K] in 8 bits, symmetric, for LinearInput: i8 [M,K] with a scale for each row, or for each `group`
// columns of a row (0 or K and above: the row; arXiv 2208.07339). Both lie in ctx.arena. The largest magnitude
// of those becomes `levels`, kInt8Levels or kInt7Levels: with the latter, and weights of as many, processors
// without a dot product of 8 bits multiply faster. QuantizeRowsArgs has the arithmetic. With `smooth` [K], f32,
// x ⊙ smooth is quantised: for weights whose columns are divided by it (SmoothQuant, arXiv 2211.10438). Errors:
// also kFailure for NaN or infinity, naming the row.
Tensor quantize_rows(const Context& ctx, const Tensor& x, int64_t group = 0, const Tensor& smooth = {},
                     int32_t levels = kInt8Levels);

// magnitudes f32 [2,N], in place: of each column of x [M,N] the largest magnitude, if it is larger than what was
// there, and its squares added to what was there. Errors: kFailure for NaN or infinity.
void column_magnitudes_into(const Context& ctx, const Tensor& x, const Tensor& magnitudes);

// LayerNorm with weight and bias [N] (arXiv 1607.06450).
Tensor layer_norm(const Context& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias,
                  float epsilon);
// LayerNorm without parameters, then ·(1 + scale) + shift; scale and shift f32 [N].
Tensor norm_modulate(const Context& ctx, const Tensor& x, const Tensor& shift, const Tensor& scale,
                     float epsilon);
void norm_modulate_into(const Context& ctx, const Tensor& x, const Tensor& shift, const Tensor& scale,
                        float epsilon, const Tensor& out);
// RMSNorm with weight [N] (arXiv 1910.07467).
Tensor rms_norm(const Context& ctx, const Tensor& x, const Tensor& weight, float epsilon);

// In place on x[L, heads·D]: per-head RMSNorm with weight [D], then rotary positions; cos, sin f32 [L, D/2].
void qk_norm_rope(const Context& ctx, const Tensor& x, const Tensor& weight, float epsilon, const Tensor& cos,
                  const Tensor& sin);

struct AttentionOptions {
  int64_t heads = 1;
  float scale = 1;
  bool causal = false;
  Tensor relative_bias = {};  // f32 [heads, Lq + Lk − 1], see AttentionArgs
  // For keys in parts, see AttentionArgs. Parts of whole blocks of keys, the last aside, give the bytes of
  // one call.
  static constexpr int64_t kKeyBlock = 256;
  Tensor state = {};  // f32 [Lq, heads·(D + 2)]
  bool first = true, last = true;
  // Both products in 8 bits, see AttentionArgs: for heads of up to kMaxInt8HeadDim and scales from 2^-16 to 1.
  // K and V in 8 bits lie in ctx.arena while it runs.
  bool int8 = false;
};
// softmax(scale·q·kᵀ + bias)·v per head, q [Lq, heads·D], k, v [Lk, heads·D] -> [Lq, heads·D]; memory O(L)
// (online softmax: arXiv 1805.02867, 2205.14135).
Tensor attention(const Context& ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                 const AttentionOptions& options);
void attention_into(const Context& ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                    const AttentionOptions& options, const Tensor& out);

// gelu_tanh(gate) ⊙ up, both [M,N] (arXiv 2002.05202).
Tensor gated_gelu(const Context& ctx, const Tensor& gate, const Tensor& up);
void add_into(const Context& ctx, const Tensor& x, const Tensor& y, const Tensor& out);
// x + y_scale·y + z_scale·z, all [M,N]; z may be absent; `out` may be any of them.
void add_scaled_into(const Context& ctx, const Tensor& x, float y_scale, const Tensor& y, float z_scale,
                     const Tensor& z, const Tensor& out);
// Σ|x − y|/Σ|y| over all values of x, y [M,N]; 0 without data (dry run), and where both sums are 0.
double relative_distance(const Context& ctx, const Tensor& x, const Tensor& y);
Tensor silu(const Context& ctx, const Tensor& x);

// Rows of table [V,N] -> [ids, N] in ctx.activation. Errors: kFailure for an id outside [0, V).
Tensor embed(const Context& ctx, const Tensor& table, std::span<const int32_t> ids);

// GroupNorm over x [H,W,C] (arXiv 1803.08494), SiLU after it if asked.
struct GroupNormOptions {
  int64_t groups = 32;
  float epsilon = 1e-6f;
  bool silu = false;
};
Tensor group_norm(const Context& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias,
                  const GroupNormOptions& options);
// The same, written over x.
void group_norm_in_place(const Context& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias,
                         const GroupNormOptions& options);
// The same in three parts, for pictures that come in strips of rows: moments of each row, out f32 [H,
// 2·groups] for x [H,W,C]; from those of all rows the statistics f32 [2, groups]; with them any rows are
// normalised. However the rows were cut into strips, the bytes are those of group_norm().
void row_moments_into(const Context& ctx, const Tensor& x, int64_t groups, const Tensor& out);
Tensor group_statistics(const Context& ctx, const Tensor& moments, int64_t values_per_moment, float epsilon);
void group_norm_into(const Context& ctx, const Tensor& x, const Tensor& statistics, const Tensor& weight,
                     const Tensor& bias, bool silu, const Tensor& out);

// "Same" convolution over x [H,W,Ci] -> [H·upsample/downsample, W·upsample/downsample, Co], rounded down.
struct ConvOptions {
  int64_t upsample = 1;    // nearest-neighbour upsampling of x first: 1 or 2
  int64_t downsample = 1;  // 2: only results at odd rows and columns (diffusers' Downsample2D for even sizes)
  Tensor residual = {};    // added to the result, if present
  // conv2d_into only: `out` gets as many rows as it has, from this one of the result on.
  int64_t first_row = 0;
  // Whole tiles of so many rows of the result have the same bytes whichever others are computed.
  static constexpr int64_t kTileRows = kConvTileRows;
};
Tensor conv2d(const Context& ctx, const Tensor& x, const Conv2d& w, const ConvOptions& options = {});
void conv2d_into(const Context& ctx, const Tensor& x, const Conv2d& w, const ConvOptions& options,
                 const Tensor& out);

// x in another dtype, f32 or bf16.
Tensor convert(const Context& ctx, const Tensor& x, DType dtype);
void convert_into(const Context& ctx, const Tensor& x, const Tensor& out);
// Host numbers as a tensor of this context's backend, in `dtype`; shape.numel() values, or none where
// ctx.counts_only().
Tensor upload(const Context& ctx, std::span<const float> host, DType dtype, const Shape& shape);
// x's values on the host, row by row; host.size() must be x.shape.numel(), or 0 where ctx.counts_only().
// There host is left alone.
void download(const Context& ctx, const Tensor& x, std::span<float> host);

}  // namespace ops
}  // namespace darkroom

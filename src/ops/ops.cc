#include "ops/ops.h"

#include <algorithm>
#include <string_view>
#include <vector>

namespace darkroom {

void fail_not_finite(const Tensor& x, int64_t row) {
  fail(ErrorCode::kFailure,
       "row {} of {} holds a number that is not finite; the model's values overflow in this "
       "precision: try --precision f32",
       row, x);
}

void fail_attended(std::string_view what, const Tensor& x, int64_t row) {
  fail(ErrorCode::kFailure,
       "attention: row {} of {} ({}) holds a number that is not finite or above 2^100; the model's values "
       "overflow: try --precision f32, or --attention exact",
       row, what, x);
}

namespace {

constexpr int64_t kWide = 64;  // columns of the widest strip, and bytes of a vector

int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

}  // namespace

int64_t int8_attention_head_bytes(int64_t keys, int64_t head_dim) {
  const int64_t width = up(head_dim, kWide), blocks = up(keys, kInt8KeyBlock) / kInt8KeyBlock;
  const int64_t numbers = up(keys, kWide) * (up(head_dim, 4) + width);
  return numbers + 4 * (up(keys, kWide) + 2 * (blocks + 1) * width);
}

int64_t int8_attention_bytes(int64_t keys, int64_t heads, int64_t head_dim) {
  const int64_t blocks = up(keys, kInt8KeyBlock) / kInt8KeyBlock;
  return heads * int8_attention_head_bytes(keys, head_dim) + 2 * 8 * blocks * up(heads * head_dim, kWide);
}

namespace ops {
namespace {

// The checks below all read as sentences: "linear: x is bf16 [4, 8], expected [M, 16]".

void check_on(const Context& ctx, std::string_view op, std::string_view what, const Tensor& t) {
  require(t.present(), ErrorCode::kFailure, "{}: {} is missing", op, what);
  require(t.scale_count == 0, ErrorCode::kFailure, "{}: {} ({}) has {} scales, only a matrix of linear may",
          op, what, t, t.scale_count);
  // Not require(): a backend's name is a string.
  if (t.device != ctx.backend.device() || (!t.data && t.device != Device::kNone && t.shape.numel() > 0)) {
    fail(ErrorCode::kFailure, "{}: {} ({}) is not where the backend {} computes", op, what, t,
         ctx.backend.name());
  }
}

void check_shape(const Context& ctx, std::string_view op, std::string_view what, const Tensor& t,
                 const Shape& shape) {
  check_on(ctx, op, what, t);
  require(t.shape == shape, ErrorCode::kFailure, "{}: {} is {}, expected {}", op, what, t, shape);
}

void check_activation(const Context& ctx, std::string_view op, std::string_view what, const Tensor& t,
                      int rank) {
  check_on(ctx, op, what, t);
  require((t.dtype == DType::kF32 || t.dtype == DType::kBF16) && t.shape.rank() == rank, ErrorCode::kFailure,
          "{}: {} is {}, expected f32 or bf16 of rank {}", op, what, t, rank);
}

void check_like(const Context& ctx, std::string_view op, std::string_view what, const Tensor& t,
                const Tensor& like, const Shape& shape) {
  check_shape(ctx, op, what, t, shape);
  require(t.dtype == like.dtype, ErrorCode::kFailure, "{}: {} is {}, expected {}", op, what, t,
          dtype_name(like.dtype));
}

void check_weight(const Context& ctx, std::string_view op, std::string_view what, const Tensor& t,
                  const Shape& shape) {
  check_shape(ctx, op, what, t, shape);
  require(is_float(t.dtype), ErrorCode::kFailure, "{}: {} is {}, expected a floating-point type", op, what,
          t);
}

// A backend reads whole blocks only.
void check_blocks(std::string_view op, std::string_view what, const Tensor& t) {
  const int64_t elements = block_size(t.dtype).elements;
  require(t.cols() % elements == 0 && t.row_stride % elements == 0, ErrorCode::kFailure,
          "{}: {} is {}, expected rows of whole blocks of {}", op, what, t, elements);
}

// [n, k], in a type for matrices, with scales or without.
void check_matrix(const Context& ctx, std::string_view op, std::string_view what, const Tensor& t,
                  const Shape& shape) {
  Tensor stored = t;
  stored.scale_count = 0;
  check_shape(ctx, op, what, stored, shape);
  const bool scaled = t.scale_count == 1 || t.scale_count == t.rows();
  require(is_matrix_storage(t.dtype) && (scaled || (t.scale_count == 0 && t.dtype != DType::kI8)),
          ErrorCode::kFailure,
          "{}: {} is {} with {} scales, expected a floating-point or block type, or i8 with a scale, one in "
          "all or one for each row",
          op, what, t, t.scale_count);
  check_blocks(op, what, t);
  require(!scaled || t.scales || !t.data, ErrorCode::kFailure, "{}: {} ({}) has lost its scales", op, what,
          t);
}

void check_optional_weight(const Context& ctx, std::string_view op, std::string_view what, const Tensor& t,
                           const Shape& shape) {
  if (t.present()) check_weight(ctx, op, what, t, shape);
}

void check_f32(const Context& ctx, std::string_view op, std::string_view what, const Tensor& t,
               const Shape& shape) {
  check_shape(ctx, op, what, t, shape);
  require(t.dtype == DType::kF32, ErrorCode::kFailure, "{}: {} is {}, expected f32", op, what, t);
}

void check_dense(std::string_view op, std::string_view what, const Tensor& t) {
  require(t.dense(), ErrorCode::kFailure, "{}: {} ({}) must be dense, its row stride is {}", op, what, t,
          t.row_stride);
}

Tensor allocate_like(const Context& ctx, const Tensor& x, const Shape& shape) {
  return ctx.arena.allocate(x.dtype, shape);
}

// Of quantised activations.
void check_levels(std::string_view op, int32_t levels) {
  require(levels == kInt8Levels || levels == kInt7Levels, ErrorCode::kFailure,
          "{}: activations of {} levels, expected {} or {}", op, levels, kInt8Levels, kInt7Levels);
}

// What quantize_rows() makes of [m, k].
void check_quantised(const Context& ctx, const Tensor& t, const Shape& shape) {
  const char* op = "linear";
  Tensor stored = t;
  stored.scale_count = 0;
  check_shape(ctx, op, "quantised x", stored, shape);
  require(t.dtype == DType::kI8 && t.scale_count == t.rows() * t.scales_per_row(), ErrorCode::kFailure,
          "linear: quantised x is {} with {} scales, expected i8 with {}", t, t.scale_count,
          t.rows() * t.scales_per_row());
  check_levels("linear", t.levels);
  require(t.cols() <= kMaxInt8Depth, ErrorCode::kFailure,
          "linear: {} columns of 8 bits, at most {} can be summed", t.cols(), kMaxInt8Depth);
}

// What `x` and `w` give to a LinearArgs is put in here.
void run_linear(const Context& ctx, const LinearInput& x, const Linear& w, LinearArgs a) {
  const char* op = "linear";
  a.x = x.x;
  a.weight = w.weight;
  a.bias = w.bias;
  a.lora_up = w.lora_up;
  check_activation(ctx, op, "x", a.x, 2);
  require(a.weight.shape.rank() == 2, ErrorCode::kFailure, "linear: weight is {}, expected [out, in]",
          a.weight);
  const int64_t m = a.x.rows(), n = a.weight.shape[0];
  check_matrix(ctx, op, "weight", a.weight, {n, a.x.cols()});
  check_optional_weight(ctx, op, "bias", a.bias, {n});
  if (a.gate.present()) check_f32(ctx, op, "gate", a.gate, {n});
  if (a.residual.present()) check_like(ctx, op, "residual", a.residual, a.x, {m, n});
  check_like(ctx, op, "out", a.out, a.x, {m, n});
  const Arena::Scope scope(ctx.arena);
  if (w.lora_up.present()) {
    const int64_t rank = w.lora_up.cols();
    check_weight(ctx, op, "lora_up", w.lora_up, {n, rank});
    check_matrix(ctx, op, "lora_down", w.lora_down, {rank, a.x.cols()});
    a.lora_hidden = ctx.arena.allocate(DType::kF32, {m, rank});
    ctx.backend.linear(
        {.x = a.x, .weight = w.lora_down, .bias = {}, .gate = {}, .residual = {}, .out = a.lora_hidden});
  }
  if (x.quantised.present()) {
    check_quantised(ctx, x.quantised, a.x.shape);
    require(a.weight.dtype == DType::kI8, ErrorCode::kFailure,
            "linear: weight is {} beside a quantised x, expected i8", a.weight);
    a.x = x.quantised;
  }
  ctx.backend.linear(a);
}

}  // namespace

Tensor linear(const Context& ctx, const LinearInput& x, const Linear& w, Activation activation) {
  const Tensor out = allocate_like(ctx, x.x, {x.x.rows(), w.out_features()});
  linear_into(ctx, x, w, activation, out);
  return out;
}

void linear_into(const Context& ctx, const LinearInput& x, const Linear& w, Activation activation,
                 const Tensor& out) {
  run_linear(
      ctx, x, w,
      {.x = {}, .weight = {}, .bias = {}, .activation = activation, .gate = {}, .residual = {}, .out = out});
}

void linear_residual(const Context& ctx, const LinearInput& input, const Linear& w, const Tensor& x) {
  run_linear(ctx, input, w, {.x = {}, .weight = {}, .bias = {}, .gate = {}, .residual = x, .out = x});
}

void linear_gate_residual(const Context& ctx, const LinearInput& input, const Linear& w, const Tensor& gate,
                          const Tensor& x) {
  run_linear(ctx, input, w, {.x = {}, .weight = {}, .bias = {}, .gate = gate, .residual = x, .out = x});
}

Tensor quantize_rows(const Context& ctx, const Tensor& x, int64_t group, const Tensor& smooth,
                     int32_t levels) {
  check_activation(ctx, "quantize_rows", "x", x, 2);
  require(group >= 0 && x.cols() > 0, ErrorCode::kFailure, "quantize_rows: {} in groups of {} columns", x,
          group);
  check_levels("quantize_rows", levels);
  if (smooth.present()) check_f32(ctx, "quantize_rows", "smooth", smooth, {x.cols()});
  Tensor out = ctx.arena.allocate(DType::kI8, x.shape);
  out.levels = levels;
  if (group > 0 && group < x.cols()) out.scale_cols = group;
  const Tensor scales = ctx.arena.allocate(DType::kF32, {x.rows(), out.scales_per_row()});
  ctx.backend.quantize_rows({.x = x,
                             .smooth = smooth,
                             .group = out.scale_cols == 0 ? x.cols() : group,
                             .out = out,
                             .scales = scales});
  out.scale_count = scales.shape.numel();
  out.scales = static_cast<const float*>(scales.data);
  return out;
}

void column_magnitudes_into(const Context& ctx, const Tensor& x, const Tensor& magnitudes) {
  check_activation(ctx, "column_magnitudes", "x", x, 2);
  check_f32(ctx, "column_magnitudes", "magnitudes", magnitudes, {2, x.cols()});
  check_dense("column_magnitudes", "magnitudes", magnitudes);
  ctx.backend.column_magnitudes({.x = x, .out = magnitudes});
}

Tensor layer_norm(const Context& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias,
                  float epsilon) {
  const char* op = "layer_norm";
  check_activation(ctx, op, "x", x, 2);
  check_weight(ctx, op, "weight", weight, {x.cols()});
  check_weight(ctx, op, "bias", bias, {x.cols()});
  const Tensor out = allocate_like(ctx, x, x.shape);
  ctx.backend.layer_norm({.x = x, .weight = weight, .bias = bias, .out = out, .epsilon = epsilon});
  return out;
}

Tensor norm_modulate(const Context& ctx, const Tensor& x, const Tensor& shift, const Tensor& scale,
                     float epsilon) {
  const Tensor out = allocate_like(ctx, x, x.shape);
  norm_modulate_into(ctx, x, shift, scale, epsilon, out);
  return out;
}

void norm_modulate_into(const Context& ctx, const Tensor& x, const Tensor& shift, const Tensor& scale,
                        float epsilon, const Tensor& out) {
  const char* op = "norm_modulate";
  check_activation(ctx, op, "x", x, 2);
  check_f32(ctx, op, "shift", shift, {x.cols()});
  check_f32(ctx, op, "scale", scale, {x.cols()});
  check_like(ctx, op, "out", out, x, x.shape);
  ctx.backend.norm_modulate({.x = x, .scale = scale, .shift = shift, .out = out, .epsilon = epsilon});
}

Tensor rms_norm(const Context& ctx, const Tensor& x, const Tensor& weight, float epsilon) {
  const char* op = "rms_norm";
  check_activation(ctx, op, "x", x, 2);
  check_weight(ctx, op, "weight", weight, {x.cols()});
  const Tensor out = allocate_like(ctx, x, x.shape);
  ctx.backend.rms_norm({.x = x, .weight = weight, .out = out, .epsilon = epsilon});
  return out;
}

void qk_norm_rope(const Context& ctx, const Tensor& x, const Tensor& weight, float epsilon, const Tensor& cos,
                  const Tensor& sin) {
  const char* op = "qk_norm_rope";
  check_activation(ctx, op, "x", x, 2);
  check_on(ctx, op, "weight", weight);
  const int64_t head_dim = weight.shape.numel();
  check_weight(ctx, op, "weight", weight, {head_dim});
  require(head_dim > 0 && head_dim % 2 == 0 && x.cols() % head_dim == 0, ErrorCode::kFailure,
          "qk_norm_rope: {} columns do not divide into heads of even size {}", x.cols(), head_dim);
  check_f32(ctx, op, "cos", cos, {x.rows(), head_dim / 2});
  check_f32(ctx, op, "sin", sin, {x.rows(), head_dim / 2});
  ctx.backend.qk_norm_rope({.x = x, .weight = weight, .cos = cos, .sin = sin, .epsilon = epsilon});
}

namespace {

void check_int8_attention(const AttentionOptions& options, int64_t head_dim) {
  require(!options.causal && !options.relative_bias.present() && !options.state.present(),
          ErrorCode::kFailure,
          "attention: 8 bits with a causal mask, a bias or keys in parts are not supported");
  require(head_dim <= kMaxInt8HeadDim, ErrorCode::kFailure,
          "attention: heads of {} columns, at most {} are supported in 8 bits", head_dim, kMaxInt8HeadDim);
  require(options.scale >= 0x1p-16f && options.scale <= 1, ErrorCode::kFailure,
          "attention: in 8 bits the scale may be 2^-16 to 1, not {}", options.scale);
}

}  // namespace

Tensor attention(const Context& ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                 const AttentionOptions& options) {
  const Tensor out = allocate_like(ctx, q, q.shape);
  attention_into(ctx, q, k, v, options, out);
  return out;
}

void attention_into(const Context& ctx, const Tensor& q, const Tensor& k, const Tensor& v,
                    const AttentionOptions& options, const Tensor& out) {
  const char* op = "attention";
  check_activation(ctx, op, "q", q, 2);
  check_on(ctx, op, "k", k);
  require(options.heads > 0 && q.cols() % options.heads == 0, ErrorCode::kFailure,
          "attention: {} columns do not divide into {} heads", q.cols(), options.heads);
  check_like(ctx, op, "k", k, q, {k.rows(), q.cols()});
  check_like(ctx, op, "v", v, q, {k.rows(), q.cols()});
  require(k.rows() > 0, ErrorCode::kFailure, "attention: there are no keys");
  if (options.relative_bias.present()) {
    check_f32(ctx, op, "relative_bias", options.relative_bias, {options.heads, q.rows() + k.rows() - 1});
  }
  if (options.state.present()) {
    check_f32(ctx, op, "state", options.state, {q.rows(), q.cols() + 2 * options.heads});
    require(!options.causal && !options.relative_bias.present(), ErrorCode::kFailure,
            "attention: keys in parts with a causal mask or a bias are not supported");
  } else {
    require(options.first && options.last, ErrorCode::kFailure,
            "attention: state is missing, the keys come in parts");
  }
  check_like(ctx, op, "out", out, q, q.shape);
  const Arena::Scope scope(ctx.arena);
  Tensor memory;
  if (options.int8) {
    check_int8_attention(options, q.cols() / options.heads);
    memory = ctx.arena.allocate(DType::kI8,
                                {int8_attention_bytes(k.rows(), options.heads, q.cols() / options.heads)});
  }
  ctx.backend.attention({.q = q,
                         .k = k,
                         .v = v,
                         .out = out,
                         .heads = options.heads,
                         .scale = options.scale,
                         .causal = options.causal,
                         .relative_bias = options.relative_bias,
                         .state = options.state,
                         .first = options.first,
                         .last = options.last,
                         .int8_memory = memory});
}

Tensor gated_gelu(const Context& ctx, const Tensor& gate, const Tensor& up) {
  const char* op = "gated_gelu";
  check_activation(ctx, op, "gate", gate, 2);
  check_like(ctx, op, "up", up, gate, gate.shape);
  const Tensor out = allocate_like(ctx, gate, gate.shape);
  ctx.backend.gated_gelu({.gate = gate, .up = up, .out = out});
  return out;
}

void add_into(const Context& ctx, const Tensor& x, const Tensor& y, const Tensor& out) {
  check_activation(ctx, "add", "x", x, 2);
  check_like(ctx, "add", "y", y, x, x.shape);
  check_like(ctx, "add", "out", out, x, x.shape);
  ctx.backend.add({.x = x, .y = y, .z = {}, .out = out});
}

void add_scaled_into(const Context& ctx, const Tensor& x, float y_scale, const Tensor& y, float z_scale,
                     const Tensor& z, const Tensor& out) {
  const char* op = "add_scaled";
  check_activation(ctx, op, "x", x, 2);
  check_like(ctx, op, "y", y, x, x.shape);
  if (z.present()) check_like(ctx, op, "z", z, x, x.shape);
  check_like(ctx, op, "out", out, x, x.shape);
  ctx.backend.add({.x = x, .y = y, .z = z, .out = out, .y_scale = y_scale, .z_scale = z_scale});
}

double relative_distance(const Context& ctx, const Tensor& x, const Tensor& y) {
  check_activation(ctx, "relative_distance", "x", x, 2);
  check_like(ctx, "relative_distance", "y", y, x, x.shape);
  const Arena::Scope scope(ctx.arena);
  const Tensor sums = ctx.arena.allocate(DType::kF32, {x.rows(), 2});
  ctx.backend.row_distances({.x = x, .y = y, .out = sums});
  std::vector<float> host(static_cast<std::size_t>(2 * x.rows()));
  download(ctx, sums, host);
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < host.size(); i += 2) {
    difference += static_cast<double>(host[i]);
    size += static_cast<double>(host[i + 1]);
  }
  return difference == 0 ? 0 : difference / size;
}

Tensor silu(const Context& ctx, const Tensor& x) {
  check_activation(ctx, "silu", "x", x, 2);
  const Tensor out = allocate_like(ctx, x, x.shape);
  ctx.backend.activate({.x = x, .out = out, .activation = Activation::kSilu});
  return out;
}

Tensor embed(const Context& ctx, const Tensor& table, std::span<const int32_t> ids) {
  check_on(ctx, "embed", "table", table);
  require(table.shape.rank() == 2 && (is_float(table.dtype) || is_block(table.dtype)), ErrorCode::kFailure,
          "embed: table is {}, expected [V, N]", table);
  check_blocks("embed", "table", table);
  for (const int32_t id : ids) {
    require(id >= 0 && id < table.rows(), ErrorCode::kFailure,
            "embed: token id {} is outside the table of {} rows", id, table.rows());
  }
  const Tensor out = ctx.allocate({static_cast<int64_t>(ids.size()), table.cols()});
  ctx.backend.embed({.table = table, .ids = ids, .out = out});
  return out;
}

void row_moments_into(const Context& ctx, const Tensor& x, int64_t groups, const Tensor& out) {
  const char* op = "row_moments";
  check_activation(ctx, op, "x", x, 3);
  check_dense(op, "x", x);
  require(groups > 0 && x.cols() % groups == 0, ErrorCode::kFailure,
          "{}: {} channels do not divide into {} groups", op, x.cols(), groups);
  check_f32(ctx, op, "out", out, {x.shape[0], 2 * groups});
  ctx.backend.row_moments({.x = x, .out = out, .groups = groups});
}

Tensor group_statistics(const Context& ctx, const Tensor& moments, int64_t values_per_moment, float epsilon) {
  const char* op = "group_statistics";
  check_f32(ctx, op, "moments", moments, moments.shape);
  require(moments.shape.rank() == 2 && moments.cols() % 2 == 0 && values_per_moment > 0, ErrorCode::kFailure,
          "{}: moments are {} of {} values each, expected [H, 2·groups] of at least one", op, moments,
          values_per_moment);
  const Tensor out = ctx.arena.allocate(DType::kF32, {2, moments.cols() / 2});
  ctx.backend.group_statistics(
      {.moments = moments, .out = out, .count = values_per_moment, .epsilon = epsilon});
  return out;
}

void group_norm_into(const Context& ctx, const Tensor& x, const Tensor& statistics, const Tensor& weight,
                     const Tensor& bias, bool silu, const Tensor& out) {
  const char* op = "group_norm";
  check_activation(ctx, op, "x", x, 3);
  check_dense(op, "x", x);
  check_f32(ctx, op, "statistics", statistics, {2, statistics.cols()});
  require(statistics.cols() > 0 && x.cols() % statistics.cols() == 0, ErrorCode::kFailure,
          "{}: {} channels do not divide into {} groups", op, x.cols(), statistics.cols());
  check_weight(ctx, op, "weight", weight, {x.cols()});
  check_weight(ctx, op, "bias", bias, {x.cols()});
  check_like(ctx, op, "out", out, x, x.shape);
  check_dense(op, "out", out);
  ctx.backend.group_norm(
      {.x = x, .statistics = statistics, .weight = weight, .bias = bias, .out = out, .silu = silu});
}

namespace {

void group_norm_whole(const Context& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias,
                      const GroupNormOptions& options, const Tensor& out) {
  const Arena::Scope scope(ctx.arena);
  check_activation(ctx, "group_norm", "x", x, 3);
  require(options.groups > 0, ErrorCode::kFailure, "group_norm: {} groups", options.groups);
  const Tensor moments = ctx.arena.allocate(DType::kF32, {x.shape[0], 2 * options.groups});
  row_moments_into(ctx, x, options.groups, moments);
  const Tensor statistics =
      group_statistics(ctx, moments, x.shape[1] * x.cols() / options.groups, options.epsilon);
  group_norm_into(ctx, x, statistics, weight, bias, options.silu, out);
}

}  // namespace

Tensor group_norm(const Context& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias,
                  const GroupNormOptions& options) {
  const Tensor out = allocate_like(ctx, x, x.shape);
  group_norm_whole(ctx, x, weight, bias, options, out);
  return out;
}

void group_norm_in_place(const Context& ctx, const Tensor& x, const Tensor& weight, const Tensor& bias,
                         const GroupNormOptions& options) {
  group_norm_whole(ctx, x, weight, bias, options, x);
}

Tensor conv2d(const Context& ctx, const Tensor& x, const Conv2d& w, const ConvOptions& options) {
  require(x.shape.rank() == 3 && w.weight.shape.rank() == 4, ErrorCode::kFailure,
          "conv2d: x is {} and weight {}, expected [H, W, Ci] and [Co, Ci, kh, kw]", x, w.weight);
  const int64_t u = options.upsample, d = std::max<int64_t>(1, options.downsample);
  const Tensor out = allocate_like(ctx, x, {x.shape[0] * u / d, x.shape[1] * u / d, w.weight.shape[0]});
  conv2d_into(ctx, x, w, options, out);
  return out;
}

void conv2d_into(const Context& ctx, const Tensor& x, const Conv2d& w, const ConvOptions& options,
                 const Tensor& out) {
  const char* op = "conv2d";
  check_activation(ctx, op, "x", x, 3);
  check_dense(op, "x", x);
  check_on(ctx, op, "weight", w.weight);
  const Shape& k = w.weight.shape;
  require(k.rank() == 4 && k[2] % 2 == 1 && k[3] % 2 == 1, ErrorCode::kFailure,
          "conv2d: weight is {}, expected [Co, Ci, kh, kw] with odd kh and kw", w.weight);
  check_weight(ctx, op, "weight", w.weight, {k[0], x.shape[2], k[2], k[3]});
  check_dense(op, "weight", w.weight);
  check_optional_weight(ctx, op, "bias", w.bias, {k[0]});
  const int64_t u = options.upsample, d = options.downsample;
  require((u == 1 || u == 2) && (d == 1 || d == 2), ErrorCode::kFailure,
          "conv2d: upsampling by {} and downsampling by {}, only 1 and 2 exist", u, d);
  const int64_t rows = out.shape[0], whole = x.shape[0] * u / d;
  const Shape shape{rows, x.shape[1] * u / d, k[0]};
  check_like(ctx, op, "out", out, x, shape);
  require(options.first_row >= 0 && rows <= whole - options.first_row, ErrorCode::kFailure,
          "conv2d: {} rows from {} of a result of {}", rows, options.first_row, whole);
  check_dense(op, "out", out);
  if (options.residual.present()) {
    check_like(ctx, op, "residual", options.residual, x, shape);
    check_dense(op, "residual", options.residual);
  }
  ctx.backend.conv2d({.x = x,
                      .weight = w.weight,
                      .bias = w.bias,
                      .residual = options.residual,
                      .out = out,
                      .upsample = u,
                      .downsample = d,
                      .first_row = options.first_row});
}

Tensor convert(const Context& ctx, const Tensor& x, DType dtype) {
  const Tensor out = ctx.arena.allocate(dtype, x.shape);
  convert_into(ctx, x, out);
  return out;
}

void convert_into(const Context& ctx, const Tensor& x, const Tensor& out) {
  check_on(ctx, "convert", "x", x);
  check_shape(ctx, "convert", "out", out, x.shape);
  require(is_float(x.dtype) && (out.dtype == DType::kF32 || out.dtype == DType::kBF16), ErrorCode::kFailure,
          "convert: {} to {} is not supported", x, dtype_name(out.dtype));
  ctx.backend.convert({.x = x, .out = out});
}

Tensor upload(const Context& ctx, std::span<const float> host, DType dtype, const Shape& shape) {
  require(static_cast<int64_t>(host.size()) == shape.numel() || (ctx.counts_only() && host.empty()),
          ErrorCode::kFailure, "upload: {} values for shape {}", host.size(), shape);
  require(dtype == DType::kF32 || dtype == DType::kBF16, ErrorCode::kFailure,
          "upload: to {} is not supported", dtype_name(dtype));
  const Tensor out = ctx.arena.allocate(dtype, shape);
  ctx.backend.upload(host, out);
  return out;
}

void download(const Context& ctx, const Tensor& x, std::span<float> host) {
  check_on(ctx, "download", "x", x);
  const bool fits =
      static_cast<int64_t>(host.size()) == x.shape.numel() || (ctx.counts_only() && host.empty());
  require(fits && is_float(x.dtype), ErrorCode::kFailure, "download: {} values from {}", host.size(), x);
  ctx.backend.download(x, host);
}

}  // namespace ops
}  // namespace darkroom

// The rows of single ops.
#include <cmath>
#include <nlohmann/json.hpp>

#include "bench/meter.h"
#include "bench/operands.h"
#include "ops/ops.h"

namespace darkroom::bench {

namespace {

constexpr DType kActivations[] = {DType::kBF16, DType::kF32};
constexpr float kEpsilon = 1e-6f;
constexpr std::size_t kScratchBytes = std::size_t{1} << 20;  // of an op besides its operands: moments of rows

float unit_gain(int64_t terms) { return 1.0f / std::sqrt(static_cast<float>(terms)); }

// How many sets of operands of `bytes` pass the caches.
int sets(const Pace& pace, double bytes) {
  return static_cast<int>(std::ceil(static_cast<double>(pace.stream_bytes) / bytes));
}

void measure_matmul(Meter& meter, const MatmulShape& s, DType activation, Rows& rows,
                    DType weights = DType::kBF16) {
  const Row row{"matmul", activation, fmt::format("{}x{}x{}", s.m, s.k, s.n), matmul_work(s), 1, weights};
  if (!rows.may_run(meter, row)) return;
  Operands in(meter.backend());
  const Tensor x = in.random(activation, {s.m, s.k}), out = in.random(activation, {s.m, s.n});
  const Linear w{in.random(weights, {s.n, s.k}, unit_gain(s.k)), in.random(DType::kBF16, {s.n})};
  Arena arena = Arena::counting();
  const Context ctx = meter.context(activation, arena);
  rows.measure(meter, row, [&] { ops::linear_into(ctx, x, w, Activation::kNone, out); });
}

// With the quantising of its rows.
void measure_int8_matmul(Meter& meter, const MatmulShape& s, int32_t levels, Rows& rows) {
  const Row row{"matmul",   DType::kI8, fmt::format("{}x{}x{}", s.m, s.k, s.n), matmul_work(s), 1,
                DType::kI8, levels};
  if (!rows.may_run(meter, row)) return;
  Operands in(meter.backend());
  const Tensor x = in.random(DType::kBF16, {s.m, s.k}), out = in.random(DType::kBF16, {s.m, s.n});
  const Linear w{in.random_int8({s.n, s.k}, levels, unit_gain(s.k)), in.random(DType::kBF16, {s.n})};
  const std::unique_ptr<Memory> memory =
      meter.backend().allocate(static_cast<std::size_t>(s.m * (s.k + 4)) + 4 * kBufferAlignment);
  Arena arena(*memory);
  const Context ctx = meter.context(DType::kBF16, arena);
  rows.measure(meter, row, [&] {
    const Arena::Scope scope(arena);
    ops::linear_into(ctx, {x, ops::quantize_rows(ctx, x, 0, {}, levels)}, w, Activation::kNone, out);
  });
}

void measure_modulation(Meter& meter, const MatmulShape& s, DType activation, Rows& rows,
                        DType stored = DType::kBF16) {
  const Work work = modulation_work(s, activation, stored);
  const int calls = sets(meter.pace(), work.bytes);
  const Row row{"modulation",       activation, fmt::format("{}x{}x{}", s.m, s.k, s.n),
                times(work, calls), calls,      stored};
  if (!rows.may_run(meter, row)) return;
  Operands in(meter.backend());
  const Tensor x = in.random(activation, {s.m, s.k}), out = in.random(activation, {s.m, s.n});
  std::vector<Linear> weights{
      {in.random(stored, {s.n, s.k}, unit_gain(s.k)), in.random(DType::kBF16, {s.n})}};
  while (static_cast<int>(weights.size()) < calls) {
    weights.push_back({in.copy(weights[0].weight), weights[0].bias});
  }
  Arena arena = Arena::counting();
  const Context ctx = meter.context(activation, arena);
  rows.measure(meter, row, [&] {
    for (const Linear& w : weights) ops::linear_into(ctx, x, w, Activation::kNone, out);
  });
}

// q, k and v are column slices of one projection, as the transformer has them.
void measure_attention(Meter& meter, const AttentionShape& s, DType activation, Rows& rows) {
  const Row row{"attention", activation, fmt::format("{}x{}x{}", s.tokens, s.heads, s.head_dim),
                attention_work(s)};
  if (!rows.may_run(meter, row)) return;
  Operands in(meter.backend());
  const int64_t width = s.heads * s.head_dim;
  const Tensor fused = in.random(activation, {s.tokens, 3 * width});
  const Tensor out = in.random(activation, {s.tokens, width});
  const ops::AttentionOptions options{.heads = s.heads, .scale = unit_gain(s.head_dim)};
  Arena arena = Arena::counting();
  const Context ctx = meter.context(activation, arena);
  rows.measure(meter, row, [&] {
    ops::attention_into(ctx, fused.slice_cols(0, width), fused.slice_cols(width, width),
                        fused.slice_cols(2 * width, width), options, out);
  });
}

// The same in 8 bits, with what it makes of k and v: its products are bound by those of 8-bit linear layers.
void measure_int8_attention(Meter& meter, const AttentionShape& s, Rows& rows) {
  const Row row{"attention", DType::kI8, fmt::format("{}x{}x{}", s.tokens, s.heads, s.head_dim),
                Work{.matmul_flops = attention_work(s).attention_flops}};
  if (!rows.may_run(meter, row)) return;
  Operands in(meter.backend());
  const int64_t width = s.heads * s.head_dim;
  const Tensor fused = in.random(DType::kBF16, {s.tokens, 3 * width});
  const Tensor out = in.random(DType::kBF16, {s.tokens, width});
  const ops::AttentionOptions options{.heads = s.heads, .scale = unit_gain(s.head_dim), .int8 = true};
  const std::unique_ptr<Memory> memory =
      meter.backend().allocate(static_cast<std::size_t>(int8_attention_bytes(s.tokens, s.heads, s.head_dim)));
  Arena arena(*memory);
  const Context ctx = meter.context(DType::kBF16, arena);
  rows.measure(meter, row, [&] {
    ops::attention_into(ctx, fused.slice_cols(0, width), fused.slice_cols(width, width),
                        fused.slice_cols(2 * width, width), options, out);
  });
}

void measure_conv(Meter& meter, const ConvShape& s, DType activation, Rows& rows) {
  const std::string shape = fmt::format("{}->{} {}x{}{} @{}x{}", s.in, s.out, s.kernel, s.kernel,
                                        s.upsample == 2 ? " up2" : "", s.size, s.size);
  const Row row{"conv2d", activation, shape, conv_work(s)};
  if (!rows.may_run(meter, row)) return;
  Operands in(meter.backend());
  const int64_t out_size = s.size * s.upsample;
  const Tensor x = in.random(activation, {s.size, s.size, s.in});
  const Tensor out = in.random(activation, {out_size, out_size, s.out});
  const float scale = unit_gain(s.in * s.kernel * s.kernel);
  const Conv2d w{in.random(DType::kBF16, {s.out, s.in, s.kernel, s.kernel}, scale),
                 in.random(DType::kBF16, {s.out})};
  Arena arena = Arena::counting();
  const Context ctx = meter.context(activation, arena);
  rows.measure(meter, row, [&] { ops::conv2d_into(ctx, x, w, {.upsample = s.upsample}, out); });
}

// A row bound by memory: op(tensor) on so many copies of a tensor that caches do not help.
void measure_stream(Meter& meter, Row row, const Shape& shape, Rows& rows, Operands& in,
                    const std::function<void(const Context&, const Tensor&)>& op) {
  row.calls = sets(meter.pace(), row.work.bytes);
  row.work = times(row.work, row.calls);
  if (!rows.may_run(meter, row)) return;
  std::vector<Tensor> tensors{in.random(row.activation, shape)};
  while (static_cast<int>(tensors.size()) < row.calls) tensors.push_back(in.copy(tensors[0]));
  const std::unique_ptr<Memory> memory = meter.backend().allocate(kScratchBytes);
  Arena arena(*memory);
  const Context ctx = meter.context(row.activation, arena);
  rows.measure(meter, row, [&] {
    for (const Tensor& tensor : tensors) op(ctx, tensor);
  });
}

void measure_norms(Meter& meter, int64_t tokens, const flux::Config& config, DType activation, Rows& rows) {
  const int64_t d = config.inner_dim();
  const std::string shape = fmt::format("{}x{}", tokens, d);
  {
    Operands in(meter.backend());
    const Tensor shift = in.random(DType::kF32, {d}), scale = in.random(DType::kF32, {d});
    // In place would read and write one tensor; the model writes another one, so halves of one
    // allocation are used.
    measure_stream(meter, {"norm_modulate", activation, shape, norm_modulate_work(tokens, d, activation)},
                   {2 * tokens, d}, rows, in, [&](const Context& ctx, const Tensor& both) {
                     ops::norm_modulate_into(ctx, both.slice_rows(0, tokens), shift, scale, kEpsilon,
                                             both.slice_rows(tokens, tokens));
                   });
  }
  Operands in(meter.backend());
  const Tensor weight = in.random(DType::kBF16, {config.head_dim}, 0.1f, 1.0f);
  const Tensor cos = in.random(DType::kF32, {tokens, config.head_dim / 2}, 0.1f, 0.8f);
  const Tensor sin = in.random(DType::kF32, {tokens, config.head_dim / 2}, 0.1f, 0.6f);
  measure_stream(
      meter, {"qk_norm_rope", activation, shape, qk_norm_rope_work(tokens, d, config.head_dim, activation)},
      {tokens, d}, rows, in,
      [&](const Context& ctx, const Tensor& x) { ops::qk_norm_rope(ctx, x, weight, kEpsilon, cos, sin); });
}

void measure_group_norm(Meter& meter, const GroupNormShape& s, DType activation, Rows& rows) {
  Operands in(meter.backend());
  const Tensor weight = in.random(DType::kBF16, {s.channels}, 0.1f, 1.0f),
               bias = in.random(DType::kBF16, {s.channels});
  const std::string shape = fmt::format("{}x{}x{}", s.size, s.size, s.channels);
  measure_stream(meter, {"group_norm", activation, shape, group_norm_work(s, activation)},
                 {s.size, s.size, s.channels}, rows, in, [&](const Context& ctx, const Tensor& x) {
                   ops::group_norm_in_place(ctx, x, weight, bias, {.groups = s.groups, .silu = true});
                 });
}

}  // namespace

void measure_ops(Meter& meter, const Plan& plan, Rows& rows) {
  for (const DType a : kActivations) {
    for (const MatmulShape& s : plan.matmuls) measure_matmul(meter, s, a, rows);
  }
  for (const DType a : kActivations) {
    for (const MatmulShape& s : plan.modulations) measure_modulation(meter, s, a, rows);
    for (const AttentionShape& s : plan.attentions) measure_attention(meter, s, a, rows);
    for (const ConvShape& s : plan.convs) measure_conv(meter, s, a, rows);
    for (const int64_t tokens : plan.norm_tokens) measure_norms(meter, tokens, plan.transformer, a, rows);
    for (const GroupNormShape& s : plan.group_norms) measure_group_norm(meter, s, a, rows);
  }
}

void measure_int8_ops(Meter& meter, const Plan& plan, int32_t levels, Rows& rows) {
  for (const MatmulShape& s : plan.matmuls) measure_int8_matmul(meter, s, levels, rows);
  if (levels != kInt8Levels || !meter.machine().has_int8_attention()) return;
  for (const AttentionShape& s : plan.attentions) measure_int8_attention(meter, s, rows);
}

void measure_weights(Meter& meter, const Plan& plan, DType weights, Rows& rows) {
  for (const DType a : kActivations) {
    for (const MatmulShape& s : plan.matmuls) {
      for (const DType w : {DType::kBF16, weights}) measure_matmul(meter, s, a, rows, w);
    }
    for (const MatmulShape& s : plan.modulations) {
      for (const DType w : {DType::kBF16, weights}) measure_modulation(meter, s, a, rows, w);
    }
  }
}

}  // namespace darkroom::bench

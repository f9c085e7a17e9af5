#include "models/t5/t5.h"

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "base/printable.h"

namespace darkroom::t5 {

Config config_from_json(const nlohmann::json& json, const std::string& where) {
  const JsonFields fields(json, where);
  Config c;
  c.vocab_size = fields.integer("vocab_size", c.vocab_size, 2, 10'000'000);
  c.d_model = fields.integer("d_model", c.d_model, 1, 65536);
  c.d_kv = fields.integer("d_kv", c.d_kv, 1, 65536);
  c.d_ff = fields.integer("d_ff", c.d_ff, 1, 1 << 20);
  c.num_layers = fields.integer("num_layers", c.num_layers, 1, 1000);
  c.num_heads = fields.integer("num_heads", c.num_heads, 1, 4096);
  c.num_buckets = fields.integer("relative_attention_num_buckets", c.num_buckets, 4, 65536);
  c.max_distance = fields.integer("relative_attention_max_distance", c.max_distance, 2, 1 << 20);
  c.layer_norm_eps = static_cast<float>(fields.number("layer_norm_epsilon", 1e-6, 0, 1));
  c.projection = fields.integer("project_out_dim", 0, 0, 65536);
  // Old configs say feed_forward_proj "gated-gelu"; newer ones also spell out the parts.
  const std::string projection = fields.text("feed_forward_proj", "gated-gelu");
  const std::string activation = fields.text("dense_act_fn", "gelu_new");
  require(projection == "gated-gelu" && fields.boolean("is_gated_act", true) &&
              (activation == "gelu_new" || activation == "gelu_pytorch_tanh"),
          ErrorCode::kModel, "{}: feed-forward '{}' with activation '{}'; FLUX's T5 has a gated tanh GELU",
          where, printable(projection, 40), printable(activation, 40));
  // Fewer exact buckets than max_distance, or the logarithm below divides by zero.
  require(c.num_buckets % 4 == 0 && c.max_distance > c.num_buckets / 4, ErrorCode::kModel,
          "{}: {} relative buckets up to distance {} do not work", where, c.num_buckets, c.max_distance);
  return c;
}

void Weights::visit(const Config& config, const VisitFn& visit) {
  const int64_t d = config.d_model, inner = config.num_heads * config.d_kv;
  const ParamVisitor ends(visit);
  ends.table("shared.weight", shared, config.vocab_size, d);
  ends.table("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", relative_bias,
             config.num_buckets, config.num_heads);
  layers.resize(static_cast<std::size_t>(config.num_layers));
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::string name = "encoder.block." + std::to_string(i) + ".layer.";
    const ParamVisitor params(visit, {Stage::kBlock, static_cast<int64_t>(i)});
    Layer& layer = layers[i];
    params.vector(name + "0.layer_norm.weight", layer.attention_norm, d);
    params.linear(name + "0.SelfAttention.q", layer.q, d, inner, Bias::kNo);
    params.linear(name + "0.SelfAttention.k", layer.k, d, inner, Bias::kNo);
    params.linear(name + "0.SelfAttention.v", layer.v, d, inner, Bias::kNo);
    params.linear(name + "0.SelfAttention.o", layer.o, inner, d, Bias::kNo);
    params.vector(name + "1.layer_norm.weight", layer.ff_norm, d);
    params.linear(name + "1.DenseReluDense.wi_0", layer.wi_0, d, config.d_ff, Bias::kNo);
    params.linear(name + "1.DenseReluDense.wi_1", layer.wi_1, d, config.d_ff, Bias::kNo);
    params.linear(name + "1.DenseReluDense.wo", layer.wo, config.d_ff, d, Bias::kNo);
  }
  ends.vector("encoder.final_layer_norm.weight", final_norm, d);
  if (config.projection > 0) {
    ends.linear("final_projection.0", projection.in, d, config.projection, Bias::kNo);
    ends.linear("final_projection.3", projection.out, config.projection, config.projection, Bias::kNo);
  }
}

int64_t relative_bucket(const Config& config, int64_t distance) {
  const int64_t half = config.num_buckets / 2, exact = half / 2;
  const int64_t base = distance > 0 ? half : 0, magnitude = std::abs(distance);
  if (magnitude < exact) return base + magnitude;
  const double span = std::log(static_cast<double>(config.max_distance) / static_cast<double>(exact));
  const float position = std::log(static_cast<float>(magnitude) / static_cast<float>(exact)) /
                         static_cast<float>(span) * static_cast<float>(half - exact);
  return base + std::min(half - 1, exact + static_cast<int64_t>(position));
}

namespace {

// The learned bias by distance: f32 [heads, 2·tokens − 1], entry d is key − query = d − (tokens − 1).
Tensor bias_by_distance(const Context& ctx, const Config& config, const Tensor& table, int64_t tokens) {
  const int64_t distances = 2 * tokens - 1;
  if (ctx.counts_only()) return ops::upload(ctx, {}, DType::kF32, {config.num_heads, distances});
  std::vector<float> buckets(static_cast<std::size_t>(table.shape.numel()));
  ops::download(ctx, table, buckets);
  std::vector<float> values(static_cast<std::size_t>(config.num_heads * distances));
  for (int64_t h = 0; h < config.num_heads; ++h) {
    for (int64_t d = 0; d < distances; ++d) {
      const int64_t bucket = relative_bucket(config, d - (tokens - 1));
      values[static_cast<std::size_t>(h * distances + d)] =
          buckets[static_cast<std::size_t>(bucket * config.num_heads + h)];
    }
  }
  return ops::upload(ctx, values, DType::kF32, {config.num_heads, distances});
}

// That share a scale in 8 bits: the product of two layers has outliers, beside which the other values of a
// row would vanish.
constexpr int64_t kGatedColumns = 64;

void run_layer(const Context& ctx, const Config& config, const Layer& w, const Tensor& bias,
               const Tensor& x) {
  {
    const Arena::Scope scope(ctx.arena);
    const LinearInput n = input_of(ctx, ops::rms_norm(ctx, x, w.attention_norm, config.layer_norm_eps), w.q);
    const Tensor q = ops::linear(ctx, n, w.q), k = ops::linear(ctx, n, w.k), v = ops::linear(ctx, n, w.v);
    const Tensor a =
        ops::attention(ctx, q, k, v, {.heads = config.num_heads, .scale = 1.0f, .relative_bias = bias});
    ops::linear_residual(ctx, input_of(ctx, a, w.o), w.o, x);
  }
  const Arena::Scope scope(ctx.arena);
  const LinearInput n = input_of(ctx, ops::rms_norm(ctx, x, w.ff_norm, config.layer_norm_eps), w.wi_0);
  const Tensor gated = ops::gated_gelu(ctx, ops::linear(ctx, n, w.wi_0), ops::linear(ctx, n, w.wi_1));
  ops::linear_residual(ctx, input_of(ctx, gated, w.wo, kGatedColumns), w.wo, x);
}

}  // namespace

std::vector<Tensor> encode(const Context& ctx, const Config& config, const Weights& weights,
                           std::span<const std::vector<int32_t>> prompts, const LeaseFn& lease) {
  std::vector<Tensor> out, states, biases;
  for (const std::vector<int32_t>& ids : prompts) {
    require(!ids.empty(), ErrorCode::kFailure, "T5: there are no tokens to encode");
    out.push_back(ctx.allocate({static_cast<int64_t>(ids.size()), config.out_features()}));
  }
  const Arena::Scope scope(ctx.arena);
  for (const std::vector<int32_t>& ids : prompts) {
    states.push_back(ops::embed(ctx, weights.shared, ids));
    biases.push_back(bias_by_distance(ctx, config, weights.relative_bias, static_cast<int64_t>(ids.size())));
  }
  for (std::size_t layer = 0; layer < weights.layers.size(); ++layer) {
    ctx.throw_if_cancelled();
    const auto leased = take(lease, static_cast<int64_t>(layer));
    for (std::size_t i = 0; i < states.size(); ++i) {
      run_layer(ctx, config, weights.layers[layer], biases[i], states[i]);
    }
  }
  for (std::size_t i = 0; i < states.size(); ++i) {
    const Arena::Scope one(ctx.arena);
    const Tensor normed = ops::rms_norm(ctx, states[i], weights.final_norm, config.layer_norm_eps);
    const Tensor state =
        config.projection > 0 ? mlp(ctx, normed, weights.projection, Activation::kRelu) : normed;
    ops::convert_into(ctx, state, out[i]);
  }
  return out;
}

}  // namespace darkroom::t5

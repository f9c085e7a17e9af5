#include "models/clip/clip.h"

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "base/printable.h"

namespace darkroom::clip {

Config config_from_json(const nlohmann::json& json, const std::string& where) {
  const JsonFields fields(json, where);
  Config c;
  c.vocab_size = fields.integer("vocab_size", c.vocab_size, 2, 10'000'000);
  c.hidden_size = fields.integer("hidden_size", c.hidden_size, 1, 65536);
  c.intermediate_size = fields.integer("intermediate_size", c.intermediate_size, 1, 1 << 20);
  c.num_layers = fields.integer("num_hidden_layers", c.num_layers, 1, 1000);
  c.num_heads = fields.integer("num_attention_heads", c.num_heads, 1, 1024);
  c.max_positions = fields.integer("max_position_embeddings", c.max_positions, 3, 65536);
  c.eos_token_id = fields.integer("eos_token_id", c.eos_token_id, 0, 10'000'000);
  c.layer_norm_eps = static_cast<float>(fields.number("layer_norm_eps", 1e-5, 0, 1));
  const std::string act = fields.text("hidden_act", "quick_gelu");
  require(act == "quick_gelu" || act == "gelu_pytorch_tanh" || act == "gelu_new", ErrorCode::kModel,
          "{}: 'hidden_act' is '{}'; known are quick_gelu, gelu_pytorch_tanh and gelu_new", where,
          printable(act, 40));
  c.activation = act == "quick_gelu" ? Activation::kQuickGelu : Activation::kGeluTanh;
  require(c.hidden_size % c.num_heads == 0, ErrorCode::kModel,
          "{}: hidden_size {} does not divide into {} heads", where, c.hidden_size, c.num_heads);
  return c;
}

void Weights::visit(const Config& config, const VisitFn& visit) {
  const int64_t d = config.hidden_size;
  const ParamVisitor params(visit);
  params.table("text_model.embeddings.token_embedding.weight", token_embedding, config.vocab_size, d);
  params.table("text_model.embeddings.position_embedding.weight", position_embedding, config.max_positions,
               d);
  layers.resize(static_cast<std::size_t>(config.num_layers));
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::string name = "text_model.encoder.layers." + std::to_string(i) + ".";
    Layer& layer = layers[i];
    params.norm(name + "layer_norm1", layer.norm1, d);
    params.linear(name + "self_attn.q_proj", layer.q, d, d);
    params.linear(name + "self_attn.k_proj", layer.k, d, d);
    params.linear(name + "self_attn.v_proj", layer.v, d, d);
    params.linear(name + "self_attn.out_proj", layer.out, d, d);
    params.norm(name + "layer_norm2", layer.norm2, d);
    params.linear(name + "mlp.fc1", layer.mlp.in, d, config.intermediate_size);
    params.linear(name + "mlp.fc2", layer.mlp.out, config.intermediate_size, d);
  }
  params.norm("text_model.final_layer_norm", final_norm, d);
}

int64_t pooled_position(const Config& config, std::span<const int32_t> ids) {
  const auto found = config.eos_token_id == 2
                         ? std::ranges::max_element(ids)
                         : std::ranges::find(ids, static_cast<int32_t>(config.eos_token_id));
  return found == ids.end() ? 0 : found - ids.begin();
}

namespace {

void run_layer(const Context& ctx, const Config& config, const Layer& w, const Tensor& x) {
  const Arena::Scope scope(ctx.arena);
  const float scale = 1.0f / std::sqrt(static_cast<float>(config.hidden_size / config.num_heads));
  const Tensor n1 = ops::layer_norm(ctx, x, w.norm1.weight, w.norm1.bias, config.layer_norm_eps);
  const Tensor q = ops::linear(ctx, n1, w.q), k = ops::linear(ctx, n1, w.k), v = ops::linear(ctx, n1, w.v);
  const Tensor a = ops::attention(ctx, q, k, v, {.heads = config.num_heads, .scale = scale, .causal = true});
  ops::linear_residual(ctx, a, w.out, x);
  const Tensor n2 = ops::layer_norm(ctx, x, w.norm2.weight, w.norm2.bias, config.layer_norm_eps);
  ops::linear_residual(ctx, ops::linear(ctx, n2, w.mlp.in, config.activation), w.mlp.out, x);
}

}  // namespace

Tensor encode_pooled(const Context& ctx, const Config& config, const Weights& weights,
                     std::span<const int32_t> ids) {
  const int64_t tokens = static_cast<int64_t>(ids.size());
  require(tokens > 0 && tokens <= config.max_positions, ErrorCode::kFailure,
          "CLIP: {} tokens, the model has positions for 1 to {}", tokens, config.max_positions);
  const Tensor pooled = ctx.allocate({1, config.hidden_size});
  const Arena::Scope scope(ctx.arena);
  const Tensor x = ops::embed(ctx, weights.token_embedding, ids);
  std::vector<int32_t> positions(ids.size());
  for (std::size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int32_t>(i);
  ops::add_into(ctx, x, ops::embed(ctx, weights.position_embedding, positions), x);
  for (const Layer& layer : weights.layers) {
    ctx.throw_if_cancelled();
    run_layer(ctx, config, layer, x);
  }
  const Tensor row = x.slice_rows(pooled_position(config, ids), 1);
  const NormWeights& norm = weights.final_norm;
  ops::convert_into(ctx, ops::layer_norm(ctx, row, norm.weight, norm.bias, config.layer_norm_eps), pooled);
  return pooled;
}

}  // namespace darkroom::clip

#include <numeric>

#include "base/json.h"
#include "models/flux/flux.h"

namespace darkroom::flux {

Config config_from_json(const nlohmann::json& json, const std::string& where) {
  const JsonFields fields(json, where);
  Config c;
  c.in_channels = fields.integer("in_channels", c.in_channels, 4, 4096);
  c.out_channels = fields.integer("out_channels", c.in_channels, 4, 4096);
  c.num_layers = fields.integer("num_layers", c.num_layers, 0, 1000);
  c.num_single_layers = fields.integer("num_single_layers", c.num_single_layers, 0, 1000);
  c.num_heads = fields.integer("num_attention_heads", c.num_heads, 1, 1024);
  c.head_dim = fields.integer("attention_head_dim", c.head_dim, 2, 1024);
  c.joint_attention_dim = fields.integer("joint_attention_dim", c.joint_attention_dim, 1, 65536);
  c.pooled_projection_dim = fields.integer("pooled_projection_dim", c.pooled_projection_dim, 1, 65536);
  c.guidance_embeds = fields.boolean("guidance_embeds", false);
  c.axes_dims_rope = fields.integers("axes_dims_rope", c.axes_dims_rope, 2, 1024);

  require(fields.integer("patch_size", 1, 1, 64) == 1, ErrorCode::kModel,
          "{}: 'patch_size' is not 1; FLUX.1 packs 2x2 patches before the model", where);
  require(c.axes_dims_rope.size() == 3, ErrorCode::kModel, "{}: 'axes_dims_rope' has {} entries, expected 3",
          where, c.axes_dims_rope.size());
  const int64_t rotated = std::accumulate(c.axes_dims_rope.begin(), c.axes_dims_rope.end(), int64_t{0});
  require(rotated == c.head_dim, ErrorCode::kModel,
          "{}: 'axes_dims_rope' sums to {}, 'attention_head_dim' is {}", where, rotated, c.head_dim);
  for (const int64_t width : c.axes_dims_rope) {
    require(width % 2 == 0, ErrorCode::kModel, "{}: 'axes_dims_rope' holds the odd width {}", where, width);
  }
  require(c.in_channels == c.out_channels && c.in_channels % 4 == 0, ErrorCode::kModel,
          "{}: {} input and {} output channels; this is a Fill, Depth or Canny model, which needs an input "
          "picture and "
          "is not supported",
          where, c.in_channels, c.out_channels);
  require(c.num_blocks() > 0, ErrorCode::kModel, "{}: the model has no blocks", where);
  return c;
}

namespace {

// diffusers' names of the parts that differ between the image and the text stream of a double block.
struct StreamNames {
  const char *norm, *q, *k, *v, *out, *norm_q, *norm_k, *ff;
};
constexpr StreamNames kImage = {"norm1.linear",  "attn.to_q",   "attn.to_k",   "attn.to_v",
                                "attn.to_out.0", "attn.norm_q", "attn.norm_k", "ff"};
constexpr StreamNames kText = {"norm1_context.linear", "attn.add_q_proj", "attn.add_k_proj",
                               "attn.add_v_proj",      "attn.to_add_out", "attn.norm_added_q",
                               "attn.norm_added_k",    "ff_context"};

void visit_stream(const VisitFn& visit, const std::string& block, const StreamNames& names,
                  const Config& config, StreamWeights& w) {
  const int64_t d = config.inner_dim();
  visit_linear(visit, block + names.norm, w.modulation, d, 6 * d);
  visit_linear(visit, block + names.q, w.q, d, d);
  visit_linear(visit, block + names.k, w.k, d, d);
  visit_linear(visit, block + names.v, w.v, d, d);
  visit(block + names.norm_q + ".weight", w.norm_q, {config.head_dim});
  visit(block + names.norm_k + ".weight", w.norm_k, {config.head_dim});
  visit_linear(visit, block + names.out, w.out, d, d);
  visit_linear(visit, block + names.ff + ".net.0.proj", w.mlp.in, d, 4 * d);
  visit_linear(visit, block + names.ff + ".net.2", w.mlp.out, 4 * d, d);
}

void visit_embedder(const VisitFn& visit, const std::string& name, Mlp& w, int64_t in, int64_t d) {
  visit_linear(visit, name + ".linear_1", w.in, in, d);
  visit_linear(visit, name + ".linear_2", w.out, d, d);
}

}  // namespace

void Weights::visit(const Config& config, const VisitFn& visit) {
  const int64_t d = config.inner_dim();
  visit_linear(visit, "x_embedder", x_embedder, config.in_channels, d);
  visit_linear(visit, "context_embedder", context_embedder, config.joint_attention_dim, d);
  visit_embedder(visit, "time_text_embed.timestep_embedder", time, 256, d);
  if (config.guidance_embeds) visit_embedder(visit, "time_text_embed.guidance_embedder", guidance, 256, d);
  visit_embedder(visit, "time_text_embed.text_embedder", pooled, config.pooled_projection_dim, d);
  double_blocks.resize(static_cast<std::size_t>(config.num_layers));
  for (std::size_t i = 0; i < double_blocks.size(); ++i) {
    const std::string block = "transformer_blocks." + std::to_string(i) + ".";
    visit_stream(visit, block, kImage, config, double_blocks[i].img);
    visit_stream(visit, block, kText, config, double_blocks[i].txt);
  }
  single_blocks.resize(static_cast<std::size_t>(config.num_single_layers));
  for (std::size_t i = 0; i < single_blocks.size(); ++i) {
    const std::string block = "single_transformer_blocks." + std::to_string(i) + ".";
    SingleBlock& w = single_blocks[i];
    visit_linear(visit, block + "norm.linear", w.modulation, d, 3 * d);
    visit_linear(visit, block + "attn.to_q", w.q, d, d);
    visit_linear(visit, block + "attn.to_k", w.k, d, d);
    visit_linear(visit, block + "attn.to_v", w.v, d, d);
    visit(block + "attn.norm_q.weight", w.norm_q, {config.head_dim});
    visit(block + "attn.norm_k.weight", w.norm_k, {config.head_dim});
    visit_linear(visit, block + "proj_mlp", w.mlp, d, 4 * d);
    visit_linear(visit, block + "proj_out", w.out, 5 * d, d);
  }
  visit_linear(visit, "norm_out.linear", norm_out, d, 2 * d);
  visit_linear(visit, "proj_out", proj_out, d, config.out_channels);
}

bool is_modulation_weight(const std::string& name) {
  // Every modulation layer is called "norm….linear"; no other tensor is.
  return name.starts_with("time_text_embed.") || name.find(".linear.") != std::string::npos;
}

bool is_quantizable_weight(const std::string& name) {
  const bool embedder = name.starts_with("x_embedder.") || name.starts_with("context_embedder.") ||
                        name.starts_with("time_text_embed.");
  return !embedder && name.ends_with(".weight");
}

int64_t modulation_units(const Config& config) { return config.num_blocks() + 2; }

WeightPlace place_of(const Config& config, const std::string& name) {
  constexpr std::string_view kDouble = "transformer_blocks.", kSingle = "single_transformer_blocks.";
  const bool modulation = is_modulation_weight(name);
  int64_t block = -1;
  if (name.starts_with(kDouble)) block = std::stoll(name.substr(kDouble.size()));
  if (name.starts_with(kSingle)) block = config.num_layers + std::stoll(name.substr(kSingle.size()));
  if (block >= 0) {
    return modulation ? WeightPlace{WeightRole::kModulation, 1 + block}
                      : WeightPlace{WeightRole::kBlock, block};
  }
  if (!modulation) return {};
  const bool first = name.starts_with("time_text_embed.");
  return {WeightRole::kModulation, first ? 0 : modulation_units(config) - 1};
}

}  // namespace darkroom::flux

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

void visit_modulation(const VisitFn& visit, const std::string& name, Linear& w, int64_t unit, int64_t in,
                      int64_t out) {
  ParamVisitor(visit, {Stage::kModulation, unit}).linear(name, w, in, out);
}

void visit_stream(const VisitFn& visit, int64_t index, const StreamNames& names, const Config& config,
                  StreamWeights& w) {
  const int64_t d = config.inner_dim();
  const std::string block = "transformer_blocks." + std::to_string(index) + ".";
  const ParamVisitor params(visit, {Stage::kBlock, index});
  visit_modulation(visit, block + names.norm, w.modulation, 1 + index, d, 6 * d);
  params.linear(block + names.q, w.q, d, d);
  params.linear_beside(block + names.q, block + names.k, w.k, d, d);
  params.linear_beside(block + names.q, block + names.v, w.v, d, d);
  params.vector(block + names.norm_q + ".weight", w.norm_q, config.head_dim);
  params.vector(block + names.norm_k + ".weight", w.norm_k, config.head_dim);
  params.linear(block + names.out, w.out, d, d);
  params.linear(block + names.ff + ".net.0.proj", w.mlp.in, d, 4 * d);
  params.linear(block + names.ff + ".net.2", w.mlp.out, 4 * d, d);
}

void visit_single(const VisitFn& visit, int64_t index, const Config& config, SingleBlock& w) {
  const int64_t d = config.inner_dim(), unit = config.num_layers + index;
  const std::string block = "single_transformer_blocks." + std::to_string(index) + ".";
  const ParamVisitor params(visit, {Stage::kBlock, unit});
  visit_modulation(visit, block + "norm.linear", w.modulation, 1 + unit, d, 3 * d);
  const std::string q = block + "attn.to_q";
  params.linear(q, w.q, d, d);
  params.linear_beside(q, block + "attn.to_k", w.k, d, d);
  params.linear_beside(q, block + "attn.to_v", w.v, d, d);
  params.vector(block + "attn.norm_q.weight", w.norm_q, config.head_dim);
  params.vector(block + "attn.norm_k.weight", w.norm_k, config.head_dim);
  params.linear_beside(q, block + "proj_mlp", w.mlp, d, 4 * d);
  params.linear(block + "proj_out", w.out, 5 * d, d);
}

// Time, guidance and pooled text: sensitive, as the embedders of latents and text are.
void visit_embedder(const VisitFn& visit, const std::string& name, Mlp& w, int64_t in, int64_t d) {
  const ParamVisitor params(visit, {Stage::kModulation, 0}, true);
  params.linear("time_text_embed." + name + ".linear_1", w.in, in, d);
  params.linear("time_text_embed." + name + ".linear_2", w.out, d, d);
}

}  // namespace

void Weights::visit(const Config& config, const VisitFn& visit) {
  const int64_t d = config.inner_dim();
  const ParamVisitor embedders(visit, {}, true);
  embedders.linear("x_embedder", x_embedder, config.in_channels, d);
  embedders.linear("context_embedder", context_embedder, config.joint_attention_dim, d);
  visit_embedder(visit, "timestep_embedder", time, 256, d);
  if (config.guidance_embeds) visit_embedder(visit, "guidance_embedder", guidance, 256, d);
  visit_embedder(visit, "text_embedder", pooled, config.pooled_projection_dim, d);
  double_blocks.resize(static_cast<std::size_t>(config.num_layers));
  for (std::size_t i = 0; i < double_blocks.size(); ++i) {
    const int64_t index = static_cast<int64_t>(i);
    visit_stream(visit, index, kImage, config, double_blocks[i].img);
    visit_stream(visit, index, kText, config, double_blocks[i].txt);
  }
  single_blocks.resize(static_cast<std::size_t>(config.num_single_layers));
  for (std::size_t i = 0; i < single_blocks.size(); ++i) {
    visit_single(visit, static_cast<int64_t>(i), config, single_blocks[i]);
  }
  visit_modulation(visit, "norm_out.linear", norm_out, modulation_units(config) - 1, d, 2 * d);
  ParamVisitor(visit).linear("proj_out", proj_out, d, config.out_channels);
}

std::vector<ModulatedInput> modulated_inputs(const Config& config) {
  const int64_t d = config.inner_dim();
  std::vector<ModulatedInput> out;
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const std::string block = "transformer_blocks." + std::to_string(i) + ".";
    int64_t offset = modulation_offset(config, i);
    for (const StreamNames* names : {&kImage, &kText}) {
      out.push_back(
          {block + names->q, offset, offset + d, block + names->v, {block + kImage.out, block + kText.out}});
      out.push_back({block + names->ff + ".net.0.proj", offset + 3 * d, offset + 4 * d});
      offset += 6 * d;
    }
  }
  for (int64_t i = 0; i < config.num_single_layers; ++i) {
    const std::string block = "single_transformer_blocks." + std::to_string(i) + ".";
    const int64_t offset = modulation_offset(config, config.num_layers + i);
    out.push_back({block + "attn.to_q", offset, offset + d, block + "attn.to_v", {block + "proj_out"}});
  }
  return out;
}

int64_t modulation_units(const Config& config) { return config.num_blocks() + 2; }

}  // namespace darkroom::flux

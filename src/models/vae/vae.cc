#include "models/vae/vae.h"

#include <algorithm>
#include <cmath>

#include "base/json.h"

namespace darkroom::vae {

Config config_from_json(const nlohmann::json& json, const std::string& where) {
  const JsonFields fields(json, where);
  Config c;
  c.latent_channels = fields.integer("latent_channels", c.latent_channels, 1, 1024);
  c.out_channels = fields.integer("out_channels", c.out_channels, 1, 4);
  c.block_out_channels = fields.integers("block_out_channels", c.block_out_channels, 1, 8192);
  c.layers_per_block = fields.integer("layers_per_block", c.layers_per_block, 1, 16);
  c.norm_num_groups = fields.integer("norm_num_groups", c.norm_num_groups, 1, 1024);
  c.mid_block_add_attention = fields.boolean("mid_block_add_attention", true);
  c.use_post_quant_conv = fields.boolean("use_post_quant_conv", true);
  c.scaling_factor = static_cast<float>(fields.number("scaling_factor", 0.3611, 1e-6, 1e6));
  c.shift_factor = static_cast<float>(fields.number("shift_factor", 0, -1e6, 1e6));
  require(!c.block_out_channels.empty() && c.block_out_channels.size() <= 8, ErrorCode::kModel,
          "{}: 'block_out_channels' has {} levels, expected 1 to 8", where, c.block_out_channels.size());
  for (const int64_t channels : c.block_out_channels) {
    require(channels % c.norm_num_groups == 0, ErrorCode::kModel, "{}: {} channels do not divide into {} norm groups",
            where, channels, c.norm_num_groups);
  }
  const std::string act = fields.text("act_fn", "silu");
  require(act == "silu" && c.out_channels == 3, ErrorCode::kModel,
          "{}: activation '{}' and {} output channels; expected silu and 3", where, act, c.out_channels);
  return c;
}

namespace {

constexpr float kEpsilon = 1e-6f;  // of every GroupNorm

void visit_resnet(const VisitFn& visit, const std::string& name, ResBlock& w, int64_t in, int64_t out) {
  visit_norm(visit, name + ".norm1", w.norm1, in);
  visit_conv(visit, name + ".conv1", w.conv1, in, out, 3);
  visit_norm(visit, name + ".norm2", w.norm2, out);
  visit_conv(visit, name + ".conv2", w.conv2, out, out, 3);
  if (in != out) visit_conv(visit, name + ".conv_shortcut", w.shortcut, in, out, 1);
}

}  // namespace

void DecoderWeights::visit(const Config& config, const VisitFn& visit) {
  const std::vector<int64_t>& channels = config.block_out_channels;
  const int64_t deepest = channels.back();
  if (config.use_post_quant_conv) {
    visit_conv(visit, "post_quant_conv", post_quant, config.latent_channels, config.latent_channels, 1);
  }
  visit_conv(visit, "decoder.conv_in", conv_in, config.latent_channels, deepest, 3);
  visit_resnet(visit, "decoder.mid_block.resnets.0", mid[0], deepest, deepest);
  if (config.mid_block_add_attention) {
    const std::string name = "decoder.mid_block.attentions.0.";
    visit_norm(visit, name + "group_norm", mid_attention.norm, deepest);
    visit_linear(visit, name + "to_q", mid_attention.q, deepest, deepest);
    visit_linear(visit, name + "to_k", mid_attention.k, deepest, deepest);
    visit_linear(visit, name + "to_v", mid_attention.v, deepest, deepest);
    visit_linear(visit, name + "to_out.0", mid_attention.out, deepest, deepest);
  }
  visit_resnet(visit, "decoder.mid_block.resnets.1", mid[1], deepest, deepest);
  ups.resize(channels.size());
  int64_t in = deepest;
  for (std::size_t level = 0; level < ups.size(); ++level) {
    const int64_t out = channels[channels.size() - 1 - level];
    const std::string name = "decoder.up_blocks." + std::to_string(level) + ".";
    ups[level].resnets.resize(static_cast<std::size_t>(config.layers_per_block + 1));
    for (std::size_t i = 0; i < ups[level].resnets.size(); ++i) {
      visit_resnet(visit, name + "resnets." + std::to_string(i), ups[level].resnets[i], in, out);
      in = out;
    }
    if (level + 1 < ups.size()) visit_conv(visit, name + "upsamplers.0.conv", ups[level].upsample, out, out, 3);
  }
  visit_norm(visit, "decoder.conv_norm_out", norm_out, in);
  visit_conv(visit, "decoder.conv_out", conv_out, in, config.out_channels, 3);
}

void unscale_latents(const Config& config, std::span<float> latents) {
  for (float& value : latents) value = value / config.scaling_factor + config.shift_factor;
}

namespace {

// The decoder's activations are the largest tensors of a run, so two slots hold them all: each step reads one and
// writes the other, and group norms work in place where their input is not needed again.
class Canvas {
 public:
  Canvas(const Context& ctx, int64_t elements)
      : slots_{ctx.allocate({elements}), ctx.allocate({elements}), ctx.allocate({elements})} {}
  // A slot that is neither `a` nor `b`, shaped as asked.
  Tensor other(const Shape& shape, const Tensor& a, const Tensor& b = {}) const {
    for (const Slot& slot : slots_) {
      if (slot.id != id_of(a) && slot.id != id_of(b)) return take(slot, shape);
    }
    return {};
  }
 private:
  struct Slot {
    Tensor memory;
    int id;
  };
  std::array<Slot, 3> slots_;
};

}  // namespace
}  // namespace darkroom::vae

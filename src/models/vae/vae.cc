#include "models/vae/vae.h"

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "base/printable.h"

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
    require(channels % c.norm_num_groups == 0, ErrorCode::kModel,
            "{}: {} channels do not divide into {} norm groups", where, channels, c.norm_num_groups);
  }
  const std::string act = fields.text("act_fn", "silu");
  require(act == "silu" && c.out_channels == 3, ErrorCode::kModel,
          "{}: activation '{}' and {} output channels; expected silu and 3", where, printable(act, 40),
          c.out_channels);
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
    if (level + 1 < ups.size())
      visit_conv(visit, name + "upsamplers.0.conv", ups[level].upsample, out, out, 3);
  }
  visit_norm(visit, "decoder.conv_norm_out", norm_out, in);
  visit_conv(visit, "decoder.conv_out", conv_out, in, config.out_channels, 3);
}

void unscale_latents(const Config& config, std::span<float> latents) {
  for (float& value : latents) value = value / config.scaling_factor + config.shift_factor;
}

namespace {

// The picture on its way through the decoder. Its tensors are the largest of a run, so there are two slots,
// each big enough for every stage: a stage reads the current one and writes the other.
class Canvas {
 public:
  Canvas(const Context& ctx, int64_t elements)
      : slots_{ctx.allocate({1, elements}), ctx.allocate({1, elements})} {}

  const Tensor& current() const { return current_; }
  // The slot that is not current, as [h, w, c].
  Tensor other(const Shape& shape) const {
    return slots_[1 - active_].slice_cols(0, shape.numel()).reshape(shape);
  }
  // Makes what other() returned the current picture.
  void flip_to(const Tensor& picture) {
    active_ = 1 - active_;
    current_ = picture;
  }

 private:
  Tensor slots_[2];
  int active_ = 0;
  Tensor current_;
};

void run_conv(const Context& ctx, const Conv2d& w, int64_t upsample, Canvas& canvas) {
  ctx.throw_if_cancelled();
  const Tensor& x = canvas.current();
  const Tensor out = canvas.other({x.shape[0] * upsample, x.shape[1] * upsample, w.weight.shape[0]});
  ops::conv2d_into(ctx, x, w, {.upsample = upsample}, out);
  canvas.flip_to(out);
}

void run_resnet(const Context& ctx, const Config& config, const ResBlock& w, Canvas& canvas) {
  ctx.throw_if_cancelled();
  const Arena::Scope scope(ctx.arena);
  const ops::GroupNormOptions norm{.groups = config.norm_num_groups, .epsilon = kEpsilon, .silu = true};
  const Tensor& x = canvas.current();
  const Tensor out = canvas.other({x.shape[0], x.shape[1], w.conv1.weight.shape[0]});
  const Tensor h = ctx.allocate(out.shape);
  {
    const Arena::Scope inner(ctx.arena);
    ops::conv2d_into(ctx, ops::group_norm(ctx, x, w.norm1.weight, w.norm1.bias, norm), w.conv1, {}, h);
  }
  ops::group_norm_in_place(ctx, h, w.norm2.weight, w.norm2.bias, norm);
  if (w.shortcut.weight.present()) {
    ops::conv2d_into(ctx, x, w.shortcut, {}, out);
    ops::conv2d_into(ctx, h, w.conv2, {.residual = out}, out);
  } else {
    ops::conv2d_into(ctx, h, w.conv2, {.residual = x}, out);
  }
  canvas.flip_to(out);
}

// One head as wide as the picture is deep, over all pixels.
void run_attention(const Context& ctx, const Config& config, const AttentionBlock& w, const Canvas& canvas) {
  ctx.throw_if_cancelled();
  const Arena::Scope scope(ctx.arena);
  const Tensor& picture = canvas.current();
  const int64_t channels = picture.cols(), pixels = picture.rows();
  const Tensor n = ops::group_norm(ctx, picture, w.norm.weight, w.norm.bias,
                                   {.groups = config.norm_num_groups, .epsilon = kEpsilon})
                       .reshape({pixels, channels});
  const Tensor q = ops::linear(ctx, n, w.q), k = ops::linear(ctx, n, w.k), v = ops::linear(ctx, n, w.v);
  const float scale = 1.0f / std::sqrt(static_cast<float>(channels));
  const Tensor a = ops::attention(ctx, q, k, v, {.heads = 1, .scale = scale});
  ops::linear_residual(ctx, a, w.out, picture.reshape({pixels, channels}));
}

// Elements of the largest picture that a stage reads or writes.
int64_t largest_picture(const Config& config, int64_t latent_pixels) {
  const std::vector<int64_t>& channels = config.block_out_channels;
  int64_t pixels = latent_pixels, in = channels.back();
  int64_t largest = pixels * std::max(in, config.latent_channels);
  for (std::size_t level = 0; level < channels.size(); ++level) {
    const int64_t out = channels[channels.size() - 1 - level];
    largest = std::max({largest, pixels * in, pixels * out});
    if (level + 1 < channels.size()) pixels *= 4;
    in = out;
    largest = std::max(largest, pixels * in);
  }
  return std::max(largest, pixels * config.out_channels);
}

}  // namespace

Tensor decode(const Context& ctx, const Config& config, const DecoderWeights& weights, const Tensor& z) {
  const int64_t up = config.upscale();
  const Tensor out = ctx.allocate({z.shape[0] * up, z.shape[1] * up, config.out_channels});
  const Arena::Scope scope(ctx.arena);
  Canvas canvas(ctx, largest_picture(config, z.shape[0] * z.shape[1]));
  canvas.flip_to(z);
  if (config.use_post_quant_conv) run_conv(ctx, weights.post_quant, 1, canvas);
  run_conv(ctx, weights.conv_in, 1, canvas);
  run_resnet(ctx, config, weights.mid[0], canvas);
  if (config.mid_block_add_attention) run_attention(ctx, config, weights.mid_attention, canvas);
  run_resnet(ctx, config, weights.mid[1], canvas);
  for (const UpBlock& block : weights.ups) {
    for (const ResBlock& resnet : block.resnets) run_resnet(ctx, config, resnet, canvas);
    if (block.upsample.weight.present()) run_conv(ctx, block.upsample, 2, canvas);
  }
  ops::group_norm_in_place(ctx, canvas.current(), weights.norm_out.weight, weights.norm_out.bias,
                           {.groups = config.norm_num_groups, .epsilon = kEpsilon, .silu = true});
  ops::conv2d_into(ctx, canvas.current(), weights.conv_out, {}, out);
  return out;
}

}  // namespace darkroom::vae

#include "models/vae/vae.h"

#include <algorithm>

#include "base/json.h"
#include "base/printable.h"
#include "models/vae/strips.h"

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
  c.use_quant_conv = fields.boolean("use_quant_conv", true);
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

void visit_resnet(const ParamVisitor& params, const std::string& name, ResBlock& w, int64_t in, int64_t out) {
  params.norm(name + ".norm1", w.norm1, in);
  params.conv(name + ".conv1", w.conv1, in, out, 3);
  params.norm(name + ".norm2", w.norm2, out);
  params.conv(name + ".conv2", w.conv2, out, out, 3);
  if (in != out) params.conv(name + ".conv_shortcut", w.shortcut, in, out, 1);
}

void visit_mid(const ParamVisitor& params, const std::string& name, MidBlock& w, const Config& config) {
  const int64_t channels = config.block_out_channels.back();
  visit_resnet(params, name + ".resnets.0", w.resnets[0], channels, channels);
  if (config.mid_block_add_attention) {
    const std::string attention = name + ".attentions.0.";
    params.norm(attention + "group_norm", w.attention.norm, channels);
    params.linear(attention + "to_q", w.attention.q, channels, channels);
    params.linear(attention + "to_k", w.attention.k, channels, channels);
    params.linear(attention + "to_v", w.attention.v, channels, channels);
    params.linear(attention + "to_out.0", w.attention.out, channels, channels);
  }
  visit_resnet(params, name + ".resnets.1", w.resnets[1], channels, channels);
}

}  // namespace

void DecoderWeights::visit(const Config& config, const VisitFn& visit) {
  const ParamVisitor params(visit);
  const std::vector<int64_t>& channels = config.block_out_channels;
  const int64_t deepest = channels.back();
  if (config.use_post_quant_conv) {
    params.conv("post_quant_conv", post_quant, config.latent_channels, config.latent_channels, 1);
  }
  params.conv("decoder.conv_in", conv_in, config.latent_channels, deepest, 3);
  visit_mid(params, "decoder.mid_block", mid, config);
  ups.resize(channels.size());
  int64_t in = deepest;
  for (std::size_t level = 0; level < ups.size(); ++level) {
    const int64_t out = channels[channels.size() - 1 - level];
    const std::string name = "decoder.up_blocks." + std::to_string(level) + ".";
    ups[level].resnets.resize(static_cast<std::size_t>(config.layers_per_block + 1));
    for (std::size_t i = 0; i < ups[level].resnets.size(); ++i) {
      visit_resnet(params, name + "resnets." + std::to_string(i), ups[level].resnets[i], in, out);
      in = out;
    }
    if (level + 1 < ups.size()) params.conv(name + "upsamplers.0.conv", ups[level].upsample, out, out, 3);
  }
  params.norm("decoder.conv_norm_out", norm_out, in);
  params.conv("decoder.conv_out", conv_out, in, config.out_channels, 3);
}

void EncoderWeights::visit(const Config& config, const VisitFn& visit) {
  const ParamVisitor params(visit);
  const std::vector<int64_t>& channels = config.block_out_channels;
  params.conv("encoder.conv_in", conv_in, config.out_channels, channels.front(), 3);
  downs.resize(channels.size());
  int64_t in = channels.front();
  for (std::size_t level = 0; level < downs.size(); ++level) {
    const int64_t out = channels[level];
    const std::string name = "encoder.down_blocks." + std::to_string(level) + ".";
    downs[level].resnets.resize(static_cast<std::size_t>(config.layers_per_block));
    for (std::size_t i = 0; i < downs[level].resnets.size(); ++i) {
      visit_resnet(params, name + "resnets." + std::to_string(i), downs[level].resnets[i], in, out);
      in = out;
    }
    if (level + 1 < downs.size())
      params.conv(name + "downsamplers.0.conv", downs[level].downsample, out, out, 3);
  }
  visit_mid(params, "encoder.mid_block", mid, config);
  params.norm("encoder.conv_norm_out", norm_out, in);
  const int64_t moments = 2 * config.latent_channels;
  params.conv("encoder.conv_out", conv_out, in, moments, 3);
  if (config.use_quant_conv) params.conv("quant_conv", quant, moments, moments, 1);
}

void unscale_latents(const Config& config, std::span<float> latents) {
  for (float& value : latents) value = value / config.scaling_factor + config.shift_factor;
}

void scale_latents(const Config& config, std::span<float> latents) {
  for (float& value : latents) value = (value - config.shift_factor) * config.scaling_factor;
}

namespace {

struct Scale {
  int64_t up = 1, down = 1;
};

void run_conv(const Strips& strips, const Conv2d& w, const Scale& scale, Canvas& canvas) {
  const Plane x = canvas.current();
  const Plane out = canvas.other(
      {x.shape[0] * scale.up / scale.down, x.shape[1] * scale.up / scale.down, w.weight.shape[0]});
  strips.convolve(x, {.conv = w, .upsample = scale.up, .downsample = scale.down}, out);
  canvas.flip_to(out);
}

// x + conv2(silu(norm2(conv1(silu(norm1(x)))))): over x; or, where the channel count changes and x passes
// through a convolution of its own, over what lies between the two.
void run_resnet(const Strips& strips, const ResBlock& w, Canvas& canvas) {
  const Plane x = canvas.current();
  const Plane h = canvas.other({x.shape[0], x.shape[1], w.conv1.weight.shape[0]});
  strips.convolve(x, {.conv = w.conv1, .norm = &w.norm1}, h);
  if (w.shortcut.weight.present()) {
    strips.convolve(h, {.conv = w.conv2, .norm = &w.norm2, .residual = &x, .shortcut = &w.shortcut}, h);
    canvas.flip_to(h);
  } else {
    strips.convolve(h, {.conv = w.conv2, .norm = &w.norm2, .residual = &x}, x);
  }
}

void run_attention(const Strips& strips, const AttentionBlock& w, const Canvas& canvas) {
  const Plane& x = canvas.current();
  strips.attend(w, x, canvas.room({2 * x.shape[0] * x.shape[1], 1, x.shape[2]}));
}

void run_mid(const Strips& strips, const Config& config, const MidBlock& w, Canvas& canvas) {
  run_resnet(strips, w.resnets[0], canvas);
  if (config.mid_block_add_attention) run_attention(strips, w.attention, canvas);
  run_resnet(strips, w.resnets[1], canvas);
}

// Values of the largest two pictures that a stage of the decoder needs at a time.
int64_t largest_pair(const Config& config, int64_t latent_pixels) {
  const std::vector<int64_t>& channels = config.block_out_channels;
  int64_t pixels = latent_pixels, in = channels.back();
  int64_t largest = pixels * (config.mid_block_add_attention ? 3 * in : 2 * in);
  largest = std::max(largest, pixels * (config.latent_channels + std::max(in, config.latent_channels)));
  for (std::size_t level = 0; level < channels.size(); ++level) {
    const int64_t out = channels[channels.size() - 1 - level];
    largest = std::max({largest, pixels * (in + out), pixels * 2 * out});
    if (level + 1 < channels.size()) {
      largest = std::max(largest, pixels * out * 5);  // upsampling makes four of one
      pixels *= 4;
    }
    in = out;
  }
  return largest;
}

// The same of the encoder.
int64_t largest_encoder_pair(const Config& config, int64_t latent_pixels) {
  const std::vector<int64_t>& channels = config.block_out_channels;
  int64_t pixels = latent_pixels * config.upscale() * config.upscale(), in = channels.front();
  int64_t largest = pixels * (config.out_channels + in);
  for (std::size_t level = 0; level < channels.size(); ++level) {
    const int64_t out = channels[level];
    largest = std::max({largest, pixels * (in + out), pixels * 2 * out});
    if (level + 1 < channels.size()) pixels /= 4;
    in = out;
  }
  if (config.mid_block_add_attention) largest = std::max(largest, pixels * 3 * in);
  return std::max(largest, pixels * (in + 2 * config.latent_channels));
}

}  // namespace

std::size_t canvas_bytes(const Config& config, int64_t latent_pixels, DType activation) {
  return static_cast<std::size_t>(largest_pair(config, latent_pixels)) * dtype_bytes(activation);
}

std::size_t encode_canvas_bytes(const Config& config, int64_t latent_pixels, DType activation) {
  return static_cast<std::size_t>(largest_encoder_pair(config, latent_pixels)) * dtype_bytes(activation);
}

void decode(const Context& ctx, const Config& config, const DecoderWeights& weights, const Tensor& z,
            const StripPlan& plan, const ScratchFile* scratch, const RowsFn& finished) {
  const Arena::Scope scope(ctx.arena);
  const int64_t height = z.shape[0] * config.upscale(), width = z.shape[1] * config.upscale();
  Canvas canvas(ctx, largest_pair(config, z.shape[0] * z.shape[1]), height, config.norm_num_groups,
                plan.in_file, scratch);
  const Strips strips(ctx, config.norm_num_groups, plan.strip_bytes);
  canvas.flip_to(plane_of(z));
  if (config.use_post_quant_conv) run_conv(strips, weights.post_quant, {}, canvas);
  run_conv(strips, weights.conv_in, {}, canvas);
  run_mid(strips, config, weights.mid, canvas);
  for (const UpBlock& block : weights.ups) {
    for (const ResBlock& resnet : block.resnets) run_resnet(strips, resnet, canvas);
    if (block.upsample.weight.present()) run_conv(strips, block.upsample, {.up = 2}, canvas);
  }
  Plane picture;
  picture.shape = {height, width, config.out_channels};
  picture.dtype = ctx.activation;
  picture.taker = &finished;
  strips.convolve(canvas.current(), {.conv = weights.conv_out, .norm = &weights.norm_out}, picture);
}

Tensor encode(const Context& ctx, const Config& config, const EncoderWeights& weights, const Tensor& picture,
              const StripPlan& plan, const ScratchFile* scratch) {
  const int64_t height = picture.shape[0] / config.upscale(), width = picture.shape[1] / config.upscale();
  const Tensor moments = ctx.allocate({height, width, 2 * config.latent_channels});
  const Arena::Scope scope(ctx.arena);
  Canvas canvas(ctx, largest_encoder_pair(config, height * width), picture.shape[0], config.norm_num_groups,
                plan.in_file, scratch);
  const Strips strips(ctx, config.norm_num_groups, plan.strip_bytes);
  canvas.flip_to(plane_of(picture));
  run_conv(strips, weights.conv_in, {}, canvas);
  for (const DownBlock& block : weights.downs) {
    for (const ResBlock& resnet : block.resnets) run_resnet(strips, resnet, canvas);
    if (block.downsample.weight.present()) run_conv(strips, block.downsample, {.down = 2}, canvas);
  }
  run_mid(strips, config, weights.mid, canvas);
  const Stage last{.conv = weights.conv_out, .norm = &weights.norm_out};
  if (!config.use_quant_conv) {
    strips.convolve(canvas.current(), last, plane_of(moments));
    return moments;
  }
  const Plane raw = canvas.room(moments.shape);
  strips.convolve(canvas.current(), last, raw);
  strips.convolve(raw, {.conv = weights.quant}, plane_of(moments));
  return moments;
}

}  // namespace darkroom::vae

#include "pipeline/phases.h"

#include "sampling/guidance.h"
#include "sampling/latents.h"
#include "sampling/sampler.h"

namespace darkroom {
namespace {

std::vector<float> to_host(const Context& ctx, const Tensor& x) {
  std::vector<float> host(static_cast<std::size_t>(x.shape.numel()));
  ops::download(ctx, x, host);
  return host;
}

}  // namespace

std::vector<std::vector<float>> encode_clip(const Context& ctx, const ModelConfig& config, WeightSource& source,
                                            std::span<const std::vector<int32_t>> prompts) {
  clip::Weights weights;
  weights.visit(config.clip, bind_from(source));
  std::vector<std::vector<float>> pooled;
  for (const std::vector<int32_t>& ids : prompts) {
    const Arena::Scope scope(ctx.arena);
    pooled.push_back(to_host(ctx, clip::encode_pooled(ctx, config.clip, weights, ids)));
  }
  return pooled;
}

std::vector<std::vector<float>> encode_t5(const Context& ctx, const ModelConfig& config, WeightSource& source,
                                          std::span<const std::vector<int32_t>> prompts) {
  t5::Weights weights;
  weights.visit(config.t5, bind_from(source));
  std::vector<std::vector<float>> states;
  for (const std::vector<int32_t>& ids : prompts) {
    const Arena::Scope scope(ctx.arena);
    states.push_back(to_host(ctx, t5::encode(ctx, config.t5, weights, ids)));
  }
  return states;
}

namespace {

// A prompt as the transformer takes it: the modulation of all steps, and the T5 states on the device.
struct Guide {
  Tensor modulation, states;
};

Guide prepare_guide(const Context& ctx, const flux::Config& config, const flux::Weights& weights, const Job& job,
                    const Conditioning& prompt) {
  Guide guide;
  const Shape states{job.max_text_tokens, config.joint_attention_dim};
  guide.states = ops::upload(ctx, prompt.states, ctx.activation, states);
  const Tensor pooled = ops::upload(ctx, prompt.pooled, ctx.activation, {1, config.pooled_projection_dim});
  guide.modulation = flux::modulation_vectors(ctx, config, weights, job.schedule.timesteps, job.guidance, pooled);
  return guide;
}

}  // namespace

std::vector<float> denoise(const Context& ctx, const ModelConfig& config, WeightSource& source, const Job& job,
                           std::span<const Conditioning> prompts, std::vector<float> latents,
                           const DenoiseHooks& hooks) {
  const flux::Config& model = config.transformer;
  flux::Weights weights;
  weights.visit(model, bind_from(source));
  std::vector<Guide> guides;
  for (const Conditioning& prompt : prompts) guides.push_back(prepare_guide(ctx, model, weights, job, prompt));
  if (hooks.on_modulated) hooks.on_modulated();
  const flux::Rope rope = flux::rope_tables(ctx, model, job.max_text_tokens, job.token_rows, job.token_cols);

  const int blocks = static_cast<int>(model.num_blocks() * static_cast<int64_t>(guides.size()));
  // One pass of the transformer under one prompt.
  const auto velocity_under = [&](const Guide& guide, std::span<const float> x, int step, int done,
                                  std::span<float> velocity) {
    const Arena::Scope scope(ctx.arena);
    const Tensor modulation = guide.modulation.slice_rows(step, 1);
    const Tensor packed = ops::upload(ctx, x, ctx.activation, {job.image_tokens(), model.in_channels});
    const flux::Hidden hidden = flux::embed(ctx, model, weights, packed, guide.states);
    for (int64_t block = 0; block < model.num_blocks(); ++block) {
      flux::run_blocks(ctx, model, weights, modulation, rope, hidden, block, block + 1);
      if (hooks.on_block) hooks.on_block(step, done + static_cast<int>(block) + 1, blocks);
    }
    ops::download(ctx, flux::project(ctx, model, weights, modulation, hidden), velocity);
  };
  std::vector<float> negative(latents.size());
  sample_euler(job.schedule.sigmas, latents,
               [&](std::span<const float> x, int step, float, std::span<float> velocity) {
                 velocity_under(guides[0], x, step, 0, velocity);
                 if (guides.size() < 2) return;
                 velocity_under(guides[1], x, step, blocks / 2, negative);
                 combine_true_cfg(negative, velocity, job.cfg, velocity);
               });
  return latents;
}

Image decode(const Context& ctx, const ModelConfig& config, WeightSource& source, const Job& job,
             std::span<const float> latents) {
  vae::DecoderWeights weights;
  weights.visit(config.vae, bind_from(source));
  const int64_t height = 2 * job.token_rows, width = 2 * job.token_cols;
  std::vector<float> z =
      unpack_latents_to_pixels(latents, {.channels = config.vae.latent_channels, .height = height, .width = width});
  vae::unscale_latents(config.vae, z);
  const Tensor input = ops::upload(ctx, z, ctx.activation, {height, width, config.vae.latent_channels});
  const std::vector<float> pixels = to_host(ctx, vae::decode(ctx, config.vae, weights, input));
  return image_from_float(pixels, static_cast<int>(job.width), static_cast<int>(job.height));
}

}  // namespace darkroom

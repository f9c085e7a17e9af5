// The phases of a run, each on a context and on one part's weights.
//
// A phase runs twice: on the dry-run backend without data, which gives its peak memory and its work, and then
// for real in a buffer of that size. So there is no second description of the models to keep in step. Between
// phases everything is f32 on the host and small. Called by the pipeline and the planner.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "image/image.h"
#include "ops/context.h"
#include "pipeline/model.h"
#include "pipeline/request.h"

namespace darkroom {

// What the transformer is told about one prompt.
struct Conditioning {
  std::vector<float> pooled;  // [pooled_projection_dim]
  std::vector<float> states;  // [max_text_tokens, joint_attention_dim]
};

// Pooled CLIP vectors, one per list of ids.
std::vector<std::vector<float>> encode_clip(const Context& ctx, const ModelConfig& config,
                                            WeightSource& weights,
                                            std::span<const std::vector<int32_t>> prompts);
// T5 states, one list of [tokens, d_model] values per list of ids.
std::vector<std::vector<float>> encode_t5(const Context& ctx, const ModelConfig& config,
                                          WeightSource& weights,
                                          std::span<const std::vector<int32_t>> prompts);

// What the denoising phase tells while it runs; each may be empty.
struct DenoiseHooks {
  std::function<void()> on_modulated;                             // the modulation vectors are there
  std::function<void(int step, int block, int blocks)> on_block;  // `block` of `blocks` finished in this step
};

// The initial latents [tokens, channels] turned into final ones. `prompts` holds the prompt and, for true
// CFG, the negative prompt behind it.
std::vector<float> denoise(const Context& ctx, const ModelConfig& config, WeightSource& weights,
                           const Job& job, std::span<const Conditioning> prompts, std::vector<float> latents,
                           const DenoiseHooks& hooks);

// Final latents [tokens, channels] -> picture.
Image decode(const Context& ctx, const ModelConfig& config, WeightSource& weights, const Job& job,
             std::span<const float> latents);

}  // namespace darkroom

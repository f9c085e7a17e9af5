// The phases of a run, each on a context and on one part's weights.
//
// A phase runs twice: on the dry-run backend without data, which gives its peak memory and its work, and then
// for real in a buffer of that size. So there is no second description of the models to keep in step. Between
// phases everything is f32 on the host and small.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "image/image.h"
#include "memory/residency.h"
#include "ops/context.h"
#include "pipeline/request.h"
#include "sampling/sampler.h"
#include "sampling/step_cache.h"

namespace darkroom {

// What the transformer is told about one prompt.
struct Conditioning {
  std::vector<float> pooled;  // [pooled_projection_dim]
  std::vector<float> states;  // [max_text_tokens, joint_attention_dim]
};

// What the VAE's encoder says of a picture: packed latents [tokens, channels] in the VAE's own scale.
struct PictureMoments {
  std::vector<float> mean, deviation;
};

// How the weights of a part are grouped for memory. The units point into `weights`, which
// must stay where it is.
std::vector<memory::WeightUnit> t5_layer_units(t5::Weights& weights, const t5::Config& config,
                                               WeightSource& source);
std::vector<memory::WeightUnit> transformer_units(flux::Weights& weights, const flux::Config& config,
                                                  WeightSource& source, Stage stage);

// Pooled CLIP vectors, one per list of ids.
std::vector<std::vector<float>> encode_clip(const Context& ctx, const ModelConfig& config,
                                            WeightSource& weights,
                                            std::span<const std::vector<int32_t>> prompts);
// T5 states, one list of [tokens, d_model] values per list of ids.
std::vector<std::vector<float>> encode_t5(const Context& ctx, const ModelConfig& config,
                                          WeightSource& weights, const Job& job,
                                          std::span<const std::vector<int32_t>> prompts);

// Pixels f32 [height, width, 3] of the job's size, -1 to 1 -> moments; empty ones on the dry-run backend.
// strips, scratch: as vae::encode() takes them.
PictureMoments encode_picture(const Context& ctx, const ModelConfig& config, WeightSource& weights,
                              const Job& job, std::span<const float> pixels, const vae::StripPlan& strips,
                              const ScratchFile* scratch);

// What denoising tells while it runs; may be empty.
struct DenoiseHooks {
  std::function<void(int pass, int block, int blocks)> on_block;  // `block` of `blocks` finished in this pass
  // The transformer's answer of this pass, under one prompt.
  std::function<void(int pass, std::span<const float> velocity)> on_answer = {};
  // What a step, counted from 0, begins with: its latents, packed, and their guided velocity at sigma.
  std::function<void(int step, std::span<const float> latents, float sigma, std::span<const float> velocity)>
      on_velocity = {};
  // What linear layers of the blocks multiply in a step, by the name of the first of them (Param::fed_by): x
  // [tokens, channels], on the backend.
  std::function<void(int step, const std::string& input, const Tensor& x)> on_input = {};
};

// The transformer under its prompts: the prompt and, for true CFG, the negative prompt after it.
//
// Making one computes the modulation vectors of all steps, after which a quarter of the weights has left
// memory again; run() then reads the others and denoises as many pictures as are wanted. Everything lives in ctx.arena. Placement:
// which blocks stay.
class DenoisePhase {
 public:
  // Errors: those of reading weights. What is passed in must outlive this.
  DenoisePhase(const Context& ctx, const ModelConfig& config, WeightSource& source, const Job& job,
               std::span<const Conditioning> prompts, const memory::Placement* blocks);
  ~DenoisePhase();

  // flux::modulation_vectors() of the first prompt.
  Tensor modulation() const { return guides_.front().modulation; }

  // Initial latents [tokens, channels] turned into final ones, by the job's sampler.
  std::vector<float> run(std::vector<float> latents, const DenoiseHooks& hooks, SamplerOptions options = {});

  // One pass under so many prompts on a backend without data, as run() makes it when its step cache skips
  // nothing. Every such pass has the same work and the same peak.
  void dry_pass(std::size_t prompts);

  // Read from files so far, and time spent on it and on waiting for it.
  memory::Residency::Totals totals() const;

  // What the last run() made: forward passes, one per prompt, and those in which the step
  // cache left blocks out.
  struct Passes {
    int made = 0, skipped = 0;
  };
  Passes passes() const { return passes_; }

 private:
  // A prompt as the transformer takes it: a row of modulation a step, and the T5 states on the device; and
  // what its step cache holds.
  struct Guide {
    Tensor modulation, states;
    std::optional<StepCache> cache;
    Tensor signal;  // [image tokens, D], if has_signal
    bool has_signal = false;
    std::vector<Tensor> residuals;  // [tokens, D], the newest first
  };
  // One pass under several prompts.
  struct Pass {
    int level = 0, number = 0;  // of the schedule; how many came before in this picture
    const DenoiseHooks& hooks;
    std::vector<flux::Hidden> hidden = {};
    std::vector<bool> skips = {};  // of each prompt
  };
  void modulate(std::span<const Conditioning> prompts);
  void make_room_for_cache();
  void open_weights();
  void forget_last_picture();
  void velocities(std::span<const float> x, int level, int number, const DenoiseHooks& hooks,
                  std::span<const std::span<float>> out);
  // Blocks [first, last) for all prompts, or for those that skip none; a block is leased
  // once for all of them.
  void run_blocks(Pass& pass, int64_t first, int64_t last, bool skipping);
  void run_cached(Pass& pass);
  void decide_skips(Pass& pass, std::span<const Tensor> signals);
  // The names of inputs by the first matrix that they go through.
  std::map<const Tensor*, std::string> names_of_inputs();

  const Context& ctx_;
  const flux::Config& config_;
  WeightSource& source_;
  const Job& job_;
  const memory::Placement* placement_;
  flux::Weights weights_;
  std::vector<Guide> guides_;
  flux::Rope rope_;
  std::vector<memory::WeightUnit> ends_units_, block_units_;  // until they are opened
  std::unique_ptr<memory::Residency> ends_, blocks_;          // absent on the dry-run backend
  memory::Residency::Totals modulation_totals_;
  Passes passes_;
};

// How often run() asks the transformer, by the number of prompts it is asked under.
struct PassCounts {
  int64_t one_prompt = 0, two_prompts = 0;
};
// As the job's sampler and guidance have it. Errors: those of sample().
PassCounts count_passes(const Job& job);

// Final latents [tokens, channels] -> picture; an empty one on the dry-run backend. strips, scratch: as
// vae::decode() takes them.
Image decode(const Context& ctx, const ModelConfig& config, WeightSource& weights, const Job& job,
             std::span<const float> latents, const vae::StripPlan& strips, const ScratchFile* scratch);

}  // namespace darkroom

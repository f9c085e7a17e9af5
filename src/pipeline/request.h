// What to draw: as the user said it, and as it will be done.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "image/sheet.h"
#include "ops/context.h"
#include "options/request.h"
#include "pipeline/loras.h"
#include "sampling/guidance.h"
#include "sampling/noise.h"
#include "sampling/sampler.h"
#include "sampling/schedule.h"
#include "sampling/step_cache.h"
#include "tensor/dtype.h"
#include "weights/smoothing.h"

namespace darkroom {

// diffusers' for img2img and inpainting.
inline constexpr double kDefaultStrength = 0.6;

// As it will be done: every value decided and checked against the model.
struct Job {
  std::string prompt, negative;
  bool true_cfg = false;
  float cfg = 1;
  std::optional<float> guidance;  // absent for models that embed none
  GuidanceSchedule guidance_schedule;
  GuidanceRule cfg_rule;
  std::vector<float> cfg_scales;  // of each step, if true_cfg: 1 is a step without the negative prompt
  std::vector<float> guidances;   // of each step, if guidance
  CacheSettings cache;
  int64_t width = 0, height = 0;  // pixels
  Schedule schedule;              // of the steps that are taken
  int64_t asked_steps = 0;        // with a source picture, strength leaves the first of them out
  SamplerKind sampler = SamplerKind::kEuler;
  SigmaSpacing spacing = SigmaSpacing::kSimple;
  std::vector<double> custom_sigmas;  // as asked for, before any shift; empty: evenly spaced
  int64_t max_text_tokens = 0;
  uint64_t seed = 0;
  int64_t count = 1;
  // Of hidden states, f32 or bf16: the transformer's and the VAE's, and the text encoders'.
  DType precision = DType::kF32, text_precision = DType::kF32;
  // The transformer's blocks, and T5's layers, multiply in 8 bits.
  std::optional<Int8Products> int8, text_int8;
  std::shared_ptr<const Smoothing> smoothing;  // for the transformer's, from a file; or null
  bool int8_attention = false;                 // the blocks' attention multiplies in 8 bits
  WeightStorage weights = WeightStorage::kAsStored;
  std::optional<std::size_t> budget_bytes, ram_budget_bytes;  // absent: what is free
  std::filesystem::path scratch_folder;
  NoiseSource noise;
  std::filesystem::path noise_path;
  std::filesystem::path init_path, mask_path;  // empty: noise alone; all of it is drawn again
  double strength = 1;
  std::vector<JobLora> loras;
  std::optional<SheetLayout> sheet;
  std::vector<std::string> notes;  // options without effect, words that the model does not know
  Request settled;                 // what the recipe states: the request with every value decided

  // How a part's matrices come into memory, on so many threads.
  StorageChoice storage(Part part, int threads = 1) const {
    const bool transformer = part == Part::kTransformer;
    const std::optional<Int8Products> none, products = transformer         ? int8
                                                       : part == Part::kT5 ? text_int8
                                                                           : none;
    StorageChoice choice(transformer ? weights : WeightStorage::kAsStored, products ? products->levels : 0,
                         transformer ? smoothing : nullptr);
    choice.threads = threads;
    return choice;
  }
  // The image in tokens: rows × cols, and the latents that they pack.
  int64_t token_rows = 0, token_cols = 0;
  int64_t image_tokens() const { return token_rows * token_cols; }
  int64_t steps() const { return schedule.steps(); }
  bool starts_from_picture() const { return !init_path.empty(); }
  // How often the transformer is asked for a picture, under one prompt or two.
  int64_t passes() const { return sampler_evaluations(sampler, schedule.steps()); }
};

// Bytes; nothing for "auto". Errors: kUsage.
std::optional<std::size_t> decide_budget(const std::string& text, const char* name = "budget");

// Decides every value that the machine has no say in: weights "auto" are as stored here (decide.h settles
// them). Of a picture to start from only the header is read. A seed that was not given is drawn from the
// system. Errors: kUsage, naming the option, its value and what is allowed.
Job decide_values(const Request& request, const Checkpoint& model);

// Only the value that tokenizing needs: the number of T5's tokens. Checks the prompt, too. Errors: kUsage.
int64_t decide_text_tokens(const Request& request, const Checkpoint& model);

}  // namespace darkroom

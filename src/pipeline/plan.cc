#include "pipeline/plan.h"

#include <algorithm>

#include "pipeline/phases.h"

namespace darkroom {
namespace {

// Bytes of a part's weights as the files store them, split by what the name says.
std::size_t weight_bytes(const Model& model, Part part, const std::function<bool(const std::string&)>& counts) {
  std::size_t bytes = 0;
  const std::unique_ptr<WeightSource> source = model.weights_for_planning(part);
  model.visit(part, [&](const std::string& name, Tensor&, const Shape& shape) {
    if (counts(name)) bytes += source->get(name, shape).bytes();
  });
  return bytes;
}

PlannedPhase plan_phase(const char* name, const Model& model, Part part, const Job& job, const PhaseWork& work) {
  const DryRun run = dry_run(model, part, job.precision, work);
  return {.name = name,
          .weight_bytes = weight_bytes(model, part, [](const std::string&) { return true; }),
          .activation_bytes = run.activation_bytes,
          .flops = run.work.flops,
          .assumed = !model.has_part(part)};
}

// The transformer phase in two: what it needs until the modulation vectors are there, and from then on.
void plan_transformer(const Model& model, const Job& job, std::vector<PlannedPhase>& phases) {
  const ModelConfig& config = model.config();
  const auto width = [](int64_t n) { return static_cast<std::size_t>(n); };
  const Conditioning prompt{
      std::vector<float>(width(config.transformer.pooled_projection_dim)),
      std::vector<float>(width(job.max_text_tokens * config.transformer.joint_attention_dim))};
  const std::vector<Conditioning> prompts(job.true_cfg ? 2 : 1, prompt);
  const std::vector<float> noise(width(job.image_tokens() * config.transformer.in_channels));
  DryRun until_modulated;
  const DryRun whole =
      dry_run(model, Part::kTransformer, job.precision, [&](const Context& ctx, WeightSource& weights) {
        DenoiseHooks hooks;
        hooks.on_modulated = [&] {
          until_modulated = {ctx.arena.peak(), static_cast<const DryRunBackend&>(ctx.backend).work()};
        };
        denoise(ctx, config, weights, job, prompts, noise, hooks);
      });
  const bool assumed = !model.has_part(Part::kTransformer);
  const auto not_modulation = [](const std::string& name) { return !flux::is_modulation_weight(name); };
  phases.push_back({.name = "modulation",
                    .weight_bytes = weight_bytes(model, Part::kTransformer, flux::is_modulation_weight),
                    .activation_bytes = until_modulated.activation_bytes,
                    .flops = until_modulated.work.flops,
                    .assumed = assumed});
  phases.push_back({.name = "denoise",
                    .weight_bytes = weight_bytes(model, Part::kTransformer, not_modulation),
                    .activation_bytes = whole.activation_bytes,
                    .flops = whole.work.flops - until_modulated.work.flops,
                    .assumed = assumed});
}

}  // namespace

DryRun dry_run(const Model& model, Part part, DType precision, const PhaseWork& work) {
  DryRunBackend backend;
  Arena arena = Arena::counting();
  PlanSource weights(model.part_dtype(part));
  work({backend, arena, precision}, weights);
  return {arena.peak(), backend.work()};
}

std::size_t Plan::peak_bytes() const {
  std::size_t peak = 0;
  for (const PlannedPhase& phase : phases) peak = std::max(peak, phase.peak_bytes());
  return peak;
}

Plan make_plan(const Model& model, const Job& job) {
  const ModelConfig& config = model.config();
  Plan plan;
  const std::size_t prompts = job.true_cfg ? 2 : 1;
  const std::vector<std::vector<int32_t>> clip_ids(
      prompts, std::vector<int32_t>(static_cast<std::size_t>(config.clip.max_positions)));
  const std::vector<std::vector<int32_t>> t5_ids(
      prompts, std::vector<int32_t>(static_cast<std::size_t>(job.max_text_tokens)));
  plan.phases.push_back(plan_phase("clip", model, Part::kClip, job, [&](const Context& ctx, WeightSource& weights) {
    encode_clip(ctx, config, weights, clip_ids);
  }));
  plan.phases.push_back(plan_phase("t5", model, Part::kT5, job, [&](const Context& ctx, WeightSource& weights) {
    encode_t5(ctx, config, weights, t5_ids);
  }));
  plan_transformer(model, job, plan.phases);
  const std::vector<float> latents(static_cast<std::size_t>(job.image_tokens() * config.transformer.in_channels));
  plan.phases.push_back(plan_phase("vae", model, Part::kVae, job, [&](const Context& ctx, WeightSource& weights) {
    decode(ctx, config, weights, job, latents);
  }));
  return plan;
}

PartSize part_size(const Model& model, Part part) {
  PartSize size;
  model.visit(part, [&](const std::string&, Tensor&, const Shape& shape) { size.parameters += shape.numel(); });
  size.bytes = weight_bytes(model, part, [](const std::string&) { return true; });
  return size;
}

}  // namespace darkroom

#include "pipeline/plan.h"

#include <algorithm>

#include "memory/budget.h"
#include "pipeline/phases.h"

namespace darkroom {
namespace {

bool any(const std::string&) { return true; }

// Bytes of a part's weights as they come from `source`, split by what the name says.
std::size_t weight_bytes(const Model& model, Part part, WeightSource& source,
                         const std::function<bool(const std::string&)>& counts) {
  std::size_t bytes = 0;
  model.visit(part, [&](const std::string& name, Tensor&, const Shape& shape) {
    if (counts(name)) bytes += source.describe(name, shape).bytes_with_scales();
  });
  return bytes;
}

// What reading a part's weights takes at most, one behind the other.
std::size_t staging_bytes(const Model& model, Part part, WeightSource& source) {
  std::size_t most = 0;
  model.visit(part, [&](const std::string& name, Tensor&, const Shape& shape) {
    most = std::max(most, source.staging_bytes(name, shape));
  });
  return most;
}

void set_placement(PlannedPhase& phase, const memory::Placement& placement, std::size_t always) {
  phase.resident_bytes = placement.resident_bytes + always;
  phase.slot_bytes = placement.slot_bytes;
  phase.streamed_bytes = placement.streamed_bytes;
}

// A part whose weights are in memory as a whole.
PlannedPhase plan_phase(const char* name, const Model& model, Part part, const Job& job,
                        const PhaseWork& work) {
  const DryRun run = dry_run(model, part, job.precision, work);
  const std::size_t bytes = weight_bytes(model, part, *model.weights_for_planning(part), any);
  return {.name = name,
          .weight_bytes = bytes,
          .resident_bytes = bytes,
          .activation_bytes = run.activation_bytes,
          .flops = run.work.flops,
          .assumed = !model.has_part(part)};
}

void plan_text(const Model& model, const Job& job, Plan& plan) {
  const ModelConfig& config = model.config();
  const std::size_t prompts = job.true_cfg ? 2 : 1;
  const std::vector<std::vector<int32_t>> clip_ids(
      prompts, std::vector<int32_t>(static_cast<std::size_t>(config.clip.max_positions)));
  const std::vector<std::vector<int32_t>> t5_ids(
      prompts, std::vector<int32_t>(static_cast<std::size_t>(job.max_text_tokens)));
  plan.phases.push_back(plan_phase(
      "clip", model, Part::kClip, job,
      [&](const Context& ctx, WeightSource& weights) { encode_clip(ctx, config, weights, clip_ids); }));
  PlannedPhase t5 = plan_phase("t5", model, Part::kT5, job, [&](const Context& ctx, WeightSource& weights) {
    encode_t5(ctx, config, weights, t5_ids);
  });
  // Its layers are used once: they pass through.
  t5::Weights weights;
  const std::unique_ptr<WeightSource> source = model.weights_for_planning(Part::kT5);
  const memory::Placement layers =
      memory::all_streamed(memory::sizes_of(t5_layer_units(weights, config.t5, *source)));
  set_placement(t5, layers, t5.weight_bytes - layers.streamed_bytes);
  plan.phases.push_back(std::move(t5));
}

// The transformer phase in two: what it needs until the modulation vectors are there, and from then on.
void plan_transformer(const Model& model, const Job& job, Plan& plan) {
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
        DenoisePhase denoiser(ctx, config, weights, job, prompts, nullptr);
        until_modulated = {ctx.arena.peak(), static_cast<const DryRunBackend&>(ctx.backend).work()};
        denoiser.run(noise, {});
      });
  flux::Weights weights;
  const std::unique_ptr<WeightSource> source = model.weights_for_planning(Part::kTransformer, job.weights);
  const auto sizes = [&](flux::WeightRole role) {
    return memory::sizes_of(transformer_units(weights, config.transformer, *source, role));
  };
  const std::size_t staging = staging_bytes(model, Part::kTransformer, *source);
  const bool assumed = !model.has_part(Part::kTransformer);
  const auto not_modulation = [](const std::string& name) { return !flux::is_modulation_weight(name); };
  PlannedPhase modulation{
      .name = "modulation",
      .weight_bytes = weight_bytes(model, Part::kTransformer, *source, flux::is_modulation_weight),
      .staging_bytes = staging,
      .activation_bytes = until_modulated.activation_bytes,
      .flops = until_modulated.work.flops,
      .assumed = assumed};
  set_placement(modulation, memory::all_streamed(sizes(flux::WeightRole::kModulation)), 0);
  PlannedPhase denoise{.name = "denoise",
                       .weight_bytes = weight_bytes(model, Part::kTransformer, *source, not_modulation),
                       .staging_bytes = staging,
                       .activation_bytes = whole.activation_bytes,
                       .flops = whole.work.flops - until_modulated.work.flops,
                       .assumed = assumed};
  const std::vector<std::size_t> blocks = sizes(flux::WeightRole::kBlock);
  const std::size_t ends = sizes(flux::WeightRole::kEnds).at(0);
  const std::size_t beside = kProcessBytes + ends + staging + denoise.activation_bytes;
  plan.blocks = memory::all_resident(blocks);
  plan.least_block_bytes = memory::least(blocks).bytes();
  if (plan.budget_bytes) {
    const std::size_t limit = *plan.budget_bytes - std::min(*plan.budget_bytes, beside);
    const std::optional<memory::Placement> placed = memory::place(blocks, limit);
    // Too small for any: the least, which the check at the end then refuses.
    plan.blocks = placed ? *placed : memory::least(blocks);
  }
  set_placement(denoise, plan.blocks, ends);
  plan.phases.push_back(std::move(modulation));
  plan.phases.push_back(std::move(denoise));
}

// Ways to decode, the fastest first; the last needs the least memory.
std::vector<vae::StripPlan> ways_to_decode() {
  std::vector<vae::StripPlan> ways;
  for (const bool in_file : {false, true}) {
    for (const std::size_t mebibytes : {16, 8, 4}) ways.push_back({mebibytes << 20, in_file});
  }
  return ways;
}

PlannedPhase plan_decode(const Model& model, const Job& job, const vae::StripPlan& strips) {
  const ModelConfig& config = model.config();
  const std::vector<float> latents(
      static_cast<std::size_t>(job.image_tokens() * config.transformer.in_channels));
  PlannedPhase vae =
      plan_phase("vae", model, Part::kVae, job, [&](const Context& ctx, WeightSource& weights) {
        decode(ctx, config, weights, job, latents, strips, nullptr);
      });
  vae.picture_bytes = static_cast<std::size_t>(job.width * job.height * 3);
  return vae;
}

// The first way within the budget; if there is none, the last, which the check at the end then refuses.
void plan_vae(const Model& model, const Job& job, Plan& plan) {
  PlannedPhase vae;
  for (const vae::StripPlan& way : ways_to_decode()) {
    plan.strips = way;
    vae = plan_decode(model, job, way);
    if (!plan.budget_bytes || vae.peak_bytes() + kProcessBytes <= *plan.budget_bytes) break;
  }
  if (plan.strips.in_file) {
    plan.scratch_bytes = vae::canvas_bytes(model.config().vae, 4 * job.image_tokens(), job.precision);
  }
  plan.phases.push_back(std::move(vae));
}

// The smallest budget that works: every phase with as little in memory as it can do with.
std::size_t smallest_budget(const Model& model, const Job& job, const Plan& plan) {
  std::size_t smallest = 0;
  for (const PlannedPhase& phase : plan.phases) {
    std::size_t bytes = phase.peak_bytes();
    if (phase.name == "vae") bytes = plan_decode(model, job, ways_to_decode().back()).peak_bytes();
    if (phase.name == "denoise") bytes -= plan.blocks.bytes() - plan.least_block_bytes;
    smallest = std::max(smallest, bytes + kProcessBytes);
  }
  return smallest;
}

void check_budget(const Model& model, const Job& job, const Plan& plan) {
  if (!plan.budget_bytes) return;
  for (const PlannedPhase& phase : plan.phases) {
    if (phase.peak_bytes() + kProcessBytes <= *plan.budget_bytes) continue;
    const std::size_t smallest = smallest_budget(model, job, plan);
    fail(
        ErrorCode::kOutOfMemory,
        "{} {} is too little: '{}' needs {}; the smallest budget for this request is {} bytes ({}), less for "
        "a smaller picture",
        plan.automatic ? "the free memory of" : "a budget of", memory::byte_text(*plan.budget_bytes),
        phase.name, memory::byte_text(phase.peak_bytes() + kProcessBytes), smallest,
        memory::byte_text(smallest));
  }
}

}  // namespace

DryRun dry_run(const Model& model, Part part, DType precision, const PhaseWork& work) {
  DryRunBackend backend;
  Arena arena = Arena::counting();
  // The dtype decides nothing that is counted here; i8 would be one for matrices only.
  const DType stored = model.part_dtype(part);
  PlanSource weights(is_float(stored) ? stored : DType::kBF16);
  work({backend, arena, precision}, weights);
  return {arena.peak(), backend.work()};
}

const PlannedPhase& Plan::phase(const std::string& name) const {
  const auto it = std::ranges::find(phases, name, &PlannedPhase::name);
  require(it != phases.end(), ErrorCode::kFailure, "the plan has no phase '{}'", name);
  return *it;
}

std::size_t Plan::phase_bytes(const PlannedPhase& planned) const {
  const bool beside = decode_beside_denoise && planned.name == "vae";
  return planned.peak_bytes() + (beside ? phase("denoise").peak_bytes() : 0) + kProcessBytes;
}

std::size_t Plan::peak_bytes() const {
  std::size_t peak = 0;
  for (const PlannedPhase& planned : phases) peak = std::max(peak, phase_bytes(planned));
  return peak;
}

Plan make_plan(const Model& model, const Job& job) {
  Plan plan;
  plan.automatic = !job.budget_bytes;
  plan.budget_bytes = job.budget_bytes ? job.budget_bytes : memory::automatic_budget();
  plan_text(model, job, plan);
  plan_transformer(model, job, plan);
  plan_vae(model, job, plan);
  check_budget(model, job, plan);
  plan.decode_beside_denoise = job.count > 1;
  if (plan.budget_bytes && plan.peak_bytes() > *plan.budget_bytes) plan.decode_beside_denoise = false;
  return plan;
}

PartSize part_size(const Model& model, Part part) {
  PartSize size;
  model.visit(part,
              [&](const std::string&, Tensor&, const Shape& shape) { size.parameters += shape.numel(); });
  size.bytes = weight_bytes(model, part, *model.weights_for_planning(part), any);
  return size;
}

}  // namespace darkroom

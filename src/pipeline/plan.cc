#include "pipeline/plan.h"

#include <algorithm>

#include "memory/budget.h"
#include "pipeline/phases.h"

namespace darkroom {
namespace {

// Bytes of the tensors of a part that `visit` names, as they come into memory.
std::size_t bytes_as_read(const Model& model, Part part, const std::function<void(const VisitFn&)>& visit) {
  std::size_t bytes = 0;
  const std::unique_ptr<WeightSource> source = model.weights_for_planning(part);
  visit([&](const std::string& name, Tensor&, const Shape& shape) {
    bytes += source->describe(name, shape).bytes_with_scales();
  });
  return bytes;
}

std::size_t weight_bytes(const Model& model, Part part) {
  return bytes_as_read(model, part, [&](const VisitFn& visit) { model.visit(part, visit); });
}

std::size_t encoder_bytes(const Model& model) {
  return bytes_as_read(model, Part::kVae, [&](const VisitFn& visit) { model.visit_encoder(visit); });
}

std::size_t count(int64_t n) { return static_cast<std::size_t>(n); }

// What the program keeps on the host, in f32: see Run in pipeline.cc and the phases' functions.
std::size_t embedding_bytes(const flux::Config& config, const Job& job) {
  const std::size_t prompts = job.true_cfg ? 2 : 1;
  return prompts * sizeof(float) *
         count(config.pooled_projection_dim + job.max_text_tokens * config.joint_attention_dim);
}

std::size_t latent_bytes(const flux::Config& config, const Job& job) {
  return sizeof(float) * count(job.image_tokens() * config.in_channels);
}

// Of the run's source: the picture, the encoder's moments, the latents drawn from them and their noise, and
// the mask of latents.
std::size_t source_bytes(const flux::Config& config, const Job& job) {
  if (!job.source) return 0;
  return job.source->image.rgb.size() + 4 * latent_bytes(config, job) +
         sizeof(float) * job.source->mask.size();
}

// From the beginning to the end of a run: the sheet, noise that was given, the source.
std::size_t lasting_bytes(const flux::Config& config, const Job& job) {
  const std::size_t sheet = job.sheet ? 3 * count(job.sheet->width * job.sheet->height) : 0;
  const bool given = !job.noise_path.empty();
  return sheet + (given ? latent_bytes(config, job) : 0) + source_bytes(config, job);
}

// The same, and the pictures that wait to be decoded.
std::size_t picture_bytes(const flux::Config& config, const Job& job) {
  return lasting_bytes(config, job) + count(job.count - 1) * latent_bytes(config, job);
}

void set_placement(PlannedPhase& phase, const memory::Placement& placement, std::size_t always) {
  phase.resident_bytes = placement.resident_bytes + always;
  phase.slot_bytes = placement.slot_bytes;
  phase.streamed_bytes = placement.streamed_bytes;
}

// A part whose weights are in memory as a whole.
PlannedPhase plan_phase(const char* name, const Model& model, Part part, std::size_t bytes, const Job& job,
                        const PhaseWork& work) {
  const DryRun run = dry_run(model.part_dtype(part), job.precision, work);
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
  const std::vector<std::vector<int32_t>> clip_ids(prompts,
                                                   std::vector<int32_t>(count(config.clip.max_positions)));
  const std::vector<std::vector<int32_t>> t5_ids(prompts, std::vector<int32_t>(count(job.max_text_tokens)));
  plan.phases.push_back(plan_phase(
      "clip", model, Part::kClip, weight_bytes(model, Part::kClip), job,
      [&](const Context& ctx, WeightSource& weights) { encode_clip(ctx, config, weights, clip_ids); }));
  plan.phases.back().host_bytes = lasting_bytes(config.transformer, job);
  PlannedPhase t5 =
      plan_phase("t5", model, Part::kT5, weight_bytes(model, Part::kT5), job,
                 [&](const Context& ctx, WeightSource& weights) { encode_t5(ctx, config, weights, t5_ids); });
  // Its layers are used once: they pass through.
  t5::Weights weights;
  const std::unique_ptr<WeightSource> source = model.weights_for_planning(Part::kT5);
  const memory::Placement layers =
      memory::all_streamed(memory::sizes_of(t5_layer_units(weights, config.t5, *source)));
  set_placement(t5, layers, t5.weight_bytes - layers.streamed_bytes);
  t5.host_bytes = embedding_bytes(config.transformer, job) + lasting_bytes(config.transformer, job);
  plan.phases.push_back(std::move(t5));
}

// Ways to decode or encode, the fastest first; the last needs the least memory.
std::vector<vae::StripPlan> ways_to_strip() {
  std::vector<vae::StripPlan> ways;
  for (const bool in_file : {false, true}) {
    for (const std::size_t mebibytes : {16, 8, 4}) ways.push_back({mebibytes << 20, in_file});
  }
  return ways;
}

PlannedPhase plan_decode(const Model& model, const Job& job, const Backend::Workspace& workspace,
                         const vae::StripPlan& strips) {
  const ModelConfig& config = model.config();
  const std::vector<float> latents(count(job.image_tokens() * config.transformer.in_channels));
  PlannedPhase vae = plan_phase("vae", model, Part::kVae, weight_bytes(model, Part::kVae), job,
                                [&](const Context& ctx, WeightSource& weights) {
                                  decode(ctx, config, weights, job, latents, strips, nullptr);
                                });
  // Latents as tokens and as an image; the finished picture.
  vae.host_bytes = 2 * latent_bytes(config.transformer, job) + picture_bytes(config.transformer, job) +
                   3 * count(job.width * job.height) + workspace.conv_bytes;
  return vae;
}

PlannedPhase plan_encode(const Model& model, const Job& job, const Backend::Workspace& workspace,
                         const vae::StripPlan& strips) {
  const ModelConfig& config = model.config();
  const std::vector<float> pixels(count(3 * job.width * job.height));
  PlannedPhase vae = plan_phase("vae encode", model, Part::kVae, encoder_bytes(model), job,
                                [&](const Context& ctx, WeightSource& weights) {
                                  encode_picture(ctx, config, weights, job, pixels, strips, nullptr);
                                });
  // The pixels in f32, and the moments once more.
  vae.host_bytes = picture_bytes(config.transformer, job) + sizeof(float) * pixels.size() +
                   2 * latent_bytes(config.transformer, job) + workspace.conv_bytes;
  return vae;
}

using PlanInStrips = PlannedPhase (*)(const Model&, const Job&, const Backend::Workspace&,
                                      const vae::StripPlan&);

// The first way within the budget; if there is none, the last, which the check at the end then refuses.
void plan_strips(const Model& model, const Job& job, const Backend::Workspace& workspace,
                 PlanInStrips plan_one, vae::StripPlan& chosen, Plan& plan) {
  PlannedPhase phase;
  for (const vae::StripPlan& way : ways_to_strip()) {
    chosen = way;
    phase = plan_one(model, job, workspace, way);
    if (!plan.budget_bytes || phase.peak_bytes() + plan.process_bytes <= *plan.budget_bytes) break;
  }
  plan.phases.push_back(std::move(phase));
}

void plan_scratch(const Model& model, const Job& job, Plan& plan) {
  const vae::Config& config = model.config().vae;
  const int64_t pixels = 4 * job.image_tokens();
  if (plan.strips.in_file) plan.scratch_bytes = vae::canvas_bytes(config, pixels, job.precision);
  if (job.source && plan.encode_strips.in_file) {
    plan.scratch_bytes =
        std::max(plan.scratch_bytes, vae::encode_canvas_bytes(config, pixels, job.precision));
  }
}

// The smallest budget that works: every phase with as little in memory as it can do with.
std::size_t smallest_budget(const Model& model, const Job& job, const Backend::Workspace& workspace,
                            const Plan& plan) {
  std::size_t smallest = 0;
  for (const PlannedPhase& phase : plan.phases) {
    std::size_t bytes = phase.peak_bytes();
    if (phase.name == "vae") bytes = plan_decode(model, job, workspace, ways_to_strip().back()).peak_bytes();
    if (phase.name == "vae encode")
      bytes = plan_encode(model, job, workspace, ways_to_strip().back()).peak_bytes();
    if (phase.name == "denoise") bytes -= plan.blocks.bytes() - plan.least_block_bytes;
    smallest = std::max(smallest, bytes + plan.process_bytes);
  }
  return smallest;
}

void check_budget(const Model& model, const Job& job, const Backend::Workspace& workspace, const Plan& plan) {
  if (!plan.budget_bytes) return;
  for (const PlannedPhase& phase : plan.phases) {
    if (phase.peak_bytes() + plan.process_bytes <= *plan.budget_bytes) continue;
    const std::size_t smallest = smallest_budget(model, job, workspace, plan);
    const bool by_size = phase.name == "denoise" || phase.name.starts_with("vae");
    fail(ErrorCode::kOutOfMemory,
         "{} {} is too little: '{}' needs {}; the smallest budget for this request is {} bytes ({}){}",
         plan.automatic ? "the free memory of" : "a budget of", memory::byte_text(*plan.budget_bytes),
         phase.name, memory::byte_text(phase.peak_bytes() + plan.process_bytes), smallest,
         memory::byte_text(smallest), by_size ? ", less for a smaller picture" : "");
  }
}

// Latents, what the sampler and the guidance hold beside them, and the answer to the negative prompt; at
// least two, for before them there is the noise, twice.
std::size_t sampling_vectors(const Job& job) {
  const int held = 1 + sampler_vectors(job.sampler) + (job.true_cfg ? 1 + guidance_vectors(job.cfg_rule) : 0);
  return static_cast<std::size_t>(held);
}

}  // namespace

DryRun dry_run(DType stored, DType precision, const PhaseWork& work) {
  DryRunBackend backend;
  Arena arena = Arena::counting();
  // The dtype decides nothing that is counted here; i8 would be one for matrices only.
  PlanSource weights(is_float(stored) ? stored : DType::kBF16);
  work({backend, arena, precision}, weights);
  return {arena.peak(), backend.work()};
}

TransformerPlan plan_transformer(const ModelConfig& config, WeightSource& source, DType stored,
                                 const Job& job, std::optional<std::size_t> limit,
                                 std::size_t process_bytes) {
  const flux::Config& transformer = config.transformer;
  const Conditioning prompt{std::vector<float>(count(transformer.pooled_projection_dim)),
                            std::vector<float>(count(job.max_text_tokens * transformer.joint_attention_dim))};
  const std::vector<Conditioning> prompts(job.true_cfg ? 2 : 1, prompt);
  DryRun until_modulated;
  const DryRun whole = dry_run(stored, job.precision, [&](const Context& ctx, WeightSource& weights) {
    DenoisePhase denoiser(ctx, config, weights, job, prompts, nullptr);
    until_modulated = {ctx.arena.peak(), static_cast<const DryRunBackend&>(ctx.backend).work()};
    denoiser.run(std::vector<float>(count(job.image_tokens() * transformer.in_channels)), {},
                 {.randn = [](std::span<float> noise) { std::ranges::fill(noise, 0.0f); }});
  });
  flux::Weights weights;
  const auto sizes = [&](flux::WeightRole role) {
    return memory::sizes_of(transformer_units(weights, transformer, source, role));
  };
  TransformerPlan plan{
      .modulation = {.name = "modulation",
                     .activation_bytes = until_modulated.activation_bytes,
                     .host_bytes = embedding_bytes(transformer, job) + picture_bytes(transformer, job),
                     .flops = until_modulated.work.flops},
      .denoise = {.name = "denoise",
                  .activation_bytes = whole.activation_bytes,
                  .host_bytes = sampling_vectors(job) * latent_bytes(transformer, job) +
                                picture_bytes(transformer, job),
                  .flops = whole.work.flops - until_modulated.work.flops},
      .blocks = {},
      .least_block_bytes = 0};
  std::size_t staging = 0;  // weights are read one behind the other
  weights.visit(transformer, [&](const std::string& name, Tensor&, const Shape& shape) {
    PlannedPhase& phase = flux::is_modulation_weight(name) ? plan.modulation : plan.denoise;
    phase.weight_bytes += source.describe(name, shape).bytes_with_scales();
    staging = std::max(staging, source.staging_bytes(name, shape));
  });
  plan.modulation.staging_bytes = plan.denoise.staging_bytes = staging;
  set_placement(plan.modulation, memory::all_streamed(sizes(flux::WeightRole::kModulation)), 0);
  const std::vector<std::size_t> blocks = sizes(flux::WeightRole::kBlock);
  const std::size_t ends = sizes(flux::WeightRole::kEnds).at(0);
  plan.blocks = memory::all_resident(blocks);
  plan.least_block_bytes = memory::least(blocks).bytes();
  if (limit) {
    const std::size_t beside =
        process_bytes + ends + staging + plan.denoise.activation_bytes + plan.denoise.host_bytes;
    const std::optional<memory::Placement> placed = memory::place(blocks, *limit - std::min(*limit, beside));
    plan.blocks = placed ? *placed : memory::least(blocks);
  }
  set_placement(plan.denoise, plan.blocks, ends);
  return plan;
}

const PlannedPhase& Plan::phase(const std::string& name) const {
  const auto it = std::ranges::find(phases, name, &PlannedPhase::name);
  require(it != phases.end(), ErrorCode::kFailure, "the plan has no phase '{}'", name);
  return *it;
}

std::size_t Plan::phase_bytes(const PlannedPhase& planned) const {
  const bool beside = decode_beside_denoise && planned.name == "vae";
  return planned.peak_bytes() + (beside ? phase("denoise").peak_bytes() : 0) + process_bytes;
}

std::size_t Plan::peak_bytes() const {
  std::size_t peak = 0;
  for (const PlannedPhase& planned : phases) peak = std::max(peak, phase_bytes(planned));
  return peak;
}

Plan make_plan(const Model& model, const Job& job, const Backend::Workspace& workspace) {
  const ModelConfig& config = model.config();
  Plan plan;
  plan.process_bytes = kProgramBytes + model.tokenizer_bytes() + workspace.bytes;
  plan.automatic = !job.budget_bytes;
  plan.budget_bytes = job.budget_bytes ? job.budget_bytes : memory::automatic_budget(plan.process_bytes);
  if (job.source) plan_strips(model, job, workspace, plan_encode, plan.encode_strips, plan);
  plan_text(model, job, plan);
  TransformerPlan transformer =
      plan_transformer(config, *model.weights_for_planning(Part::kTransformer, job.weights),
                       model.part_dtype(Part::kTransformer), job, plan.budget_bytes, plan.process_bytes);
  plan.blocks = std::move(transformer.blocks);
  plan.least_block_bytes = transformer.least_block_bytes;
  for (PlannedPhase* phase : {&transformer.modulation, &transformer.denoise}) {
    phase->assumed = !model.has_part(Part::kTransformer);
    plan.phases.push_back(std::move(*phase));
  }
  plan_strips(model, job, workspace, plan_decode, plan.strips, plan);
  plan_scratch(model, job, plan);
  check_budget(model, job, workspace, plan);
  plan.decode_beside_denoise = job.count > 1;
  if (plan.budget_bytes && plan.peak_bytes() > *plan.budget_bytes) plan.decode_beside_denoise = false;
  return plan;
}

namespace {

// Bytes of blocks that a step reads again; nothing when the budget is too little for the request.
std::optional<std::size_t> streamed_within_budget(const Model& model, const Job& job,
                                                  const Backend::Workspace& workspace) {
  try {
    return make_plan(model, job, workspace).blocks.streamed_bytes;
  } catch (const Error& e) {
    if (e.code() != ErrorCode::kOutOfMemory) throw;
    return std::nullopt;
  }
}

}  // namespace

void settle_weights(const Model& model, const Backend::Workspace& workspace, Job& job) {
  if (!job.weights_by_budget) return;
  job.weights_by_budget = false;
  const std::optional<std::size_t> stored = streamed_within_budget(model, job, workspace);
  if (stored == std::size_t{0}) {
    job.notes.emplace_back("weights: as stored, which stay in memory within the budget");
    return;
  }
  Job smaller = job;
  smaller.weights = WeightStorage::kI8;
  const std::optional<std::size_t> small = streamed_within_budget(model, smaller, workspace);
  if (!stored && !small) return;  // the run says what is missing
  const bool use = small && (*small == 0 || !stored);
  if (use) job.weights = smaller.weights;
  const auto said = [](const std::optional<std::size_t>& streamed) {
    return streamed ? fmt::format("{} would be read in every step", memory::byte_text(*streamed))
                    : std::string("the budget would be too little");
  };
  job.notes.push_back(fmt::format("weights: {}; as stored, {}, in int8 {}", use ? "int8" : "as stored",
                                  said(stored), small == std::size_t{0} ? "nothing" : said(small)));
}

PartSize part_size(const Model& model, Part part) {
  PartSize size;
  model.visit(part,
              [&](const std::string&, Tensor&, const Shape& shape) { size.parameters += shape.numel(); });
  size.bytes = weight_bytes(model, part);
  return size;
}

}  // namespace darkroom

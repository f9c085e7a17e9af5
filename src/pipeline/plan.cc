#include "pipeline/plan.h"

#include <algorithm>

#include "checkpoint/lora_source.h"
#include "checkpoint/tokenizers.h"
#include "memory/budget.h"
#include "pipeline/host_bytes.h"
#include "pipeline/phases.h"
#include "weights/requantizing_source.h"

namespace darkroom {
namespace {

// Of the tensors that `visit` names, as they come into memory from `source`: their bytes, and those of a unit of
// all of them (memory::one_unit).
struct AsRead {
  std::size_t bytes = 0, unit_bytes = 0;
};
AsRead as_read(WeightSource& source, const std::function<void(const VisitFn&)>& visit) {
  AsRead out;
  visit([&](const Param& given, Tensor& given_field) {
    visit_with_extras(source, given, given_field, [&](const Param& param, Tensor&) {
      const std::size_t bytes = source.describe(param).bytes_with_scales();
      out.bytes += bytes;
      out.unit_bytes += (bytes + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment;
    });
  });
  return out;
}

// What reading this one takes beside it: its form in the file where it changes, and its own where it then goes
// on to a device.
std::size_t staging_of(WeightSource& source, const Param& param, const Machine& machine) {
  const bool goes_on = machine.device && machine.device->staged;
  return source.staging_bytes(param) + (goes_on ? source.describe(param).bytes_with_scales() : 0);
}

// What reading any one of them takes beside it.
std::size_t most_staging(WeightSource& source, const Machine& machine,
                         const std::function<void(const VisitFn&)>& visit) {
  std::size_t bytes = 0;
  visit([&](const Param& given, Tensor& given_field) {
    visit_with_extras(source, given, given_field, [&](const Param& param, Tensor&) {
      bytes = std::max(bytes, staging_of(source, param, machine));
    });
  });
  return bytes;
}

AsRead weights_of(const Checkpoint& model, Part part) {
  return as_read(*model.weights_for_planning(part), [&](const VisitFn& visit) { model.visit(part, visit); });
}

AsRead encoder_weights(const Checkpoint& model) {
  return as_read(*model.weights_for_planning(Part::kVae),
                 [&](const VisitFn& visit) { model.visit_encoder(visit); });
}

void set_placement(PlannedPhase& phase, const memory::Placement& placement, std::size_t always) {
  phase.resident_bytes = placement.resident_bytes + always;
  phase.slot_bytes = placement.slot_bytes;
  phase.streamed_bytes = placement.streamed_bytes;
}

// What every phase is planned from.
struct Inputs {
  const Checkpoint& model;
  const Job& job;
  const Machine& machine;
  std::size_t host(Phase phase) const { return host_bytes(phase, model.config(), job, machine.workspace); }
};

// A part whose weights are in memory as a whole.
PlannedPhase plan_phase(const Inputs& in, Phase phase, Part part, const AsRead& weights,
                        const PhaseWork& work) {
  const bool text = part == Part::kClip || part == Part::kT5;
  const DryRun run = dry_run(in.model.part_dtype(part), text ? in.job.text_precision : in.job.precision, work,
                             part, uses_of(in.job.loras), in.job.storage(part).block_levels);
  return {.phase = phase,
          .weight_bytes = weights.bytes,
          .resident_bytes = weights.unit_bytes,
          .activation_bytes = run.activation_bytes,
          .host_bytes = in.host(phase),
          .flops = run.work.flops,
          .assumed = !in.model.has_part(part)};
}

PlannedPhase plan_vae(const Inputs& in, Phase phase, const AsRead& weights, const PhaseWork& work) {
  PlannedPhase vae = plan_phase(in, phase, Part::kVae, weights, work);
  vae.staging_bytes = most_staging(*in.model.weights_for_planning(Part::kVae), in.machine,
                                   [&](const VisitFn& visit) { in.model.visit(Part::kVae, visit); });
  return vae;
}

// Ids of as many prompts as the job has.
std::vector<std::vector<int32_t>> any_ids(const Job& job, int64_t tokens) {
  return std::vector<std::vector<int32_t>>(job.true_cfg ? 2 : 1,
                                           std::vector<int32_t>(static_cast<std::size_t>(tokens)));
}

PlannedPhase plan_clip(const Inputs& in) {
  const ModelConfig& config = in.model.config();
  const std::vector<std::vector<int32_t>> ids = any_ids(in.job, config.clip.max_positions);
  const std::unique_ptr<WeightSource> source =
      in.model.weights_for_planning(Part::kClip, WeightStorage::kAsStored, uses_of(in.job.loras));
  const auto visit_all = [&](const VisitFn& visit) { in.model.visit(Part::kClip, visit); };
  PlannedPhase clip =
      plan_phase(in, Phase::kEncodeClip, Part::kClip, as_read(*source, visit_all),
                 [&](const Context& ctx, WeightSource& weights) { encode_clip(ctx, config, weights, ids); });
  clip.staging_bytes = most_staging(*source, in.machine, visit_all);
  return clip;
}

// Its layers are used once: they pass through.
PlannedPhase plan_t5(const Inputs& in) {
  const ModelConfig& config = in.model.config();
  const std::vector<std::vector<int32_t>> ids = any_ids(in.job, in.job.max_text_tokens);
  const std::unique_ptr<WeightSource> source = in.model.weights_for_planning(
      Part::kT5, in.job.storage(Part::kT5, in.machine.threads), uses_of(in.job.loras));
  const auto visit_all = [&](const VisitFn& visit) { in.model.visit(Part::kT5, visit); };
  const AsRead read = as_read(*source, visit_all);
  PlannedPhase t5 = plan_phase(
      in, Phase::kEncodeT5, Part::kT5, read,
      [&](const Context& ctx, WeightSource& weights) { encode_t5(ctx, config, weights, in.job, ids); });
  t5::Weights weights;
  const memory::Placement layers =
      memory::all_streamed(memory::sizes_of(t5_layer_units(weights, config.t5, *source)));
  set_placement(t5, layers, read.unit_bytes - layers.streamed_bytes);
  t5.staging_bytes = most_staging(*source, in.machine, visit_all);
  return t5;
}

// Ways to decode or encode, the fastest first; the last needs the least memory. A device wants more work at
// once than the caches of a processor hold.
std::vector<vae::StripPlan> ways_to_strip(const Machine& machine) {
  std::vector<vae::StripPlan> ways;
  for (const bool in_file : {false, true}) {
    for (const std::size_t mebibytes : {256, 64, 16, 8, 4}) {
      if (mebibytes <= 16 || machine.device) ways.push_back({mebibytes << 20, in_file});
    }
  }
  return ways;
}

PlannedPhase plan_decode(const Inputs& in, const vae::StripPlan& strips) {
  return plan_vae(in, Phase::kDecode, weights_of(in.model, Part::kVae),
                  [&](const Context& ctx, WeightSource& weights) {
                    decode(ctx, in.model.config(), weights, in.job, {}, strips, nullptr);
                  });
}

PlannedPhase plan_encode(const Inputs& in, const vae::StripPlan& strips) {
  return plan_vae(in, Phase::kEncodePicture, encoder_weights(in.model),
                  [&](const Context& ctx, WeightSource& weights) {
                    encode_picture(ctx, in.model.config(), weights, in.job, {}, strips, nullptr);
                  });
}

using PlanInStrips = PlannedPhase (*)(const Inputs&, const vae::StripPlan&);

// The first way within the budget; if there is none, the last, which the check at the end then refuses.
PlannedPhase plan_strips(const Inputs& in, PlanInStrips plan_one, const Plan& plan, vae::StripPlan& chosen) {
  PlannedPhase phase;
  for (const vae::StripPlan& way : ways_to_strip(in.machine)) {
    chosen = way;
    phase = plan_one(in, way);
    if (!plan.budget_bytes || plan.own_bytes(phase) <= *plan.budget_bytes) break;
  }
  return phase;
}

void plan_scratch(const Inputs& in, Plan& plan) {
  const vae::Config& config = in.model.config().vae;
  const int64_t pixels = 4 * in.job.image_tokens();
  if (plan.strips.in_file) plan.scratch_bytes = vae::canvas_bytes(config, pixels, in.job.precision);
  if (in.job.starts_from_picture() && plan.encode_strips.in_file) {
    plan.scratch_bytes =
        std::max(plan.scratch_bytes, vae::encode_canvas_bytes(config, pixels, in.job.precision));
  }
}

// What `phase` needs when as little as possible is in memory.
std::size_t least_bytes(const Inputs& in, const Plan& plan, const PlannedPhase& phase) {
  const vae::StripPlan last = ways_to_strip(in.machine).back();
  switch (phase.phase) {
    case Phase::kEncodePicture:
      return plan.own_bytes(plan_encode(in, last));
    case Phase::kDenoise:
      return plan.own_bytes(phase) - (plan.blocks.bytes() - plan.least_block_bytes);
    case Phase::kDecode:
      return plan.own_bytes(plan_decode(in, last));
    case Phase::kEncodeClip:
    case Phase::kEncodeT5:
    case Phase::kModulate:
      break;
  }
  return plan.own_bytes(phase);
}

// The first phase that the budget is too little for; null when there is none.
const PlannedPhase* too_large(const Plan& plan) {
  if (!plan.budget_bytes) return nullptr;
  const auto it = std::ranges::find_if(
      plan.phases, [&](const PlannedPhase& phase) { return plan.own_bytes(phase) > *plan.budget_bytes; });
  return it == plan.phases.end() ? nullptr : &*it;
}

// On a device the host's memory must hold what passes through it.
void require_ram_fits(const Plan& plan) {
  if (!plan.on_device || !plan.ram_budget_bytes) return;
  const PlannedPhase& phase = plan.largest_beside();
  require(plan.ram_bytes(phase) <= *plan.ram_budget_bytes, ErrorCode::kOutOfMemory,
          "{} {} of the host's memory is too little: '{}' needs {} of it beside the device's",
          plan.ram_automatic ? "the free memory of" : "a budget of",
          memory::byte_text(*plan.ram_budget_bytes), phase_name(phase.phase),
          memory::byte_text(plan.ram_bytes(phase)));
}

void require_fits(const Inputs& in, const Plan& plan) {
  require_ram_fits(plan);
  const PlannedPhase* phase = too_large(plan);
  if (!phase) return;
  std::size_t smallest = 0;
  for (const PlannedPhase& each : plan.phases) smallest = std::max(smallest, least_bytes(in, plan, each));
  const bool by_size = phase->phase != Phase::kEncodeClip && phase->phase != Phase::kEncodeT5 &&
                       phase->phase != Phase::kModulate;
  fail(ErrorCode::kOutOfMemory,
       "{} {}{} is too little: '{}' needs {}; the smallest budget for this request is {} bytes ({}){}",
       plan.automatic ? "the free memory of" : "a budget of", memory::byte_text(*plan.budget_bytes),
       plan.on_device ? " on the device" : "", phase_name(phase->phase),
       memory::byte_text(plan.own_bytes(*phase)), smallest, memory::byte_text(smallest),
       by_size ? ", less for a smaller picture" : "");
}

// The transformer's two phases without their weights. Passes differ only in how many prompts they are under,
// so one of each kind is walked, however many steps there are.
struct TransformerWork {
  DryRun modulation, denoise;
};
TransformerWork walk_transformer(const ModelConfig& config, DType stored, const Job& job) {
  const std::vector<Conditioning> prompts(job.true_cfg ? 2 : 1);
  const PassCounts passes = count_passes(job);
  TransformerWork out;
  double flops = 0;
  const PhaseWork all = [&](const Context& ctx, WeightSource& weights) {
    const Work& seen = static_cast<const DryRunBackend&>(ctx.backend).work();
    DenoisePhase denoiser(ctx, config, weights, job, prompts, nullptr);
    out.modulation = {ctx.arena.peak(), seen};
    for (const auto& [count, under] : {std::pair(passes.one_prompt, 1), std::pair(passes.two_prompts, 2)}) {
      if (count == 0) continue;
      const double before = seen.flops;
      denoiser.dry_pass(static_cast<std::size_t>(under));
      flops += static_cast<double>(count) * (seen.flops - before);
    }
  };
  const DryRun whole = dry_run(stored, job.precision, all, Part::kTransformer, uses_of(job.loras),
                               job.storage(Part::kTransformer).block_levels);
  out.denoise.activation_bytes = whole.activation_bytes;
  out.denoise.work.flops = flops;
  return out;
}

struct TransformerHost {
  std::size_t modulation = 0, denoise = 0;
};

// The walked work with weights from `source`, as plan_transformer() says; on a device with memory of its own the
// limit is of that.
TransformerPlan place_transformer(const flux::Config& config, WeightSource& source,
                                  const TransformerWork& work, const TransformerHost& host,
                                  std::optional<std::size_t> limit, std::size_t process_bytes,
                                  const Machine& machine) {
  flux::Weights weights;
  const auto sizes = [&](Stage stage) {
    return memory::sizes_of(transformer_units(weights, config, source, stage));
  };
  TransformerPlan plan{.modulation = {.phase = Phase::kModulate,
                                      .activation_bytes = work.modulation.activation_bytes,
                                      .host_bytes = host.modulation,
                                      .flops = work.modulation.work.flops},
                       .denoise = {.phase = Phase::kDenoise,
                                   .activation_bytes = work.denoise.activation_bytes,
                                   .host_bytes = host.denoise,
                                   .flops = work.denoise.work.flops},
                       .blocks = {},
                       .block_bytes = sizes(Stage::kBlock),
                       .least_block_bytes = 0};
  // The arena is made once, for both; the host's memory counts when it is touched.
  if (machine.device) plan.modulation.activation_bytes = plan.denoise.activation_bytes;
  std::size_t staging = 0;  // weights are read one after the other
  weights.visit(config, [&](const Param& given, Tensor& given_field) {
    visit_with_extras(source, given, given_field, [&](const Param& param, Tensor&) {
      PlannedPhase& phase = param.unit.stage == Stage::kModulation ? plan.modulation : plan.denoise;
      phase.weight_bytes += source.describe(param).bytes_with_scales();
      staging = std::max(staging, staging_of(source, param, machine));
    });
  });
  plan.modulation.staging_bytes = plan.denoise.staging_bytes = staging;
  set_placement(plan.modulation, memory::all_streamed(sizes(Stage::kModulation)), 0);
  const std::vector<std::size_t>& blocks = plan.block_bytes;
  const std::size_t ends = sizes(Stage::kEnds).at(0);
  plan.blocks = memory::all_resident(blocks);
  plan.least_block_bytes = memory::least(blocks).bytes();
  if (limit) {
    const std::size_t of_host = machine.device ? 0 : process_bytes + staging + plan.denoise.host_bytes;
    const std::size_t beside = of_host + ends + plan.denoise.activation_bytes;
    const std::optional<memory::Placement> placed = memory::place(blocks, *limit - std::min(*limit, beside));
    plan.blocks = placed ? *placed : memory::least(blocks);
  }
  set_placement(plan.denoise, plan.blocks, ends);
  return plan;
}

TransformerHost transformer_host(const ModelConfig& config, const Job& job) {
  return {host_bytes(Phase::kModulate, config, job, {}), host_bytes(Phase::kDenoise, config, job, {})};
}

void set_budgets(const Inputs& in, Plan& plan) {
  const std::optional<Backend::DeviceMemory>& device = in.machine.device;
  const auto free_of_host = [&] { return memory::automatic_budget(plan.process_bytes, in.machine.root); };
  plan.on_device = device.has_value();
  plan.automatic = !in.job.budget_bytes;
  plan.budget_bytes = !plan.automatic ? in.job.budget_bytes
                      : device ? memory::automatic_device_budget(device->free_bytes + device->held_bytes)
                               : free_of_host();
  if (!device) return;
  plan.ram_automatic = !in.job.ram_budget_bytes;
  plan.ram_budget_bytes = plan.ram_automatic ? free_of_host() : in.job.ram_budget_bytes;
}

// All of a plan that the storage of the transformer's weights does not change.
struct Draft {
  Plan plan;
  TransformerWork transformer;
};

Draft draft_plan(const Inputs& in) {
  const Checkpoint& model = in.model;
  Draft draft;
  Plan& plan = draft.plan;
  plan.process_bytes =
      kProgramBytes + tokenizer_bytes(model) + in.machine.workspace.bytes + in.machine.held_bytes;
  for (const JobLora& lora : in.job.loras) plan.process_bytes += lora.use.lora->header_bytes();
  set_budgets(in, plan);
  if (in.job.starts_from_picture())
    plan.phases.push_back(plan_strips(in, plan_encode, plan, plan.encode_strips));
  plan.phases.push_back(plan_clip(in));
  plan.phases.push_back(plan_t5(in));
  draft.transformer = walk_transformer(model.config(), model.part_dtype(Part::kTransformer), in.job);
  plan.phases.push_back(plan_strips(in, plan_decode, plan, plan.strips));
  plan_scratch(in, plan);
  return draft;
}

// What the host has room for of the blocks that a device streams, if more than one pass wants them.
void keep_on_host(const Job& job, const Plan& plan, TransformerPlan& transformer) {
  if (!plan.on_device || !plan.ram_budget_bytes || job.passes() * job.count <= 1) return;
  const std::size_t held = plan.ram_bytes(transformer.denoise);
  memory::keep_on_host(transformer.block_bytes,
                       *plan.ram_budget_bytes - std::min(held, *plan.ram_budget_bytes), transformer.blocks);
  transformer.denoise.kept_bytes = transformer.blocks.kept_bytes;
}

// The whole plan with weights in `storage`, which may be larger than its budget.
Plan finish_plan(const Inputs& in, const Draft& draft, StorageChoice storage) {
  Plan plan = draft.plan;
  storage.threads = in.machine.threads;
  TransformerPlan transformer = place_transformer(
      in.model.config().transformer,
      *in.model.weights_for_planning(Part::kTransformer, storage, uses_of(in.job.loras)), draft.transformer,
      transformer_host(in.model.config(), in.job), plan.budget_bytes, plan.process_bytes, in.machine);
  keep_on_host(in.job, plan, transformer);
  plan.blocks = std::move(transformer.blocks);
  plan.least_block_bytes = transformer.least_block_bytes;
  transformer.modulation.assumed = transformer.denoise.assumed = !in.model.has_part(Part::kTransformer);
  plan.phases.insert(plan.phases.end() - 1, {transformer.modulation, transformer.denoise});
  plan.decode_beside_denoise = in.job.count > 1;
  if (plan.budget_bytes && plan.peak_bytes() > *plan.budget_bytes) plan.decode_beside_denoise = false;
  return plan;
}

// How a note compares a plan's weights.
std::string streaming_text(const Plan& plan) {
  if (too_large(plan)) return "the budget would be too little";
  if (plan.blocks.streamed_bytes == 0) return "nothing";
  return fmt::format("{} would be read in every step", memory::byte_text(plan.blocks.streamed_bytes));
}

}  // namespace

DryRun dry_run(DType stored, DType precision, const PhaseWork& work, Part part, const LoraUses& loras,
               int32_t block_levels) {
  DryRunBackend backend;
  Arena arena = Arena::counting();
  // The dtype decides nothing that is counted here; i8 would be one for matrices only.
  RequantizingSource weights(
      with_loras(std::make_unique<PlanSource>(is_float(stored) ? stored : DType::kBF16), part, loras),
      {WeightStorage::kAsStored, block_levels});
  work({backend, arena, precision}, weights);
  return {arena.peak(), backend.work()};
}

TransformerPlan plan_transformer(const ModelConfig& config, WeightSource& source, DType stored,
                                 const Job& job, std::optional<std::size_t> limit,
                                 std::size_t process_bytes) {
  return place_transformer(config.transformer, source, walk_transformer(config, stored, job),
                           transformer_host(config, job), limit, process_bytes, {});
}

Machine machine_of(const Backend& backend) {
  return {.device = backend.device_memory(), .workspace = backend.workspace(), .threads = backend.threads()};
}

const PlannedPhase& Plan::phase(Phase which) const {
  const auto it = std::ranges::find(phases, which, &PlannedPhase::phase);
  require(it != phases.end(), ErrorCode::kFailure, "the plan has no phase '{}'", phase_name(which));
  return *it;
}

std::size_t Plan::own_bytes(const PlannedPhase& planned) const {
  return on_device ? planned.tensor_bytes() : planned.peak_bytes() + process_bytes;
}

std::size_t Plan::phase_bytes(const PlannedPhase& planned) const {
  if (!decode_beside_denoise || planned.phase != Phase::kDecode) return own_bytes(planned);
  const PlannedPhase& denoise = phase(Phase::kDenoise);
  return own_bytes(planned) + (on_device ? denoise.tensor_bytes() : denoise.peak_bytes());
}

const PlannedPhase& Plan::largest_beside() const {
  return *std::ranges::max_element(phases, {}, &PlannedPhase::beside_bytes);
}

std::size_t Plan::peak_bytes() const {
  std::size_t peak = 0;
  for (const PlannedPhase& planned : phases) peak = std::max(peak, phase_bytes(planned));
  return peak;
}

Plan make_plan(const Checkpoint& model, const Job& job, const Machine& machine) {
  const Inputs in{model, job, machine};
  Plan plan = finish_plan(in, draft_plan(in), job.storage(Part::kTransformer));
  require_fits(in, plan);
  return plan;
}

Plan plan_with_best_weights(const Checkpoint& model, const Machine& machine, Job& job) {
  const Inputs in{model, job, machine};
  const Draft draft = draft_plan(in);
  Plan stored = finish_plan(in, draft, WeightStorage::kAsStored);
  const bool stored_fits = !too_large(stored);
  if (stored_fits && stored.blocks.streamed_bytes == 0) {
    job.notes.emplace_back("weights: as stored, which stay in memory within the budget");
    return stored;
  }
  Plan small = finish_plan(in, draft, WeightStorage::kI8);
  const bool small_fits = !too_large(small);
  if (!stored_fits && !small_fits) require_fits(in, stored);
  const bool use = small_fits && (small.blocks.streamed_bytes == 0 || !stored_fits);
  if (use) job.weights = WeightStorage::kI8;
  job.notes.push_back(fmt::format("weights: {}; as stored, {}, in int8 {}", use ? "int8" : "as stored",
                                  streaming_text(stored), streaming_text(small)));
  return use ? small : stored;
}

int64_t part_parameters(const Checkpoint& model, Part part) {
  int64_t parameters = 0;
  model.visit(part, [&](const Param& param, Tensor&) { parameters += param.shape.numel(); });
  return parameters;
}

PartSize part_size(const Checkpoint& model, Part part) {
  return {part_parameters(model, part), weights_of(model, part).bytes};
}

}  // namespace darkroom

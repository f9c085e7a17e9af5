// A step of the transformer as `generate` runs it under a memory budget: blocks that stay, blocks that are
// read again while the one before them computes.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "bench/meter.h"
#include "memory/budget.h"
#include "pipeline/phases.h"
#include "pipeline/plan.h"
#include "sampling/schedule.h"
#include "weights/source.h"

namespace darkroom::bench {
namespace {

// The first step also fills what stays, and the last one reads ahead for none: the one between them counts.
constexpr int kSteps = 3;

struct Transformer {
  ModelConfig config;
  DType stored = DType::kBF16;
  std::unique_ptr<WeightSource> weights;
};

Transformer transformer_of(const BenchOptions& options, const Plan& plan) {
  if (options.model) {
    return {options.model->config(), options.model->part_dtype(Part::kTransformer),
            options.model->open_weights(Part::kTransformer)};
  }
  Transformer out;
  out.config.transformer = plan.transformer;
  out.weights = std::make_unique<DummySource>(DType::kBF16);
  return out;
}

Job job_of(const ModelConfig& config, const TokenShape& s) {
  Job job;
  if (config.is_dev()) job.guidances.assign(kSteps, 3.5f);
  job.token_rows = s.rows;
  job.token_cols = s.cols;
  job.height = s.rows * config.token_pixels();
  job.width = s.cols * config.token_pixels();
  job.max_text_tokens = s.txt_tokens;
  job.precision = DType::kBF16;
  job.schedule = make_schedule({}, {.steps = kSteps, .image_tokens = job.image_tokens(), .sigmas = {}});
  return job;
}

// Ordinary numbers between -1 and 1.
std::vector<float> values(int64_t count) {
  std::vector<float> out(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(i * 37 % 64) / 32 - 1;
  return out;
}

void require_fits(const TransformerPlan& plan, std::size_t process_bytes, std::size_t budget,
                  int64_t tokens) {
  const std::size_t needed = plan.denoise.peak_bytes() + process_bytes;
  const std::size_t least = needed - plan.blocks.bytes() + plan.least_block_bytes;
  require(needed <= budget, ErrorCode::kOutOfMemory,
          "bench: a budget of {} is too little for a step of {} tokens; the smallest is {} bytes ({})",
          memory::byte_text(budget), tokens, least, memory::byte_text(least));
}

// What has happened by the end of a step.
struct Mark {
  double seconds;
  memory::Residency::Totals totals;
};

std::vector<Mark> run_steps(const Context& ctx, Transformer& of, const Job& job,
                            const memory::Placement& blocks) {
  const flux::Config& config = of.config.transformer;
  const Conditioning prompt{values(config.pooled_projection_dim),
                            values(job.max_text_tokens * config.joint_attention_dim)};
  DenoisePhase denoiser(ctx, of.config, *of.weights, job, {&prompt, 1}, &blocks);
  std::vector<Mark> marks;
  DenoiseHooks hooks;
  hooks.on_block = [&](int, int block, int all) {
    if (block == all) marks.push_back({now(), denoiser.totals()});
  };
  denoiser.run(values(job.image_tokens() * config.in_channels), hooks);
  return marks;
}

nlohmann::json row_of(const TransformerPlan& plan, std::size_t process_bytes, const Row& row,
                      const Mark& from, const Mark& to) {
  const double seconds = to.seconds - from.seconds, read = to.totals.read_seconds - from.totals.read_seconds,
               wait = to.totals.wait_seconds - from.totals.wait_seconds, compute = seconds - wait;
  return {{"dtype", dtype_name(row.activation)},
          {"shape", row.shape},
          {"planned_bytes", plan.denoise.peak_bytes() + process_bytes},
          {"kept_blocks", std::ranges::count(plan.blocks.streamed, false)},
          {"streamed_blocks", std::ranges::count(plan.blocks.streamed, true)},
          {"slots", plan.blocks.slots},
          {"seconds", seconds},
          {"gflops", 1e-9 * row.work.flops() / seconds},
          {"bytes_read", to.totals.bytes_read - from.totals.bytes_read},
          {"read_seconds", read},
          {"compute_seconds", compute},
          {"wait_seconds", wait},
          {"ratio", seconds / std::max(compute, read)}};
}

}  // namespace

nlohmann::json measure_budget(Meter& meter, const BenchOptions& options, const Plan& plan, Rows& rows) {
  meter.release_memory();
  const std::size_t process = kProgramBytes + meter.backend().workspace().bytes;
  const std::optional<std::size_t> given = decide_budget(*options.budget);
  const std::optional<std::size_t> budget = given ? given : memory::automatic_budget(process);
  require(budget.has_value(), ErrorCode::kUsage,
          "bench: the system does not say how much memory is free; give --budget an amount such as 12GiB");
  Transformer of = transformer_of(options, plan);
  const flux::Config& config = of.config.transformer;
  nlohmann::json out = {{"bytes", *budget},
                        {"model", options.model ? nlohmann::json(options.model->name()) : nlohmann::json()},
                        {"rows", nlohmann::json::array()}};
  for (const TokenShape& s : plan.steps) {
    const Job job = job_of(of.config, s);
    const Work one = block_work(config, s.tokens());
    const double blocks = static_cast<double>(config.num_blocks());
    const Row row{
        "budgeted step",
        job.precision,
        fmt::format("{}+{} blocks, {} tokens", config.num_layers, config.num_single_layers, s.tokens()),
        {one.matmul_flops * blocks, one.attention_flops * blocks, 0}};
    // The first shape was asked for, however long it takes.
    if (!out["rows"].empty() && !rows.may_run(meter, row, kSteps)) continue;
    const TransformerPlan planned = plan_transformer(of.config, *of.weights, of.stored, job, budget, process);
    require_fits(planned, process, *budget, s.tokens());
    const Buffer memory(planned.denoise.activation_bytes);
    Arena arena(memory);
    const Context ctx = meter.context(job.precision, arena);
    const std::vector<Mark> marks = run_steps(ctx, of, job, planned.blocks);
    out["rows"].push_back(row_of(planned, process, row, marks.at(0), marks.at(1)));
  }
  return out;
}

}  // namespace darkroom::bench

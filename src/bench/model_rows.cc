// The rows of whole transformer blocks and of the autoencoder's decoder.
#include <nlohmann/json.hpp>
#include <span>

#include "backends/dry_run/dry_run.h"
#include "bench/meter.h"
#include "bench/operands.h"
#include "weights/requantizing_source.h"
#include "weights/source.h"

namespace darkroom::bench {
namespace {

// First in bf16, the dtype that models are distributed for.
constexpr DType kActivations[] = {DType::kBF16, DType::kF32};

// A context for blocks in that arithmetic; i8 is bf16 with products in 8 bits.
Context context_of(Backend& backend, Arena& arena, const Arithmetic& arithmetic,
                   const std::atomic<bool>* cancel = nullptr) {
  const bool int8 = arithmetic.activation == DType::kI8;
  Context ctx{backend, arena, int8 ? DType::kBF16 : arithmetic.activation, cancel};
  if (int8) ctx.int8 = Int8Products{.group = 0, .levels = arithmetic.levels};
  return ctx;
}

// The weights of blocks, as the arithmetic takes them.
std::unique_ptr<WeightSource> block_source(std::unique_ptr<WeightSource> bf16, const Arithmetic& arithmetic) {
  const int32_t levels = arithmetic.activation == DType::kI8 ? arithmetic.levels : 0;
  return std::make_unique<RequantizingSource>(std::move(bf16),
                                              StorageChoice(WeightStorage::kAsStored, levels));
}

std::vector<float> random_values(int64_t count, float scale) {
  Uniform uniform;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = scale * uniform.next();
  return values;
}

// The weights of the plan's blocks from one double and one single block: all double blocks share memory, and
// so do all single ones. What runs before and after the blocks, and the modulations, stay unbound.
flux::Weights block_weights(const flux::Config& config, const VisitFn& bind) {
  flux::Config one = config;
  one.num_layers = one.num_single_layers = 1;
  flux::Weights weights;
  weights.visit(one, [&](const Param& param, Tensor& field) {
    if (param.unit.stage == Stage::kBlock) bind(param, field);
  });
  weights.double_blocks.resize(static_cast<std::size_t>(config.num_layers), weights.double_blocks.front());
  weights.single_blocks.resize(static_cast<std::size_t>(config.num_single_layers),
                               weights.single_blocks.front());
  return weights;
}

// Reads each parameter on the host and keeps it where the backend has its tensors.
VisitFn binder(WeightSource& source, Operands& kept) {
  return [&source, &kept](const Param& param, Tensor& field) {
    LoadedWeights loaded(source);
    loaded.binder()(param, field);
    if (field.present()) field = kept.put(field);
  };
}

// What a step's blocks work on.
struct StepInputs {
  Tensor modulation;
  flux::Rope rope;
  flux::Hidden hidden;
};

StepInputs step_inputs(const Context& ctx, const flux::Config& config, const TokenShape& s) {
  const int64_t width = flux::modulation_width(config), d = config.inner_dim();
  // Small, so that the hidden states stay of order one from run to run.
  const std::vector<float> modulation = random_values(width, 0.1f), states = random_values(s.tokens() * d, 1);
  return {ops::upload(ctx, modulation, DType::kF32, {1, width}),
          flux::rope_tables(ctx, config, s.txt_tokens, s.rows, s.cols),
          {ops::upload(ctx, states, ctx.activation, {s.tokens(), d}), s.txt_tokens}};
}

std::size_t step_bytes(const flux::Config& config, const TokenShape& s, const Arithmetic& arithmetic) {
  DryRunBackend dry;
  Arena arena = Arena::counting();
  const std::unique_ptr<WeightSource> source =
      block_source(std::make_unique<PlanSource>(DType::kBF16), arithmetic);
  const flux::Weights weights = block_weights(config, describe_from(*source));
  const Context ctx = context_of(dry, arena, arithmetic);
  const StepInputs in = step_inputs(ctx, config, s);
  flux::run_blocks(ctx, config, weights, in.modulation, in.rope, in.hidden, 0, config.num_blocks());
  return arena.peak();
}

// Passes through all blocks, each block timed on its own: the fastest double and single block of all passes,
// and the fastest pass.
void measure_step(Meter& meter, const flux::Config& config, const flux::Weights& weights, const TokenShape& s,
                  const Arithmetic& arithmetic, Rows& rows) {
  const DType activation = arithmetic.activation;
  const double blocks = static_cast<double>(config.num_blocks());
  const std::string tokens = fmt::format("{} tokens", s.tokens());
  const std::string kinds = fmt::format("{}+{} blocks, ", config.num_layers, config.num_single_layers);
  const Work work = block_work(config, s.tokens());
  const DType stored = activation == DType::kI8 ? DType::kI8 : DType::kBF16;
  const Row double_row{"double_block", activation, tokens, work, 1, stored, arithmetic.levels, true},
      single_row{"single_block", activation, tokens, work, 1, stored, arithmetic.levels, true};
  const Work all{work.matmul_flops * blocks, work.attention_flops * blocks, 0};
  const Row step_row{"step", activation, kinds + tokens, all, 1, stored, arithmetic.levels, true};
  if (!rows.may_run(meter, step_row)) return;

  const std::unique_ptr<Memory> memory = meter.backend().allocate(step_bytes(config, s, arithmetic));
  Arena arena(*memory);
  const Context plain = meter.context(activation, arena);
  const Context ctx = context_of(plain.backend, arena, arithmetic, plain.cancel);
  const StepInputs in = step_inputs(ctx, config, s);
  const auto run = [&](int64_t block) {
    flux::run_blocks(ctx, config, weights, in.modulation, in.rope, in.hidden, block, block + 1);
  };
  if (meter.machine().counts()) {  // a device's first runs compile
    for (const int64_t block : {int64_t{0}, config.num_layers}) run(block);
    meter.finish();
  }
  Sampler sampler(meter, work, arithmetic);
  for (Patience patience(meter.pace()); patience.more();) {
    double seconds = 0;
    for (int64_t block = 0; block < config.num_blocks(); ++block) {
      seconds += sampler.time([&] { run(block); });
    }
    patience.add(seconds);
  }
  std::vector<Sample> doubles, singles, passes;
  int64_t block = 0;
  for (const Sample& one : sampler.samples()) {
    if (block == 0) passes.emplace_back();
    passes.back().seconds += one.seconds;
    passes.back().ideal_seconds += one.ideal_seconds;
    passes.back().counts = passes.back().counts + one.counts;
    (block < config.num_layers ? doubles : singles).push_back(one);
    block = (block + 1) % config.num_blocks();
  }
  rows.add(double_row, doubles);
  rows.add(single_row, singles);
  rows.add(step_row, passes);
}

// Weights of a formula, in memory of its own for every tensor of a block: they come from memory, as they do in
// a run.
void measure_steps(Meter& meter, const Plan& plan, std::span<const Arithmetic> precisions, Rows& rows) {
  if (plan.steps.empty()) return;
  const std::unique_ptr<WeightSource> source =
      block_source(std::make_unique<DummySource>(DType::kBF16), precisions.front());
  Operands kept(meter.backend());
  const flux::Weights weights = block_weights(plan.transformer, binder(*source, kept));
  for (const TokenShape& s : plan.steps) {
    for (const Arithmetic& precision : precisions) {
      measure_step(meter, plan.transformer, weights, s, precision, rows);
    }
  }
}

// Decodes random latents of height and width `size`; on the dry run it only counts.
void decode_random(const Context& ctx, const vae::Config& config, const vae::DecoderWeights& weights,
                   int64_t size, const std::vector<float>& values) {
  const Arena::Scope scope(ctx.arena);
  const Tensor z = ops::upload(ctx, values, ctx.activation, {size, size, config.latent_channels});
  vae::decode(ctx, config, weights, z, {}, nullptr, [](int64_t, const Tensor&) {});
}

void measure_decoder(Meter& meter, const vae::Config& config, const vae::DecoderWeights& weights,
                     int64_t pixels, DType activation, Rows& rows) {
  const int64_t size = pixels / config.upscale();
  const Row row{"vae_decode", activation, fmt::format("{}x{}", pixels, pixels),
                vae_decode_work(config, size)};
  if (!rows.may_run(meter, row)) return;
  const std::vector<float> values = random_values(size * size * config.latent_channels, 1);

  DryRunBackend dry;
  Arena counted = Arena::counting();
  PlanSource nothing(DType::kBF16);
  vae::DecoderWeights planned;
  planned.visit(config, describe_from(nothing));
  decode_random({dry, counted, activation}, config, planned, size, values);

  const std::unique_ptr<Memory> memory = meter.backend().allocate(counted.peak());
  Arena arena(*memory);
  const Context ctx = meter.context(activation, arena);
  rows.measure(meter, row, [&] { decode_random(ctx, config, weights, size, values); });
}

}  // namespace

void measure_models(Meter& meter, const Plan& plan, Rows& rows) {
  {
    DummySource source(DType::kBF16);
    Operands kept(meter.backend());
    vae::DecoderWeights weights;
    weights.visit(plan.vae, binder(source, kept));
    for (const int64_t pixels : plan.vae_pixels) {
      for (const DType a : kActivations) measure_decoder(meter, plan.vae, weights, pixels, a, rows);
    }
  }
  const Arithmetic exact[] = {DType::kBF16, DType::kF32};  // first that which models are distributed for
  measure_steps(meter, plan, exact, rows);
}

void measure_int8_models(Meter& meter, const Plan& plan, int32_t levels, Rows& rows) {
  const Arithmetic int8[] = {{DType::kI8, levels}};
  measure_steps(meter, plan, int8, rows);
}

}  // namespace darkroom::bench

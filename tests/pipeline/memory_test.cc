// The plan is what happens: real peaks of the resident set beside those that were planned, at FLUX.1's width.
#include <gtest/gtest.h>

#include "backends/registry.h"
#include "memory/budget.h"
#include "pipeline/phases.h"
#include "pipeline/plan.h"
#include "sampling/schedule.h"

namespace darkroom {
namespace {

// 64x64 pixels and 8 text tokens: the weights are what counts.
Job small_job() {
  Job job;
  job.guidances = {3.5f};
  job.width = job.height = 64;
  job.token_rows = job.token_cols = 4;
  job.max_text_tokens = 8;
  job.precision = DType::kBF16;
  job.schedule = make_schedule({}, {.steps = 1, .image_tokens = job.image_tokens(), .sigmas = {}});
  return job;
}

// Three double and four single blocks of dev, 2.2 GiB, of which some are streamed.
TEST(PlanIsReality, TheTransformersPeakIsWithinFivePercent) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "a sanitizer's own memory is not planned";
#endif
  ModelConfig config;
  config.transformer.num_layers = 3;
  config.transformer.num_single_layers = 4;
  config.transformer.guidance_embeds = true;
  const Job job = small_job();
  const auto backend = make_backend({.name = "cpu", .isa = "auto", .threads = 2});
  const std::size_t process = kProgramBytes + backend->workspace().bytes;
  DummySource source(DType::kBF16);
  const TransformerPlan plan =
      plan_transformer(config, source, DType::kBF16, job, std::size_t{1900} << 20, process);
  EXPECT_GT(plan.denoise.streamed_bytes, 0u);
  EXPECT_GT(plan.denoise.resident_bytes, plan.least_block_bytes);

  const auto expect_near = [&](const PlannedPhase& phase) {
    const double real = static_cast<double>(memory::peak_resident_bytes()),
                 planned = static_cast<double>(phase.peak_bytes() + process);
    EXPECT_NEAR(real / planned, 1, 0.05) << phase.name << ": " << real << " of " << planned;
    ::testing::Test::RecordProperty(phase.name, memory::byte_text(memory::peak_resident_bytes()));
    return planned;
  };
  const flux::Config& c = config.transformer;
  const Conditioning prompt{
      std::vector<float>(static_cast<std::size_t>(c.pooled_projection_dim)),
      std::vector<float>(static_cast<std::size_t>(job.max_text_tokens * c.joint_attention_dim))};
  const Buffer memory(plan.denoise.activation_bytes);
  Arena arena(memory);
  const Context ctx{*backend, arena, job.precision};
  memory::reset_peak();
  DenoisePhase denoiser(ctx, config, source, job, {&prompt, 1}, &plan.blocks);
  expect_near(plan.modulation);
  memory::reset_peak();
  denoiser.run(std::vector<float>(static_cast<std::size_t>(job.image_tokens() * c.in_channels), 0.5f), {});
  EXPECT_GE(expect_near(plan.denoise), 1.5 * 1024 * 1024 * 1024) << "too small to mean something";
}

TEST(PlanIsReality, ThreadsAndTokenizersCount) {
  const Model dummy = Model::dummy("tiny");
  const Model real = Model::open(DARKROOM_SOURCE_DIR "/assets/pinhole");
  EXPECT_EQ(dummy.tokenizer_bytes(), 0u);
  EXPECT_GT(real.tokenizer_bytes(), std::size_t{1} << 20);
  const auto process = [](const Model& model, int threads) {
    const auto backend = make_backend({.name = "cpu", .isa = "auto", .threads = threads});
    return make_plan(model, decide({}, model), backend->workspace()).process_bytes;
  };
  const std::size_t one = process(dummy, 1), two = process(dummy, 2);
  EXPECT_GT(one, kProgramBytes + (1u << 20));
  EXPECT_EQ(process(dummy, 9) - one, 8 * (two - one));
  EXPECT_EQ(process(real, 1) - one, real.tokenizer_bytes());
}

}  // namespace
}  // namespace darkroom

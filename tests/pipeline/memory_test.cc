// The plan is what happens: real peaks of the resident set beside those that were planned, at FLUX.1's width.
#include <gtest/gtest.h>

#include <list>
#include <memory>

#include "backends/registry.h"
#include "base/temp_folder.h"
#include "checkpoint/lora_source.h"
#include "checkpoint/tokenizers.h"
#include "memory/budget.h"
#include "pipeline/phases.h"
#include "pipeline/plan.h"
#include "process_peak.h"
#include "sampling/schedule.h"
#include "weights/requantizing_source.h"
#include "weights/safetensors.h"

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

// What the transformer works on: its size is all that counts.
Conditioning zeros(const flux::Config& c, const Job& job) {
  return {std::vector<float>(static_cast<std::size_t>(c.pooled_projection_dim)),
          std::vector<float>(static_cast<std::size_t>(job.max_text_tokens * c.joint_attention_dim))};
}
std::vector<float> latents(const flux::Config& c, const Job& job) {
  return std::vector<float>(static_cast<std::size_t>(job.image_tokens() * c.in_channels), 0.5f);
}

class PlanIsReality : public testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "a sanitizer's own memory is not planned";
#endif
  }
  // The peak since reset_peak().
  static void expect_peak_near(std::string_view phase, std::size_t planned_bytes) {
    const std::size_t peak = peak_bytes();
    const double real = static_cast<double>(peak), planned = static_cast<double>(planned_bytes);
    EXPECT_NEAR(real / planned, 1, 0.05) << phase << ": " << real << " of " << planned;
    RecordProperty(std::string(phase), memory::byte_text(peak));
  }
  const std::unique_ptr<Backend> backend_ = make_backend({.name = "cpu", .isa = "auto", .threads = 2});
};

// What tokenizers hold once they are loaded, with what the heap keeps from loading them. The first test, so
// that the heap has nothing to reuse.
TEST_F(PlanIsReality, TokenizersAreWithinFivePercentOfTheProcess) {
  const std::filesystem::path source = DARKROOM_SOURCE_DIR;
  int measured = 0;
  for (const auto& folder : {source / "assets/pinhole", source / "../shared/flux1/dev"}) {
    if (!std::filesystem::exists(folder)) continue;
    const Checkpoint model = Checkpoint::open(folder);
    const std::size_t before = memory::resident_bytes();
    model.tokenize("a lighthouse in the fog", 512);
    const std::size_t process = kProgramBytes + backend_->workspace().bytes;
    const double real = static_cast<double>(process + memory::resident_bytes() - before),
                 planned = static_cast<double>(process + tokenizer_bytes(model));
    EXPECT_NEAR(real / planned, 1, 0.05) << folder << ": " << real << " of " << planned;
    ++measured;
  }
  EXPECT_GE(measured, 1);
  if (measured == 1) GTEST_SKIP() << "the tokenizers of FLUX.1 are not here";
}

// Three double and four single blocks of dev, 2.2 GiB, of which some are streamed.
TEST_F(PlanIsReality, TheTransformersPeakIsWithinFivePercent) {
  ModelConfig config;
  config.transformer.num_layers = 3;
  config.transformer.num_single_layers = 4;
  config.transformer.guidance_embeds = true;
  const Job job = small_job();
  const std::size_t process = kProgramBytes + backend_->workspace().bytes;
  DummySource source(DType::kBF16);
  const TransformerPlan plan =
      plan_transformer(config, source, DType::kBF16, job, std::size_t{1900} << 20, process);
  EXPECT_GT(plan.denoise.streamed_bytes, 0u);
  EXPECT_GT(plan.denoise.resident_bytes, plan.least_block_bytes);
  EXPECT_GE(plan.denoise.peak_bytes() + process, 1.5 * 1024 * 1024 * 1024) << "too small to mean something";

  const flux::Config& c = config.transformer;
  const Conditioning prompt = zeros(c, job);
  const Buffer memory(plan.denoise.activation_bytes);
  Arena arena(memory);
  const Context ctx{*backend_, arena, job.precision};
  reset_peak();
  DenoisePhase denoiser(ctx, config, source, job, {&prompt, 1}, &plan.blocks);
  expect_peak_near("modulation", plan.modulation.peak_bytes() + process);
  reset_peak();
  denoiser.run(latents(c, job), {});
  expect_peak_near("denoise", plan.denoise.peak_bytes() + process);
}

// Products in 8 bits, of attention too: quantised rows and K and V among the activations, and weights that are quantised as they are read.
TEST_F(PlanIsReality, Int8ProductsAreWithinFivePercent) {
  ModelConfig config;
  config.transformer.num_layers = 1;
  config.transformer.num_single_layers = 2;
  config.transformer.guidance_embeds = true;
  Job job = small_job();
  job.int8 = Int8Products{128};
  job.int8_attention = true;
  job.token_rows = job.token_cols = 20;
  job.schedule = make_schedule({}, {.steps = 1, .image_tokens = job.image_tokens(), .sigmas = {}});
  const std::size_t process = kProgramBytes + backend_->workspace().bytes;
  RequantizingSource source(std::make_unique<DummySource>(DType::kBF16), job.storage(Part::kTransformer));
  const TransformerPlan plan =
      plan_transformer(config, source, DType::kBF16, job, std::size_t{500} << 20, process);
  EXPECT_GT(plan.denoise.streamed_bytes, 0u);
  EXPECT_GT(plan.denoise.activation_bytes, std::size_t{27} << 20);
  const flux::Config& c = config.transformer;
  const Conditioning prompt = zeros(c, job);
  const Buffer memory(plan.denoise.activation_bytes);
  Arena arena(memory);
  const Context ctx{*backend_, arena, job.precision};
  DenoisePhase denoiser(ctx, config, source, job, {&prompt, 1}, &plan.blocks);
  reset_peak();
  denoiser.run(latents(c, job), {});
  expect_peak_near("denoise", plan.denoise.peak_bytes() + process);
  EXPECT_EQ(arena.peak(), plan.denoise.activation_bytes);
}

// Two blocks of dev with a LoRA of rank 64 on all of them, and one matrix with a whole difference.
TEST_F(PlanIsReality, ALoraIsPartOfThePeak) {
  const Checkpoint dev = Checkpoint::dummy("dev");
  ModelConfig config = dev.config();
  config.transformer.num_layers = config.transformer.num_single_layers = 2;
  const TempFolder folder;
  {
    std::list<Buffer> memory;
    std::vector<NamedTensor> tensors;
    const auto add = [&](const std::string& name, const Shape& shape) {
      memory.emplace_back(static_cast<std::size_t>(shape.numel()) * 2);
      tensors.push_back({name, Tensor(memory.back().data(), DType::kBF16, shape)});
    };
    flux::Weights().visit(config.transformer, [&](const Param& param, Tensor&) {
      if (param.role != Role::kMatrix) return;
      const std::string module = "transformer." + param.name.substr(0, param.name.size() - 7);
      add(module + ".lora_A.weight", {64, param.shape[1]});
      add(module + ".lora_B.weight", {param.shape[0], 64});
    });
    add("transformer.single_transformer_blocks.1.proj_out.diff", {3072, 15360});
    write_safetensors(folder / "film.safetensors", tensors);
  }
  Job job = small_job();
  job.loras = {{folder / "film.safetensors", {Lora::open(folder / "film.safetensors", dev), 1}}};
  const std::size_t process =
      kProgramBytes + backend_->workspace().bytes + job.loras[0].use.lora->header_bytes();
  DummySource plain(DType::kBF16);
  const std::unique_ptr<WeightSource> source =
      with_loras(std::make_unique<DummySource>(DType::kBF16), Part::kTransformer, uses_of(job.loras));
  const auto plan_of = [&](WeightSource& weights) {
    return plan_transformer(config, weights, DType::kBF16, job, std::size_t{800} << 20, process);
  };
  const TransformerPlan plan = plan_of(*source);
  EXPECT_GT(plan.denoise.weight_bytes, plan_of(plain).denoise.weight_bytes + (std::size_t{10} << 20));
  EXPECT_GT(plan.denoise.streamed_bytes, 0u);
  EXPECT_GT(plan.denoise.staging_bytes, std::size_t{3072} * 15360 * 2);
  const Conditioning prompt{
      std::vector<float>(static_cast<std::size_t>(config.transformer.pooled_projection_dim)),
      std::vector<float>(
          static_cast<std::size_t>(job.max_text_tokens * config.transformer.joint_attention_dim))};
  const Buffer memory(plan.denoise.activation_bytes);
  Arena arena(memory);
  const Context ctx{*backend_, arena, job.precision};
  reset_peak();
  DenoisePhase denoiser(ctx, config, *source, job, {&prompt, 1}, &plan.blocks);
  denoiser.run(std::vector<float>(static_cast<std::size_t>(job.image_tokens() * 64), 0.5f), {});
  EXPECT_LE(arena.peak(), plan.denoise.activation_bytes);
  expect_peak_near("denoise", std::max(plan.modulation.peak_bytes(), plan.denoise.peak_bytes()) + process);
}

// FLUX.1's autoencoder at 256×256; of the decoder's peak 95 MiB are weights and 64 MiB activations.
TEST_F(PlanIsReality, TheAutoencodersPeaksAreWithinFivePercent) {
  const Checkpoint model = Checkpoint::dummy("dev");
  Job job = small_job();
  job.width = job.height = 256;
  job.token_rows = job.token_cols = 16;
  job.init_path = "a picture";
  const Plan plan = make_plan(model, job, machine_of(*backend_));
  ASSERT_FALSE(plan.strips.in_file || plan.encode_strips.in_file);
  DummySource source(DType::kBF16);
  const auto in_phase = [&](Phase which, const auto& work) {
    const PlannedPhase& phase = plan.phase(which);
    reset_peak();
    {
      const Buffer memory(phase.activation_bytes);
      Arena arena(memory);
      work(Context{*backend_, arena, job.precision});
    }
    expect_peak_near(phase_name(which), plan.phase_bytes(phase));
  };
  std::vector<float> latents;
  in_phase(Phase::kEncodePicture, [&](const Context& ctx) {
    const std::vector<float> pixels(std::size_t{3} * 256 * 256, 0.25f);
    latents = encode_picture(ctx, model.config(), source, job, pixels, plan.encode_strips, nullptr).mean;
  });
  in_phase(Phase::kDecode, [&](const Context& ctx) {
    EXPECT_EQ(decode(ctx, model.config(), source, job, latents, plan.strips, nullptr).rgb.size(),
              std::size_t{3} * 256 * 256);
  });
}

TEST(PlannedProcess, ThreadsAndTokenizersCount) {
  const Checkpoint dummy = Checkpoint::dummy("tiny");
  const Checkpoint real = Checkpoint::open(DARKROOM_SOURCE_DIR "/assets/pinhole");
  EXPECT_EQ(tokenizer_bytes(dummy), 0u);
  EXPECT_GT(tokenizer_bytes(real), std::size_t{1} << 20);
  const auto process = [](const Checkpoint& model, int threads) {
    const auto backend = make_backend({.name = "cpu", .isa = "auto", .threads = threads});
    return make_plan(model, decide_values({}, model), machine_of(*backend)).process_bytes;
  };
  const std::size_t one = process(dummy, 1), two = process(dummy, 2);
  EXPECT_GT(one, kProgramBytes + (1u << 20));
  EXPECT_EQ(process(dummy, 9) - one, 8 * (two - one));
  EXPECT_EQ(process(real, 1) - one, tokenizer_bytes(real));
}

}  // namespace
}  // namespace darkroom

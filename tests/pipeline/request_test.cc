// Requests: defaults follow the model, nonsense is refused with its numbers; plans: golden figures
// of the real models.
#include "pipeline/request.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/temp_folder.h"
#include "expected.h"
#include "pipeline/decide.h"
#include "pipeline/inspect.h"
#include "pipeline/phases.h"
#include "pipeline/refusal.h"

namespace darkroom {
namespace {

TEST(Decide, DefaultsFollowTheModel) {
  const Job dev = decide_values({}, Checkpoint::dummy("dev"));
  EXPECT_EQ(dev.steps(), 28);
  EXPECT_EQ(dev.guidance, 3.5f);
  EXPECT_EQ(dev.max_text_tokens, 512);
  EXPECT_EQ(dev.width, 1024);
  EXPECT_EQ(dev.image_tokens(), 4096);
  EXPECT_EQ(dev.precision, DType::kBF16);
  const Job schnell = decide_values({}, Checkpoint::dummy("schnell"));
  EXPECT_EQ(schnell.steps(), 4);
  EXPECT_EQ(schnell.guidance, std::nullopt);
  EXPECT_EQ(schnell.max_text_tokens, 256);
  EXPECT_EQ(schnell.schedule.sigmas, (std::vector<float>{1, 0.75f, 0.5f, 0.25f, 0}));
}

TEST(Decide, RefusesNonsenseWithItsNumbers) {
  const Checkpoint model = Checkpoint::dummy("dev");
  Request r;
  r.width = 1000;
  EXPECT_EQ(refusal(r, model), "width is 1000, which is not a multiple of 16; the nearest are 992 and 1008");
  r = {};
  r.height = -16;
  EXPECT_NE(refusal(r, model), "accepted");
  r = {};
  r.width = r.height = 16384;
  EXPECT_NE(refusal(r, model).find("pixels"), std::string::npos);
  r = {};
  r.steps = 0;
  EXPECT_EQ(refusal(r, model), "steps is 0, allowed are 1 to 1000");
  r = {};
  r.sigmas = {1.0, 0.5, 0.5};
  EXPECT_NE(refusal(r, model), "accepted");
  r = {};
  r.sigmas = {1.0, 0.5};
  r.steps = 3;
  EXPECT_NE(refusal(r, model), "accepted");
  r = {};
  r.cfg = std::nan("");
  EXPECT_NE(refusal(r, model), "accepted");
  r = {};
  r.guidance = std::nan("");
  EXPECT_NE(refusal(r, model), "accepted");
  r = {};
  r.precision = "fp16";
  EXPECT_NE(refusal(r, model), "accepted");
  r = {};
  r.rng = "numpy";
  EXPECT_NE(refusal(r, model), "accepted");
  r = {};
  r.count = 0;
  EXPECT_NE(refusal(r, model), "accepted");
  r = {};
  r.max_text_tokens = 1 << 20;
  EXPECT_NE(refusal(r, model), "accepted");
  r = {};
  r.prompt = "not UTF-8: \xff";
  EXPECT_NE(refusal(r, model).find("UTF-8"), std::string::npos);
}

TEST(Decide, SaysWhatHasNoEffect) {
  Request r;
  r.guidance = 3;
  EXPECT_EQ(decide_values(r, Checkpoint::dummy("schnell")).notes.size(), 1u);
  r = {};
  r.cfg = 3;
  const Job job = decide_values(r, Checkpoint::dummy("dev"));
  EXPECT_FALSE(job.true_cfg);
  EXPECT_EQ(job.notes.size(), 1u);
}

TEST(Decide, SaysThatGivenNoiseDrawsEqualPictures) {
  const auto notes = [](int64_t count, const char* sampler) {
    Request r;
    r.noise_path = "noise.safetensors";
    r.count = count;
    r.sampler = sampler;
    return decide_values(r, Checkpoint::dummy("dev")).notes;
  };
  EXPECT_EQ(notes(3, "euler"), (std::vector<std::string>{"all 3 pictures will be the same: they start "
                                                         "from the given noise, and the sampler draws "
                                                         "none"}));
  EXPECT_TRUE(notes(1, "euler").empty());
  EXPECT_TRUE(notes(3, "euler-a").empty());
}

// torch-cuda is a card that nobody named; A1111's NV is none.
TEST(Decide, SaysThatNoiseDependsOnTheCard) {
  const auto notes = [](const char* rng, int64_t edge) {
    Request r;
    r.rng = rng;
    r.width = r.height = edge;
    return decide_values(r, Checkpoint::dummy("dev")).notes;
  };
  ASSERT_EQ(notes("torch-cuda", 1024).size(), 1u);
  EXPECT_NE(notes("torch-cuda", 1024)[0].find("262144 numbers"), std::string::npos);
  EXPECT_TRUE(notes("torch-cuda", 256).empty());
  for (const char* rng : {"torch-cpu", "torch-cuda:nv", "torch-cuda:rtx4090"}) {
    EXPECT_TRUE(notes(rng, 1024).empty()) << rng;
  }
}

TEST(Decide, GuidanceGoesToTrueCfgWhereThatRuns) {
  Request r;
  r.steps = 10;
  r.guidance = 3;
  r.guidance_schedule = "triangle";
  r.guidance_interval = "0,0.5";
  const Job distilled = decide_values(r, Checkpoint::dummy("dev"));
  ASSERT_EQ(distilled.guidances.size(), 10u);
  // The middle of the guided five: 2w - 1, less what a mean over five needs.
  EXPECT_NEAR(distilled.guidances[2], 5, 0.4);
  EXPECT_EQ(distilled.guidances[5], 1.0f);
  EXPECT_TRUE(distilled.cfg_scales.empty());
  r.cfg = 4;
  r.negative = "";
  const Job both = decide_values(r, Checkpoint::dummy("dev"));
  EXPECT_EQ(both.guidances, std::vector<float>(10, 3.0f));
  ASSERT_EQ(both.cfg_scales.size(), 10u);
  EXPECT_GT(both.cfg_scales[2], 4);
  EXPECT_EQ(both.cfg_scales[5], 1.0f);
  r = {};
  r.guidance_interval = "0.2,0.8";
  r.threshold = "99.5";
  EXPECT_EQ(decide_values(r, Checkpoint::dummy("schnell")).notes.size(), 2u);
  r = {};
  r.guidance_interval = "0.2,0.2";
  EXPECT_EQ(decide_values(r, Checkpoint::dummy("dev")).notes.size(), 1u);  // no step is guided
  for (std::string Request::*text :
       {&Request::sampler, &Request::spacing, &Request::guidance_schedule, &Request::guidance_interval,
        &Request::cfg_method, &Request::threshold}) {
    r = {};
    r.*text = "zebra";
    EXPECT_NE(refusal(r, Checkpoint::dummy("dev")).find("zebra"), std::string::npos);
  }
}

// Counted by the model's own code: the dry run makes every pass that a run makes.
TEST(Plan, OutsideTheGuidanceIntervalThereIsOnePassAStep) {
  const Checkpoint model = Checkpoint::dummy("tiny");
  const auto flops = [&](double cfg, const std::string& interval) {
    Request r;
    r.steps = 10;
    r.cfg = cfg;
    r.negative = "";
    r.guidance_interval = interval;
    const Plan plan =
        make_plan(model, decide_values(r, model), {.workspace = {.bytes = 7 << 20, .conv_bytes = 9 << 20}});
    return plan.phase(Phase::kDenoise).flops;
  };
  const double one = flops(1, "0,1");
  EXPECT_DOUBLE_EQ(flops(4, "0,1"), 2 * one);
  EXPECT_DOUBLE_EQ(flops(4, "0.2,0.7"), 1.5 * one);
  EXPECT_DOUBLE_EQ(flops(4, "0.2,0.2"), one);
}

// About what a backend with two threads takes: the plans of this file are the same on every machine.
const Machine kMachine{.workspace = {.bytes = 7 << 20, .conv_bytes = 9 << 20}};

// What a plan says, in bytes: a line a phase, under each budget for each size.
std::string plan_text(const std::string& name) {
  const Checkpoint model = Checkpoint::dummy(name);
  std::string text = "phase weights kept slots streamed activations host FLOP\n";
  for (const auto& [width, height] : {std::pair(512, 512), std::pair(1024, 1024), std::pair(1536, 640)}) {
    for (const char* budget : {"1500MiB", "4GiB", "6GiB", "8GiB", "12GiB", "24GiB"}) {
      Request request;
      request.width = width;
      request.height = height;
      request.budget = budget;
      const Plan plan = make_plan(model, decide_values(request, model), kMachine);
      text += fmt::format("{}x{} within {}: peak {}, {} slots, strips of {}{}\n", width, height, budget,
                          plan.peak_bytes(), plan.blocks.slots, plan.strips.strip_bytes,
                          plan.strips.in_file ? " in a file" : "");
      for (const PlannedPhase& p : plan.phases) {
        text +=
            fmt::format("  {} {} {} {} {} {} {} {}\n", phase_name(p.phase), p.weight_bytes, p.resident_bytes,
                        p.slot_bytes, p.streamed_bytes, p.activation_bytes, p.host_bytes, p.flops);
      }
    }
  }
  return text;
}

// After a change that is meant, run with DARKROOM_WRITE_PLANS=1 and read the difference.
TEST(Plan, GoldenTextForTheRealSizes) {
  for (const char* name : {"dev", "schnell"}) {
    const std::filesystem::path file = fixture_path(fmt::format("plans/{}.txt", name));
    const std::string text = plan_text(name);
    if (std::getenv("DARKROOM_WRITE_PLANS")) std::ofstream(file) << text;
    EXPECT_EQ(text, read_text_file(file, 1 << 16)) << file;
  }
}

// One pass of each kind is walked, and one strip of each size, however many there are.
TEST(Plan, WalksOneStepAndOneStripForAll) {
  const Checkpoint model = Checkpoint::dummy("dev");
  const auto denoise_ops = [&](int64_t steps, const char* cache) {
    Request request;
    request.steps = steps;
    request.cfg = 3;
    request.negative = "";
    request.guidance_interval = "0.2,0.7";
    request.cache = cache;
    const Job job = decide_values(request, model);
    int64_t ops = 0;
    const std::vector<Conditioning> prompts(2);
    dry_run(DType::kBF16, job.precision, [&](const Context& ctx, WeightSource& weights) {
      DenoisePhase denoiser(ctx, model.config(), weights, job, prompts, nullptr);
      const Work& work = static_cast<const DryRunBackend&>(ctx.backend).work();
      const int64_t before = work.ops;
      denoiser.dry_pass(2);
      ops = work.ops - before;
    });
    return ops;
  };
  EXPECT_EQ(denoise_ops(2, "off"), denoise_ops(1000, "off"));
  EXPECT_EQ(denoise_ops(10, "fast"), denoise_ops(1000, "fast"));

  const auto decode = [&](int64_t edge, std::size_t strip_bytes) {
    Request request;
    request.width = request.height = edge;
    const Job job = decide_values(request, model);
    return dry_run(DType::kBF16, job.precision,
                   [&](const Context& ctx, WeightSource& weights) {
                     darkroom::decode(ctx, model.config(), weights, job, {}, {strip_bytes, true}, nullptr);
                   })
        .work;
  };
  constexpr std::size_t kMebibyte = std::size_t{1} << 20;
  EXPECT_LT(decode(4096, 4 * kMebibyte).ops, 1000);
  EXPECT_EQ(decode(1024, 4 * kMebibyte).flops, decode(1024, 1024 * kMebibyte).flops);
}

TEST(Plan, CountsThePassesOfEverySampler) {
  const Checkpoint model = Checkpoint::dummy("tiny");
  for (const auto& [sampler, one, two] :
       {std::tuple("euler", 5, 5), std::tuple("heun", 9, 10), std::tuple("dpm++2m", 5, 5),
        std::tuple("ipndm", 5, 5), std::tuple("euler-a", 5, 5)}) {
    Request request;
    request.steps = 10;
    request.sampler = sampler;
    request.cfg = 4;
    request.negative = "";
    request.guidance_interval = "0.2,0.7";
    const PassCounts passes = count_passes(decide_values(request, model));
    EXPECT_EQ(passes.one_prompt, one) << sampler;
    EXPECT_EQ(passes.two_prompts, two) << sampler;
  }
}

// The automatic budget is that of the machine that is asked about.
TEST(Plan, TakesTheMachinesFreeMemory) {
  const TempFolder root;
  std::filesystem::create_directories(root / "proc");
  root.write("proc/meminfo", "MemAvailable: 8388608 kB\n");
  const Checkpoint model = Checkpoint::dummy("dev");
  const Plan plan = decide({}, model, {.root = root.path()}).plan;
  EXPECT_TRUE(plan.automatic);
  EXPECT_LT(*plan.budget_bytes, std::size_t{8} << 30);
  EXPECT_GT(*plan.budget_bytes, std::size_t{7} << 30);
  EXPECT_GT(plan.blocks.streamed_bytes, 0u);
}

TEST(Plan, PhasesAreInTheOrderOfTheRun) {
  const Checkpoint model = Checkpoint::dummy("tiny");
  const Plan plan = decide({}, model, kMachine).plan;
  std::vector<Phase> phases;
  for (const PlannedPhase& phase : plan.phases) phases.push_back(phase.phase);
  EXPECT_TRUE(std::ranges::is_sorted(phases));
  EXPECT_EQ(phases.size(), std::size(kPhaseNames) - 1);  // without the one of a picture to start from
}

// A card with this much free.
Machine with_device(std::size_t free_bytes, bool staged = true) {
  Machine machine = kMachine;
  machine.device = {.free_bytes = free_bytes, .staged = staged};
  return machine;
}

class PlanWithin : public testing::TestWithParam<bool> {
 protected:
  Machine machine() const { return GetParam() ? with_device(std::size_t{1} << 40) : kMachine; }
};
INSTANTIATE_TEST_SUITE_P(Memories, PlanWithin, testing::Bool(),
                         [](const auto& on) { return on.param ? "device" : "host"; });

// A card's budget is for tensors alone: what passes through the host is the host's.
TEST(Plan, OnADeviceThereAreTwoMemories) {
  const Checkpoint model = Checkpoint::dummy("dev");
  Request request;
  request.budget = "12GiB";
  const Job job = decide_values(request, model);
  const Plan host = make_plan(model, job, kMachine), plan = make_plan(model, job, with_device(1));
  EXPECT_EQ(*plan.budget_bytes, std::size_t{12} << 30);
  EXPECT_GE(std::ranges::count(plan.blocks.streamed, false), std::ranges::count(host.blocks.streamed, false));
  std::size_t largest = 0;
  for (const PlannedPhase& phase : plan.phases) {
    EXPECT_EQ(plan.phase_bytes(phase), phase.resident_bytes + phase.slot_bytes + phase.activation_bytes);
    EXPECT_LE(plan.phase_bytes(phase), *plan.budget_bytes) << phase_name(phase.phase);
    largest = std::max(largest, phase.staging_bytes + phase.kept_bytes + phase.host_bytes);
  }
  EXPECT_EQ(plan.ram_bytes(plan.largest_beside()), largest + plan.process_bytes);
  // Of T5's table of words: the largest tensor that passes.
  EXPECT_EQ(plan.phase(Phase::kEncodeT5).staging_bytes, 32128u * 4096 * 2);
  // Where the host can write into the card's memory nothing is staged.
  EXPECT_EQ(make_plan(model, job, with_device(1, false)).phase(Phase::kEncodeT5).staging_bytes, 0u);
}

// Of what a device streams the host keeps as much as its budget has room for.
TEST(Plan, OnADeviceTheHostKeepsWhatIsStreamed) {
  const Checkpoint model = Checkpoint::dummy("dev");
  Request request;
  request.budget = "8GiB";
  request.steps = 4;
  for (const auto& [ram, all] : {std::pair("64GiB", true), std::pair("6GiB", false)}) {
    request.ram_budget = ram;
    const Plan plan = make_plan(model, decide_values(request, model), with_device(1));
    EXPECT_GT(plan.blocks.kept_bytes, 0u);
    EXPECT_EQ(plan.blocks.kept_bytes == plan.blocks.streamed_bytes, all);
    EXPECT_LE(plan.ram_bytes(plan.largest_beside()), *plan.ram_budget_bytes);
  }
  request.steps = 1;
  EXPECT_EQ(make_plan(model, decide_values(request, model), with_device(1)).blocks.kept_bytes, 0u);
}

TEST(Plan, OnADeviceTheFreeMemoryCountsWithoutAMargin) {
  const Checkpoint model = Checkpoint::dummy("dev");
  const Plan plan = decide({}, model, with_device(std::size_t{12} << 30)).plan;
  EXPECT_TRUE(plan.automatic);
  EXPECT_EQ(*plan.budget_bytes, (std::size_t{12} << 30) - (std::size_t{12} << 26));
  EXPECT_LE(plan.peak_bytes(), *plan.budget_bytes);
}

TEST(Plan, TooLittleOfTheHostsMemoryForADeviceIsSaid) {
  const Checkpoint model = Checkpoint::dummy("dev");
  Request request;
  request.budget = "12GiB";
  request.ram_budget = "100MiB";
  try {
    make_plan(model, decide_values(request, model), with_device(1));
    FAIL() << "250 MiB passed through 100";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kOutOfMemory);
    EXPECT_NE(
        std::string(e.what()).find("a budget of 100.0 MiB of the host's memory is too little: 't5' needs "),
        std::string::npos)
        << e.what();
  }
}

TEST_P(PlanWithin, StaysWithinItsBudgetOrNamesTheSmallestOne) {
  const Machine machine = this->machine();
  const Checkpoint model = Checkpoint::dummy("dev");
  Request request;
  request.width = request.height = 512;
  for (std::size_t budget = std::size_t{1} << 29; budget < std::size_t{1} << 36; budget += budget / 3) {
    request.budget = std::to_string(budget);
    try {
      EXPECT_LE(make_plan(model, decide_values(request, model), machine).peak_bytes(), budget);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kOutOfMemory);
      const std::string message = e.what();
      const std::string key = "the smallest budget for this request is ";
      ASSERT_NE(message.find(key), std::string::npos) << message;
      request.budget = message.substr(message.find(key) + key.size(),
                                      message.find(" bytes") - message.find(key) - key.size());
      EXPECT_GT(std::stoull(request.budget), budget);
      EXPECT_LE(make_plan(model, decide_values(request, model), machine).peak_bytes(),
                std::stoull(request.budget));
    }
  }
}

// With everything that is in memory meanwhile, FLUX.1's decoder needs at most half a GiB, whatever the size;
// and at 1024² no file within 1.1 GiB.
TEST(Plan, DecoderFitsIntoHalfAGibibyte) {
  const Checkpoint model = Checkpoint::dummy("dev");
  const auto decoder_bytes = [&](int64_t width, int64_t height, const vae::StripPlan& strips) {
    Request request;
    request.width = width;
    request.height = height;
    const Job job = decide_values(request, model);
    const std::size_t latent_bytes = static_cast<std::size_t>(job.image_tokens() * 64) * sizeof(float);
    const DryRun run =
        dry_run(model.part_dtype(Part::kVae), job.precision, [&](const Context& ctx, WeightSource& weights) {
          decode(ctx, model.config(), weights, job, {}, strips, nullptr);
        });
    const std::size_t host = static_cast<std::size_t>(width * height * 3) + 2 * latent_bytes;
    return run.activation_bytes + part_size(model, Part::kVae).bytes + host + kMachine.workspace.bytes +
           kMachine.workspace.conv_bytes + kProgramBytes;
  };
  constexpr std::size_t kMebibyte = std::size_t{1} << 20;
  EXPECT_LE(decoder_bytes(1024, 1024, {16 * kMebibyte, false}), 1126 * kMebibyte);
  EXPECT_LE(decoder_bytes(2048, 2048, {16 * kMebibyte, true}), 512 * kMebibyte);
  EXPECT_LE(decoder_bytes(4096, 4096, {4 * kMebibyte, true}), 512 * kMebibyte);
}

TEST(Decide, RefusesWhatIsNoBudget) {
  const Checkpoint model = Checkpoint::dummy("tiny");
  for (const char* text : {"", "much", "-1G", "12Q", "0"}) {
    Request request;
    request.budget = text;
    EXPECT_NE(refusal(request, model).find("expected auto or an amount of memory"), std::string::npos)
        << text;
  }
}

TEST(Plan, WeightsAreTheModelsParameters) {
  const Checkpoint model = Checkpoint::dummy("dev");
  const Plan plan = make_plan(model, decide_values({}, model), kMachine);
  std::map<std::string, std::size_t> bytes;
  for (const PlannedPhase& p : plan.phases) bytes[std::string(phase_name(p.phase))] = p.weight_bytes;
  EXPECT_EQ(bytes["clip"], 2 * 123'060'480u);
  EXPECT_EQ(bytes["t5"], 2 * 4'762'310'656u);
  EXPECT_EQ(bytes["modulation"] + bytes["denoise"], 2 * 11'901'408'320u);
  EXPECT_EQ(bytes["vae"], 2 * 49'545'475u);
}

TEST(Inspect, RealConfigsWithoutWeights) {
  const std::filesystem::path folder =
      std::filesystem::path(DARKROOM_SOURCE_DIR) / ".." / "shared" / "flux1" / "dev";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "the real FLUX.1 configs are not here";
  const nlohmann::json info = inspect(folder);
  EXPECT_EQ(info.at("kind"), "dev");
  int64_t transformer = 0;
  for (const nlohmann::json& part : info.at("parts")) {
    if (part.at("name") == "transformer") transformer = part.at("parameters");
  }
  EXPECT_EQ(transformer, 11'901'408'320);
}

TEST(Inspect, WhatIsNoModel) {
  EXPECT_THROW(inspect("/nonexistent/model"), Error);
  EXPECT_THROW(inspect(fixture_path("rng.json")), Error);
  EXPECT_THROW(Checkpoint::open(fixture_path("pipelines/dev_small/vae")), Error);
  EXPECT_THROW(Checkpoint::dummy("huge"), Error);
}

}  // namespace
}  // namespace darkroom

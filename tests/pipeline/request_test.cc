// Requests: defaults follow the model, nonsense is refused with its numbers; plans: golden figures of the real models.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "expected.h"
#include "pipeline/inspect.h"
#include "pipeline/plan.h"
#include "pipeline/request.h"

namespace darkroom {
namespace {

std::string refusal(const Request& request, const Model& model) {
  try {
    decide(request, model);
    return "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kUsage);
    return e.what();
  }
}

TEST(Decide, DefaultsFollowTheModel) {
  const Job dev = decide({}, Model::dummy("dev"));
  EXPECT_EQ(dev.steps(), 28);
  EXPECT_EQ(dev.guidance, 3.5f);
  EXPECT_EQ(dev.max_text_tokens, 512);
  EXPECT_EQ(dev.width, 1024);
  EXPECT_EQ(dev.image_tokens(), 4096);
  EXPECT_EQ(dev.precision, DType::kBF16);
  const Job schnell = decide({}, Model::dummy("schnell"));
  EXPECT_EQ(schnell.steps(), 4);
  EXPECT_EQ(schnell.guidance, std::nullopt);
  EXPECT_EQ(schnell.max_text_tokens, 256);
  EXPECT_EQ(schnell.schedule.sigmas, (std::vector<float>{1, 0.75f, 0.5f, 0.25f, 0}));
}

TEST(Decide, RefusesNonsenseWithItsNumbers) {
  const Model model = Model::dummy("dev");
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
  EXPECT_EQ(decide(r, Model::dummy("schnell")).notes.size(), 1u);
  r = {};
  r.cfg = 3;
  const Job job = decide(r, Model::dummy("dev"));
  EXPECT_FALSE(job.true_cfg);
  EXPECT_EQ(job.notes.size(), 1u);
}

// One line per phase: weights, activations and FLOPs. The weights are the published parameter counts in bf16.
std::string plan_text(const std::string& name, int64_t width, int64_t height) {
  const Model model = Model::dummy(name);
  Request request;
  request.width = width;
  request.height = height;
  const Plan plan = make_plan(model, decide(request, model));
  std::string text;
  for (const PlannedPhase& p : plan.phases) {
    text += fmt::format("{} {} {} {}\n", p.name, p.weight_bytes, p.activation_bytes, p.flops);
  }
  return text;
}

TEST(Plan, GoldenTextForTheRealSizes) {
  for (const auto& [name, width, height] :
       {std::tuple{"dev", 1024, 1024}, std::tuple{"dev", 1536, 640}, std::tuple{"schnell", 512, 512}}) {
    const std::string file = fmt::format("plans/{}_{}x{}.txt", name, width, height);
    EXPECT_EQ(plan_text(name, width, height), read_text_file(fixture_path(file), 1 << 16)) << file;
  }
}

TEST(Plan, WeightsAreTheModelsParameters) {
  const Model model = Model::dummy("dev");
  const Plan plan = make_plan(model, decide({}, model));
  std::map<std::string, std::size_t> bytes;
  for (const PlannedPhase& p : plan.phases) bytes[p.name] = p.weight_bytes;
  EXPECT_EQ(bytes["clip"], 2 * 123'060'480u);
  EXPECT_EQ(bytes["t5"], 2 * 4'762'310'656u);
  EXPECT_EQ(bytes["modulation"] + bytes["denoise"], 2 * 11'901'408'320u);
  EXPECT_EQ(bytes["vae"], 2 * 49'545'475u);
}

TEST(Inspect, RealConfigsWithoutWeights) {
  const std::filesystem::path folder = std::filesystem::path(DARKROOM_SOURCE_DIR) / ".." / "shared" / "flux1" / "dev";
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
  EXPECT_THROW(Model::open(fixture_path("pipelines/dev_small/vae")), Error);
  EXPECT_THROW(Model::dummy("huge"), Error);
}

}  // namespace
}  // namespace darkroom

// Whole runs against diffusers' FluxPipeline (tests/fixtures/pipelines): the same prompt and
// seed, the same picture.
#include <gtest/gtest.h>

#include <atomic>

#include "backends/registry.h"
#include "memory/budget.h"
#include "pipeline/parity_case.h"
#include "process_peak.h"

namespace darkroom {
namespace {

Picture draw(const Case& test, const Request& request, const BackendOptions& options) {
  return draw(test, request, *make_backend(options));
}

Picture draw(const Case& test, const std::string& precision, const BackendOptions& options) {
  return draw(test, to_request(test.request, precision), options);
}

class Pipeline : public testing::TestWithParam<std::string> {};

TEST_P(Pipeline, TokensAreTheReference) {
  const Case test = load_case(GetParam());
  const Checkpoint model = Checkpoint::open(test.model);
  const int64_t limit = test.request.at("max_text_tokens");
  const Tokens tokens = model.tokenize(test.request.at("prompt"), limit);
  EXPECT_EQ(tokens.clip, test.expected.ids("clip_ids"));
  EXPECT_EQ(tokens.t5, test.expected.ids("t5_ids"));
  if (test.expected.has("negative.t5_ids")) {
    const Tokens negative = model.tokenize(test.request.at("negative_prompt"), limit);
    EXPECT_EQ(negative.clip, test.expected.ids("negative.clip_ids"));
    EXPECT_EQ(negative.t5, test.expected.ids("negative.t5_ids"));
  }
}

void expect_the_references_picture(const Case& test, const Request& request) {
  for (const std::string backend : {"cpu", "reference"}) {
    const Picture picture = draw(test, request, {.name = backend, .isa = "auto", .threads = 2});
    EXPECT_GE(cosine(picture.latents, test.expected.floats("latents")), 0.99999) << backend;
    EXPECT_LT(relative_error(picture.latents, test.expected.floats("latents")), 1e-3) << backend;
    EXPECT_GE(psnr(picture.image.rgb, test.expected.bytes("picture")), 60) << backend;
  }
}

// Both bf16 runs stray from the f32 picture; ours by at most 3 dB more than PyTorch's.
void expect_as_close_as_pytorchs(const Case& test, const Request& request) {
  const std::vector<uint8_t> exact = test.expected.bytes("picture");
  const double theirs = psnr(test.expected.bytes("bf16.picture"), exact);
  for (const std::string& isa : supported_isa_names()) {
    const Picture picture = draw(test, request, {.name = "cpu", .isa = isa, .threads = 2});
    EXPECT_GE(psnr(picture.image.rgb, exact), theirs - 3) << isa;
  }
}

TEST_P(Pipeline, F32IsTheReferencesPicture) {
  const Case test = load_case(GetParam());
  expect_the_references_picture(test, to_request(test.request, "f32"));
}

TEST_P(Pipeline, Bf16IsAsCloseAsPyTorchs) {
  const Case test = load_case(GetParam());
  expect_as_close_as_pytorchs(test, to_request(test.request, "bf16"));
}

INSTANTIATE_TEST_SUITE_P(Cases, Pipeline,
                         testing::Values("dev_small", "schnell_head128", "dev_true_cfg", "custom_sigmas"),
                         [](const auto& variant) { return variant.param; });

// Runs that start from a picture: FluxImg2ImgPipeline, and with a mask FluxInpaintPipeline.
class FromPicture : public testing::TestWithParam<std::string> {
 protected:
  TempFolder folder_;
};

TEST_P(FromPicture, F32IsTheReferencesPicture) {
  const Case test = load_case(GetParam());
  expect_the_references_picture(test, request_from_picture(test, "f32", folder_));
}

TEST_P(FromPicture, Bf16IsAsCloseAsPyTorchs) {
  const Case test = load_case(GetParam());
  expect_as_close_as_pytorchs(test, request_from_picture(test, "bf16", folder_));
}

INSTANTIATE_TEST_SUITE_P(Cases, FromPicture, testing::Values("dev_img2img", "dev_img2img_cfg", "dev_inpaint"),
                         [](const auto& variant) { return variant.param; });

TEST(PipelineRuns, SameBytesForAnyThreadCount) {
  const Case test = load_case("dev_small");
  for (const std::string precision : {"f32", "bf16"}) {
    const Picture one = draw(test, precision, {.name = "cpu", .isa = "auto", .threads = 1});
    const Picture three = draw(test, precision, {.name = "cpu", .isa = "auto", .threads = 3});
    EXPECT_EQ(one.latents, three.latents);
    EXPECT_EQ(one.image.rgb, three.image.rgb);
  }
}

// With true CFG, for the tiny dummy.
Request two_small_pictures() {
  Request request;
  request.prompt = "anything";
  request.negative = "nothing";
  request.cfg = 2;
  request.width = request.height = 64;
  request.steps = 3;
  request.seed = 5;
  request.count = 2;
  return request;
}

// What decides where weights lie must not change a byte of the picture.
TEST(PipelineRuns, EveryBudgetDrawsTheSamePictures) {
  const Checkpoint model = Checkpoint::dummy("tiny");
  Request request = two_small_pictures();
  request.width = request.height = 16;  // the blocks' weights are what moves
  request.steps = 2;
  request.max_text_tokens = 64;
  // It holds nothing for itself, so that of a model this small the transformer needs the most.
  const auto backend = make_backend({.name = "reference", .isa = "auto", .threads = 1});
  const auto draw = [&](std::size_t budget) {
    request.budget = std::to_string(budget);
    const std::atomic<bool> cancel{false};
    std::vector<uint8_t> bytes;
    Listeners listeners;
    listeners.on_picture = [&](const Picture& p) {
      bytes.insert(bytes.end(), p.image.rgb.begin(), p.image.rgb.end());
    };
    generate(model, *backend, decide(request, model, machine_of(*backend)), listeners, cancel);
    return bytes;
  };
  request.budget = "1T";
  const Plan all = make_plan(model, decide_values(request, model), machine_of(*backend));
  const std::vector<uint8_t> expected = draw(std::size_t{1} << 40);
  ASSERT_EQ(expected.size(), 2u * 16 * 16 * 3);
  const std::size_t denoise = all.phase(Phase::kDenoise).peak_bytes() + all.process_bytes;
  std::size_t streamed = 0, others = 0;
  for (const PlannedPhase& phase : all.phases) {
    if (phase.phase != Phase::kDenoise) others = std::max(others, phase.peak_bytes() + all.process_bytes);
  }
  for (std::size_t saved = 0; saved <= all.blocks.bytes() - all.least_block_bytes;
       saved += all.least_block_bytes) {
    const std::size_t budget = std::max(denoise - saved, others);
    request.budget = std::to_string(budget);
    const Plan plan = make_plan(model, decide_values(request, model), machine_of(*backend));
    EXPECT_LE(plan.peak_bytes(), budget);
    streamed = std::max(streamed, plan.blocks.streamed_bytes);
    EXPECT_EQ(draw(budget), expected) << budget;
  }
  EXPECT_GT(streamed, 0u);  // or nothing was tried
}

// The smallest budget that a refusal names.
std::size_t smallest_budget(const Checkpoint& model, const Backend& backend, Request request) {
  request.budget = "1";
  try {
    make_plan(model, decide_values(request, model), machine_of(backend));
  } catch (const Error& e) {
    const std::string message = e.what(), key = "the smallest budget for this request is ";
    return std::stoull(message.substr(message.find(key) + key.size()));
  }
  return 0;
}

// Under the smallest budget the decoder's pictures between stages lie in a file: the same picture
// in much less memory.
TEST(PipelineRuns, ScratchFileDrawsTheSamePictureInLittleMemory) {
  const TempFolder folder;
  const Checkpoint model = Checkpoint::dummy("tiny");
  Request request;
  request.prompt = "anything";
  request.width = 784;
  request.height = 752;
  request.steps = 1;
  request.seed = 5;
  request.precision = "bf16";
  request.scratch_folder = folder.path();
  const auto backend = make_backend({.name = "cpu", .isa = "auto", .threads = 2});
  const auto draw = [&](const std::string& budget, std::size_t& decode_bytes) {
    request.budget = budget;
    const std::atomic<bool> cancel{false};
    std::vector<uint8_t> bytes;
    std::size_t before = 0;
    Listeners listeners;
    listeners.on_picture = [&](const Picture& p) { bytes = p.image.rgb; };
    listeners.on_progress = [&](const Progress& p) {
      if (p.phase != Phase::kDecode) return;
      if (!p.finished) reset_peak(), before = memory::resident_bytes();
      if (p.finished) decode_bytes = p.phase_peak_bytes - before;
    };
    generate(model, *backend, decide(request, model, machine_of(*backend)), listeners, cancel);
    return bytes;
  };
  std::size_t in_memory = 0, in_file = 0;
  const std::string smallest = std::to_string(smallest_budget(model, *backend, request));
  request.budget = smallest;
  const Plan plan = make_plan(model, decide_values(request, model), machine_of(*backend));
  ASSERT_TRUE(plan.strips.in_file);
  EXPECT_EQ(plan.scratch_bytes, 784u * 752 * 32 * 2);  // two pictures of 16 channels
  const std::vector<uint8_t> small = draw(smallest, in_file), large = draw("1T", in_memory);
  EXPECT_EQ(small, large);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  EXPECT_GT(in_memory, plan.scratch_bytes);
  EXPECT_LT(in_file, plan.phase(Phase::kDecode).peak_bytes() + (std::size_t{8} << 20));
  EXPECT_LT(in_file, plan.scratch_bytes);

  request.scratch_folder = folder / "missing";
  request.budget = smallest;
  try {
    generate(model, *backend, decide(request, model, machine_of(*backend)), {}, false);
    FAIL() << "it went on without a scratch file";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kOutput);
  }
}

TEST(PipelineRuns, DummyDrawsProgressesAndStops) {
  const Checkpoint model = Checkpoint::dummy("tiny");
  const auto backend = make_backend({.name = "cpu", .isa = "auto", .threads = 2});
  const Request request = two_small_pictures();
  const Decision decision = decide(request, model, machine_of(*backend));
  std::atomic<bool> cancel{false};
  std::vector<Picture> pictures;
  std::vector<Phase> finished;
  int last_step = 0;
  Listeners listeners;
  listeners.on_picture = [&](const Picture& picture) { pictures.push_back(picture); };
  listeners.on_progress = [&](const Progress& p) {
    if (p.finished) finished.push_back(p.phase);
    if (p.phase == Phase::kDenoise) {
      last_step = p.step;
      EXPECT_EQ(p.steps, 3);
    }
  };
  generate(model, *backend, decision, listeners, cancel);
  ASSERT_EQ(pictures.size(), 2u);
  EXPECT_EQ(pictures[1].recipe.seed, 6u);
  EXPECT_NE(pictures[0].image.rgb, pictures[1].image.rgb);
  EXPECT_EQ(last_step, 3);
  EXPECT_EQ(finished, (std::vector<Phase>{Phase::kEncodeClip, Phase::kModulate, Phase::kDenoise,
                                          Phase::kDecode, Phase::kDenoise, Phase::kDecode}));

  listeners.on_picture = [](const Picture&) { FAIL() << "a cancelled run finished a picture"; };
  listeners.on_progress = [&](const Progress& p) {
    if (p.phase == Phase::kDenoise && p.block == 2) cancel = true;
  };
  try {
    generate(model, *backend, decision, listeners, cancel);
    FAIL() << "the run went on";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kCancelled);
  }
}

}  // namespace
}  // namespace darkroom

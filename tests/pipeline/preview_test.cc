// Previews: the map from latents to RGB, which map a model has, and when a run hands them over.
#include <gtest/gtest.h>

#include <atomic>
#include <limits>

#include "backends/registry.h"
#include "base/expect_error.h"
#include "base/json.h"
#include "base/temp_folder.h"
#include "model_folder.h"
#include "pipeline/pipeline.h"

namespace darkroom {
namespace {

using Bytes = std::vector<uint8_t>;

// 16 rows with values of their own.
std::string preview_json() {
  std::string rows;
  for (int i = 0; i < 16; ++i) rows += fmt::format("{}[{}, {}, {}]", i ? ", " : "", 0.1, 0.02 * i, -0.05);
  return R"({"steps": 3, "width": 32, "height": 48, "cfg": 2, "preview": {"rgb": [)" + rows +
         R"(], "bias": [0.1, -0.2, 0.3]}})";
}

TEST(Preview, IsTheLinearMapOfThePredictedLatents) {
  const PreviewMap map = {.rgb = {{0.5f, 0, 0}, {0, 0.25f, -1}}, .bias = {0, 0.5f, 0}};
  // Two tokens beside each other; of each two channels of 2×2 values.
  const std::vector<float> latents = {0, 1, -1, 4, 0, 0, 0, 0, 2, 2, 2, 2, 1, 1, 1, 1};
  const std::vector<float> velocity = {0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 0, 0, 0, 0};
  const Image image = draw_preview(map, latents, 0.5f, velocity, 1, 2);
  EXPECT_EQ(image.width, 4);
  EXPECT_EQ(image.height, 2);
  // First token: red x/2, green 0.5 - 0.25, blue 1; second: 0, 0.5 + 0.25, -1. A level l is (l + 1)/2 · 255.
  EXPECT_EQ(image.rgb, (Bytes{128, 159, 255, 191, 159, 255, 128, 223, 0, 128, 223, 0,  //
                              64,  159, 255, 255, 159, 255, 128, 223, 0, 128, 223, 0}));
}

TEST(Preview, OfWhatIsNotFiniteStaysAPicture) {
  const PreviewMap map = {.rgb = {{1, 1, 1}}, .bias = {}};
  const float infinite = std::numeric_limits<float>::infinity();
  const std::vector<float> latents = {std::numeric_limits<float>::quiet_NaN(), infinite, -infinite, 1e30f};
  const Image image = draw_preview(map, latents, 1, std::vector<float>(4), 1, 1);
  EXPECT_EQ(image.rgb, (Bytes{0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255}));
  expect_error(ErrorCode::kUsage, "4 latents and 3 velocities, expected 4 of each",
               [&] { draw_preview(map, latents, 1, std::vector<float>(3), 1, 1); });
  expect_error(ErrorCode::kUsage, "1 x 2 tokens",
               [&] { draw_preview(map, latents, 1, std::vector<float>(4), 1, 2); });
}

TEST(Preview, TheMapIsTheModelsElseFluxs) {
  EXPECT_EQ(preview_map(Checkpoint::dummy("tiny")), nullptr);
  const PreviewMap* flux = preview_map(Checkpoint::dummy("dev"));
  ASSERT_EQ(flux, &flux_preview_map());
  ASSERT_EQ(flux->rgb.size(), 16u);
  // Latents that are all 1: as the published figures add up.
  const Image image = draw_preview(*flux, std::vector<float>(64, 1), 0, std::vector<float>(64), 1, 1);
  EXPECT_EQ(Bytes(image.rgb.begin(), image.rgb.begin() + 3), (Bytes{117, 135, 139}));
  const TempFolder folder;
  make_model_folder(folder / "m", preview_json());
  const Checkpoint model = Checkpoint::open(folder / "m");
  const PreviewMap* own = preview_map(model);
  ASSERT_TRUE(own);
  EXPECT_EQ(own->rgb.at(15), (std::array<float, 3>{0.1f, 0.3f, -0.05f}));
  EXPECT_EQ(own->bias, (std::array<float, 3>{0.1f, -0.2f, 0.3f}));
}

class PreviewedRun : public testing::Test {
 protected:
  struct Result {
    std::vector<Preview> previews;
    std::vector<Picture> pictures;
    std::vector<std::string> notes;
  };
  PreviewedRun() {
    make_model_folder(folder_ / "m", preview_json());
    model_.emplace(Checkpoint::open(folder_ / "m"));
  }

  Result run(const Request& request, int every, const Checkpoint& model) {
    Result result;
    Listeners listeners;
    listeners.on_picture = [&](const Picture& picture) { result.pictures.push_back(picture); };
    listeners.on_note = [&](const std::string& note) { result.notes.push_back(note); };
    if (every > 0) {
      listeners.on_preview = [&](const Preview& preview) { result.previews.push_back(preview); };
      listeners.preview_every = every;
    }
    const auto backend = make_backend({});
    const std::atomic<bool> cancel{false};
    generate(model, *backend, decide(request, model, machine_of(*backend)), listeners, cancel);
    return result;
  }
  Result run(const Request& request, int every) { return run(request, every, *model_); }
  const Checkpoint& model() const { return *model_; }
  static Request request_of(const std::string& sampler) {
    Request request;
    request.prompt = "x";
    request.seed = 3;
    request.max_text_tokens = 8;
    request.sampler = sampler;
    return request;
  }
  static std::vector<int> steps_of(const std::vector<Preview>& previews) {
    std::vector<int> steps;
    for (const Preview& preview : previews) steps.push_back(preview.step);
    return steps;
  }

 private:
  TempFolder folder_;
  std::optional<Checkpoint> model_;
};

TEST_F(PreviewedRun, HasOneAStepAndThePictureIsTheSame) {
  for (const char* sampler : {"euler", "heun", "dpm++2m", "ipndm", "euler-a"}) {
    SCOPED_TRACE(sampler);
    const Result plain = run(request_of(sampler), 0), seen = run(request_of(sampler), 1);
    EXPECT_EQ(seen.pictures.at(0).image.rgb, plain.pictures.at(0).image.rgb);
    EXPECT_EQ(seen.pictures.at(0).latents, plain.pictures.at(0).latents);
    EXPECT_EQ(steps_of(seen.previews), (std::vector<int>{1, 2, 3}));
    for (const Preview& preview : seen.previews) {
      EXPECT_EQ(preview.steps, 3);
      EXPECT_EQ(preview.image.width, 4);
      EXPECT_EQ(preview.image.height, 6);
    }
    EXPECT_TRUE(seen.notes.empty()) << seen.notes.at(0);
  }
}

// A step to sigma 0 ends at what it predicts, so the guided velocity is the one that the preview took.
TEST_F(PreviewedRun, TheLastIsTheMapOfTheFinalLatents) {
  for (const char* sampler : {"euler", "heun", "euler-a"}) {
    SCOPED_TRACE(sampler);
    const Result seen = run(request_of(sampler), 1);
    const std::vector<float>& latents = seen.pictures.at(0).latents;
    const Image expected =
        draw_preview(*preview_map(model()), latents, 0, std::vector<float>(latents.size()), 3, 2);
    ASSERT_EQ(expected.rgb.size(), seen.previews.back().image.rgb.size());
    for (std::size_t i = 0; i < expected.rgb.size(); ++i) {
      EXPECT_NEAR(seen.previews.back().image.rgb[i], expected.rgb[i], 1) << i;
    }
    EXPECT_NE(seen.previews.front().image.rgb, seen.previews.back().image.rgb);
  }
}

TEST_F(PreviewedRun, ComesEveryNthStepAndAtTheLastOfEachPicture) {
  Request request = request_of("euler");
  request.steps = 5;
  EXPECT_EQ(steps_of(run(request, 2).previews), (std::vector<int>{2, 4, 5}));
  EXPECT_EQ(steps_of(run(request, 5).previews), (std::vector<int>{5}));
  request.count = 2;
  const std::vector<Preview> previews = run(request, 1000).previews;
  EXPECT_EQ(steps_of(previews), (std::vector<int>{5, 5}));
  EXPECT_EQ(previews.at(1).picture, 1);
}

TEST_F(PreviewedRun, AModelWithoutAMapGetsOneNote) {
  Request request = request_of("euler");
  request.width = request.height = 32;
  request.steps = 2;
  request.count = 2;
  const Result seen = run(request, 1, Checkpoint::dummy("tiny"));
  EXPECT_TRUE(seen.previews.empty());
  EXPECT_EQ(seen.pictures.size(), 2u);
  ASSERT_EQ(seen.notes.size(), 1u);
  EXPECT_TRUE(seen.notes[0].starts_with("no previews: the model has no map")) << seen.notes[0];
}

}  // namespace
}  // namespace darkroom

// Runs that start from a picture: what is decided, refused and planned. The pictures themselves are compared
// with diffusers' in parity_test.cc.
#include "pipeline/source_picture.h"

#include <gtest/gtest.h>

#include "base/temp_folder.h"
#include "image/png.h"
#include "pipeline/plan.h"

namespace darkroom {
namespace {

class SourcePictures : public testing::Test {
 protected:
  // A black picture with a white right half.
  static Image half_white(int width, int height) {
    Image image{width, height, std::vector<uint8_t>(static_cast<std::size_t>(3 * width * height))};
    for (std::size_t i = 0; i < image.rgb.size(); ++i) {
      if (static_cast<int>(i / 3) % width >= width / 2) image.rgb[i] = 255;
    }
    return image;
  }
  std::filesystem::path picture(int width, int height) const {
    const std::filesystem::path path = folder_.path() / fmt::format("{}x{}.png", width, height);
    write_png(half_white(width, height), path, {.overwrite = true});
    return path;
  }
  static std::string refusal(const Request& request, const Model& model) {
    try {
      decide(request, model);
      return "accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kUsage);
      return e.what();
    }
  }

  TempFolder folder_;
  const Model tiny_ = Model::dummy("tiny"), dev_ = Model::dummy("dev");
};

TEST_F(SourcePictures, GiveTheSizeUnlessItIsGiven) {
  const auto size = [&](int width, int height, std::optional<int64_t> w, std::optional<int64_t> h) {
    Request request;
    request.init_path = picture(width, height);
    request.width = w;
    request.height = h;
    const Job job = decide(request, dev_);
    EXPECT_EQ(job.source->image.width, job.width);
    EXPECT_EQ(job.source->image.height, job.height);
    return std::pair(job.width, job.height);
  };
  EXPECT_EQ(size(640, 480, {}, {}), std::pair(int64_t{640}, int64_t{480}));
  EXPECT_EQ(size(645, 470, {}, {}), std::pair(int64_t{640}, int64_t{464}));
  EXPECT_EQ(size(8, 300, {}, {}), std::pair(int64_t{16}, int64_t{304}));
  EXPECT_EQ(size(640, 480, 320, {}), std::pair(int64_t{320}, int64_t{240}));
  EXPECT_EQ(size(640, 480, {}, 960), std::pair(int64_t{1280}, int64_t{960}));
  EXPECT_EQ(size(640, 480, 512, 512), std::pair(int64_t{512}, int64_t{512}));
  const auto [width, height] = size(4000, 3000, {}, {});  // twice a megapixel at the most, about
  EXPECT_EQ(width, 1680);
  EXPECT_EQ(height, 1248);
}

TEST_F(SourcePictures, StrengthLeavesTheFirstStepsOut) {
  Request request;
  request.steps = 20;
  const Job whole = decide(request, dev_);
  request.init_path = picture(64, 64);
  for (const auto& [strength, taken] : {std::pair(1.0, 20), std::pair(0.6, 12), std::pair(0.58, 12),
                                        std::pair(0.05, 1), std::pair(0.01, 1)}) {
    request.strength = strength;
    request.width = request.height = 1024;
    const Job job = decide(request, dev_);
    EXPECT_EQ(job.steps(), taken) << strength;
    EXPECT_EQ(job.asked_steps, 20);
    const std::vector<float> last(whole.schedule.sigmas.end() - taken - 1, whole.schedule.sigmas.end());
    EXPECT_EQ(job.schedule.sigmas, last);
    EXPECT_EQ(job.guidances.size(), static_cast<std::size_t>(taken));
  }
  request.strength.reset();
  EXPECT_EQ(decide(request, dev_).steps(), 12);
}

TEST_F(SourcePictures, NonsenseIsRefusedWithItsNumbers) {
  Request request;
  request.init_path = folder_.path() / "absent.png";
  EXPECT_NE(refusal(request, tiny_).find("init: "), std::string::npos) << refusal(request, tiny_);
  EXPECT_NE(refusal(request, tiny_).find("absent.png"), std::string::npos);
  folder_.write("text.png", "no picture");
  request.init_path = folder_.path() / "text.png";
  EXPECT_NE(refusal(request, tiny_).find("text.png"), std::string::npos);
  request.init_path = picture(64, 64);
  for (const double strength : {0.0, -1.0, 1.001, std::nan("")}) {
    request.strength = strength;
    EXPECT_NE(refusal(request, tiny_).find("strength is"), std::string::npos) << strength;
  }
  request.strength.reset();
  request.mask_path = picture(64, 80);
  EXPECT_NE(refusal(request, tiny_).find("64x80, which is another shape than the 64x64"), std::string::npos);
  request.init_path.clear();
  EXPECT_NE(refusal(request, tiny_).find("there is no picture"), std::string::npos);
  request.mask_path.clear();
  request.strength = 0.5;
  const std::vector<std::string> notes = decide(request, tiny_).notes;
  ASSERT_FALSE(notes.empty());
  EXPECT_NE(notes.back().find("strength has no effect"), std::string::npos);
}

TEST_F(SourcePictures, MaskIsReadAtTheCornersOfLatentPixels) {
  const std::vector<float> mask = mask_tokens(half_white(64, 32), 2, 4);
  ASSERT_EQ(mask.size(), 32u);
  for (std::size_t token = 0; token < 8; ++token) {
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(mask[token * 4 + i], token % 4 >= 2 ? 1 : 0);
  }
  Image grey{16, 16, std::vector<uint8_t>(16 * 16 * 3, 127)};
  EXPECT_EQ(mask_tokens(grey, 1, 1), std::vector<float>(4, 0));
  grey.rgb.assign(grey.rgb.size(), 128);
  EXPECT_EQ(mask_tokens(grey, 1, 1), std::vector<float>(4, 1));
}

TEST_F(SourcePictures, WhatLiesOutsideOfTheMaskIsKept) {
  const std::vector<float> mask = {1, 0, 0, 1, 0, 0, 1, 1}, kept(16, 7);
  std::vector<float> latents(16, 1);
  keep_outside_mask(mask, kept, latents);
  EXPECT_EQ(latents, (std::vector<float>{1, 7, 7, 1, 1, 7, 7, 1, 7, 7, 1, 1, 7, 7, 1, 1}));
}

// Encoding is a phase of the plan, and finds a way within every budget in which decoding finds one.
TEST_F(SourcePictures, AreEncodedWithinTheBudget) {
  Request request;
  request.init_path = picture(1024, 1024);
  for (const char* budget : {"12GiB", "4GiB", "1200MiB"}) {
    request.budget = budget;
    const Plan plan = make_plan(dev_, decide(request, dev_), {});
    EXPECT_EQ(plan.phases.front().name, "vae encode");
    EXPECT_GT(plan.phases.front().flops, 3e12);
    EXPECT_LE(plan.peak_bytes(), *plan.budget_bytes) << budget;
    EXPECT_EQ(plan.encode_strips.in_file, plan.scratch_bytes > 0);
  }
  request.init_path.clear();
  EXPECT_EQ(make_plan(dev_, decide(request, dev_), {}).phases.front().name, "clip");
}

}  // namespace
}  // namespace darkroom

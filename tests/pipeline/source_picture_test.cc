// Runs that start from a picture: what is decided, refused and planned. The pictures themselves are compared
// with diffusers' in parity_test.cc.
#include "pipeline/source_picture.h"

#include <gtest/gtest.h>

#include <atomic>

#include "backends/registry.h"
#include "base/temp_folder.h"
#include "image/png.h"
#include "pipeline/pipeline.h"
#include "pipeline/plan.h"
#include "pipeline/refusal.h"

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
  TempFolder folder_;
  const Checkpoint tiny_ = Checkpoint::dummy("tiny"), dev_ = Checkpoint::dummy("dev");
};

// The encoder draws for each picture, so several from one given noise differ.
TEST_F(SourcePictures, DifferFromOneGivenNoise) {
  Request request;
  request.noise_path = "noise.safetensors";
  request.count = 3;
  EXPECT_EQ(decide_values(request, tiny_).notes.size(), 1u);
  request.init_path = picture(64, 64);
  EXPECT_TRUE(decide_values(request, tiny_).notes.empty());
}

TEST_F(SourcePictures, GiveTheSizeUnlessItIsGiven) {
  const auto size = [&](int width, int height, std::optional<int64_t> w, std::optional<int64_t> h) {
    Request request;
    request.init_path = picture(width, height);
    request.width = w;
    request.height = h;
    const Job job = decide_values(request, dev_);
    const SourcePicture source = read_source_picture(job);
    EXPECT_EQ(source.image.width, job.width);
    EXPECT_EQ(source.image.height, job.height);
    return std::pair(job.width, job.height);
  };
  EXPECT_EQ(size(640, 480, {}, {}), std::pair(int64_t{640}, int64_t{480}));
  EXPECT_EQ(size(645, 470, {}, {}), std::pair(int64_t{640}, int64_t{464}));
  EXPECT_EQ(size(8, 300, {}, {}), std::pair(int64_t{16}, int64_t{288}));
  EXPECT_EQ(size(640, 480, 320, {}), std::pair(int64_t{320}, int64_t{240}));
  EXPECT_EQ(size(640, 480, {}, 960), std::pair(int64_t{1280}, int64_t{960}));
  EXPECT_EQ(size(640, 480, 512, 512), std::pair(int64_t{512}, int64_t{512}));
  const auto [width, height] = size(4000, 3000, {}, {});  // twice a megapixel at the most, about
  EXPECT_EQ(width, 1664);
  EXPECT_EQ(height, 1248);
  // An edge that follows and is too long is refused, not cut.
  Request request;
  request.init_path = picture(10, 300);
  request.width = 1024;
  EXPECT_NE(refusal(request, dev_).find("height is 30720"), std::string::npos) << refusal(request, dev_);
}

TEST_F(SourcePictures, StrengthLeavesTheFirstStepsOut) {
  Request request;
  request.steps = 20;
  const Job whole = decide_values(request, dev_);
  request.init_path = picture(64, 64);
  for (const auto& [strength, taken] : {std::pair(1.0, 20), std::pair(0.6, 12), std::pair(0.58, 12),
                                        std::pair(0.05, 1), std::pair(0.01, 1)}) {
    request.strength = strength;
    request.width = request.height = 1024;
    const Job job = decide_values(request, dev_);
    EXPECT_EQ(job.steps(), taken) << strength;
    EXPECT_EQ(job.asked_steps, 20);
    const std::vector<float> last(whole.schedule.sigmas.end() - taken - 1, whole.schedule.sigmas.end());
    EXPECT_EQ(job.schedule.sigmas, last);
    EXPECT_EQ(job.guidances.size(), static_cast<std::size_t>(taken));
  }
  request.strength.reset();
  EXPECT_EQ(decide_values(request, dev_).steps(), 12);
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
  const std::vector<std::string> notes = decide_values(request, tiny_).notes;
  ASSERT_FALSE(notes.empty());
  EXPECT_NE(notes.back().find("strength has no effect"), std::string::npos);
}

TEST_F(SourcePictures, MaskIsReadAtTheCornersOfLatentPixels) {
  // White from column 33 on: of the latent pixel at 32 all but the corner.
  Image mask_image = half_white(64, 32);
  for (int y = 0; y < 32; ++y) mask_image.rgb[static_cast<std::size_t>((y * 64 + 32) * 3 + 1)] = 0;
  const std::vector<float> mask = mask_tokens(mask_image, 2, 4);
  ASSERT_EQ(mask.size(), 32u);
  for (std::size_t token = 0; token < 8; ++token) {
    for (std::size_t i = 0; i < 4; ++i) {
      const bool drawn = token % 4 == 3 || (token % 4 == 2 && i % 2 == 1);
      EXPECT_EQ(mask[token * 4 + i], drawn ? 1 : 0) << token << "," << i;
    }
  }
  Image grey{16, 16, std::vector<uint8_t>(16 * 16 * 3, 127)};
  EXPECT_EQ(mask_tokens(grey, 1, 1), std::vector<float>(4, 0));
  grey.rgb.assign(grey.rgb.size(), 128);
  EXPECT_EQ(mask_tokens(grey, 1, 1), std::vector<float>(4, 1));
}

TEST_F(SourcePictures, MasksThatDecideNothingAreNoted) {
  Request request;
  request.init_path = picture(64, 64);
  const auto note = [&](uint8_t level) {
    const std::filesystem::path path = folder_.path() / "mask.png";
    write_png({64, 64, std::vector<uint8_t>(64 * 64 * 3, level)}, path, {.overwrite = true});
    request.mask_path = path;
    const std::vector<std::string> notes = notes_on(read_source_picture(decide_values(request, tiny_)));
    return notes.empty() ? "" : notes.back();
  };
  EXPECT_NE(note(0).find("leaves nothing to draw"), std::string::npos);
  EXPECT_NE(note(255).find("keeps nothing"), std::string::npos);
  request.mask_path = picture(64, 64);
  EXPECT_TRUE(notes_on(read_source_picture(decide_values(request, tiny_))).empty());
}

TEST_F(SourcePictures, AMaskMayHaveAnotherSizeOfTheSameShape) {
  const auto image = [](int width, int height) { return PictureSize{width, height}; };
  EXPECT_TRUE(have_one_shape(image(1000, 667), image(500, 333)));
  EXPECT_TRUE(have_one_shape(image(64, 64), image(16384, 16384)));
  EXPECT_TRUE(have_one_shape(image(1001, 1000), image(1000, 1000)));
  EXPECT_FALSE(have_one_shape(image(1000, 1000), image(1000, 1015)));
  EXPECT_FALSE(have_one_shape(image(64, 64), image(64, 80)));
}

TEST_F(SourcePictures, WhatLiesOutsideOfTheMaskIsKept) {
  const std::vector<float> mask = {1, 0, 0, 1, 0, 0, 1, 1}, picture(16, 4), noise(16, 8);
  std::vector<float> latents(16, 1);
  keep_outside_mask(mask, picture, noise, 0.75f, latents);
  EXPECT_EQ(latents, (std::vector<float>{1, 7, 7, 1, 1, 7, 7, 1, 7, 7, 1, 1, 7, 7, 1, 1}));
}

// Also between the steps of samplers that remember earlier ones, and with a step cache: in the end all that
// is kept is the picture's.
TEST_F(SourcePictures, AreKeptByEverySampler) {
  const auto backend = make_backend({.name = "cpu", .isa = "auto", .threads = 2});
  const std::atomic<bool> cancel{false};
  for (const char* sampler : {"euler", "heun", "dpm++2m", "ipndm", "euler-a"}) {
    SCOPED_TRACE(sampler);
    Request request;
    request.prompt = "anything";
    request.init_path = request.mask_path = picture(64, 64);
    request.sampler = sampler;
    request.cache = std::string(sampler) == "dpm++2m" ? "fbcache:5" : "off";
    request.seed = 3;
    request.steps = 5;
    request.count = 2;
    const auto draw = [&] {
      std::vector<Picture> drawn;
      Listeners listeners;
      listeners.on_picture = [&](const Picture& each) { drawn.push_back(each); };
      generate(tiny_, *backend, decide(request, tiny_, machine_of(*backend)), listeners, cancel);
      return drawn;
    };
    const std::vector<Picture> pictures = draw();
    request.negative = "another";  // what is drawn changes, what is kept does not
    request.cfg = 3;
    const std::vector<Picture> guided = draw();
    ASSERT_EQ(pictures.size(), 2u);
    EXPECT_NE(pictures[0].latents, pictures[1].latents) << "each has a seed of its own";
    const std::vector<float> mask = read_source_picture(decide_values(request, tiny_)).mask;
    const std::size_t width = static_cast<std::size_t>(pictures[0].latent_channels);
    int kept = 0, changed = 0;
    for (std::size_t i = 0; i < pictures[0].latents.size(); ++i) {
      const bool same = pictures[0].latents[i] == guided[0].latents[i];
      if (mask[i / width * 4 + i % 4] == 0) {
        EXPECT_TRUE(same) << i;
        ++kept;
      } else {
        changed += same ? 0 : 1;
      }
    }
    EXPECT_GT(kept, 0);
    EXPECT_GT(changed, kept / 2);
  }
}

// Encoding is a phase of the plan, and a small budget puts what it makes on the way into a file.
TEST_F(SourcePictures, AreEncodedWithinTheBudget) {
  Request request;
  request.init_path = picture(2048, 2048);
  request.width = request.height = 2048;
  const auto plan = [&](const std::string& budget) {
    request.budget = budget;
    return make_plan(dev_, decide_values(request, dev_), {});
  };
  const Plan rich = plan("12GiB"), poor = plan("1700MiB");
  EXPECT_EQ(rich.phases.front().phase, Phase::kEncodePicture);
  EXPECT_GT(rich.phases.front().flops, 12e12);
  EXPECT_FALSE(rich.encode_strips.in_file);
  EXPECT_TRUE(poor.encode_strips.in_file);
  EXPECT_LT(poor.phases.front().peak_bytes(), std::size_t{400} << 20);
  EXPECT_GE(poor.scratch_bytes, vae::encode_canvas_bytes(dev_.config().vae, 256 * 256, DType::kBF16));
  request.init_path.clear();
  EXPECT_EQ(plan("12GiB").phases.front().phase, Phase::kEncodeClip);
}

// Planning reads the header alone, so damage shows when the run begins: before any weights are read.
TEST_F(SourcePictures, PixelsAreReadByTheRunAlone) {
  const std::string whole = read_text_file(picture(64, 64), 1 << 20);
  folder_.write("damaged.png", whole.substr(0, whole.size() - 20));
  Request request;
  request.init_path = folder_.path() / "damaged.png";
  const auto backend = make_backend({.name = "reference", .isa = "auto", .threads = 1});
  const Decision decision = decide(request, tiny_, machine_of(*backend));
  EXPECT_EQ(decision.job.width, 64);
  Listeners listeners;
  listeners.on_progress = [](const Progress&) { FAIL() << "a phase began"; };
  try {
    generate(tiny_, *backend, decision, listeners, false);
    FAIL() << "half a picture was enough";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kUsage);
    EXPECT_NE(std::string(e.what()).find("init: "), std::string::npos) << e.what();
  }
  folder_.write("short.png", whole.substr(0, 20));
  request.init_path = folder_.path() / "short.png";
  EXPECT_NE(refusal(request, tiny_).find("short.png"), std::string::npos) << refusal(request, tiny_);
}

TEST_F(SourcePictures, TheBudgetChangesNoByte) {
  const auto backend = make_backend({.name = "reference", .isa = "auto", .threads = 1});
  const std::atomic<bool> cancel{false};
  Request request;
  request.init_path = picture(128, 128);
  request.seed = 3;
  request.steps = 2;
  std::vector<std::vector<uint8_t>> drawn;
  bool was_in_file = false;
  for (const bool least : {false, true}) {
    request.budget = "1T";
    if (least) {
      request.budget = "1";
      try {
        make_plan(tiny_, decide_values(request, tiny_), machine_of(*backend));
      } catch (const Error& e) {
        const std::string what = e.what(), mark = "for this request is ";
        request.budget = what.substr(what.find(mark) + mark.size());
        request.budget = request.budget.substr(0, request.budget.find(' '));
      }
    }
    const Decision decision = decide(request, tiny_, machine_of(*backend));
    was_in_file = decision.plan.encode_strips.in_file;
    Listeners listeners;
    listeners.on_picture = [&](const Picture& each) { drawn.push_back(each.image.rgb); };
    generate(tiny_, *backend, decision, listeners, cancel);
  }
  EXPECT_TRUE(was_in_file);
  ASSERT_EQ(drawn.size(), 2u);
  EXPECT_EQ(drawn[0], drawn[1]);
}

}  // namespace
}  // namespace darkroom

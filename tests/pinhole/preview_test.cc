// Previews of the models in the box: what they show is the picture that comes.
//
// A linear map explains three quarters of Pinhole's colours (tools/pinhole/README.md), cyan and yellow well,
// grey badly: hence the caption.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "darkroom/darkroom.h"
#include "image/image.h"

namespace {

using darkroom::Image;

struct Seen {
  Image picture;
  std::vector<Image> previews;
  std::vector<int> steps;
};

Image image_of(int width, int height, const uint8_t* rgb) {
  return {width, height, {rgb, rgb + std::size_t{3} * static_cast<std::size_t>(width * height)}};
}

class PinholePreview : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const std::string folder = DARKROOM_SOURCE_DIR "/assets/" + GetParam();
    ASSERT_EQ(darkroom_create(nullptr, &engine_), DARKROOM_OK);
    ASSERT_EQ(darkroom_open(engine_, folder.c_str(), &model_), DARKROOM_OK) << darkroom_last_error(engine_);
    darkroom_request_init(&request_);
    request_.prompt = "a yellow triangle left of a brown square on a cyan background";
    request_.width = 128;
    request_.height = 96;
    request_.steps = 6;
    request_.has_seed = 1;
    request_.seed = 9;
    request_.user = &seen_;
    request_.on_picture = [](const darkroom_picture* p, void* user) {
      static_cast<Seen*>(user)->picture = image_of(p->width, p->height, p->rgb);
      return 0;
    };
  }
  void TearDown() override {
    darkroom_close(model_);
    darkroom_destroy(engine_);
  }
  Seen draw() {
    seen_ = {};
    EXPECT_EQ(darkroom_generate(engine_, model_, &request_), DARKROOM_OK) << darkroom_last_error(engine_);
    return seen_;
  }

  darkroom_engine* engine_ = nullptr;
  darkroom_model* model_ = nullptr;
  darkroom_request request_;
  Seen seen_;
};

int on_preview(const darkroom_preview* p, void* user) {
  EXPECT_EQ(p->struct_size, sizeof(darkroom_preview));
  EXPECT_EQ(p->picture, 0);
  EXPECT_EQ(p->steps, 6);
  static_cast<Seen*>(user)->steps.push_back(p->step);
  static_cast<Seen*>(user)->previews.push_back(image_of(p->width, p->height, p->rgb));
  return 0;
}

// Pearson's, between a preview and the means of the picture's 8×8 squares, over all values.
double correlation(const Image& preview, const Image& picture) {
  double a = 0, b = 0, aa = 0, bb = 0, ab = 0, n = 0;
  for (int y = 0; y < preview.height; ++y) {
    for (int x = 0; x < preview.width * 3; ++x) {
      double mean = 0;
      for (int i = 0; i < 64; ++i) {
        const int at = (y * 8 + i / 8) * picture.width * 3 + (x / 3 * 8 + i % 8) * 3 + x % 3;
        mean += picture.rgb[static_cast<std::size_t>(at)] / 64.0;
      }
      const double value = preview.rgb[static_cast<std::size_t>(y * preview.width * 3 + x)];
      a += value, b += mean, aa += value * value, bb += mean * mean, ab += value * mean, ++n;
    }
  }
  return (n * ab - a * b) / std::sqrt((n * aa - a * a) * (n * bb - b * b));
}

TEST_P(PinholePreview, ShowsThePictureAndChangesNoByteOfIt) {
  const Seen plain = draw();
  request_.on_preview = on_preview;
  const Seen seen = draw();
  EXPECT_TRUE(plain.previews.empty());
  EXPECT_EQ(seen.picture.rgb, plain.picture.rgb);
  EXPECT_EQ(seen.steps, (std::vector<int>{1, 2, 3, 4, 5, 6}));
  for (const Image& preview : seen.previews) {
    EXPECT_EQ(preview.width, 16);
    EXPECT_EQ(preview.height, 12);
  }
  EXPECT_GT(correlation(seen.previews.back(), seen.picture), 0.9);
  request_.preview_every = 4;
  EXPECT_EQ(draw().steps, (std::vector<int>{4, 6}));
  request_.preview_every = -1;
  EXPECT_EQ(darkroom_generate(engine_, model_, &request_), DARKROOM_USAGE);
  request_.preview_every = 0;
  request_.on_preview = [](const darkroom_preview*, void*) { return 1; };
  EXPECT_EQ(darkroom_generate(engine_, model_, &request_), DARKROOM_CANCELLED);
}

INSTANTIATE_TEST_SUITE_P(Models, PinholePreview, testing::Values("pinhole", "pinhole/dev", "pinhole/schnell"),
                         [](const auto& test) {
                           std::string name = test.param;
                           for (char& c : name) c = c == '/' ? '_' : c;
                           return name;
                         });

}  // namespace

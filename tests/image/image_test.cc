#include "image/image.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <span>

#include "base/error.h"

namespace darkroom {
namespace {

Image blank(int width, int height) {
  return {width, height, std::vector<uint8_t>(static_cast<std::size_t>(width * height * 3))};
}

std::vector<uint8_t> levels(const std::vector<float>& pixels) {
  Image image = blank(static_cast<int>(pixels.size() / 3), 1);
  place_rows(pixels, 0, image);
  return image.rgb;
}

TEST(PlaceRows, ClampsAndRoundsHalfToEven) {
  EXPECT_EQ(levels({-1.0f, 0.0f, 1.0f, -7.0f, 1.0001f, 3e38f}),
            (std::vector<uint8_t>{0, 128, 255, 0, 255, 255}));
  // Values whose level is 100.5, 126.5, 127.5 and 254.5 exactly in f32: ties go to the even neighbour.
  EXPECT_EQ(levels({-0x1.b1b1b2p-3f, -0x1.0101p-7f, 0.0f}), (std::vector<uint8_t>{100, 126, 128}));
  EXPECT_EQ(levels({0x1.fdfep-1f, 0x1.f5f5f4p-1f, 0x1.a9a9a8p-2f}), (std::vector<uint8_t>{254, 252, 180}));
}

TEST(PlaceRows, EveryLevelComesBack) {
  for (int level = 0; level < 256; ++level) {
    const float x = static_cast<float>(level) / 255.0f * 2.0f - 1.0f;
    EXPECT_EQ(levels({x, x, x})[1], level);
  }
}

TEST(PlaceRows, RefusesRowsOutsideAndNonNumbers) {
  const std::vector<float> six(6, 0.0f);
  Image image = blank(1, 2);
  place_rows(six, 0, image);
  EXPECT_EQ(image.rgb, std::vector<uint8_t>(6, 128));
  EXPECT_THROW(place_rows(six, 1, image), Error);
  EXPECT_THROW(place_rows(std::span(six).first(3), 2, image), Error);
  place_rows(std::vector<float>(3, 1.0f), 1, image);
  EXPECT_EQ(image.rgb, (std::vector<uint8_t>{128, 128, 128, 255, 255, 255}));
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    std::vector<float> pixels = six;
    pixels[4] = bad;
    try {
      Image wide = blank(2, 1);
      place_rows(pixels, 0, wide);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kFailure);
      EXPECT_NE(std::string(error.what()).find("pixel 1, 0"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace darkroom

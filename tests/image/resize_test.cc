#include "image/resize.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "base/error.h"

namespace darkroom {
namespace {

// A picture whose red grows to the right and whose green grows downwards.
Image ramp(int width, int height) {
  Image image{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const std::array<int, 3> levels = {255 * (2 * x + 1) / (2 * width), 255 * (2 * y + 1) / (2 * height),
                                         90};
      for (const int level : levels) image.rgb.push_back(static_cast<uint8_t>(level));
    }
  }
  return image;
}

int at(const Image& image, int x, int y, int channel) {
  return image.rgb[static_cast<std::size_t>((y * image.width + x) * 3 + channel)];
}

TEST(FitImage, KeepsWhatHasTheSize) {
  const Image image = ramp(7, 5);
  EXPECT_EQ(fit_image(image, 7, 5).rgb, image.rgb);
}

TEST(FitImage, ScalesSmoothly) {
  for (const auto& [width, height] : {std::pair(32, 16), std::pair(128, 64), std::pair(200, 100)}) {
    const Image out = fit_image(ramp(64, 32), width, height), expected = ramp(width, height);
    ASSERT_EQ(out.rgb.size(), expected.rgb.size());
    for (int y = 4; y < height - 4; ++y) {
      for (int x = 4; x < width - 4; ++x) {
        for (int c = 0; c < 3; ++c) ASSERT_NEAR(at(out, x, y, c), at(expected, x, y, c), 3) << x << "," << y;
      }
    }
  }
}

// The middle half of a picture twice as wide is left, whether the size grows or shrinks.
TEST(FitImage, CutsTheMiddleOutOfAnotherShape) {
  const Image out = fit_image(ramp(64, 32), 32, 32);
  EXPECT_NEAR(at(out, 0, 16, 0), 64, 5);
  EXPECT_NEAR(at(out, 31, 16, 0), 191, 5);
  EXPECT_NEAR(at(out, 16, 0, 1), 4, 5);
  const Image tall = fit_image(ramp(32, 64), 16, 16);
  EXPECT_NEAR(at(tall, 8, 0, 1), 66, 6);
  EXPECT_NEAR(at(tall, 8, 15, 1), 189, 6);
  EXPECT_NEAR(at(tall, 15, 8, 0), 247, 6);
}

// What only loses margins keeps its pixels.
TEST(FitImage, CutsWithoutResampling) {
  const Image image = ramp(48, 32), out = fit_image(image, 32, 32);
  for (int y = 0; y < 32; ++y) {
    for (int x = 0; x < 32; ++x) {
      for (int c = 0; c < 3; ++c) ASSERT_EQ(at(out, x, y, c), at(image, x + 8, y, c));
    }
  }
  // And along a side that keeps its length nothing is blurred.
  Image stripes = ramp(64, 64);
  for (std::size_t i = 0; i < stripes.rgb.size(); ++i) stripes.rgb[i] = i / 3 / 64 % 2 == 0 ? 0 : 255;
  const Image narrow = fit_image(stripes, 32, 64);
  for (int y = 0; y < 64; ++y) ASSERT_EQ(at(narrow, 16, y, 0), y % 2 == 0 ? 0 : 255);
}

TEST(FitImage, TakesAnyShape) {
  for (const auto& [from, to] :
       {std::pair(std::pair(1, 1), std::pair(64, 16)), std::pair(std::pair(1, 16384), std::pair(16384, 16)),
        std::pair(std::pair(16384, 1), std::pair(16, 16384)), std::pair(std::pair(3, 2), std::pair(1, 1))}) {
    const Image out = fit_image(ramp(from.first, from.second), to.first, to.second);
    ASSERT_EQ(out.width, to.first);
    ASSERT_EQ(out.rgb.size(),
              std::size_t{3} * static_cast<std::size_t>(to.first) * static_cast<std::size_t>(to.second));
    for (std::size_t i = 2; i < out.rgb.size(); i += 3) ASSERT_EQ(out.rgb[i], 90);
  }
}

TEST(FitImage, RefusesNoPixels) {
  EXPECT_THROW(fit_image({}, 8, 8), Error);
  EXPECT_THROW(fit_image(ramp(8, 8), 0, 8), Error);
}

}  // namespace
}  // namespace darkroom

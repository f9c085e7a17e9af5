#include "grader/world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace darkroom::grader {
namespace {

TEST(GraderWorld, MeasuresAreThoseOfTheShapes) {
  constexpr int kSteps = 800;  // a side of a square of 2.6
  constexpr double kStep = 2.6 / kSteps;
  for (std::size_t k = 0; k < kKinds; ++k) {
    const Kind kind = static_cast<Kind>(k);
    double count = 0.0, u_sum = 0.0, v_sum = 0.0, reach = 0.0;
    for (int i = 0; i < kSteps * kSteps; ++i) {
      const double u = (i % kSteps + 0.5) * kStep - 1.3, v = (i / kSteps + 0.5) * kStep - 1.3;
      if (!inside(kind, u, v)) continue;
      count += 1.0, u_sum += u, v_sum += v;
      reach = std::max({reach, std::abs(u), std::abs(v)});
    }
    const KindMeasure measure = measure_of(kind);
    EXPECT_NEAR(measure.area, count * kStep * kStep, 0.01) << name_of(kind);
    EXPECT_NEAR(measure.centre_v, v_sum / count, 0.002) << name_of(kind);
    EXPECT_NEAR(0.0, u_sum / count, 0.002) << name_of(kind);
    EXPECT_LE(reach, kReach) << name_of(kind);
  }
}

// Cauchy and Crofton: how much of a shape leaves it under a small shift, averaged over the directions, is
// 2/pi of its outline times the shift. Points of an R2 sequence, because a grid is biased for straight
// outlines along it.
TEST(GraderWorld, OutlinesAreThoseOfTheShapes) {
  constexpr int kPoints = 100000, kDirections = 16;
  constexpr double kSide = 2.6, kShift = 0.03;
  const auto fraction = [](double x) { return x - std::floor(x); };
  for (std::size_t k = 0; k < kKinds; ++k) {
    const Kind kind = static_cast<Kind>(k);
    int changed = 0;
    for (int i = 0; i < kPoints; ++i) {
      const double u = kSide * (fraction(i * 0.7548776662466927) - 0.5);
      const double v = kSide * (fraction(i * 0.5698402909980532) - 0.5);
      for (int d = 0; d < kDirections; ++d) {
        const double angle = std::numbers::pi * (d + 0.5) / kDirections;
        changed +=
            inside(kind, u, v) != inside(kind, u + kShift * std::cos(angle), v + kShift * std::sin(angle));
      }
    }
    const double area = kSide * kSide * changed / (static_cast<double>(kPoints) * kDirections);
    const double outline = measure_of(kind).outline;
    EXPECT_NEAR(std::numbers::pi / 2.0 * area / kShift, outline, 0.05 * outline) << name_of(kind);
  }
}

TEST(GraderWorld, ShapesStandUpright) {
  EXPECT_TRUE(inside(Kind::kTriangle, 0.9, 0.8) && !inside(Kind::kTriangle, 0.9, -0.8));  // the tip is above
  EXPECT_TRUE(inside(Kind::kHeart, 0.6, -0.8) && !inside(Kind::kHeart, 0.6, 0.8));        // the tip is below
  EXPECT_TRUE(inside(Kind::kStar, 0.0, -1.1) && !inside(Kind::kStar, 0.0, 0.5));          // a tip is above
  EXPECT_TRUE(inside(Kind::kCross, 0.9, 0.0) && !inside(Kind::kCross, 0.6, 0.6));
  EXPECT_TRUE(!inside(Kind::kRing, 0.5, 0.0) && inside(Kind::kRing, 0.6, 0.0));
}

TEST(GraderWorld, NearestColours) {
  for (std::size_t i = 0; i < kColours; ++i) {
    const Colour colour = static_cast<Colour>(i);
    const Rgb rgb = rgb_of(colour);
    EXPECT_EQ(nearest_colour(rgb), colour);
    for (std::size_t j = 0; j < i; ++j) EXPECT_GE(distance(rgb, rgb_of(static_cast<Colour>(j))), 90.0);
  }
  EXPECT_EQ(nearest_colour({200, 60, 50}), Colour::kRed);
  EXPECT_EQ(nearest_colour({220, 215, 230}), Colour::kWhite);
}

TEST(GraderWorld, SizesAndPlaces) {
  EXPECT_EQ(size_of(0.15), Size::kSmall);
  EXPECT_EQ(size_of(0.19), Size::kMedium);
  EXPECT_EQ(size_of(0.225), Size::kMedium);
  EXPECT_EQ(size_of(0.30), Size::kLarge);
  EXPECT_EQ(place_of(0.55, 0.45), Place::kMiddle);
  EXPECT_EQ(place_of(0.362, 0.55), Place::kLeft);
  EXPECT_EQ(place_of(0.638, 0.45), Place::kRight);
  EXPECT_EQ(place_of(0.45, 0.362), Place::kTop);
  EXPECT_EQ(place_of(0.55, 0.638), Place::kBottom);
  EXPECT_EQ(place_of(0.3, 0.25), Place::kTop);
}

}  // namespace
}  // namespace darkroom::grader

#include "grader/world.h"

#include <gtest/gtest.h>

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

#include "grader/world.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace darkroom::grader {
namespace {

constexpr std::array<Rgb, kColours> kPalette = {{{222, 32, 32},
                                                 {255, 140, 0},
                                                 {255, 225, 30},
                                                 {30, 160, 60},
                                                 {30, 80, 222},
                                                 {128, 40, 170},
                                                 {255, 150, 190},
                                                 {130, 75, 35},
                                                 {16, 16, 16},
                                                 {248, 248, 248},
                                                 {128, 128, 128},
                                                 {0, 210, 225}}};

constexpr double kStarOuter = 1.12, kStarInner = 0.47, kStarSector = std::numbers::pi / 5.0;
constexpr double kRingInner = 0.56;
constexpr double kSquareHalf = 0.86, kDiamondHalf = 1.15, kCrossLong = 1.0, kCrossShort = 0.34;
constexpr double kTriangleTop = -1.05, kTriangleBottom = 0.82, kTriangleHalf = 1.08;

// A tip points up and the star has five-fold symmetry, so one edge decides: from a tip to the next notch, in
// a sector of 36 degrees.
bool in_star(double u, double v) {
  double angle = std::abs(std::atan2(u, -v));  // from the upper tip
  angle = std::fmod(angle, 2.0 * kStarSector);
  if (angle > kStarSector) angle = 2.0 * kStarSector - angle;
  const double radius = std::hypot(u, v);
  const double x = radius * std::sin(angle), y = radius * std::cos(angle);  // the tip at (0, outer)
  const double notch_x = kStarInner * std::sin(kStarSector), notch_y = kStarInner * std::cos(kStarSector);
  return x * (kStarOuter - notch_y) <= (kStarOuter - y) * notch_x;
}

bool in_triangle(double u, double v) {
  const double share = (v - kTriangleTop) / (kTriangleBottom - kTriangleTop);
  return share <= 1.0 && std::abs(u) <= kTriangleHalf * share;
}

bool in_heart(double u, double v) {
  const double x = u * 1.14, y = 0.12 - v * 1.14;
  const double s = x * x + y * y - 1.0;
  return s * s * s - x * x * y * y * y <= 0.0;
}

}  // namespace

double distance(Rgb a, Rgb b) {
  const int r = a.r - b.r, g = a.g - b.g, bl = a.b - b.b;
  return std::sqrt(static_cast<double>(r * r + g * g + bl * bl));
}

Rgb rgb_of(Colour colour) { return kPalette[static_cast<std::size_t>(colour)]; }

Colour nearest_colour(Rgb rgb) {
  const auto nearest = std::ranges::min_element(kPalette, {}, [rgb](Rgb c) { return distance(c, rgb); });
  return static_cast<Colour>(nearest - kPalette.begin());
}

bool inside(Kind kind, double u, double v) {
  const double a = std::abs(u), b = std::abs(v);
  switch (kind) {
    case Kind::kCircle:
      return u * u + v * v <= 1.0;
    case Kind::kSquare:
      return std::max(a, b) <= kSquareHalf;
    case Kind::kTriangle:
      return in_triangle(u, v);
    case Kind::kStar:
      return in_star(u, v);
    case Kind::kRing:
      return u * u + v * v <= 1.0 && u * u + v * v >= kRingInner * kRingInner;
    case Kind::kCross:
      return std::max(a, b) <= kCrossLong && std::min(a, b) <= kCrossShort;
    case Kind::kDiamond:
      return a + b <= kDiamondHalf;
    case Kind::kHeart:
      return in_heart(u, v);
  }
  return false;
}

KindMeasure measure_of(Kind kind) {
  constexpr double kTriangleHeight = kTriangleBottom - kTriangleTop;
  const double notch_x = kStarInner * std::sin(kStarSector), notch_y = kStarInner * std::cos(kStarSector);
  switch (kind) {
    case Kind::kCircle:
      return {std::numbers::pi, 2.0 * std::numbers::pi, 0.0};
    case Kind::kSquare:
      return {4.0 * kSquareHalf * kSquareHalf, 8.0 * kSquareHalf, 0.0};
    case Kind::kTriangle:
      return {kTriangleHalf * kTriangleHeight,
              2.0 * kTriangleHalf + 2.0 * std::hypot(kTriangleHalf, kTriangleHeight),
              (kTriangleTop + 2.0 * kTriangleBottom) / 3.0};
    case Kind::kStar:
      return {5.0 * kStarOuter * notch_x, 10.0 * std::hypot(notch_x, kStarOuter - notch_y), 0.0};
    case Kind::kRing:
      return {std::numbers::pi * (1.0 - kRingInner * kRingInner), 2.0 * std::numbers::pi * (1.0 + kRingInner),
              0.0};
    case Kind::kCross:
      return {8.0 * kCrossLong * kCrossShort - 4.0 * kCrossShort * kCrossShort, 8.0 * kCrossLong, 0.0};
    case Kind::kDiamond:
      return {2.0 * kDiamondHalf * kDiamondHalf, 4.0 * std::numbers::sqrt2 * kDiamondHalf, 0.0};
    case Kind::kHeart:
      return {2.8179, 6.38, -0.1522};  // counted on a grid: the curve has no closed form
  }
  return {};
}

Size size_of(double radius) {
  if (radius < 0.17) return Size::kSmall;
  return radius < 0.2625 ? Size::kMedium : Size::kLarge;
}

Place place_of(double x, double y) {
  constexpr double kLeastOffset =
      0.095;  // between 0.05, the most without a place, and 0.138, the least with one
  const double dx = x - 0.5, dy = y - 0.5;
  if (std::max(std::abs(dx), std::abs(dy)) < kLeastOffset) return Place::kMiddle;
  if (std::abs(dx) >= std::abs(dy)) return dx < 0 ? Place::kLeft : Place::kRight;
  return dy < 0 ? Place::kTop : Place::kBottom;
}

}  // namespace darkroom::grader

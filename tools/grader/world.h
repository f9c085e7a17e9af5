// The world that Pinhole draws, as the grader knows it: colours, shapes, sizes, places and how they are
// called.
//
// The same facts as in tools/pinhole/scenes.py, which draws them; tools/pinhole/check_grader.py checks the
// one against the other. No pixels here. Called by every file of the grader.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace darkroom::grader {

// Each enumeration counts from 0 in the order of its names below.
enum class Colour {
  kRed,
  kOrange,
  kYellow,
  kGreen,
  kBlue,
  kPurple,
  kPink,
  kBrown,
  kBlack,
  kWhite,
  kGrey,
  kCyan
};
enum class Kind { kCircle, kSquare, kTriangle, kStar, kRing, kCross, kDiamond, kHeart };
enum class Size { kSmall, kMedium, kLarge };  // captions have no word for medium
enum class Place { kLeft, kRight, kTop, kBottom, kMiddle };
enum class Relation { kNextTo, kLeftOf, kAbove };

inline constexpr std::size_t kColours = 12;
inline constexpr std::size_t kKinds = 8;

inline constexpr std::array<std::string_view, kColours> kColourNames = {
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey", "cyan"};
inline constexpr std::array<std::string_view, kKinds> kKindNames = {"circle", "square", "triangle", "star",
                                                                    "ring",   "cross",  "diamond",  "heart"};
inline constexpr std::array<std::string_view, 3> kSizeNames = {"small", "medium", "large"};
inline constexpr std::array<std::string_view, 5> kPlaceNames = {"on the left", "on the right", "at the top",
                                                                "at the bottom", "in the middle"};
inline constexpr std::array<std::string_view, 3> kRelationNames = {"next to", "left of", "above"};

inline std::string_view name_of(Colour c) { return kColourNames[static_cast<std::size_t>(c)]; }
inline std::string_view name_of(Kind k) { return kKindNames[static_cast<std::size_t>(k)]; }
inline std::string_view name_of(Size s) { return kSizeNames[static_cast<std::size_t>(s)]; }
inline std::string_view name_of(Place p) { return kPlaceNames[static_cast<std::size_t>(p)]; }
inline std::string_view name_of(Relation r) { return kRelationNames[static_cast<std::size_t>(r)]; }

struct Rgb {
  uint8_t r = 0, g = 0, b = 0;
  bool operator==(const Rgb&) const = default;
};

// Euclidean, in 8-bit steps; at most 442. The palette was spread out in this measure: its closest two
// colours, orange and yellow, are 90 apart.
double distance(Rgb a, Rgb b);

Rgb rgb_of(Colour colour);
Colour nearest_colour(Rgb rgb);

// Whether the point (u, v), v downwards, of a shape's own coordinates, in which its radius is 1, lies in the
// shape. No shape reaches beyond kReach from the origin in u or in v.
bool inside(Kind kind, double u, double v);
inline constexpr double kReach = 1.15;

// Area, length of the outline (a ring has two) and centre of gravity of a shape of radius 1. All are
// symmetric in u.
struct KindMeasure {
  double area = 0.0;
  double outline = 0.0;
  double centre_v = 0.0;
};
KindMeasure measure_of(Kind kind);

// By a radius in fractions of the picture's shorter side: the limits lie in the middle of the gaps that
// scenes.py leaves (small up to 0.15, medium 0.19 to 0.225, large from 0.30).
Size size_of(double radius);

// By a centre in fractions of width and height. scenes.py puts what is "on the left" at 0.24 to 0.362 of the
// width (the most for large shapes) and what has no place at 0.45 to 0.55; likewise for the others. Off in
// both directions: the larger counts.
Place place_of(double x, double y);

}  // namespace darkroom::grader

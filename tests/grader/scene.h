// Pictures for the tests of the grader: painted here, or rendered scenes of the fixtures; and
// ways to spoil them.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "grader/world.h"
#include "image/image.h"

namespace darkroom::grader {

inline const std::string kFixtures = DARKROOM_SOURCE_DIR "/tests/fixtures/grader/";

// File names and captions of the fixtures.
std::map<std::string, std::string> fixture_captions();

Image blank(int width, int height, Rgb colour);

// A shape with smooth edges; lengths as in FoundShape.
struct Painted {
  Kind kind = Kind::kCircle;
  Rgb colour = {};
  double x = 0.5, y = 0.5, radius = 0.2;
};
void paint(Image& image, const Painted& shape);

void fill_box(Image& image, int left, int top, int width, int height, Rgb colour);

struct Spoiling {
  double blur = 0.0;   // standard deviation in pixels
  double noise = 0.0;  // the same in 8-bit steps, of each value
  Rgb add = {};        // to each pixel
  uint32_t seed = 1;
};
Image spoiled(const Image& image, const Spoiling& how);

}  // namespace darkroom::grader

// What a picture shows, in the words of the captions' world: its background and its shapes.
//
// Pixels only: no caption is known here; judge.h compares. Called by the program and the tests.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "grader/fit.h"
#include "grader/world.h"
#include "image/image.h"

namespace darkroom::grader {

struct FoundShape {
  std::optional<Kind> kind = {};      // nothing: like no shape of the world
  std::optional<Colour> colour = {};  // nothing: like no colour of the palette
  Rgb rgb = {};
  double x = 0.0, y = 0.0;     // the centre, in fractions of width and height
  double radius = 0.0;         // in fractions of the shorter side
  double area = 0.0;           // in fractions of the picture
  double outline_error = 0.0;  // how far the outline is from that of the best kind in the mean, in radii
  double confidence =
      0.0;  // 0 to 1: how much of what the second best kind lacks to a full overlap the best one has
  ShapeFit fit = {};
};

struct Found {
  int width = 0, height = 0;  // of the picture, in pixels
  std::optional<Colour> background = {};
  Rgb background_rgb = {};
  std::vector<FoundShape> shapes = {};  // the largest first, at most kMostBlobs
  int noise_pieces = 0;                 // patches too small or too thin for a shape
  double noise_area = 0.0;              // in fractions of the picture
};

// Errors: kFailure, `where` in front, for fewer than 32 pixels on a side (a small shape is 4 pixels then) or
// more than 2^22 in all (the world is drawn at a few hundred a side).
Found look_at(const Image& image, const std::string& where);

}  // namespace darkroom::grader

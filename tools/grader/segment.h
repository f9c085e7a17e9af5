// From pixels to blobs: the background's colour, and each patch of another colour on it.
//
// What kind of shape a blob is, is fit.h. Made for pictures drawn by a model: soft edges, thin halos and
// noise are not taken for shapes. Called by look.cc.
#pragma once

#include <vector>

#include "grader/regions.h"
#include "grader/world.h"
#include "image/image.h"

namespace darkroom::grader {

// At most this many blobs are looked at: the largest. No caption has more than two.
inline constexpr std::size_t kMostBlobs = 16;
// What is smaller than this share of the square over the shorter side is noise. The smallest shape of the
// world has 2.4 %.
inline constexpr double kLeastBlob = 0.0015;

struct Blob {
  Region region = {};
  Rgb colour = {};  // the median of its inner half
};

struct Segmentation {
  Rgb background = {};
  std::vector<Blob> blobs = {};  // the largest first
  int noise_pieces = 0;          // patches too small or too thin (halos, lines) for a blob
  int noise_area = 0;            // their pixels
};

// Reads `image`, which is at least 32 pixels wide and high. Time grows with pixels · blobs.
Segmentation segment(const Image& image);

}  // namespace darkroom::grader

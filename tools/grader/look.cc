#include "grader/look.h"

#include <algorithm>
#include <cstdint>

#include "base/error.h"
#include "grader/segment.h"

namespace darkroom::grader {
namespace {

// How far the outlines of blob and shape may be apart in the mean, in radii. For a circle that is an overlap
// of 0.82; for a star, whose outline is long for its area, 0.54. Rendered shapes with soft edges and noise
// stay below 0.04.
constexpr double kMostOutlineError = 0.09;
constexpr double kMostOff = 60.0;  // of a colour from the palette, whose closest two are 90 apart

std::optional<Colour> colour_of(Rgb rgb) {
  const Colour nearest = nearest_colour(rgb);
  if (distance(rgb, rgb_of(nearest)) > kMostOff) return std::nullopt;
  return nearest;
}

// What is not in the overlap, spread along the outline.
double outline_error_of(const ShapeFit& fit) {
  const KindMeasure measure = measure_of(fit.kind);
  return (1.0 - fit.overlap) * measure.area / measure.outline;
}

FoundShape shape_of(const Blob& blob, const Image& image) {
  const ShapeFit fit = fit_shape(blob.region, image.width, image.height);
  FoundShape shape;
  shape.outline_error = outline_error_of(fit);
  if (shape.outline_error <= kMostOutlineError) shape.kind = fit.kind;
  shape.colour = colour_of(blob.colour);
  shape.rgb = blob.colour;
  shape.x = fit.x / image.width;
  shape.y = fit.y / image.height;
  shape.radius = fit.radius / std::min(image.width, image.height);
  shape.area = blob.region.area / (static_cast<double>(image.width) * image.height);
  const double lacking = 1.0 - fit.runner_up_overlap;
  shape.confidence = lacking > 0.0 ? (fit.overlap - fit.runner_up_overlap) / lacking : 0.0;
  shape.fit = fit;
  return shape;
}

}  // namespace

Found look_at(const Image& image, const std::string& where) {
  constexpr int kLeastSide = 32;
  constexpr int64_t kMostPixels = int64_t{1} << 22;
  require(std::min(image.width, image.height) >= kLeastSide, ErrorCode::kFailure,
          "{}: {} x {} pixels, at least {} on each side are needed to tell shapes", where, image.width,
          image.height, kLeastSide);
  require(int64_t{image.width} * image.height <= kMostPixels, ErrorCode::kFailure,
          "{}: {} x {} pixels, at most {} in all are graded", where, image.width, image.height, kMostPixels);
  const Segmentation parts = segment(image);
  Found found;
  found.width = image.width;
  found.height = image.height;
  found.background = colour_of(parts.background);
  found.background_rgb = parts.background;
  for (const Blob& blob : parts.blobs) found.shapes.push_back(shape_of(blob, image));
  found.noise_pieces = parts.noise_pieces;
  found.noise_area = parts.noise_area / (static_cast<double>(image.width) * image.height);
  return found;
}

}  // namespace darkroom::grader

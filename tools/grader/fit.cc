#include "grader/fit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace darkroom::grader {
namespace {

struct Pose {
  double x = 0.0, y = 0.0, radius = 0.0;  // pixels
};

struct Candidate {
  Kind kind = Kind::kCircle;
  Pose pose = {};
  double overlap = 0.0;
};

// Measures overlaps with one blob. Of a large blob only every n-th pixel of every n-th row is looked at.
class Overlay {
 public:
  Overlay(const Region& blob, int picture_width, int picture_height)
      : blob_(blob), picture_width_(picture_width), picture_height_(picture_height) {
    constexpr int kMostSamples = 64;  // a side: a boundary sample then is one in a thousand
    stride_ = std::max(1, std::max(blob.width, blob.height) / kMostSamples);
  }

  double overlap(Kind kind, const Pose& pose) const {
    const double reach = kReach * pose.radius;
    const int left = first(std::min(blob_.left, floor_of(pose.x - reach)));
    const int top = first(std::min(blob_.top, floor_of(pose.y - reach)));
    const int right =
        std::min(picture_width_, std::max(blob_.left + blob_.width, floor_of(pose.x + reach) + 1));
    const int bottom =
        std::min(picture_height_, std::max(blob_.top + blob_.height, floor_of(pose.y + reach) + 1));
    int both = 0, either = 0;
    for (int y = top; y < bottom; y += stride_) {
      for (int x = left; x < right; x += stride_) {
        const bool in_blob = blob_.has(x, y);
        const bool in_shape =
            inside(kind, (x + 0.5 - pose.x) / pose.radius, (y + 0.5 - pose.y) / pose.radius);
        both += in_blob && in_shape;
        either += in_blob || in_shape;
      }
    }
    return either > 0 ? static_cast<double>(both) / either : 0.0;
  }

 private:
  static int floor_of(double x) { return static_cast<int>(std::floor(x)); }
  // The first sample at or behind `from`, inside the picture: samples lie on one grid for all poses.
  int first(int from) const { return (std::max(0, from) + stride_ - 1) / stride_ * stride_; }

  const Region& blob_;
  int picture_width_, picture_height_;
  int stride_ = 1;
};

// The shape of the blob's area around the blob's centre of gravity.
Pose first_pose(const Region& blob, Kind kind) {
  double x_sum = 0.0, y_sum = 0.0;
  blob.each([&](int x, int y) { x_sum += x + 0.5, y_sum += y + 0.5; });
  const KindMeasure measure = measure_of(kind);
  const double radius = std::sqrt(blob.area / measure.area);
  return {x_sum / blob.area, y_sum / blob.area - measure.centre_v * radius, radius};
}

// Moves and scales by ever smaller steps as long as the overlap grows.
void improve(const Overlay& overlay, Candidate& candidate) {
  constexpr double kFirstStep = 0.08, kLastStep = 0.01;  // of the radius
  constexpr int kMostRounds = 6;  // a step size; the first pose is near, so two or three are usual
  const double unit = candidate.pose.radius;
  for (double step = kFirstStep * unit; step >= kLastStep * unit; step *= 0.5) {
    for (int round = 0; round < kMostRounds; ++round) {
      const Pose from = candidate.pose;
      bool better = false;
      for (const Pose move : {Pose{1, 0, 0}, {-1, 0, 0}, {0, 1, 0}, {0, -1, 0}, {0, 0, 1}, {0, 0, -1}}) {
        const Pose pose = {from.x + step * move.x, from.y + step * move.y, from.radius + step * move.radius};
        const double overlap = pose.radius > step ? overlay.overlap(candidate.kind, pose) : 0.0;
        if (overlap <= candidate.overlap) continue;
        candidate.overlap = overlap, candidate.pose = pose;
        better = true;
      }
      if (!better) break;
    }
  }
}

}  // namespace

ShapeFit fit_shape(const Region& blob, int picture_width, int picture_height) {
  // Moving the shape gains less than this, so what starts further behind cannot win.
  constexpr double kHopeless = 0.2;
  const Overlay overlay(blob, picture_width, picture_height);
  std::array<Candidate, kKinds> candidates;
  double best = 0.0;
  for (std::size_t i = 0; i < kKinds; ++i) {
    const Kind kind = static_cast<Kind>(i);
    const Pose pose = first_pose(blob, kind);
    candidates[i] = {kind, pose, overlay.overlap(kind, pose)};
    best = std::max(best, candidates[i].overlap);
  }
  for (Candidate& candidate : candidates) {
    if (candidate.overlap > best - kHopeless) improve(overlay, candidate);
  }
  std::ranges::stable_sort(candidates, std::ranges::greater{}, &Candidate::overlap);
  const Candidate& winner = candidates[0];
  return {winner.kind,        winner.overlap,     winner.pose.x,        winner.pose.y,
          winner.pose.radius, candidates[1].kind, candidates[1].overlap};
}

}  // namespace darkroom::grader

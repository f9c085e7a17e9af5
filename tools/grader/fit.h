// Which of the world's shapes a blob is: each is laid over it, moved and scaled until the overlap is best.
//
// Shapes stand upright, as in the captions' world. Knows nothing of colours. Called by look.cc.
#pragma once

#include "grader/regions.h"
#include "grader/world.h"

namespace darkroom::grader {

// The overlap of two sets of pixels: what is in both, over what is in either. 1 is the same shape. Of
// rendered scenes at 128 pixels the right shape reaches 0.93 and more, the best of the wrong ones 0.7 to 0.9.
struct ShapeFit {
  Kind kind = Kind::kCircle;
  double overlap = 0.0;
  double x = 0.0, y = 0.0;         // the centre, in pixels from the picture's upper left corner
  double radius = 0.0;             // in pixels
  Kind runner_up = Kind::kCircle;  // the best of the other shapes
  double runner_up_overlap = 0.0;
};

// `blob` is not empty and lies inside the picture. Parts of a shape beyond the border do not count against
// it.
ShapeFit fit_shape(const Region& blob, int picture_width, int picture_height);

}  // namespace darkroom::grader

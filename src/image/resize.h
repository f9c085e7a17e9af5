// A picture in another size. Called where a run starts from a picture of the user's.
#pragma once

#include "image/image.h"

namespace darkroom {

// The largest middle part of `image` with the shape of width x height: copied where it has that size, else
// resampled (stb_image_resize; along each side Mitchell's filter where it shrinks, Catmull and Rom's where it
// grows). Errors: kUsage for sizes below 1 or an image without pixels; kOutOfMemory.
Image fit_image(const Image& image, int width, int height);

}  // namespace darkroom

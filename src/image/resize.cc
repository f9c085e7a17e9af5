#include "image/resize.h"

#define STB_IMAGE_RESIZE_IMPLEMENTATION
#define STB_IMAGE_RESIZE_STATIC
#define STBIR_DEFAULT_FILTER_UPSAMPLE STBIR_FILTER_CATMULLROM
#define STBIR_DEFAULT_FILTER_DOWNSAMPLE STBIR_FILTER_MITCHELL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_image_resize.h>
#pragma GCC diagnostic pop

#include <algorithm>
#include <cstddef>

#include "base/error.h"

namespace darkroom {

Image fit_image(const Image& image, int width, int height) {
  require(width >= 1 && height >= 1 && image.width >= 1 && image.height >= 1, ErrorCode::kUsage,
          "a picture of {}x{} pixels cannot become one of {}x{}", image.width, image.height, width, height);
  if (image.width == width && image.height == height) return image;
  // The part that is kept, as shares of both sides.
  const double wanted = static_cast<double>(width) / height,
               given = static_cast<double>(image.width) / image.height;
  const double across = std::min(1.0, wanted / given), down = std::min(1.0, given / wanted);
  const auto begin = [](double share) { return static_cast<float>((1 - share) / 2); };
  const auto end = [](double share) { return static_cast<float>((1 + share) / 2); };
  Image out{width, height,
            std::vector<uint8_t>(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3)};
  const int done = stbir_resize_region(image.rgb.data(), image.width, image.height, 0, out.rgb.data(), width,
                                       height, 0, STBIR_TYPE_UINT8, 3, STBIR_ALPHA_CHANNEL_NONE, 0,
                                       STBIR_EDGE_CLAMP, STBIR_EDGE_CLAMP, STBIR_FILTER_DEFAULT,
                                       STBIR_FILTER_DEFAULT, STBIR_COLORSPACE_LINEAR, nullptr, begin(across),
                                       begin(down), end(across), end(down));
  require(done == 1, ErrorCode::kOutOfMemory, "no memory to turn a picture of {}x{} pixels into one of {}x{}",
          image.width, image.height, width, height);
  return out;
}

}  // namespace darkroom

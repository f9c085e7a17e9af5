#include "image/resize.h"

#define STB_IMAGE_RESIZE_IMPLEMENTATION
#define STB_IMAGE_RESIZE_STATIC
#define STBIR_ASSERT(condition) static_cast<void>(0)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_image_resize.h>
#pragma GCC diagnostic pop

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "base/error.h"

namespace darkroom {
namespace {

// Pixels along one side: which of the given ones are kept.
struct Span {
  int first = 0, count = 0;
};

// The middle of `length`, as long as `share` of it.
Span middle(int length, double share) {
  const int count = std::clamp(static_cast<int>(std::lround(length * share)), 1, length);
  return {(length - count) / 2, count};
}

stbir_filter filter(int from, int to) { return to < from ? STBIR_FILTER_MITCHELL : STBIR_FILTER_CATMULLROM; }

}  // namespace

Image fit_image(const Image& image, int width, int height) {
  require(width >= 1 && height >= 1 && image.width >= 1 && image.height >= 1 && !image.rgb.empty(),
          ErrorCode::kUsage, "a picture of {}x{} pixels cannot become one of {}x{}", image.width,
          image.height, width, height);
  const double wanted = static_cast<double>(width) / height,
               given = static_cast<double>(image.width) / image.height;
  const Span across = middle(image.width, std::min(1.0, wanted / given)),
             down = middle(image.height, std::min(1.0, given / wanted));
  const std::size_t row = static_cast<std::size_t>(image.width) * 3,
                    out_row = static_cast<std::size_t>(width) * 3;
  const uint8_t* corner = image.rgb.data() + static_cast<std::size_t>(down.first) * row + across.first * 3;
  Image out{width, height, std::vector<uint8_t>(static_cast<std::size_t>(height) * out_row)};
  if (across.count == width && down.count == height) {
    for (int y = 0; y < height; ++y) {
      std::copy_n(corner + static_cast<std::size_t>(y) * row, out_row,
                  out.rgb.data() + static_cast<std::size_t>(y) * out_row);
    }
    return out;
  }
  const int done =
      stbir_resize(corner, across.count, down.count, static_cast<int>(row), out.rgb.data(), width, height, 0,
                   STBIR_TYPE_UINT8, 3, STBIR_ALPHA_CHANNEL_NONE, 0, STBIR_EDGE_CLAMP, STBIR_EDGE_CLAMP,
                   filter(across.count, width), filter(down.count, height), STBIR_COLORSPACE_LINEAR, nullptr);
  require(done == 1, ErrorCode::kOutOfMemory, "no memory to turn a picture of {}x{} pixels into one of {}x{}",
          image.width, image.height, width, height);
  return out;
}

}  // namespace darkroom

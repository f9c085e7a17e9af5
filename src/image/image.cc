#include "image/image.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "base/error.h"

namespace darkroom {

uint8_t to_byte(float value) {
  const float level = value * 0.5f + 0.5f;
  if (!(level > 0)) return 0;
  return static_cast<uint8_t>(std::nearbyint(std::min(level, 1.0f) * 255.0f));
}

void place_rows(std::span<const float> pixels, int first_row, Image& image) {
  const std::size_t width = static_cast<std::size_t>(image.width);
  const std::size_t first = static_cast<std::size_t>(first_row) * width * 3;
  require(first <= image.rgb.size() && pixels.size() <= image.rgb.size() - first, ErrorCode::kUsage,
          "{} values from row {} on do not fit a picture of {} x {} pixels", pixels.size(), first_row,
          image.width, image.height);
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    require(std::isfinite(pixels[i]), ErrorCode::kFailure,
            "the decoder's output is not finite at pixel {}, {}; it may overflow in this precision: try "
            "--precision f32",
            i / 3 % width, i / 3 / width + static_cast<std::size_t>(first_row));
    image.rgb[first + i] = to_byte(pixels[i]);
  }
}

}  // namespace darkroom

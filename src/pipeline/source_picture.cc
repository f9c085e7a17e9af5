#include "pipeline/source_picture.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>

#include "base/error.h"
#include "image/read_picture.h"
#include "image/resize.h"
#include "sampling/latents.h"
#include "sampling/noise.h"

namespace darkroom {
namespace {

// Pillow's conversion to grey: ITU-R 601, in 16 bits.
int luminance(const uint8_t* rgb) {
  return static_cast<int>((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
}

}  // namespace

Image read_source(const char* option, const std::filesystem::path& path) {
  try {
    return read_picture(path);
  } catch (const Error& e) {
    fail(ErrorCode::kUsage, "{}: {}", option, e.what());
  }
}

bool have_one_shape(const Image& a, const Image& b) {
  const int64_t difference = int64_t{a.width} * b.height - int64_t{b.width} * a.height;
  return std::abs(difference) <= std::max({a.width, a.height, b.width, b.height});
}

std::vector<float> source_pixels(const Image& image) {
  std::vector<float> pixels(image.rgb.size());
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = 2.0f * (static_cast<float>(image.rgb[i]) / 255.0f) - 1.0f;
  }
  return pixels;
}

std::vector<float> mask_tokens(const Image& mask, int64_t token_rows, int64_t token_cols) {
  const int64_t height = 2 * token_rows, width = 2 * token_cols;
  std::vector<float> latents(static_cast<std::size_t>(height * width));
  for (int64_t row = 0; row < height; ++row) {
    for (int64_t column = 0; column < width; ++column) {
      const int64_t y = row * mask.height / height, x = column * mask.width / width;
      const uint8_t* rgb = &mask.rgb[static_cast<std::size_t>((y * mask.width + x) * 3)];
      latents[static_cast<std::size_t>(row * width + column)] = luminance(rgb) > 127 ? 1.0f : 0.0f;
    }
  }
  return pack_latents(latents, {.channels = 1, .height = height, .width = width});
}

void keep_outside_mask(std::span<const float> mask, std::span<const float> picture,
                       std::span<const float> noise, float sigma, std::span<float> latents) {
  const std::size_t tokens = mask.size() / 4, width = latents.size() / tokens;
  for (std::size_t token = 0; token < tokens; ++token) {
    for (std::size_t i = token * width; i < (token + 1) * width; ++i) {
      if (mask[token * 4 + i % 4] != 0) continue;
      mix_noise(picture.subspan(i, 1), noise.subspan(i, 1), sigma, latents.subspan(i, 1));
    }
  }
}

}  // namespace darkroom

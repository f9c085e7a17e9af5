#include "pipeline/source_picture.h"

#include <cmath>
#include <cstddef>

#include "base/error.h"
#include "image/png.h"
#include "image/resize.h"
#include "sampling/latents.h"

namespace darkroom {
namespace {

Image read(const char* option, const std::filesystem::path& path) {
  try {
    return read_png(path);
  } catch (const Error& e) {
    fail(ErrorCode::kUsage, "{}: {}", option, e.what());
  }
}

// Pillow's conversion to grey: ITU-R 601, in 16 bits.
int luminance(const uint8_t* rgb) {
  return static_cast<int>((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
}

}  // namespace

SourcePicture read_source_picture(const std::filesystem::path& init, const std::filesystem::path& mask) {
  require(!init.empty(), ErrorCode::kUsage,
          "mask: there is no picture that '{}' could be the mask of; pass one as init", mask.string());
  SourcePicture source{read("init", init), {}};
  if (mask.empty()) return source;
  source.mask = read("mask", mask);
  const double across = static_cast<double>(source.image.width) / source.mask.width,
               down = static_cast<double>(source.image.height) / source.mask.height;
  require(std::abs(across / down - 1) < 0.02, ErrorCode::kUsage,
          "mask: {} is {}x{}, which is another shape than the {}x{} of the picture {}", mask.string(),
          source.mask.width, source.mask.height, source.image.width, source.image.height, init.string());
  return source;
}

void fit_source_picture(int width, int height, SourcePicture& source) {
  source.image = fit_image(source.image, width, height);
  if (!source.mask.rgb.empty()) source.mask = fit_image(source.mask, width, height);
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

void keep_outside_mask(std::span<const float> mask, std::span<const float> kept, std::span<float> latents) {
  const std::size_t tokens = mask.size() / 4, width = latents.size() / tokens;
  for (std::size_t i = 0; i < latents.size(); ++i) {
    if (mask[i / width * 4 + i % 4] == 0) latents[i] = kept[i];
  }
}

}  // namespace darkroom

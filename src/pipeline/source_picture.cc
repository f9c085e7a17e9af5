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

// `option` ("init" or "mask") opens every message; whatever is wrong with the file is kUsage.
template <typename Read>
auto read_as(const char* option, const Read& read) {
  try {
    return read();
  } catch (const Error& e) {
    fail(ErrorCode::kUsage, "{}: {}", option, e.what());
  }
}

void require_one_shape(const std::filesystem::path& init, const PictureSize& size,
                       const std::filesystem::path& mask, const PictureSize& mask_size) {
  require(have_one_shape(size, mask_size), ErrorCode::kUsage,
          "mask: {} is {}x{}, which is another shape than the {}x{} of the picture {}", mask.string(),
          mask_size.width, mask_size.height, size.width, size.height, init.string());
}

}  // namespace

PictureSize source_size(const std::filesystem::path& init, const std::filesystem::path& mask) {
  const PictureSize size = read_as("init", [&] { return picture_size(init); });
  if (!mask.empty()) require_one_shape(init, size, mask, read_as("mask", [&] { return picture_size(mask); }));
  return size;
}

SourcePicture read_source_picture(const Job& job) {
  const auto fit = [&](const Image& image) {
    return fit_image(image, static_cast<int>(job.width), static_cast<int>(job.height));
  };
  SourcePicture source;
  PictureSize size;
  {  // only one of the two files is in memory at a time
    const Image init = read_as("init", [&] { return read_picture(job.init_path); });
    size = {init.width, init.height};
    source.image = fit(init);
  }
  if (job.mask_path.empty()) return source;
  const Image mask = read_as("mask", [&] { return read_picture(job.mask_path); });
  require_one_shape(job.init_path, size, job.mask_path, {mask.width, mask.height});
  source.mask = mask_tokens(fit(mask), job.token_rows, job.token_cols);
  return source;
}

std::vector<std::string> notes_on(const SourcePicture& source) {
  const auto redrawn = std::ranges::count(source.mask, 1.0f);
  if (source.mask.empty()) return {};
  if (redrawn == 0)
    return {"the mask leaves nothing to draw: no upper left corner of an 8x8 square is white in it"};
  if (redrawn == std::ssize(source.mask)) return {"the mask keeps nothing of the picture: it is all white"};
  return {};
}

bool have_one_shape(const PictureSize& a, const PictureSize& b) {
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

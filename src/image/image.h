// A finished picture in memory: 8-bit RGB.
//
// Files are png.h; what is stored beside the pixels is recipe.h. Called by the pipeline and the C API.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace darkroom {

struct Image {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> rgb;  // height · width · 3 values, rows from the top
};

// Pixels from the VAE: `pixels` is f32 [height, width, 3] in [-1, 1]. Each becomes round(clamp(x/2 + 1/2, 0,
// 1) · 255) with ties to even, as diffusers' VaeImageProcessor does it. Errors: kUsage for sizes below 1 or
// another number of values; kFailure when a value is not a number or infinite (a decoder that overflowed).
Image image_from_float(std::span<const float> pixels, int width, int height);
// The same for some rows of a picture whose size is set: those from first_row on.
void place_rows(std::span<const float> pixels, int first_row, Image& image);

}  // namespace darkroom

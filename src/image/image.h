// A finished picture in memory: 8-bit RGB.
//
// Files are png.h; what is stored beside the pixels is recipe.h.
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

// A value in [-1, 1] as 8 bits: round(clamp(x/2 + 1/2, 0, 1) · 255) with ties to even, as diffusers'
// VaeImageProcessor does it; 0 for what is not a number.
uint8_t to_byte(float value);

// Pixels from the VAE into a picture whose size is set: `pixels` is f32 [rows, width, 3] in [-1, 1], the rows
// from first_row on, each through to_byte(). Errors: kUsage for rows outside of the picture; kFailure when a
// value is not a number or infinite (a decoder that overflowed).
void place_rows(std::span<const float> pixels, int first_row, Image& image);

}  // namespace darkroom

// What a run starts from when it is not noise alone: a picture, and the part of it that is to be drawn anew.
// img2img and inpainting, as diffusers' FluxImg2ImgPipeline and FluxInpaintPipeline do them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "image/image.h"

namespace darkroom {

struct SourcePicture {
  Image image;
  Image mask;  // without pixels: all of it may change
};

// Reads both PNG files. Errors: kUsage naming `init` or `mask`, for files that cannot be read; for a mask
// without a picture or of another shape (its sides may differ from the picture's by a common factor).
SourcePicture read_source_picture(const std::filesystem::path& init, const std::filesystem::path& mask);

// Both in that size, cut from the middle where the shape differs.
void fit_source_picture(int width, int height, SourcePicture& source);

// The picture as the VAE's encoder reads it: [height, width, 3], rgb / 127.5 - 1.
std::vector<float> source_pixels(const Image& image);

// Which latent pixels are drawn anew: [tokens, 4], 1 or 0, in the order of packed latents. As in diffusers, a
// latent pixel is what the mask's picture pixel at its upper left corner says: anew where that is lighter
// than middle grey (luminance above 127.5).
std::vector<float> mask_tokens(const Image& mask, int64_t token_rows, int64_t token_cols);

// Inpainting's rule between steps: where the mask is 0, latents are those of `kept`. All but the mask
// [tokens, channels].
void keep_outside_mask(std::span<const float> mask, std::span<const float> kept, std::span<float> latents);

}  // namespace darkroom

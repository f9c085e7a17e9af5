// What a run starts from when it is not noise alone: a picture, and the part of it that is to be drawn again.
// img2img and inpainting, as diffusers' FluxImg2ImgPipeline and FluxInpaintPipeline do them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "image/image.h"
#include "image/picture_size.h"
#include "pipeline/request.h"

namespace darkroom {

struct SourcePicture {
  Image image;              // of the run's size
  std::vector<float> mask;  // mask_tokens(); empty: all of it may change
};

// The size of the picture at `init`, from its header; that of `mask`, unless the path is empty, is compared
// with it. Errors: kUsage for a file that is no picture, and for a mask of another shape.
PictureSize source_size(const std::filesystem::path& init, const std::filesystem::path& mask);

// The files of the job, which has some, in its size. Errors: as source_size(), for damaged pixels too.
SourcePicture read_source_picture(const Job& job);

// What the user should know about a mask that decides nothing.
std::vector<std::string> notes_on(const SourcePicture& source);

// Whether both have one shape: the sides differ by a common factor, except for a pixel of rounding.
bool have_one_shape(const PictureSize& a, const PictureSize& b);

// The picture as the VAE's encoder reads it: [height, width, 3], rgb / 127.5 - 1.
std::vector<float> source_pixels(const Image& image);

// Which latent pixels are drawn again: [tokens, 4], 1 or 0, in the order of packed latents. As in diffusers,
// a latent pixel is what the mask's picture pixel at its upper left corner says: 1 where that is lighter than
// middle grey (luminance above 127.5).
std::vector<float> mask_tokens(const Image& mask, int64_t token_rows, int64_t token_cols);

// Inpainting's rule between steps: where the mask is 0, latents are those of the picture under as much noise
// as belongs to sigma (mix_noise()). All but the mask [tokens, channels].
void keep_outside_mask(std::span<const float> mask, std::span<const float> picture,
                       std::span<const float> noise, float sigma, std::span<float> latents);

}  // namespace darkroom

// The three layouts of FLUX latents and the moves between them.
//
// Planes [channels, height, width] is how noise is drawn; tokens [height/2 · width/2, 4 · channels] is what
// the transformer and the sampler see; pixels [height, width, channels] is what our VAE reads. All f32 on the
// host, sizes are of the latents (pictures / 8). Only copies: no scaling.
//
// Token r · width/2 + c holds the 2×2 square at rows 2r, 2r+1 and columns 2c, 2c+1; its value number
// 4 · channel + 2 · (row in the square) + (column in the square), as diffusers' FluxPipeline._pack_latents.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace darkroom {

struct LatentSize {
  int64_t channels = 16;
  int64_t height = 0;  // even
  int64_t width = 0;   // even
};

// Image tokens of a latent: height/2 · width/2. Errors: kUsage for sizes below 1, odd, or
// more than 2^30 values.
int64_t latent_tokens(const LatentSize& size);

// Planes to tokens. Errors: as latent_tokens, and kUsage when `planes` has another number of values.
std::vector<float> pack_latents(std::span<const float> planes, const LatentSize& size);

// Tokens to planes: the inverse. Errors: as pack_latents.
std::vector<float> unpack_latents(std::span<const float> tokens, const LatentSize& size);

// Tokens to pixels [height, width, channels] (NHWC of one picture), and back. Errors: as pack_latents.
std::vector<float> unpack_latents_to_pixels(std::span<const float> tokens, const LatentSize& size);
std::vector<float> pack_latents_from_pixels(std::span<const float> pixels, const LatentSize& size);

}  // namespace darkroom

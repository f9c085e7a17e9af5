// A rough picture of what a step predicts, without the VAE: every latent pixel through one linear map to RGB.
//
// The map is the model's (darkroom.json), or FLUX.1's own. On the host: less than 0.1 % of a step.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "image/image.h"

namespace darkroom {

class Model;

// From latents as the sampler has them, shifted and scaled, to RGB in [-1, 1].
struct PreviewMap {
  std::vector<std::array<float, 3>> rgb;  // of each latent channel
  std::array<float, 3> bias{};
};

// What a step predicts, one pixel per latent pixel (picture / 8).
struct Preview {
  int picture = 0;          // counted from 0
  int step = 0, steps = 0;  // counted from 1
  Image image;
};

// FLUX.1's, for 16 channels.
const PreviewMap& flux_preview_map();

// The model's own map, FLUX.1's for a transformer of its kind without one, or null. Lives as
// long as the model.
const PreviewMap* preview_map(const Model& model);

// The predicted clean latents, latents - sigma · velocity, as a picture of 2 · token_rows × 2 · token_cols
// pixels; both are packed (sampling/latents.h). What is not a number becomes black. Errors: kUsage when the
// numbers of values do not fit.
Image draw_preview(const PreviewMap& map, std::span<const float> latents, float sigma,
                   std::span<const float> velocity, int64_t token_rows, int64_t token_cols);

}  // namespace darkroom

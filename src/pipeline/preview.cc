#include "pipeline/preview.h"

#include <algorithm>
#include <cstddef>

#include "base/error.h"
#include "checkpoint/checkpoint.h"

namespace darkroom {

// The figures of latent_rgb_factors and latent_rgb_factors_bias of "Flux" in ComfyUI's latent_formats.py.
const PreviewMap& flux_preview_map() {
  static const PreviewMap map = {.rgb = {{-0.0346f, 0.0244f, 0.0681f},
                                         {0.0034f, 0.0210f, 0.0687f},
                                         {0.0275f, -0.0668f, -0.0433f},
                                         {-0.0174f, 0.0160f, 0.0617f},
                                         {0.0859f, 0.0721f, 0.0329f},
                                         {0.0004f, 0.0383f, 0.0115f},
                                         {0.0405f, 0.0861f, 0.0915f},
                                         {-0.0236f, -0.0185f, -0.0259f},
                                         {-0.0245f, 0.0250f, 0.1180f},
                                         {0.1008f, 0.0755f, -0.0421f},
                                         {-0.0515f, 0.0201f, 0.0011f},
                                         {0.0428f, -0.0012f, -0.0036f},
                                         {0.0817f, 0.0765f, 0.0749f},
                                         {-0.1264f, -0.0522f, -0.1103f},
                                         {-0.0280f, -0.0881f, -0.0499f},
                                         {-0.1262f, -0.0982f, -0.0778f}},
                                 .bias = {-0.0329f, -0.0718f, -0.0851f}};
  return map;
}

const PreviewMap* preview_map(const Checkpoint& model) {
  if (model.settings().preview) return &*model.settings().preview;
  const ModelConfig& config = model.config();
  const bool is_flux = config.vae.latent_channels == static_cast<int64_t>(flux_preview_map().rgb.size()) &&
                       config.has_flux_width();
  return is_flux ? &flux_preview_map() : nullptr;
}

Image draw_preview(const PreviewMap& map, std::span<const float> latents, float sigma,
                   std::span<const float> velocity, int64_t token_rows, int64_t token_cols) {
  constexpr std::size_t kSquare = 4;  // latent pixels of a token, 2×2
  const std::size_t rows = static_cast<std::size_t>(token_rows), cols = static_cast<std::size_t>(token_cols);
  const std::size_t token_values = kSquare * map.rgb.size(), row_bytes = 2 * cols * 3;
  require(latents.size() == rows * cols * token_values && velocity.size() == latents.size(),
          ErrorCode::kUsage, "a preview of {} x {} tokens: {} latents and {} velocities, expected {} of each",
          token_rows, token_cols, latents.size(), velocity.size(), rows * cols * token_values);
  Image image{static_cast<int>(2 * cols), static_cast<int>(2 * rows), {}};
  image.rgb.resize(2 * rows * row_bytes);
  for (std::size_t token = 0; token < rows * cols; ++token) {
    float pixels[3][kSquare];
    for (std::size_t colour = 0; colour < 3; ++colour) std::fill_n(pixels[colour], kSquare, map.bias[colour]);
    const float* x = latents.data() + token * token_values;
    const float* v = velocity.data() + token * token_values;
    for (const std::array<float, 3>& factors : map.rgb) {
      for (std::size_t i = 0; i < kSquare; ++i) {
        const float clean = *x++ - sigma * *v++;
        for (std::size_t colour = 0; colour < 3; ++colour) pixels[colour][i] += factors[colour] * clean;
      }
    }
    uint8_t* corner = image.rgb.data() + token / cols * 2 * row_bytes + token % cols * 2 * 3;
    for (std::size_t i = 0; i < kSquare; ++i) {
      for (std::size_t colour = 0; colour < 3; ++colour) {
        corner[i / 2 * row_bytes + i % 2 * 3 + colour] = to_byte(pixels[colour][i]);
      }
    }
  }
  return image;
}

}  // namespace darkroom

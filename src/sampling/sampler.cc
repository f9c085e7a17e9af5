#include "sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "base/error.h"

namespace darkroom {
namespace {

bool all_finite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
}

}  // namespace

void sample_euler(std::span<const float> sigmas, std::span<float> latents, const Denoiser& denoise,
                  const SamplerOptions& options) {
  require(sigmas.size() >= 2, ErrorCode::kUsage, "{} sigmas, expected at least 2", sigmas.size());
  require(all_finite(sigmas), ErrorCode::kUsage, "a sigma is not a finite number");
  require(all_finite(latents), ErrorCode::kUsage,
          "the latents are not finite before the first step: check the noise or picture they come from");
  const int steps = static_cast<int>(sigmas.size()) - 1;
  std::vector<float> velocity(latents.size());
  for (int step = 0; step < steps; ++step) {
    const float sigma = sigmas[static_cast<std::size_t>(step)];
    const float sigma_next = sigmas[static_cast<std::size_t>(step) + 1];
    denoise(latents, step, sigma, velocity);
    const float change = sigma_next - sigma;
    for (std::size_t i = 0; i < latents.size(); ++i) latents[i] += change * velocity[i];
    require(all_finite(latents), ErrorCode::kFailure,
            "the transformer's output is not finite at step {} of {}; the weights may be damaged or may "
            "overflow in "
            "this precision: try --precision f32",
            step + 1, steps);
    if (options.on_step) options.on_step({step, steps, sigma, sigma_next, latents, velocity});
  }
}

}  // namespace darkroom

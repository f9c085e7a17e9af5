// How the two answers of a guided step, with the prompt and with the negative prompt, become one velocity.
//
// FLUX dev's own guidance is an input of the transformer and not seen here. Called from the pipeline's
// denoiser.
#pragma once

#include <span>

namespace darkroom {

// True classifier-free guidance as diffusers' true_cfg_scale: velocity = negative + scale · (positive -
// negative) in f32, each operation rounded. All three have the same size; `velocity` may be either input.
// Errors: kUsage when the sizes differ.
void combine_true_cfg(std::span<const float> negative, std::span<const float> positive, float scale,
                      std::span<float> velocity);

}  // namespace darkroom

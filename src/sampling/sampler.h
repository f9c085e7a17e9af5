// The loop from noise to latents: Euler steps along the velocity that a denoiser gives.
//
// A denoiser is a function, so nothing here knows a model; schedule.h makes the sigmas, guidance.h combines
// guided answers inside the denoiser. Called by the pipeline.
#pragma once

#include <functional>
#include <span>

namespace darkroom {

// Writes the velocity (noise minus picture) at `latents` and noise level `sigma`, all values of it. step
// counts from 0. May throw: the loop ends and the error passes through.
using Denoiser =
    std::function<void(std::span<const float> latents, int step, float sigma, std::span<float> velocity)>;

// What a step callback is told after each step.
struct StepReport {
  int step = 0;  // from 0
  int steps = 0;
  float sigma = 0;                  // before the step
  float sigma_next = 0;             // after it
  std::span<const float> latents;   // after it, valid during the call
  std::span<const float> velocity;  // of this step, valid during the call
};

struct SamplerOptions {
  std::function<void(const StepReport&)> on_step =
      {};  // may be empty; may throw to stop, as Error(kCancelled)
};

// x += (sigma_next - sigma) · velocity for each pair of neighbours in `sigmas`, in f32 with product and sum
// rounded apart: the bits of diffusers' FlowMatchEulerDiscreteScheduler.step on f32 tensors. bf16 pipelines
// of diffusers also round the latents after each step; we keep them f32. Latents are of any layout, changed
// in place. Errors: kUsage for fewer than two sigmas, and for sigmas or first latents that are not finite;
// kFailure naming the step after which a value is not finite.
void sample_euler(std::span<const float> sigmas, std::span<float> latents, const Denoiser& denoise,
                  const SamplerOptions& options = {});

}  // namespace darkroom

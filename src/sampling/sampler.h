// The loop from noise to latents: steps along the velocity that a denoiser gives.
//
// A denoiser is a function, so nothing here knows a model; schedule.h makes the sigmas, guidance.h combines
// guided answers inside the denoiser.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "sampling/noise.h"

namespace darkroom {

// Writes the velocity (noise minus picture) at `latents` and noise level `sigma`, all values of it. `level`
// is sigma's place among the sigmas, from 0. May throw: the loop ends and the error passes through.
using Denoiser =
    std::function<void(std::span<const float> latents, int level, float sigma, std::span<float> velocity)>;

enum class SamplerKind : uint8_t {
  kEuler,  // first order: diffusers' FlowMatchEulerDiscreteScheduler
  kHeun,   // second order, two evaluations a step, one in the last (arXiv 2206.00364)
  kDpm2m,  // DPM-Solver++(2M) of the predicted picture, second order, one evaluation (arXiv 2211.01095)
  // Adams-Bashforth over steps of any length (DEIS, arXiv 2204.13902): third order, a lower one where steps
  // grow quickly, first order for the step to 0.
  kIpndm,
  // Euler to below the next level, then fresh noise back up to it: ComfyUI's euler_ancestral for rectified
  // flow, eta 1.
  kAncestral,
};

// "euler", "heun", "dpm++2m", "ipndm", "euler-a". Errors: kUsage for another name.
SamplerKind parse_sampler(std::string_view name);
std::string_view sampler_name(SamplerKind kind);

// What a step callback is told after each step.
struct StepReport {
  int step = 0;  // from 0
  int steps = 0;
  float sigma = 0;                  // before the step
  float sigma_next = 0;             // after it
  std::span<const float> latents;   // after it, valid during the call
  std::span<const float> velocity;  // the first of this step, valid during the call
};

struct SamplerOptions {
  SamplerKind kind = SamplerKind::kEuler;
  // Standard normal numbers, one call a step, for kAncestral only, which needs it.
  Randn randn = {};
  // What the latents at a new noise level must keep to: may change them after each step. May be empty.
  std::function<void(float sigma, std::span<float> latents)> constrain = {};
  // May be empty; may throw to stop, as Error(kCancelled).
  std::function<void(const StepReport&)> on_step = {};
};

// From sigmas[0] to the last. With kEuler x += (sigma_next - sigma) · velocity in f32, product and sum
// rounded apart: the bits of diffusers' scheduler on f32 tensors. bf16 pipelines of diffusers also round the
// latents after each step; we keep them f32. The other kinds compute a step in f64; the last step of kHeun
// and kAncestral is kEuler's. Latents are of any layout, changed in place. Errors: kUsage for fewer than two
// sigmas, for sigmas that are not finite or, except for kEuler, not falling or outside [0, 1] (a last bit
// above 1 is allowed), for first latents that are not finite, for kAncestral without randn; kFailure naming
// the step after which a value is not finite.
void sample(std::span<const float> sigmas, std::span<float> latents, const Denoiser& denoise,
            const SamplerOptions& options = {});

// How often sample() calls the denoiser.
int sampler_evaluations(SamplerKind kind, int steps);

// Whether call number `evaluation`, from 0, is the first of a step: the one at the step's own latents.
bool opens_step(SamplerKind kind, int evaluation);

// How many vectors of the latents' size it holds beside them at the most.
int sampler_vectors(SamplerKind kind);

}  // namespace darkroom

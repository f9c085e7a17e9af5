// True classifier-free guidance over the steps of a picture: how strong it is in each, and how the two
// answers of a guided step, with the prompt and with the negative prompt, become one velocity.
//
// FLUX dev's own guidance is an input of the transformer; only its scale per step comes from here. Knows no
// model and no layout beyond the number of channels. Called from the pipeline's denoiser.
//
// Notation: x the latents, sigma the noise level, v a velocity (noise minus picture), x0 = x - sigma·v the
// picture that v predicts; c with the prompt, u with the negative prompt, w the scale.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace darkroom {

inline constexpr double kMaxGuidanceScale = 1000;

// Over the guided steps, s = (i + 1/2)/n of the i-th of n. All have the mean that the constant one has.
enum class GuidanceCurve : uint8_t {
  kConstant,
  kTriangle,  // 1 at both ends, 2w - 1 in the middle (arXiv 2509.22007)
  kCosine,    // the same ends and middle, with 1 - cos 2πs
  kLinear,    // rising from 1 to 2w - 1 (arXiv 2404.13040)
};

// The part of a run in which guidance acts (arXiv 2404.07724): of its steps, or of the noise levels.
struct GuidanceInterval {
  double first = 0, last = 1;  // first <= place of the step <= last, both in [0, 1]
  bool in_sigma = false;       // places are noise levels, else (i + 1/2)/steps

  bool operator==(const GuidanceInterval&) const = default;
};

struct GuidanceSchedule {
  GuidanceCurve curve = GuidanceCurve::kConstant;
  // Instead of a scale and a curve: scales at even distances, the first and the last at the ends of the
  // guided steps, straight lines between.
  std::vector<double> points = {};
  GuidanceInterval interval = {};

  bool operator==(const GuidanceSchedule&) const = default;
};

// The scale of each step; `outside` in those that the interval leaves out, which may be all. sigmas as
// Schedule has them, with the last 0. Errors: kUsage for fewer than two sigmas, a scale or point out of [0,
// kMaxGuidanceScale], a scale below 1 with a curve that falls to 1, an interval whose first place is above
// the last or that leaves [0, 1].
std::vector<float> guidance_scales(const GuidanceSchedule& schedule, double scale, double outside,
                                   std::span<const float> sigmas);

// How the two answers are combined.
enum class GuidanceMethod : uint8_t {
  // u + w·(c - u): diffusers' true_cfg_scale.
  kPlain,
  // That, with part of its deviation brought back to c's (arXiv 2305.08891).
  kRescaled,
  // u is replaced by its multiple nearest to c (CFG-Zero*, arXiv 2503.18886, without its zero first step).
  kZeroStar,
  // The part of x0_c - x0_u along x0_c is weakened (APG, arXiv 2410.02416, without its limit of the norm).
  kProjected
};

struct GuidanceRule {
  GuidanceMethod method = GuidanceMethod::kPlain;
  double rescale = 0.7;  // kRescaled: 0 changes nothing, 1 gives c's deviation
  // kProjected: how much of the part along x0_c stays, the paper's eta; 1 changes nothing.
  double parallel = 0;
  double momentum = 0;  // kProjected: of the differences of earlier calls, in (-1, 1)
  // Dynamic thresholding of x0 (arXiv 2205.11487, with the reference of "mimic" CFG): values of the
  // guided x0, less their mean, beyond this percentile are cut, and the rest is scaled to the range that
  // guidance of `mimic` has.
  std::optional<double> percentile = {};
  double mimic = 1;
  bool by_channel = true;  // else one range for all

  bool operator==(const GuidanceRule&) const = default;
};

// How many vectors of the latents' size combining holds at the most.
int guidance_vectors(const GuidanceRule& rule);

// One picture's guidance. Holds the momentum of kProjected, so each picture needs its own;
// one thread at a time.
class Guidance {
 public:
  // channels: that values belong to in turn, `per_channel` neighbours each (packed FLUX latents: 16
  // and 4). Errors: kUsage for numbers below 1, and for a rule out of the ranges that the parsers
  // in guidance_text.h allow.
  Guidance(const GuidanceRule& rule, int64_t channels, int64_t per_channel);

  // velocity = the guided answer at x and sigma. All spans have the same size, a multiple of channels ·
  // per_channel; `velocity` may be `positive` or `negative`. f32; sums in f64. With kPlain and no percentile
  // each operation is rounded as in diffusers. Errors: kUsage when the sizes differ or are no such multiple.
  void combine(std::span<const float> x, float sigma, std::span<const float> negative,
               std::span<const float> positive, float scale, std::span<float> velocity);

 private:
  // mimic: x0 as guidance of rule_.mimic predicts it.
  void threshold(std::span<const float> x, float sigma, std::span<const float> mimic,
                 std::span<float> velocity) const;

  GuidanceRule rule_;
  int64_t channels_, per_channel_;
  std::vector<float> difference_;  // kProjected's, with momentum
};

}  // namespace darkroom

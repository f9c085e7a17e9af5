// The noise levels a picture passes through: sigmas and timesteps as diffusers' FluxPipeline makes them with
// its FlowMatchEulerDiscreteScheduler (0.42, numpy 2), bit for bit in f32.
//
// Not the update rule, which is sampler.h.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace darkroom {

enum class TimeShift { kExponential, kLinear };

// How the levels lie between 1 and 0.
enum class SigmaSpacing : uint8_t {
  // Evenly before the shift: diffusers' FluxPipeline.
  kSimple,
  // Quantiles of the beta distribution (0.6, 0.6) before the shift: closer at both ends (arXiv 2407.12173).
  kBeta,
  // Evenly in the 7th root between the first and last shifted level (arXiv 2206.00364), as
  // diffusers' use_karras_sigmas does.
  kKarras,
};

// "simple", "beta", "karras". Errors: kUsage for another name.
SigmaSpacing parse_sigma_spacing(std::string_view name);
std::string_view sigma_spacing_name(SigmaSpacing spacing);

// scheduler/scheduler_config.json; the defaults are those of the class.
struct SchedulerConfig {
  double shift = 1.0;                 // used without dynamic shifting (schnell: 1)
  bool use_dynamic_shifting = false;  // dev: the shift grows with the number of image tokens
  double base_shift = 0.5;            // mu at base_image_seq_len tokens
  double max_shift = 1.15;            // mu at max_image_seq_len tokens; extrapolated beyond
  int64_t base_image_seq_len = 256;
  int64_t max_image_seq_len = 4096;
  int64_t num_train_timesteps = 1000;
  std::optional<double> shift_terminal = {};  // stretch, so that the last sigma before 0 is this
  TimeShift time_shift_type = TimeShift::kExponential;
};

// Reads the fields; `where` (a path) opens every message. Errors: kModel for fields of a wrong type or out of
// range, and for what FLUX does not use and we do not have: another scheduler class, karras, exponential or
// beta sigmas, inverted sigmas, stochastic sampling, use_flow_sigmas.
SchedulerConfig read_scheduler_config(const nlohmann::json& object, const std::string& where);

struct ScheduleRequest {
  int64_t steps = 0;         // 1 to 1000; may stay 0 when `sigmas` are given
  int64_t image_tokens = 0;  // packed latents, height/16 · width/16 of the picture; at least 1
  // Instead of 1, 1 - 1/steps, ...: strictly falling within [0, 1], shifted like those; the
  // closing 0 is added.
  std::vector<double> sigmas = {};
  SigmaSpacing spacing = SigmaSpacing::kSimple;  // of the steps; the others do not go with `sigmas`
};

struct Schedule {
  std::vector<float> sigmas;     // steps + 1 values, falling, the last is 0
  std::vector<float> timesteps;  // steps values: sigma · num_train_timesteps, diffusers' scheduler.timesteps
  // What the pipeline hands to the transformer, timesteps / 1000. Often a last bit away from sigma.
  std::vector<float> model_times;

  int steps() const { return static_cast<int>(timesteps.size()); }
};

// diffusers' calculate_shift: the shift exponent mu for a number of image tokens.
double dynamic_shift(const SchedulerConfig& config, int64_t image_tokens);

// The whole schedule. Errors: kUsage for a request out of range, and for settings that give
// no list in [0, 1].
Schedule make_schedule(const SchedulerConfig& config, const ScheduleRequest& request);

}  // namespace darkroom

#include "sampling/schedule.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/names.h"
#include "base/printable.h"
#include "options/limits.h"

// numpy and torch compute an array with a Python number in the array's f32 after rounding the number to f32,
// and two Python numbers in f64. Every expression here rounds where theirs does.

namespace darkroom {
namespace {

void refuse_unsupported(const JsonFields& fields, const std::string& where) {
  const std::string kind = fields.text("_class_name", "FlowMatchEulerDiscreteScheduler");
  require(kind == "FlowMatchEulerDiscreteScheduler", ErrorCode::kModel,
          "{}: scheduler '{}' is not supported, expected FlowMatchEulerDiscreteScheduler", where,
          printable(kind, 80));
  for (const char* name : {"use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "invert_sigmas",
                           "stochastic_sampling", "use_flow_sigmas"}) {
    require(!fields.boolean(name, false), ErrorCode::kModel,
            "{}: '{}' is true, which is not supported: set it to false", where, name);
  }
}

// numpy.linspace(1.0, 1 / steps, steps), rounded to f32.
std::vector<float> plain_sigmas(int64_t steps) {
  if (steps == 1) return {1.0f};
  const double stop = 1.0 / static_cast<double>(steps);
  const double step = (stop - 1.0) / static_cast<double>(steps - 1);
  std::vector<float> sigmas;
  for (int64_t i = 0; i < steps; ++i)
    sigmas.push_back(static_cast<float>(static_cast<double>(i) * step + 1.0));
  sigmas.back() = static_cast<float>(stop);
  return sigmas;
}

std::vector<float> given_sigmas(const ScheduleRequest& request) {
  const std::size_t count = request.sigmas.size();
  require(
      request.steps == 0 || count == static_cast<std::size_t>(request.steps), ErrorCode::kUsage,
      "{} sigmas for {} steps: give as many sigmas as steps (the closing 0 is added), or no number of steps",
      count, request.steps);
  require(count <= static_cast<std::size_t>(kMaxSteps), ErrorCode::kUsage,
          "{} sigmas, at most {} are possible", count, kMaxSteps);
  std::vector<float> sigmas;
  for (const double sigma : request.sigmas) {
    require(sigma >= 0.0 && sigma <= 1.0, ErrorCode::kUsage, "sigma number {} is {}, expected 0 to 1",
            sigmas.size() + 1, sigma);
    const float value = static_cast<float>(sigma);
    require(sigmas.empty() || value < sigmas.back(), ErrorCode::kUsage,
            "sigma number {} is {} after {}: sigmas must fall from each to the next", sigmas.size() + 1,
            sigma, sigmas.empty() ? 0.0f : sigmas.back());
    sigmas.push_back(value);
  }
  return sigmas;
}

// The shift of time towards noise: by exp(mu), mu or the fixed shift, as the configuration says.
void shift_sigmas(const SchedulerConfig& config, int64_t image_tokens, std::vector<float>* sigmas) {
  if (!config.use_dynamic_shifting) {
    const float shift = static_cast<float>(config.shift);
    const float shift_less_one = static_cast<float>(config.shift - 1.0);
    for (float& sigma : *sigmas) sigma = shift * sigma / (1.0f + shift_less_one * sigma);
    return;
  }
  const double mu = dynamic_shift(config, image_tokens);
  const float factor =
      static_cast<float>(config.time_shift_type == TimeShift::kExponential ? std::exp(mu) : mu);
  for (float& sigma : *sigmas)
    sigma = factor / (factor + (1.0f / sigma - 1.0f));  // 1/0 is infinite and gives 0
}

// Share of the beta distribution (a, a) below x <= 1/2, times a constant: the integral of (t(1 - t))^(a - 1),
// with t = u^(1/a) to take the pole at 0 away, by Simpson's rule.
double beta_mass(double a, double x) {
  constexpr int kIntervals = 400;
  const double end = std::pow(x, a), step = end / kIntervals;
  const auto at = [a](double u) { return std::pow(1 - std::pow(u, 1 / a), a - 1); };
  double sum = at(0) + at(end);
  for (int i = 1; i < kIntervals; ++i) sum += (i % 2 == 0 ? 2 : 4) * at(i * step);
  return sum * step / 3;
}

double beta_quantile(double a, double share) {
  if (share > 0.5) return 1 - beta_quantile(a, 1 - share);
  const double wanted = 2 * share * beta_mass(a, 0.5);
  double low = 0, high = 0.5;
  for (int i = 0; i < 50; ++i) {
    const double middle = (low + high) / 2;
    (beta_mass(a, middle) < wanted ? low : high) = middle;
  }
  return high;
}

std::vector<float> beta_sigmas(int64_t steps) {
  constexpr double kShape = 0.6;
  std::vector<float> sigmas;
  for (int64_t i = 0; i < steps; ++i) {
    sigmas.push_back(
        static_cast<float>(beta_quantile(kShape, 1 - static_cast<double>(i) / static_cast<double>(steps))));
  }
  return sigmas;
}

// Between the first and the last level, as diffusers does after the shift.
void space_as_karras(std::vector<float>* sigmas) {
  constexpr double kRho = 7;
  const double first = std::pow(sigmas->front(), 1 / kRho), last = std::pow(sigmas->back(), 1 / kRho);
  const double parts = std::max(1.0, static_cast<double>(sigmas->size()) - 1);
  for (std::size_t i = 0; i < sigmas->size(); ++i) {
    (*sigmas)[i] =
        static_cast<float>(std::pow(first + (last - first) * static_cast<double>(i) / parts, kRho));
  }
}

// Stretches 1 - sigma, so that the last sigma becomes `terminal`.
void stretch_to_terminal(double terminal, std::vector<float>* sigmas) {
  const float scale = (1.0f - sigmas->back()) / static_cast<float>(1.0 - terminal);
  for (float& sigma : *sigmas) sigma = 1.0f - (1.0f - sigma) / scale;
}

constexpr Named<SigmaSpacing> kSpacings[] = {
    {SigmaSpacing::kSimple, "simple"}, {SigmaSpacing::kBeta, "beta"}, {SigmaSpacing::kKarras, "karras"}};

}  // namespace

SigmaSpacing parse_sigma_spacing(std::string_view name) {
  if (const auto spacing = value_named(kSpacings, name)) return *spacing;
  fail(ErrorCode::kUsage, "unknown spacing of noise levels '{}'; there are simple, beta and karras",
       printable(name, 40));
}

std::string_view sigma_spacing_name(SigmaSpacing spacing) { return name_of(kSpacings, spacing); }

SchedulerConfig read_scheduler_config(const nlohmann::json& object, const std::string& where) {
  constexpr double kMaxShift = 100.0;
  constexpr int64_t kMaxTokens = int64_t{1} << 24;
  const JsonFields fields(object, where);
  refuse_unsupported(fields, where);
  SchedulerConfig config;
  config.shift = fields.number("shift", config.shift, 1e-3, kMaxShift);
  config.use_dynamic_shifting = fields.boolean("use_dynamic_shifting", false);
  config.base_shift = fields.number("base_shift", config.base_shift, -kMaxShift, kMaxShift);
  config.max_shift = fields.number("max_shift", config.max_shift, -kMaxShift, kMaxShift);
  config.base_image_seq_len = fields.integer("base_image_seq_len", config.base_image_seq_len, 1, kMaxTokens);
  config.max_image_seq_len = fields.integer("max_image_seq_len", config.max_image_seq_len, 1, kMaxTokens);
  require(config.base_image_seq_len != config.max_image_seq_len, ErrorCode::kModel,
          "{}: 'base_image_seq_len' and 'max_image_seq_len' are both {}, expected two different lengths",
          where, config.base_image_seq_len);
  config.num_train_timesteps = fields.integer("num_train_timesteps", config.num_train_timesteps, 1, 1000000);
  const double terminal = fields.number("shift_terminal", 0.0, 0.0, 0.999);  // 0 means none, as in Python
  if (terminal != 0.0) config.shift_terminal = terminal;
  const std::string type = fields.text("time_shift_type", "exponential");
  require(type == "exponential" || type == "linear", ErrorCode::kModel,
          "{}: 'time_shift_type' is '{}', expected 'exponential' or 'linear'", where, printable(type, 80));
  config.time_shift_type = type == "linear" ? TimeShift::kLinear : TimeShift::kExponential;
  return config;
}

double dynamic_shift(const SchedulerConfig& config, int64_t image_tokens) {
  const double slope = (config.max_shift - config.base_shift) /
                       static_cast<double>(config.max_image_seq_len - config.base_image_seq_len);
  const double offset = config.base_shift - slope * static_cast<double>(config.base_image_seq_len);
  return static_cast<double>(image_tokens) * slope + offset;
}

Schedule make_schedule(const SchedulerConfig& config, const ScheduleRequest& request) {
  require(request.image_tokens >= 1, ErrorCode::kUsage, "{} image tokens, expected at least 1",
          request.image_tokens);
  require(!request.sigmas.empty() || (request.steps >= 1 && request.steps <= kMaxSteps), ErrorCode::kUsage,
          "{} steps, expected 1 to {}", request.steps, kMaxSteps);
  require(request.sigmas.empty() || request.spacing == SigmaSpacing::kSimple, ErrorCode::kUsage,
          "the spacing {} does not go with sigmas given one by one", sigma_spacing_name(request.spacing));
  Schedule schedule;
  schedule.sigmas = !request.sigmas.empty()                  ? given_sigmas(request)
                    : request.spacing == SigmaSpacing::kBeta ? beta_sigmas(request.steps)
                                                             : plain_sigmas(request.steps);
  shift_sigmas(config, request.image_tokens, &schedule.sigmas);
  if (config.shift_terminal) stretch_to_terminal(*config.shift_terminal, &schedule.sigmas);
  if (request.spacing == SigmaSpacing::kKarras) space_as_karras(&schedule.sigmas);
  for (const float sigma : schedule.sigmas) {
    // A shifted 1 may come out a last bit above 1, as it does in diffusers.
    require(
        std::isfinite(sigma) && sigma >= 0.0f && sigma <= 1.000001f, ErrorCode::kUsage,
        "the scheduler's settings give sigma {} at {} image tokens, expected 0 to 1: check the shift values "
        "in scheduler_config.json",
        sigma, request.image_tokens);
    schedule.timesteps.push_back(sigma * static_cast<float>(config.num_train_timesteps));
    schedule.model_times.push_back(schedule.timesteps.back() / 1000.0f);
  }
  schedule.sigmas.push_back(0.0f);
  return schedule;
}

}  // namespace darkroom

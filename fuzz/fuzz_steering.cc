// The texts that steer sampling, as flags, recipes and schedule files have them: what is accepted goes both
// ways and gives finite scales; what is not is one line.
#include <cmath>

#include "checks.h"
#include "sampling/guidance_text.h"
#include "sampling/sampler.h"
#include "sampling/schedule.h"
#include "sampling/step_cache.h"

namespace {

using namespace darkroom;

// parse() may refuse; what it returns is to give the same again from its own text.
template <typename Parse, typename Text>
void check_both_ways(std::string_view input, Parse parse, Text text) {
  try {
    const auto parsed = parse(input);
    check(parse(std::string_view(text(parsed))) == parsed);
  } catch (const Error& error) {
    check(error.code() == ErrorCode::kUsage);
    check_message(error);
  }
}

GuidanceSchedule schedule_of(std::string_view text) {
  GuidanceSchedule schedule;
  parse_guidance_schedule(text, schedule);
  return schedule;
}

GuidanceRule method_of(std::string_view text) {
  GuidanceRule rule;
  parse_guidance_method(text, rule);
  return rule;
}

GuidanceRule threshold_of(std::string_view text) {
  GuidanceRule rule;
  parse_guidance_threshold(text, rule);
  return rule;
}

void check_scales(std::string_view input) {
  try {
    GuidanceSchedule schedule = schedule_of(input);
    for (const double scale : {1.0, 3.5, 1000.0}) {
      const std::vector<float> sigmas = {1.0f, 0.9f, 0.5f, 0.25f, 0.0f};
      for (const float here : guidance_scales(schedule, scale, 1, sigmas))
        check(std::isfinite(here) && here >= 0);
    }
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  check_both_ways(input, schedule_of, guidance_schedule_text);
  check_both_ways(input, parse_guidance_interval, guidance_interval_text);
  check_both_ways(input, method_of, guidance_method_text);
  check_both_ways(input, threshold_of, guidance_threshold_text);
  check_both_ways(input, parse_sampler, [](SamplerKind kind) { return std::string(sampler_name(kind)); });
  check_both_ways(input, parse_sigma_spacing,
                  [](SigmaSpacing spacing) { return std::string(sigma_spacing_name(spacing)); });
  check_both_ways(input, parse_cache, cache_text);
  check_scales(input);
  return 0;
}

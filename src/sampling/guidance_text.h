// Guidance as the command line, recipes and the API write it. Texts go both ways: for what a parser has made,
// its text gives the same again.
#pragma once

#include <string>
#include <string_view>

#include "sampling/guidance.h"

namespace darkroom {

// Errors of all parsers: kUsage, with the text and what is allowed.

// "constant", "triangle", "cosine", "linear"; or scales, 1 to 1000 of them between blanks, commas or line
// ends, where # begins a comment. The interval is left alone.
void parse_guidance_schedule(std::string_view text, GuidanceSchedule& schedule);
std::string guidance_schedule_text(const GuidanceSchedule& schedule);

// "0.1,0.8" of the steps, "sigma:0.3,0.9" of the noise levels.
GuidanceInterval parse_guidance_interval(std::string_view text);
std::string guidance_interval_text(const GuidanceInterval& interval);

// "plain", "rescale[:0.7]", "zero-star", "apg[:parallel[,momentum]]". Sets that part of the rule.
void parse_guidance_method(std::string_view text, GuidanceRule& rule);
std::string guidance_method_text(const GuidanceRule& rule);

// "99.5", "99.5,2" with the mimic scale, "all:99.5" for one range instead of one per channel, "off".
void parse_guidance_threshold(std::string_view text, GuidanceRule& rule);
std::string guidance_threshold_text(const GuidanceRule& rule);

}  // namespace darkroom

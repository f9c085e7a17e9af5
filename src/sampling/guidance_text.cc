#include "sampling/guidance_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/names.h"
#include "base/number_text.h"
#include "base/printable.h"

namespace darkroom {
namespace {

constexpr std::size_t kMaxPoints = 1000;

constexpr Named<GuidanceCurve> kCurves[] = {{GuidanceCurve::kConstant, "constant"},
                                            {GuidanceCurve::kTriangle, "triangle"},
                                            {GuidanceCurve::kCosine, "cosine"},
                                            {GuidanceCurve::kLinear, "linear"}};

// The text before the first `mark` and the text after it; only the former where there is no mark.
std::pair<std::string_view, std::optional<std::string_view>> split(std::string_view text, char mark) {
  const std::size_t at = text.find(mark);
  if (at == std::string_view::npos) return {text, std::nullopt};
  return {text.substr(0, at), text.substr(at + 1)};
}

std::vector<double> parse_points(std::string_view text) {
  std::vector<double> points;
  while (!text.empty()) {
    if (text.front() == '#') {
      text.remove_prefix(std::min(text.size(), text.find('\n')));
      continue;
    }
    const std::size_t end = std::min(text.size(), text.find_first_of(" \t\r\n,#"));
    if (end == 0) {
      text.remove_prefix(1);
      continue;
    }
    const auto point = number_in(text.substr(0, end), 0.0, kMaxGuidanceScale);
    require(point.has_value(), ErrorCode::kUsage,
            "the guidance schedule has '{}'; there are constant, triangle, cosine, linear, and lists of "
            "scales from 0 to 1000",
            printable(text.substr(0, end), 40));
    require(points.size() < kMaxPoints, ErrorCode::kUsage, "the guidance schedule has more than {} scales",
            kMaxPoints);
    points.push_back(*point);
    text.remove_prefix(end);
  }
  require(!points.empty(), ErrorCode::kUsage,
          "the guidance schedule has no scale; it is a list of numbers from 0 to 1000");
  return points;
}

}  // namespace

void parse_guidance_schedule(std::string_view text, GuidanceSchedule& schedule) {
  if (const auto curve = value_named(kCurves, text)) {
    schedule.curve = *curve;
    schedule.points.clear();
    return;
  }
  schedule.points = parse_points(text);
}

std::string guidance_schedule_text(const GuidanceSchedule& schedule) {
  if (!schedule.points.empty()) return fmt::format("{}", fmt::join(schedule.points, ","));
  return std::string(name_of(kCurves, schedule.curve));
}

GuidanceInterval parse_guidance_interval(std::string_view text) {
  GuidanceInterval interval;
  std::string_view places = text;
  if (places.starts_with("sigma:")) {
    interval.in_sigma = true;
    places.remove_prefix(6);
  }
  const auto [first, last] = split(places, ',');
  constexpr double kWrong = -1;
  interval.first = number_in(first, 0.0, 1.0).value_or(kWrong);
  interval.last = number_in(last.value_or(""), 0.0, 1.0).value_or(kWrong);
  require(interval.first >= 0 && interval.last >= interval.first, ErrorCode::kUsage,
          "the guidance interval is '{}'; it has the form 0.1,0.8 (of the steps) or sigma:0.3,0.9, both from "
          "0 to 1, "
          "the smaller first",
          printable(text, 40));
  return interval;
}

std::string guidance_interval_text(const GuidanceInterval& interval) {
  return fmt::format("{}{},{}", interval.in_sigma ? "sigma:" : "", interval.first, interval.last);
}

void parse_guidance_method(std::string_view text, GuidanceRule& rule) {
  const auto [name, parameters] = split(text, ':');
  const auto refuse = [&] {
    fail(ErrorCode::kUsage,
         "unknown way of guidance '{}'; there are plain, rescale[:SHARE], zero-star and "
         "apg[:PARALLEL[,MOMENTUM]], with a share and "
         "a parallel part from 0 to 1 and a momentum above -1 and below 1",
         printable(text, 40));
  };
  GuidanceRule parsed = rule;
  if (name == "plain" && !parameters) {
    parsed.method = GuidanceMethod::kPlain;
  } else if (name == "zero-star" && !parameters) {
    parsed.method = GuidanceMethod::kZeroStar;
  } else if (name == "rescale") {
    parsed.method = GuidanceMethod::kRescaled;
    const auto share = parameters ? number_in(*parameters, 0.0, 1.0) : GuidanceRule{}.rescale;
    if (!share) refuse();
    parsed.rescale = *share;
  } else if (name == "apg") {
    parsed.method = GuidanceMethod::kProjected;
    const auto [parallel, momentum] = split(parameters.value_or("0"), ',');
    const auto kept = number_in(parallel, 0.0, 1.0), pull = number_in(momentum.value_or("0"), -0.999, 0.999);
    if (!kept || !pull) refuse();
    parsed.parallel = *kept;
    parsed.momentum = *pull;
  } else {
    refuse();
  }
  rule = parsed;
}

std::string guidance_method_text(const GuidanceRule& rule) {
  switch (rule.method) {
    case GuidanceMethod::kPlain:
      return "plain";
    case GuidanceMethod::kZeroStar:
      return "zero-star";
    case GuidanceMethod::kRescaled:
      return fmt::format("rescale:{}", rule.rescale);
    case GuidanceMethod::kProjected:
      return fmt::format("apg:{},{}", rule.parallel, rule.momentum);
  }
  return "unknown";
}

void parse_guidance_threshold(std::string_view text, GuidanceRule& rule) {
  if (text == "off") {
    rule.percentile.reset();
    return;
  }
  const bool all = text.starts_with("all:");
  const auto [percent, weak] = split(text.substr(all ? 4 : 0), ',');
  const auto percentile = number_in(percent, 50.0, 100.0),
             mimic = number_in(weak.value_or("1"), 0.0, kMaxGuidanceScale);
  require(percentile && mimic, ErrorCode::kUsage,
          "the threshold is '{}'; it has the form [all:]PERCENTILE[,MIMIC] with a percentile from 50 to 100 "
          "and a mimic scale from 0 to "
          "1000, or off",
          printable(text, 40));
  rule.percentile = percentile;
  rule.mimic = *mimic;
  rule.by_channel = !all;
}

std::string guidance_threshold_text(const GuidanceRule& rule) {
  if (!rule.percentile) return "off";
  return fmt::format("{}{},{}", rule.by_channel ? "" : "all:", *rule.percentile, rule.mimic);
}

}  // namespace darkroom

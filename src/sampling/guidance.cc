#include "sampling/guidance.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>

#include "base/error.h"

namespace darkroom {
namespace {

// 0 to 2 with mean 1 over [0, 1]: how far above 1 the scale is, in units of the constant one's.
double curve_at(GuidanceCurve curve, double s) {
  switch (curve) {
    case GuidanceCurve::kTriangle:
      return 2 * (1 - std::abs(2 * s - 1));
    case GuidanceCurve::kCosine:
      return 1 - std::cos(2 * std::numbers::pi * s);
    case GuidanceCurve::kLinear:
      return 2 * s;
    case GuidanceCurve::kConstant:
      break;
  }
  return 1;
}

double point_at(const std::vector<double>& points, double place) {
  const double at = place * static_cast<double>(points.size() - 1);
  const std::size_t low = std::min(points.size() - 1, static_cast<std::size_t>(at)),
                    high = std::min(points.size() - 1, low + 1);
  return points[low] + (points[high] - points[low]) * (at - static_cast<double>(low));
}

double dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

double deviation(std::span<const float> a) {
  double sum = 0, squares = 0;
  for (const float value : a) sum += value;
  const double mean = sum / static_cast<double>(a.size());
  for (const float value : a) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / static_cast<double>(a.size()));
}

// Between neighbours in rank, as numpy's default. Reorders `values`.
double percentile_of(std::vector<float>& values, double percentile) {
  const double rank = percentile / 100 * static_cast<double>(values.size() - 1);
  const auto low = values.begin() + static_cast<std::ptrdiff_t>(rank);
  std::nth_element(values.begin(), low, values.end());
  const double below = *low, share = rank - std::floor(rank);
  if (share == 0) return below;
  return below + share * (*std::min_element(low + 1, values.end()) - below);
}

// The values of one channel, or of all as one, among vectors of `count`.
struct Range {
  std::size_t count, row, first, width;

  template <typename F>
  void for_each(F body) const {
    for (std::size_t base = first; base < count; base += row) {
      for (std::size_t i = base; i < base + width; ++i) body(i);
    }
  }
  double size() const { return static_cast<double>(count / row * width); }
};

}  // namespace

std::vector<float> guidance_scales(const GuidanceSchedule& schedule, double scale, double outside,
                                   std::span<const float> sigmas) {
  require(sigmas.size() >= 2, ErrorCode::kUsage, "{} sigmas, expected at least 2", sigmas.size());
  const auto& [first, last, in_sigma] = schedule.interval;
  require(first >= 0 && first <= last && last <= 1, ErrorCode::kUsage,
          "the guidance interval is {} to {}; allowed are two numbers from 0 to 1, the smaller one first",
          first, last);
  require(scale >= 0 && scale <= kMaxGuidanceScale, ErrorCode::kUsage,
          "the guidance scale is {}, allowed are 0 to {}", scale, kMaxGuidanceScale);
  for (const double point : schedule.points) {
    require(point >= 0 && point <= kMaxGuidanceScale, ErrorCode::kUsage,
            "the guidance schedule has {}, allowed are 0 to {}", point, kMaxGuidanceScale);
  }
  const bool curved = schedule.points.empty() && schedule.curve != GuidanceCurve::kConstant;
  require(!curved || scale >= 1, ErrorCode::kUsage,
          "the guidance scale is {}; a schedule that falls to 1 needs at least that", scale);
  const std::size_t steps = sigmas.size() - 1;
  const auto place_of = [&](std::size_t i) {
    return (static_cast<double>(i) + 0.5) / static_cast<double>(steps);
  };
  std::vector<std::size_t> guided;
  for (std::size_t i = 0; i < steps; ++i) {
    // Levels are f32, so the ends are too; a shifted 1 may be a last bit above 1.
    const bool inside = in_sigma ? sigmas[i] >= static_cast<float>(first) &&
                                       std::min(sigmas[i], 1.0f) <= static_cast<float>(last)
                                 : place_of(i) >= first && place_of(i) <= last;
    if (inside) guided.push_back(i);
  }
  std::vector<double> rise;  // above 1, in units of the constant one's
  double mean = 0;
  for (std::size_t i = 0; i < guided.size(); ++i) {
    rise.push_back(
        curve_at(schedule.curve, (static_cast<double>(i) + 0.5) / static_cast<double>(guided.size())));
    mean += rise.back() / static_cast<double>(guided.size());
  }
  std::vector<float> scales(steps, static_cast<float>(outside));
  for (std::size_t i = 0; i < guided.size(); ++i) {
    const double place =
        guided.size() == 1 ? 0.5 : static_cast<double>(i) / static_cast<double>(guided.size() - 1);
    const double here = !schedule.points.empty()                     ? point_at(schedule.points, place)
                        : schedule.curve == GuidanceCurve::kConstant ? scale
                                                                     : 1 + (scale - 1) * rise[i] / mean;
    scales[guided[i]] = static_cast<float>(here);
  }
  return scales;
}

int guidance_vectors(const GuidanceRule& rule) {
  int vectors = rule.method == GuidanceMethod::kProjected ? 3 : 0;
  if (rule.percentile) vectors += 2;  // the reference, distances
  return vectors;
}

Guidance::Guidance(const GuidanceRule& rule, int64_t channels, int64_t per_channel)
    : rule_(rule), channels_(channels), per_channel_(per_channel) {
  require(channels >= 1 && per_channel >= 1, ErrorCode::kUsage,
          "guidance: {} channels with {} values each; both must be at least 1", channels, per_channel);
  const auto within = [](double value, double low, double high) { return value >= low && value <= high; };
  require(within(rule.percentile.value_or(100), 0, 100) && within(rule.mimic, 0, kMaxGuidanceScale) &&
              within(rule.rescale, 0, 1) && within(rule.parallel, 0, 1) && std::abs(rule.momentum) < 1,
          ErrorCode::kUsage,
          "guidance: percentile {}, mimic {}, rescale {}, parallel {}, momentum {}; allowed are 0 to 100, 0 "
          "to {}, "
          "0 to 1, 0 to 1, and between -1 and 1",
          rule.percentile.value_or(100), rule.mimic, rule.rescale, rule.parallel, rule.momentum,
          kMaxGuidanceScale);
}

void Guidance::combine(std::span<const float> x, float sigma, std::span<const float> negative,
                       std::span<const float> positive, float scale, std::span<float> velocity) {
  const std::size_t count = velocity.size();
  require(x.size() == count && negative.size() == count && positive.size() == count, ErrorCode::kUsage,
          "guidance: {} latents, {} negative and {} positive values for {} results; the four must be equal",
          x.size(), negative.size(), positive.size(), count);
  require(count > 0 && count % static_cast<std::size_t>(channels_ * per_channel_) == 0, ErrorCode::kUsage,
          "guidance: {} values are no whole number of {} channels with {} values each", count, channels_,
          per_channel_);
  // x0_c, while `velocity` may overwrite c.
  std::vector<float> clean;
  if (rule_.method == GuidanceMethod::kProjected) {
    clean.resize(count);
    for (std::size_t i = 0; i < count; ++i) clean[i] = x[i] - sigma * positive[i];
  }
  // The same of what thresholding compares with.
  std::vector<float> mimic;
  if (rule_.percentile) {
    mimic.resize(count);
    const float weak = static_cast<float>(rule_.mimic);
    for (std::size_t i = 0; i < count; ++i)
      mimic[i] = x[i] - sigma * (negative[i] + weak * (positive[i] - negative[i]));
  }
  switch (rule_.method) {
    case GuidanceMethod::kPlain:
      for (std::size_t i = 0; i < count; ++i) velocity[i] = negative[i] + scale * (positive[i] - negative[i]);
      break;
    case GuidanceMethod::kRescaled: {
      const double wanted = deviation(positive);
      for (std::size_t i = 0; i < count; ++i) velocity[i] = negative[i] + scale * (positive[i] - negative[i]);
      const double is = deviation(velocity);
      const float factor = is > 0 ? static_cast<float>(rule_.rescale * wanted / is + 1 - rule_.rescale) : 1;
      for (float& value : velocity) value *= factor;
      break;
    }
    case GuidanceMethod::kZeroStar: {
      const double size = dot(negative, negative);
      const float along = size > 0 ? static_cast<float>(dot(positive, negative) / size) : 1;
      for (std::size_t i = 0; i < count; ++i) {
        const float u = along * negative[i];
        velocity[i] = u + scale * (positive[i] - u);
      }
      break;
    }
    case GuidanceMethod::kProjected: {
      std::vector<float> step(count);  // x0_c - x0_u
      for (std::size_t i = 0; i < count; ++i) step[i] = -sigma * (positive[i] - negative[i]);
      if (rule_.momentum != 0) {
        difference_.resize(count);
        const float momentum = static_cast<float>(rule_.momentum);
        for (std::size_t i = 0; i < count; ++i) difference_[i] = step[i] += momentum * difference_[i];
      }
      const double size = dot(clean, clean);
      const float along = size > 0 ? static_cast<float>((1 - rule_.parallel) * dot(step, clean) / size) : 0;
      // v = (x - x0)/sigma with x0 = x0_c + (w - 1)·(the step without part of what lies along x0_c).
      const float change = sigma > 0 ? (scale - 1) / sigma : 0;
      for (std::size_t i = 0; i < count; ++i)
        velocity[i] = positive[i] - change * (step[i] - along * clean[i]);
      break;
    }
  }
  if (rule_.percentile && sigma > 0) threshold(x, sigma, mimic, velocity);
}

void Guidance::threshold(std::span<const float> x, float sigma, std::span<const float> mimic,
                         std::span<float> velocity) const {
  const auto row = static_cast<std::size_t>(channels_ * per_channel_);
  const std::size_t width = rule_.by_channel ? static_cast<std::size_t>(per_channel_) : row;
  std::vector<float> distances;
  distances.reserve(velocity.size() / row * width);
  for (std::size_t first = 0; first < row; first += width) {
    const Range range{velocity.size(), row, first, width};
    const auto clean = [&](std::size_t i) { return static_cast<double>(x[i] - sigma * velocity[i]); };
    double mean = 0, mimic_mean = 0;
    range.for_each([&](std::size_t i) {
      mean += clean(i);
      mimic_mean += static_cast<double>(mimic[i]);
    });
    mean /= range.size();
    mimic_mean /= range.size();
    double reference = 0;
    distances.clear();
    range.for_each([&](std::size_t i) {
      distances.push_back(static_cast<float>(std::abs(clean(i) - mean)));
      reference = std::max(reference, std::abs(static_cast<double>(mimic[i]) - mimic_mean));
    });
    if (*std::ranges::max_element(distances) <= reference) continue;  // within the range already
    const double limit = std::max(reference, percentile_of(distances, *rule_.percentile));
    const double factor = limit > 0 ? reference / limit : 0;
    range.for_each([&](std::size_t i) {
      const double kept = std::clamp(clean(i) - mean, -limit, limit) * factor + mean;
      velocity[i] = static_cast<float>((x[i] - kept) / sigma);
    });
  }
}

}  // namespace darkroom

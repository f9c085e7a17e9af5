#include "calibrate/rules.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace darkroom {
namespace {

constexpr const char* kNames[] = {"rms", "smoothquant", "ptq4dit", "weights"};
// As SmoothQuant has it, so that no factor gets out of range.
constexpr double kLeastMagnitude = 1e-5;

std::vector<double> ranks(std::span<const float> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t i) { return values[i]; });
  std::vector<double> out(values.size());
  for (std::size_t first = 0; first < order.size();) {
    std::size_t last = first + 1;
    while (last < order.size() && values[order[last]] == values[order[first]]) ++last;
    const double mean = static_cast<double>(first + last - 1) / 2;
    for (std::size_t i = first; i < last; ++i) out[order[i]] = mean;
    first = last;
  }
  return out;
}

std::vector<double> roots(std::span<const float> squares) {
  std::vector<double> out;
  for (const float value : squares) out.push_back(std::sqrt(static_cast<double>(value)));
  return out;
}

std::vector<double> largest_of_steps(std::span<const float> salience, std::size_t channels) {
  std::vector<double> out(channels);
  for (std::size_t i = 0; i < salience.size(); ++i)
    out[i % channels] = std::max(out[i % channels], static_cast<double>(salience[i]));
  return out;
}

// PTQ4DiT's: weights of the steps are softmax(−ρ), ρ the correlation with the weights' salience.
std::vector<double> weighted_mean_of_steps(std::span<const float> salience, std::span<const float> weights) {
  const std::size_t channels = weights.size();
  std::vector<double> out(channels);
  double total = 0;
  for (std::size_t begin = 0; begin < salience.size(); begin += channels) {
    const std::span<const float> step = salience.subspan(begin, channels);
    const double share = std::exp(-rank_correlation(step, weights));
    total += share;
    for (std::size_t c = 0; c < channels; ++c) out[c] += share * static_cast<double>(step[c]);
  }
  for (double& value : out) value /= total;
  return out;
}

}  // namespace

SmoothMethod parse_smooth_method(const std::string& name) {
  for (const SmoothMethod method :
       {SmoothMethod::kRms, SmoothMethod::kSmoothQuant, SmoothMethod::kPtq4Dit, SmoothMethod::kWeights}) {
    if (name == smooth_method_name(method)) return method;
  }
  fail(ErrorCode::kUsage, "method is '{}', expected rms, smoothquant, ptq4dit or weights", name);
}

const char* smooth_method_name(SmoothMethod method) { return kNames[static_cast<int>(method)]; }

double rank_correlation(std::span<const float> a, std::span<const float> b) {
  const std::vector<double> x = ranks(a), y = ranks(b);
  const double mean = (static_cast<double>(x.size()) - 1) / 2;
  double xy = 0, xx = 0, yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - mean) * (y[i] - mean);
    xx += (x[i] - mean) * (x[i] - mean);
    yy += (y[i] - mean) * (y[i] - mean);
  }
  return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : 0;
}

namespace {

bool by_squares(SmoothMethod method) {
  return method == SmoothMethod::kRms || method == SmoothMethod::kWeights;
}

std::vector<double> input_magnitudes(SmoothMethod method, const Magnitudes& inputs,
                                     const Magnitudes& weights) {
  switch (method) {
    case SmoothMethod::kSmoothQuant:
      return largest_of_steps(inputs.largest, weights.largest.size());
    case SmoothMethod::kPtq4Dit:
      return weighted_mean_of_steps(inputs.largest, weights.largest);
    case SmoothMethod::kRms:
    case SmoothMethod::kWeights:
      break;
  }
  return roots(inputs.squares);
}

// Of a channel that gets no factor.
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// Factors of a segment by their logarithms, brought to the mean 0.
void append_factors(std::span<const double> logs, std::vector<float>& out) {
  double sum = 0, count = 0;
  for (const double log : logs) {
    if (std::isnan(log)) continue;
    sum += log;
    ++count;
  }
  for (const double log : logs)
    out.push_back(std::isnan(log) ? 1.0f : static_cast<float>(std::exp(log - sum / count)));
}

}  // namespace

std::vector<float> smooth_factors(SmoothMethod method, double alpha, const Magnitudes& inputs,
                                  const Magnitudes& weights, std::span<const int64_t> segments) {
  const std::vector<double> x = input_magnitudes(method, inputs, weights),
                            w = by_squares(method)
                                    ? roots(weights.squares)
                                    : std::vector<double>(weights.largest.begin(), weights.largest.end());
  std::vector<double> logs(w.size(), kNone);
  for (std::size_t c = 0; c < logs.size(); ++c) {
    if (x[c] == 0 || w[c] == 0) continue;
    logs[c] = (1 - alpha) * std::log(std::max(w[c], kLeastMagnitude)) -
              alpha * std::log(std::max(x[c], kLeastMagnitude));
  }
  std::vector<float> out;
  for (const int64_t count : segments)
    append_factors(std::span(logs).subspan(out.size(), static_cast<std::size_t>(count)), out);
  return out;
}

}  // namespace darkroom

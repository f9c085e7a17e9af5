#include "calibrate/rules.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace darkroom {
namespace {

constexpr const char* kNames[] = {"smoothquant", "ptq4dit"};
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
  for (const SmoothMethod method : {SmoothMethod::kSmoothQuant, SmoothMethod::kPtq4Dit}) {
    if (name == smooth_method_name(method)) return method;
  }
  fail(ErrorCode::kUsage, "method is '{}', expected smoothquant or ptq4dit", name);
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

std::vector<float> smooth_factors(SmoothMethod method, double alpha, std::span<const float> salience,
                                  std::span<const float> weights) {
  const std::vector<double> inputs = method == SmoothMethod::kSmoothQuant
                                         ? largest_of_steps(salience, weights.size())
                                         : weighted_mean_of_steps(salience, weights);
  std::vector<float> out(weights.size(), 1.0f);
  for (std::size_t c = 0; c < out.size(); ++c) {
    const double x = inputs[c], w = static_cast<double>(weights[c]);
    if (x == 0 || w == 0) continue;
    out[c] = static_cast<float>(std::pow(std::max(w, kLeastMagnitude), 1 - alpha) /
                                std::pow(std::max(x, kLeastMagnitude), alpha));
  }
  return out;
}

}  // namespace darkroom

// Smoothing factors from how salient the channels of a layer's input are, and those of its weights.
//
// With both at the same magnitude neither takes digits from its neighbours when rows are quantised. Pure
// functions, called by calibrate.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace darkroom {

enum class SmoothMethod : uint8_t {
  kSmoothQuant,  // arXiv 2211.10438: the largest magnitudes of all steps
  // arXiv 2405.16005: of the steps a weighted mean, in which those count most whose salient channels are
  // others than the weights'
  kPtq4Dit,
};

// "smoothquant", "ptq4dit". Errors: kUsage.
SmoothMethod parse_smooth_method(const std::string& name);
const char* smooth_method_name(SmoothMethod method);

// What x is multiplied by: 1/s, with s = salience^alpha / weights^(1 − alpha) of each of the K channels, alpha 0
// to 1. A channel that is 0 in either keeps 1. salience: [steps][K], the largest magnitude of each channel in each
// step; weights: [K], the largest magnitude of each column, of all layers that multiply this input. All finite.
std::vector<float> smooth_factors(SmoothMethod method, double alpha, std::span<const float> salience,
                                  std::span<const float> weights);

// Spearman's rank correlation of a and b, of the same size: -1 to 1, equal values with their mean rank; 0 where
// one has no order.
double rank_correlation(std::span<const float> a, std::span<const float> b);

}  // namespace darkroom

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
  kRms,          // root mean squares instead of maxima: no single large value decides
  kSmoothQuant,  // arXiv 2211.10438: the largest magnitudes of all steps
  // arXiv 2405.16005: of the steps a weighted mean, in which those count most whose salient channels are
  // others than the weights'
  kPtq4Dit,
  kWeights,  // as kRms, with inputs that are not seen but follow from the weights (calibrate/bounds.h)
};

// "rms", "smoothquant", "ptq4dit", "weights". Errors: kUsage.
SmoothMethod parse_smooth_method(const std::string& name);
const char* smooth_method_name(SmoothMethod method);

// How large the K channels of something are, all finite: [K] or, for inputs, maxima [steps][K].
struct Magnitudes {
  std::span<const float> largest, squares;  // maxima, and sums or means of squares
};

// What x is multiplied by: 1/s, with s = inputs^alpha / weights^(1 − alpha) of each of the K channels, alpha 0 to
// 1, and a geometric mean of 1 in each run of `segment` channels, which is what shares a scale of x but not of the
// weights. A channel that is 0 in either keeps 1. weights: of each column of all layers that multiply this input.
std::vector<float> smooth_factors(SmoothMethod method, double alpha, const Magnitudes& inputs,
                                  const Magnitudes& weights, std::span<const int64_t> segments);

// Spearman's rank correlation of a and b, of the same size: -1 to 1, equal values with their mean rank; 0 where
// one has no order.
double rank_correlation(std::span<const float> a, std::span<const float> b);

}  // namespace darkroom

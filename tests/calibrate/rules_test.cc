#include "calibrate/rules.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/expect_error.h"

namespace darkroom {
namespace {

// One segment of all channels divides by their geometric mean; a segment of one channel each would leave nothing.
std::vector<float> factors_of(SmoothMethod method, double alpha, const Magnitudes& inputs,
                              const Magnitudes& weights) {
  const std::vector<int64_t> all = {
      static_cast<int64_t>(std::max(weights.largest.size(), weights.squares.size()))};
  return smooth_factors(method, alpha, inputs, weights, all);
}

TEST(SmoothRules, FactorsByHand) {
  const std::vector<float> salience = {4, 1, 0, 100,   // a step
                                       2, 9, 0, 100},  // another
      weights = {0.25f, 1, 3, 0};
  const std::vector<float> half = factors_of(SmoothMethod::kSmoothQuant, 0.5, {salience, {}}, {weights, {}});
  const float mean = std::sqrt(0.25f / 3);
  EXPECT_FLOAT_EQ(half[0], 0.25f / mean);     // sqrt(0.25 / 4)
  EXPECT_FLOAT_EQ(half[1], 1.0f / 3 / mean);  // sqrt(1 / 9): the larger of the steps
  EXPECT_EQ(half[2], 1.0f);                   // never used
  EXPECT_EQ(half[3], 1.0f);                   // never read
  const std::vector<float> all = factors_of(SmoothMethod::kSmoothQuant, 1, {salience, {}}, {weights, {}});
  EXPECT_FLOAT_EQ(all[0], 1.5f);
  EXPECT_FLOAT_EQ(all[1], 1.0f / 1.5f);
}

TEST(SmoothRules, RootsOfSquares) {
  const std::vector<float> inputs = {16, 1}, weights = {1, 16};
  const std::vector<float> factors = factors_of(SmoothMethod::kRms, 0.5, {{}, inputs}, {{}, weights});
  EXPECT_FLOAT_EQ(factors[0], 0.5f);
  EXPECT_FLOAT_EQ(factors[1], 2.0f);
}

// What is smoothed with alpha 1/2 has the same salience on both sides, up to one factor for all channels.
TEST(SmoothRules, HalfBalances) {
  const std::vector<float> salience = {50, 0.01f, 3}, weights = {0.02f, 2, 0.7f};
  const std::vector<float> factors =
      factors_of(SmoothMethod::kSmoothQuant, 0.5, {salience, {}}, {weights, {}});
  const auto imbalance = [&](std::size_t c) { return salience[c] * factors[c] / (weights[c] / factors[c]); };
  EXPECT_NEAR(imbalance(1) / imbalance(0), 1, 1e-5);
  EXPECT_NEAR(imbalance(2) / imbalance(0), 1, 1e-5);
  EXPECT_NEAR(factors[0] * factors[1] * factors[2], 1, 1e-5);
}

// The weights' rows have one scale for both segments: neither may grow against the other.
TEST(SmoothRules, SegmentsKeepTheirPlace) {
  const std::vector<float> inputs = {1, 4, 100, 400}, weights = {1, 1, 1, 1};
  const std::vector<int64_t> segments = {2, 2};
  const std::vector<float> factors =
      smooth_factors(SmoothMethod::kRms, 0.5, {{}, inputs}, {{}, weights}, segments);
  for (const std::size_t first : {std::size_t{0}, std::size_t{2}}) {
    EXPECT_FLOAT_EQ(factors[first] * factors[first + 1], 1.0f);
    EXPECT_FLOAT_EQ(factors[first] / factors[first + 1], std::sqrt(2.0f));
  }
}

TEST(SmoothRules, RankCorrelation) {
  const std::vector<float> up = {1, 20, 300, 4000}, down = {9, 7, 5, 3}, ties = {1, 1, 2, 2},
                           flat = {5, 5, 5, 5};
  EXPECT_DOUBLE_EQ(rank_correlation(up, up), 1);
  EXPECT_DOUBLE_EQ(rank_correlation(up, down), -1);
  EXPECT_NEAR(rank_correlation(up, ties), 4 / std::sqrt(20.0), 1e-12);  // ranks 0 1 2 3 and 0.5 0.5 2.5 2.5
  EXPECT_EQ(rank_correlation(up, flat), 0);
  EXPECT_EQ(rank_correlation({}, {}), 0);
}

// A step whose salient channels are the weights' counts e^−1, one with the others e: e² times as much.
TEST(SmoothRules, Ptq4DitWeighsSteps) {
  const std::vector<float> weights = {1, 2, 3}, salience = {10, 20, 30, 3, 2, 1};
  const std::vector<float> factors = factors_of(SmoothMethod::kPtq4Dit, 0.5, {salience, {}}, {weights, {}});
  const double e2 = std::exp(2.0);
  const auto wanted = [&](std::size_t c) {
    const double mean =
        (static_cast<double>(salience[c]) + e2 * static_cast<double>(salience[3 + c])) / (1 + e2);
    return std::sqrt(static_cast<double>(weights[c]) / mean);
  };
  for (std::size_t c = 1; c < 3; ++c)
    EXPECT_NEAR(static_cast<double>(factors[c] / factors[0]), wanted(c) / wanted(0), 1e-6) << c;
}

TEST(SmoothRules, Names) {
  EXPECT_EQ(parse_smooth_method("ptq4dit"), SmoothMethod::kPtq4Dit);
  EXPECT_STREQ(smooth_method_name(SmoothMethod::kSmoothQuant), "smoothquant");
  expect_error(ErrorCode::kUsage, "'awq', expected rms, smoothquant, ptq4dit or weights",
               [] { parse_smooth_method("awq"); });
}

}  // namespace
}  // namespace darkroom

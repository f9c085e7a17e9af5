#include "calibrate/rules.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/expect_error.h"

namespace darkroom {
namespace {

TEST(SmoothRules, FactorsByHand) {
  const std::vector<float> salience = {4, 1, 0, 100,   // a step
                                       2, 9, 0, 100},  // another
      weights = {0.25f, 1, 3, 0};
  const std::vector<float> half = smooth_factors(SmoothMethod::kSmoothQuant, 0.5, salience, weights);
  EXPECT_FLOAT_EQ(half[0], 0.25f);     // sqrt(0.25 / 4)
  EXPECT_FLOAT_EQ(half[1], 1.0f / 3);  // sqrt(1 / 9): the larger of the steps
  EXPECT_EQ(half[2], 1.0f);            // never used
  EXPECT_EQ(half[3], 1.0f);            // never read
  const std::vector<float> all = smooth_factors(SmoothMethod::kSmoothQuant, 1, salience, weights);
  EXPECT_FLOAT_EQ(all[0], 0.25f);
  EXPECT_FLOAT_EQ(all[1], 1.0f / 9);
}

// What is smoothed with alpha 1/2 has the same salience on both sides.
TEST(SmoothRules, HalfBalances) {
  const std::vector<float> salience = {50, 0.01f, 3}, weights = {0.02f, 2, 0.7f};
  const std::vector<float> factors = smooth_factors(SmoothMethod::kSmoothQuant, 0.5, salience, weights);
  for (std::size_t c = 0; c < 3; ++c)
    EXPECT_NEAR(salience[c] * factors[c], weights[c] / factors[c], 1e-6) << c;
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
  const std::vector<float> factors = smooth_factors(SmoothMethod::kPtq4Dit, 0.5, salience, weights);
  const double e2 = std::exp(2.0);
  for (std::size_t c = 0; c < 3; ++c) {
    const double mean =
        (static_cast<double>(salience[c]) + e2 * static_cast<double>(salience[3 + c])) / (1 + e2);
    EXPECT_NEAR(static_cast<double>(factors[c]), std::sqrt(static_cast<double>(weights[c]) / mean), 1e-6)
        << c;
  }
}

TEST(SmoothRules, Names) {
  EXPECT_EQ(parse_smooth_method("ptq4dit"), SmoothMethod::kPtq4Dit);
  EXPECT_STREQ(smooth_method_name(SmoothMethod::kSmoothQuant), "smoothquant");
  expect_error(ErrorCode::kUsage, "'awq', expected smoothquant or ptq4dit",
               [] { parse_smooth_method("awq"); });
}

}  // namespace
}  // namespace darkroom

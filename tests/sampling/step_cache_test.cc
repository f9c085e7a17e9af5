#include "sampling/step_cache.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "sampling/schedule.h"

namespace darkroom {
namespace {

std::vector<float> sigmas_of(int64_t steps) {
  return make_schedule({}, {.steps = steps, .image_tokens = 16}).sigmas;
}

// Levels that are left out when every level has this distance.
std::vector<int> skips(const std::string& settings, int64_t steps, double distance) {
  StepCache cache(parse_cache(settings), sigmas_of(steps));
  std::vector<int> out;
  for (int level = 0; level < steps; ++level) {
    if (level > 0 && cache.may_skip(level) && cache.decide(level, distance)) {
      out.push_back(level);
    } else {
      cache.computed(level);
    }
  }
  EXPECT_EQ(cache.skipped(), static_cast<int>(out.size()));
  return out;
}

TEST(StepCache, PolynomialIsThePublishedOne) {
  EXPECT_NEAR(teacache_flux(0), 0.264230861, 1e-9);
  EXPECT_NEAR(teacache_flux(0.0528), 0.1803, 1e-4);  // its lowest value
  EXPECT_NEAR(teacache_flux(0.2), 0.262, 1e-3);
  EXPECT_NEAR(teacache_flux(0.4), 2.3, 0.05);
}

TEST(StepCache, KeepsWarmUpLastStepAndLimits) {
  // Ten steps, 20 % warm-up, a straight line needs two residuals.
  EXPECT_EQ(skips("fbcache:0.1,skips=2", 10, 0.05), (std::vector<int>{2, 3, 5, 6, 8}));
  EXPECT_EQ(skips("fbcache:0.1,skips=100,warmup=0,order=0", 6, 0.05), (std::vector<int>{1, 2, 3, 4}));
  EXPECT_EQ(skips("fbcache:0.1,skips=1,warmup=0.5,order=0", 10, 0.05), (std::vector<int>{5, 7}));
  EXPECT_EQ(skips("fbcache:0.1", 10, 0.2), std::vector<int>());
  EXPECT_EQ(skips("fbcache:0", 10, 0.0), std::vector<int>());  // nothing is below 0
  EXPECT_EQ(skips("off", 10, 0.0), std::vector<int>());
  EXPECT_EQ(skips("fbcache:10,warmup=1", 10, 0.0), std::vector<int>());
  EXPECT_EQ(skips("fbcache:10,order=2,warmup=0", 5, 0.0), (std::vector<int>{3}));  // three residuals first
  EXPECT_EQ(skips("fbcache:0.1", 4, NAN), std::vector<int>());
}

// Each step adds at least 0.1803: thresholds bound the skips in a row (here at the
// polynomial's lowest point).
TEST(StepCache, TeaCacheSumsUpWhatHasMoved) {
  EXPECT_EQ(skips("teacache:0.25,warmup=0,order=0,skips=9", 7, 0.0528), (std::vector<int>{1, 3, 5}));
  EXPECT_EQ(skips("teacache:0.4,warmup=0,order=0,skips=9", 8, 0.0528), (std::vector<int>{1, 2, 4, 5}));
  EXPECT_EQ(skips("teacache:0.18,warmup=0,order=0", 8, 0.0528), std::vector<int>());
  EXPECT_EQ(skips("teacache:0.1,poly=none,warmup=0,order=0,skips=9", 8, 0.04),
            (std::vector<int>{1, 2, 4, 5}));
}

// Residuals that are a polynomial of that order in sigma are forecast exactly.
TEST(StepCache, ForecastsPolynomialsInSigma) {
  const std::vector<float> sigmas = sigmas_of(10);
  for (int order = 0; order <= 2; ++order) {
    StepCache cache(parse_cache("fbcache:1,warmup=0,order=" + std::to_string(order)), sigmas);
    const auto residual = [&](int level) {
      return 2 + std::pow(static_cast<double>(sigmas[static_cast<std::size_t>(level)]), order);
    };
    for (const int level : {0, 2, 3}) cache.computed(level);
    const std::vector<double> weights = cache.forecast(5);
    ASSERT_EQ(weights.size(), static_cast<std::size_t>(order) + 1);
    const int levels[] = {3, 2, 0};
    double forecast = 0, sum = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      forecast += weights[i] * residual(levels[i]);
      sum += weights[i];
    }
    EXPECT_NEAR(sum, 1, 1e-9);
    EXPECT_NEAR(forecast, order == 0 ? 3 : residual(5), 1e-6) << order;
  }
}

TEST(StepCache, TextsGoBothWaysAndWrongOnesAreRefused) {
  for (const char* text :
       {"off", "light", "balanced", "auto", "fast", "teacache", "fbcache", "dbcache", "fbcache:0.3",
        "teacache:0.25,poly=none,order=0", "dbcache:0.1,front=3,back=2,order=2,warmup=0.1,skips=5"}) {
    const CacheSettings settings = parse_cache(text);
    EXPECT_EQ(parse_cache(cache_text(settings)), settings) << text;
  }
  EXPECT_EQ(parse_cache("dbcache:0.1,front=3,back=2").front, 3);
  for (const char* text : {"", "on", "Fast", "off:1", "fast:0.1", "fbcache:", "fbcache:-1", "fbcache:11",
                           "fbcache:nan", "fbcache:0.1,", "fbcache:0.1,order=3", "fbcache:0.1,front=0",
                           "fbcache:0.1,poly=flux", "teacache:0.1,front=1", "fbcache:0.1,skips=0",
                           "fbcache:0.1,warmup=2", "fbcache:0.1,order", "fbcache,,order=1", "a\x1b"}) {
    try {
      parse_cache(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage);
      EXPECT_NE(std::string(error.what()).find("the step cache is '"), std::string::npos) << error.what();
      EXPECT_EQ(std::string(error.what()).find('\x1b'), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace darkroom

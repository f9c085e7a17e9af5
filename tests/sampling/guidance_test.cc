#include "sampling/guidance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "sampling/guidance_text.h"
#include "sampling/noise.h"
#include "sampling/sampler.h"
#include "sampling/schedule.h"

namespace darkroom {
namespace {

constexpr int64_t kChannels = 4, kPerChannel = 4;
constexpr std::size_t kValues = 16 * 24;

std::vector<float> normal(uint64_t seed, std::size_t count = kValues) {
  std::vector<float> out(count);
  TorchCpuGenerator(seed).randn(out);
  return out;
}

std::vector<float> sigmas_of(int64_t steps) {
  return make_schedule({}, {.steps = steps, .image_tokens = 16}).sigmas;
}

double mean_of(const std::vector<float>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double inner(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

// One combination of fixed random answers.
struct Combined {
  std::vector<float> x = normal(1), negative = normal(2), positive = normal(3),
                     velocity = std::vector<float>(kValues);
  float sigma = 0.6f, scale = 3.5f;
  std::vector<float> clean(const std::vector<float>& v) const {
    std::vector<float> out(v.size());
    for (std::size_t i = 0; i < v.size(); ++i) out[i] = x[i] - sigma * v[i];
    return out;
  }
  const std::vector<float>& run(const GuidanceRule& rule) {
    Guidance(rule, kChannels, kPerChannel).combine(x, sigma, negative, positive, scale, velocity);
    return velocity;
  }
};

TEST(GuidanceScales, EveryCurveHasTheMeanOfTheConstantOne) {
  for (const int64_t steps : {1, 2, 7, 20, 28, 999}) {
    for (const auto curve : {GuidanceCurve::kConstant, GuidanceCurve::kTriangle, GuidanceCurve::kCosine,
                             GuidanceCurve::kLinear}) {
      const auto scales = guidance_scales({.curve = curve}, 4.5, 1, sigmas_of(steps));
      ASSERT_EQ(scales.size(), static_cast<std::size_t>(steps));
      EXPECT_NEAR(mean_of(scales), 4.5, 1e-5) << steps;
      EXPECT_GE(*std::ranges::min_element(scales), 1 - 1e-6f);
    }
  }
  const auto triangle = guidance_scales({.curve = GuidanceCurve::kTriangle}, 4, 1, sigmas_of(20));
  EXPECT_NEAR(triangle[9], 1 + 6 * 0.95, 1e-5);  // 1 + 2 (w - 1)(1 - |2s - 1|) at s = 19/40
  EXPECT_NEAR(triangle[0], 1 + 6 * 0.05, 1e-5);
  EXPECT_EQ(triangle[0], triangle[19]);
  const auto linear = guidance_scales({.curve = GuidanceCurve::kLinear}, 4, 1, sigmas_of(20));
  EXPECT_TRUE(std::ranges::is_sorted(linear));
  const auto constant = guidance_scales({}, 3.3, 1, sigmas_of(5));
  EXPECT_EQ(constant, std::vector<float>(5, 3.3f));  // to the bit
}

TEST(GuidanceScales, AnIntervalLeavesTheOthersAlone) {
  const auto scales =
      guidance_scales({.curve = GuidanceCurve::kCosine, .interval = {0.1, 0.8}}, 4, 1, sigmas_of(20));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(scales[static_cast<std::size_t>(i)] == 1.0f, i < 2 || i >= 16) << i;
  EXPECT_NEAR(std::accumulate(scales.begin() + 2, scales.begin() + 16, 0.0) / 14, 4, 1e-5);
  const auto sigmas = sigmas_of(10);
  const auto by_sigma = guidance_scales({.interval = {0.25, 0.75, true}}, 2, 1, sigmas);
  for (std::size_t i = 0; i < 10; ++i)
    EXPECT_EQ(by_sigma[i] == 2.0f, sigmas[i] >= 0.25f && sigmas[i] <= 0.75f);
  // Ends are levels of f32: 0.9 is the level 0.9f, and a last bit above 1 is 1.
  const std::vector<float> levels = {1.0000001f, 0.9f, 0.3f, 0.0f};
  EXPECT_EQ(guidance_scales({.interval = {0.9, 1, true}}, 2, 1, levels), (std::vector<float>{2, 2, 1}));
  EXPECT_EQ(guidance_scales({.interval = {0, 0.3, true}}, 2, 1, levels), (std::vector<float>{1, 1, 2}));
  const auto none = guidance_scales({.interval = {0.01, 0.011}}, 2, 1, sigmas);
  EXPECT_EQ(none, std::vector<float>(10, 1.0f));
}

TEST(GuidanceScales, PointsLieAtEvenDistances) {
  EXPECT_EQ(guidance_scales({.points = {1, 4, 2}}, 9, 1, sigmas_of(5)),
            (std::vector<float>{1, 2.5f, 4, 3, 2}));
  EXPECT_EQ(guidance_scales({.points = {3}}, 9, 1, sigmas_of(3)), std::vector<float>(3, 3.0f));
  EXPECT_EQ(guidance_scales({.points = {1, 5}}, 9, 1, sigmas_of(1)), std::vector<float>{3});
}

TEST(GuidanceScales, RefusesWhatIsOutOfRange) {
  EXPECT_THROW(guidance_scales({.interval = {0.5, 0.4}}, 2, 1, sigmas_of(4)), Error);
  EXPECT_THROW(guidance_scales({.interval = {-0.1, 0.4}}, 2, 1, sigmas_of(4)), Error);
  EXPECT_THROW(guidance_scales({.interval = {NAN, 1}}, 2, 1, sigmas_of(4)), Error);
  EXPECT_THROW(guidance_scales({}, NAN, 1, sigmas_of(4)), Error);
  EXPECT_THROW(guidance_scales({.points = {1, 1001}}, 2, 1, sigmas_of(4)), Error);
  EXPECT_THROW(guidance_scales({}, 2, 1, std::vector<float>{1.0f}), Error);
  EXPECT_THROW(guidance_scales({.curve = GuidanceCurve::kLinear}, 0.4, 1, sigmas_of(4)), Error);
}

TEST(Guidance, ScaleOneIsThePositiveAndSizesMustAgree) {
  const std::vector<float> x(2), negative = {1.0f, 2.0f};
  std::vector<float> positive = {0.5f, -4.0f}, velocity(2);
  Guidance plain({}, 1, 1);
  plain.combine(x, 1, negative, positive, 1.0f, velocity);
  EXPECT_EQ(velocity, positive);
  plain.combine(x, 1, negative, positive, 2.0f, positive);  // in place
  EXPECT_EQ(positive, (std::vector<float>{0.0f, -10.0f}));
  std::vector<float> wrong(3);
  EXPECT_THROW(plain.combine(x, 1, negative, positive, 1.0f, wrong), Error);
  EXPECT_THROW(Guidance({}, 2, 2).combine(x, 1, negative, positive, 1.0f, velocity), Error);
  EXPECT_THROW(Guidance({}, 0, 1), Error);
  for (const GuidanceRule& wrong_rule : {GuidanceRule{.percentile = 101}, GuidanceRule{.rescale = NAN},
                                         GuidanceRule{.momentum = 1}, GuidanceRule{.parallel = -1}}) {
    EXPECT_THROW(Guidance(wrong_rule, 1, 1), Error);
  }
  EXPECT_EQ(guidance_vectors({}), 0);
  EXPECT_EQ(guidance_vectors({.method = GuidanceMethod::kProjected}), 3);
  EXPECT_EQ(guidance_vectors({.percentile = 99}), 2);
}

TEST(Guidance, MethodsThatChangeNothingArePlain) {
  Combined c;
  const std::vector<float> plain = c.run({});
  EXPECT_EQ(c.run({.method = GuidanceMethod::kRescaled, .rescale = 0}), plain);
  const std::vector<float> projected = c.run({.method = GuidanceMethod::kProjected, .parallel = 1});
  for (std::size_t i = 0; i < kValues; ++i) EXPECT_NEAR(projected[i], plain[i], 1e-5);
  // A reference as wide as the answer, or wider.
  const std::vector<float> mimicked = c.run({.percentile = 100, .mimic = 3.5});
  for (std::size_t i = 0; i < kValues; ++i) EXPECT_NEAR(mimicked[i], plain[i], 1e-5);
  EXPECT_EQ(c.run({.percentile = 99, .mimic = 50, .by_channel = false}), plain);
  c.negative = c.positive;
  const std::vector<float> same = c.run({.method = GuidanceMethod::kZeroStar});
  for (std::size_t i = 0; i < kValues; ++i) EXPECT_NEAR(same[i], c.positive[i], 1e-5);
}

TEST(Guidance, RescalingGivesThePositivesDeviation) {
  Combined c;
  const auto deviation = [](const std::vector<float>& v) {
    const double mean = mean_of(v);
    return std::sqrt(inner(v, v) / static_cast<double>(v.size()) - mean * mean);
  };
  const double plain = deviation(c.run({})), wanted = deviation(c.positive);
  EXPECT_GT(plain, 2 * wanted);
  EXPECT_NEAR(deviation(c.run({.method = GuidanceMethod::kRescaled, .rescale = 1})), wanted, 1e-4);
  EXPECT_NEAR(deviation(c.run({.method = GuidanceMethod::kRescaled, .rescale = 0.7})),
              0.7 * wanted + 0.3 * plain, 1e-4);
}

// s = <c, u>/<u, u>: what is left of c - s·u has no part along u.
TEST(Guidance, ZeroStarExtrapolatesAwayFromWhatLiesAlongTheNegative) {
  Combined c;
  const std::vector<float> velocity = c.run({.method = GuidanceMethod::kZeroStar});
  std::vector<float> beyond(kValues);
  for (std::size_t i = 0; i < kValues; ++i) beyond[i] = velocity[i] - c.positive[i];
  EXPECT_NEAR(inner(beyond, c.negative) / inner(c.negative, c.negative), 0, 1e-5);
}

TEST(Guidance, ProjectionLeavesNothingAlongTheCleanAnswer) {
  Combined c;
  const std::vector<float> along = c.clean(c.positive),
                           clean = c.clean(c.run({.method = GuidanceMethod::kProjected}));
  std::vector<float> beyond(kValues);
  for (std::size_t i = 0; i < kValues; ++i) beyond[i] = clean[i] - along[i];
  EXPECT_NEAR(inner(beyond, along) / inner(along, along), 0, 1e-5);
  EXPECT_GT(inner(beyond, beyond), 1);
  // Momentum: the second call sees difference + momentum · the first difference.
  Guidance guidance({.method = GuidanceMethod::kProjected, .parallel = 1, .momentum = -0.5}, kChannels,
                    kPerChannel);
  std::vector<float> first(kValues), second(kValues);
  guidance.combine(c.x, c.sigma, c.negative, c.positive, c.scale, first);
  guidance.combine(c.x, c.sigma, c.negative, c.positive, c.scale, second);
  for (std::size_t i = 0; i < kValues; ++i) {
    EXPECT_NEAR(second[i] - c.positive[i], 0.5f * (first[i] - c.positive[i]), 1e-4);
  }
}

TEST(Guidance, ThresholdingKeepsEachChannelWithinTheReference) {
  Combined c;
  c.positive[5] += 9;  // channel 1
  const std::vector<float> plain = c.clean(c.run({})), reference = c.clean(c.positive);
  const std::vector<float> cut = c.clean(c.run({.percentile = 95, .mimic = 1}));
  const auto channel = [](const std::vector<float>& v, int64_t which) {
    std::vector<float> out;
    for (std::size_t i = 0; i < v.size(); ++i) {
      if (static_cast<int64_t>(i % 16) / kPerChannel == which) out.push_back(v[i]);
    }
    return out;
  };
  const auto reach = [](const std::vector<float>& v, double mean) {
    double most = 0;
    for (const float value : v) most = std::max(most, std::abs(value - mean));
    return most;
  };
  for (int64_t i = 0; i < kChannels; ++i) {
    const std::vector<float> before = channel(plain, i), after = channel(cut, i),
                             allowed = channel(reference, i);
    EXPECT_LE(reach(after, mean_of(before)), reach(allowed, mean_of(allowed)) + 1e-4) << i;
    EXPECT_LT(reach(after, mean_of(before)), reach(before, mean_of(before))) << i;
  }
  // The percentile is the one of the sorted distances.
  std::vector<float> distances;
  const std::vector<float> last = channel(plain, 3);
  for (const float value : last) distances.push_back(std::abs(value - static_cast<float>(mean_of(last))));
  std::ranges::sort(distances);
  const double rank = 0.95 * static_cast<double>(distances.size() - 1), share = rank - std::floor(rank);
  const auto at = static_cast<std::size_t>(rank);
  const double limit = distances[at] + share * (distances[at + 1] - distances[at]);
  const std::vector<float> allowed = channel(reference, 3), after = channel(cut, 3);
  const double factor = reach(allowed, mean_of(allowed)) / limit;
  for (std::size_t i = 0; i < last.size(); ++i) {
    const double mean = mean_of(last), kept = std::clamp(last[i] - mean, -limit, limit) * factor + mean;
    EXPECT_NEAR(after[i], kept, 1e-4) << i;
  }
  // Twice the latents, twice the answer.
  Combined twice = c;
  for (auto* values : {&twice.x, &twice.negative, &twice.positive}) {
    for (float& value : *values) value *= 2;
  }
  const std::vector<float> one = c.run({.percentile = 95}), two = twice.run({.percentile = 95});
  for (std::size_t i = 0; i < kValues; ++i) EXPECT_NEAR(two[i], 2 * one[i], 1e-4);
  // At noise level 0 there is nothing to predict.
  c.sigma = 0;
  const std::vector<float> at_zero = c.run({.percentile = 95});
  EXPECT_EQ(at_zero, c.run({}));
}

// Pictures of one value: with the prompt N(m, 1), without it N(0, 1). At noise level t the velocity is
// known in closed form, both differ by a number only, and guidance of w moves the mean to w·m exactly;
// the deviation stays.
TEST(Guidance, MovesTheMeanOfAGaussianAsTheorySays) {
  constexpr double kMean = 1.25;
  const auto velocity_at = [](double x, double t, double mean) {
    const double variance = (1 - t) * (1 - t) + t * t;
    const double clean = mean + (1 - t) / variance * (x - (1 - t) * mean);  // E[picture | x]
    const double noise = t / variance * (x - (1 - t) * mean);               // E[noise | x]
    return noise - clean;
  };
  const auto end_of = [&](double start, const std::vector<float>& scales) {
    std::vector<float> x = {static_cast<float>(start)}, negative(1);
    Guidance guidance({}, 1, 1);
    const std::vector<float> sigmas = sigmas_of(static_cast<int64_t>(scales.size()));
    sample(sigmas, x, [&](std::span<const float> at, int step, float sigma, std::span<float> velocity) {
      velocity[0] = static_cast<float>(velocity_at(at[0], sigma, kMean));
      negative[0] = static_cast<float>(velocity_at(at[0], sigma, 0));
      guidance.combine(at, sigma, negative, velocity, scales[static_cast<std::size_t>(step)], velocity);
    });
    return static_cast<double>(x[0]);
  };
  const std::vector<float> sigmas = sigmas_of(1000);
  for (const double scale : {1.0, 2.0, 4.0}) {
    const auto constant = guidance_scales({}, scale, 1, sigmas);
    EXPECT_NEAR(end_of(0, constant), scale * kMean, 0.02) << scale;
    EXPECT_NEAR(end_of(1, constant) - end_of(-1, constant), 2, 0.02) << scale;
  }
  // Each step moves the mean by (w - 1)·m times its own weight, so an interval gives part of the shift.
  const double none = end_of(0, std::vector<float>(1000, 1.0f)),
               all = end_of(0, guidance_scales({}, 3, 1, sigmas));
  const double half = end_of(0, guidance_scales({.interval = {0, 0.5}}, 3, 1, sigmas));
  const double rest = end_of(0, guidance_scales({.interval = {0.5, 1}}, 3, 1, sigmas));
  EXPECT_NEAR(half + rest - none, all, 0.02);
  EXPECT_GT(half - none, 0.2);
  EXPECT_GT(rest - none, 0.2);
}

TEST(GuidanceText, GoesBothWays) {
  for (const std::string text : {"constant", "triangle", "cosine", "linear", "1,4.5,1", "0"}) {
    GuidanceSchedule schedule;
    parse_guidance_schedule(text, schedule);
    EXPECT_EQ(guidance_schedule_text(schedule), text);
  }
  GuidanceSchedule file;
  parse_guidance_schedule("# at even distances\n1 # low\r\n\n 4.5,\t2e0\n#", file);
  EXPECT_EQ(file.points, (std::vector<double>{1, 4.5, 2}));
  for (const std::string text : {"0,1", "0.1,0.8", "sigma:0.25,0.5"}) {
    EXPECT_EQ(guidance_interval_text(parse_guidance_interval(text)), text);
  }
  for (const std::string text : {"plain", "zero-star", "rescale:0.5", "apg:0,0", "apg:0.25,-0.5"}) {
    GuidanceRule rule;
    parse_guidance_method(text, rule);
    EXPECT_EQ(guidance_method_text(rule), text);
  }
  for (const std::string text : {"off", "99.5,1", "all:95,2.5"}) {
    GuidanceRule rule{.percentile = 60};
    parse_guidance_threshold(text, rule);
    EXPECT_EQ(guidance_threshold_text(rule), text);
  }
}

TEST(GuidanceText, RefusesWithTheTextAndWhatIsAllowed) {
  const auto refusal = [](auto parse) -> std::string {
    try {
      parse();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage);
      return error.what();
    }
    return "accepted";
  };
  GuidanceSchedule schedule;
  GuidanceRule rule;
  for (const std::string text :
       {"", "trangle", "1,x", "nan", "1001", "-1", "#1", "1e400", "Triangle", "1;2"}) {
    const std::string said = refusal([&] { parse_guidance_schedule(text, schedule); });
    EXPECT_NE(said.find("guidance schedule has"), std::string::npos) << text << ": " << said;
  }
  std::string many;
  for (int i = 0; i < 1001; ++i) many += "1,";
  EXPECT_NE(refusal([&] { parse_guidance_schedule(many, schedule); }).find("more than 1000"),
            std::string::npos);
  for (const std::string text :
       {"", "0.5", "0.8,0.1", "-0.1,1", "0,1.5", "0,1,1", "0,", "sigma:", "sigmas:0,1", "nan,1", "a\x1b,1"}) {
    const std::string said = refusal([&] { parse_guidance_interval(text); });
    EXPECT_NE(said.find("the guidance interval is '"), std::string::npos) << text << ": " << said;
    EXPECT_EQ(said.find('\x1b'), std::string::npos);
  }
  for (const std::string text :
       {"", "Plain", "plain:1", "rescale:", "rescale:2", "apg:0.5,1", "apg:,", "zero-star:1", "apg:0,0,0"}) {
    EXPECT_NE(refusal([&] { parse_guidance_method(text, rule); }).find("unknown way of guidance"),
              std::string::npos)
        << text;
  }
  for (const std::string text : {"", "49", "101", "99,", "all:", "99.5,-1", "nan", "on"}) {
    EXPECT_NE(refusal([&] { parse_guidance_threshold(text, rule); }).find("the threshold is '"),
              std::string::npos)
        << text;
  }
  EXPECT_EQ(rule, GuidanceRule{});
}

}  // namespace
}  // namespace darkroom

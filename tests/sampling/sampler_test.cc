#include "sampling/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "fixture.h"
#include "sampling/guidance.h"
#include "sampling/noise.h"
#include "sampling/schedule.h"

namespace darkroom {
namespace {

TEST(Sampler, StepsAndGuidanceHaveTheBitsOfDiffusers) {
  const auto fixture = sampling_fixture("euler");
  std::vector<float> latents(64);
  TorchCpuGenerator(fixture.at("seed").get<uint64_t>()).randn(latents);
  std::vector<float> positive(64), negative(64);
  Guidance guidance({}, 16, 4);
  sample(from_bits(fixture.at("sigmas")), latents,
         [&](std::span<const float> x, int, float sigma, std::span<float> velocity) {
           for (std::size_t i = 0; i < x.size(); ++i) {
             positive[i] = x[i] * 0.75f - sigma;
             negative[i] = 0.3f - x[i] * sigma;
           }
           guidance.combine(x, sigma, negative, positive, fixture.at("scale").get<float>(), velocity);
         });
  EXPECT_EQ(bits(latents), fixture.at("latents"));
}

// When every noise value belongs to one picture value, velocity = (x - picture) / sigma is a straight path
// and Euler is exact: x(0) is the picture whatever the sigmas.
TEST(Sampler, StraightPathEndsAtThePicture) {
  const std::vector<float> picture = {0.25f, -1.5f, 3.0f};
  std::vector<float> latents = {-0.7f, 0.1f, 2.0f};
  const Schedule schedule = make_schedule({}, {.steps = 7, .image_tokens = 16});
  sample(schedule.sigmas, latents,
         [&](std::span<const float> x, int, float sigma, std::span<float> velocity) {
           for (std::size_t i = 0; i < x.size(); ++i) velocity[i] = (x[i] - picture[i]) / sigma;
         });
  for (std::size_t i = 0; i < picture.size(); ++i) EXPECT_NEAR(latents[i], picture[i], 1e-5);
}

// dx/dsigma = a·x from sigma 1 to 0: the exact end is x·exp(-a), and Euler's error halves
// with twice the steps.
TEST(Sampler, ConvergesAtFirstOrder) {
  const auto error_with = [](int64_t steps) {
    std::vector<float> latents = {1.0f};
    const Schedule schedule = make_schedule({}, {.steps = steps, .image_tokens = 16});
    sample(schedule.sigmas, latents, [](std::span<const float> x, int, float, std::span<float> velocity) {
      velocity[0] = 0.8f * x[0];
    });
    return std::abs(static_cast<double>(latents[0]) - std::exp(-0.8));
  };
  EXPECT_NEAR(error_with(50) / error_with(100), 2.0, 0.05);
  EXPECT_LT(error_with(100), 2e-3);
}

// Pictures of one value, N(m, s): E[noise - picture | x] in closed form, and the path from noise
// z ends at m + s·z.
constexpr double kMean = 0.7, kSpread = 0.4;

float gaussian_velocity(double x, double sigma) {
  const double picture = (1 - sigma) * kSpread * kSpread, noise = sigma;
  const double share = (x - (1 - sigma) * kMean) / ((1 - sigma) * picture + sigma * noise);
  return static_cast<float>(noise * share - (kMean + picture * share));
}

const Denoiser kGaussian = [](std::span<const float> x, int, float sigma, std::span<float> velocity) {
  for (std::size_t i = 0; i < x.size(); ++i) velocity[i] = gaussian_velocity(x[i], sigma);
};

double error_on_gaussian(SamplerKind kind, int64_t steps, SigmaSpacing spacing = SigmaSpacing::kSimple) {
  std::vector<float> latents = {1.5f, -0.5f};
  const Schedule schedule =
      make_schedule({}, {.steps = steps, .image_tokens = 16, .sigmas = {}, .spacing = spacing});
  sample(schedule.sigmas, latents, kGaussian, {.kind = kind});
  return std::abs(latents[0] - (kMean + 1.5 * kSpread)) + std::abs(latents[1] - (kMean - 0.5 * kSpread));
}

// From a number of steps to four times as many; f32 shows less at more steps.
TEST(Sampler, HigherOrdersConvergeFaster) {
  struct Case {
    SamplerKind kind;
    int order;
    int64_t steps;
  };
  for (const auto& [kind, order, steps] :
       {Case{SamplerKind::kEuler, 1, 80}, Case{SamplerKind::kHeun, 2, 80}, Case{SamplerKind::kDpm2m, 2, 80},
        Case{SamplerKind::kIpndm, 2, 20}}) {
    SCOPED_TRACE(sampler_name(kind));
    const double coarse = error_on_gaussian(kind, steps), fine = error_on_gaussian(kind, 4 * steps);
    const double seen = std::log(coarse / fine) / std::log(4);
    RecordProperty(std::string(sampler_name(kind)), fmt::format("{:.2f}", seen));
    EXPECT_GT(seen, order - 0.3) << coarse << " " << fine;
    EXPECT_TRUE(order == 1 || error_on_gaussian(kind, 20) < error_on_gaussian(SamplerKind::kEuler, 20) / 3);
  }
}

// Velocities 1 ± 0.1 in turn, which extrapolation magnifies the most: in equal steps 3.67
// times in third order.
TEST(Sampler, IpndmLowersItsOrderWhereStepsGrowQuickly) {
  const auto largest_growth = [](const std::vector<float>& sigmas) {
    std::vector<float> latents = {1.0f};
    float before = 1, largest = 0;
    sample(sigmas, latents,
           [](std::span<const float>, int level, float, std::span<float> velocity) {
             velocity[0] = level % 2 ? 0.9f : 1.1f;
           },
           {.kind = SamplerKind::kIpndm, .on_step = [&](const StepReport& report) {
              const float change = report.sigma_next - report.sigma;
              largest = std::max(largest, std::abs((report.latents[0] - before) / change - 1) / 0.1f);
              before = report.latents[0];
            }});
    return largest;
  };
  EXPECT_NEAR(largest_growth({1, 0.8f, 0.6f, 0.4f, 0.2f, 0}), 11.0 / 3, 1e-3);
  // Of steps that grow by 1.31 each third order would make 5.5 times, second makes 1 + 1.31.
  EXPECT_NEAR(largest_growth({1, 0.9f, 0.77f, 0.6f, 0}), 1 + 0.17 / 0.13, 1e-3);
  // By 1.5 and more: 7.9 and 2.67 times.
  EXPECT_NEAR(largest_growth({1, 0.9f, 0.75f, 0.5f, 0}), 1, 1e-3);
}

TEST(Sampler, AsksTheDenoiserAsOftenAsItSaysAtLevelsOfTheSchedule) {
  const Schedule schedule = make_schedule({}, {.steps = 7, .image_tokens = 16});
  for (const SamplerKind kind : {SamplerKind::kEuler, SamplerKind::kHeun, SamplerKind::kDpm2m,
                                 SamplerKind::kIpndm, SamplerKind::kAncestral}) {
    EXPECT_EQ(parse_sampler(sampler_name(kind)), kind);
    int calls = 0;
    std::vector<float> latents = {1.0f};
    sample(schedule.sigmas, latents,
           [&](std::span<const float> x, int level, float sigma, std::span<float> velocity) {
             EXPECT_EQ(sigma, schedule.sigmas[static_cast<std::size_t>(level)]);
             ++calls;
             velocity[0] = gaussian_velocity(x[0], sigma);
           },
           {.kind = kind, .randn = [](std::span<float> out) { std::ranges::fill(out, 0.25f); }});
    EXPECT_EQ(calls, sampler_evaluations(kind, 7)) << sampler_name(kind);
  }
  EXPECT_THROW(parse_sampler("Euler"), Error);
}

// Noise taken away and put back leaves the pictures' distribution as it is.
TEST(Sampler, AncestralKeepsTheDistribution) {
  std::vector<float> latents(10000);
  TorchCpuGenerator generator(3);
  generator.randn(latents);
  sample(make_schedule({}, {.steps = 200, .image_tokens = 16}).sigmas, latents, kGaussian,
         {.kind = SamplerKind::kAncestral, .randn = [&](std::span<float> out) { generator.randn(out); }});
  double sum = 0, squares = 0;
  for (const float value : latents) sum += value, squares += double{value} * double{value};
  const double mean = sum / 10000;
  EXPECT_NEAR(mean, kMean, 0.02);
  EXPECT_NEAR(std::sqrt(squares / 10000 - mean * mean), kSpread, 0.02);
}

// From 0.8 to 0.4: down to 0.2, grown by 0.6/0.8, and noise for what is missing of 0.4².
TEST(Sampler, AncestralStepIsTheClosedForm) {
  std::vector<float> latents = {1.0f, -2.0f};
  const Denoiser constant = [](std::span<const float>, int, float, std::span<float> velocity) {
    std::ranges::fill(velocity, 0.5f);
  };
  const auto noise = [](std::span<float> out) {
    out[0] = 1.5f;
    out[1] = -1.0f;
  };
  sample(std::vector<float>{0.8f, 0.4f}, latents, constant,
         {.kind = SamplerKind::kAncestral, .randn = noise});
  const double fresh = std::sqrt(0.16 - 0.75 * 0.75 * 0.04);
  EXPECT_NEAR(latents[0], 0.75 * (1.0 - 0.6 * 0.5) + fresh * 1.5, 1e-6);
  EXPECT_NEAR(latents[1], 0.75 * (-2.0 - 0.6 * 0.5) - fresh, 1e-6);
}

TEST(Sampler, ReportsEachStep) {
  const std::vector<float> sigmas = {1.0f, 0.5f, 0.0f};
  std::vector<float> latents = {2.0f};
  std::vector<StepReport> reports;
  std::vector<float> values;
  sample(sigmas, latents,
         [](std::span<const float>, int step, float, std::span<float> velocity) {
           velocity[0] = static_cast<float>(step) + 1;
         },
         {.on_step = [&](const StepReport& report) {
           reports.push_back(report);
           values.push_back(report.latents[0]);
           values.push_back(report.velocity[0]);
         }});
  ASSERT_EQ(reports.size(), 2u);
  EXPECT_EQ(reports[1].step, 1);
  EXPECT_EQ(reports[1].steps, 2);
  EXPECT_EQ(reports[1].sigma, 0.5f);
  EXPECT_EQ(reports[1].sigma_next, 0.0f);
  EXPECT_EQ(values, (std::vector<float>{1.5f, 1.0f, 0.5f, 2.0f}));
}

TEST(Sampler, NamesTheStepThatIsNotFinite) {
  const std::vector<float> sigmas = {1.0f, 0.75f, 0.5f, 0.25f, 0.0f};
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::max()}) {
    std::vector<float> latents = {1.0f, -std::numeric_limits<float>::max()};
    try {
      sample(sigmas, latents, [&](std::span<const float>, int step, float, std::span<float> velocity) {
        velocity[0] = 0.0f;
        velocity[1] = step == 2 ? bad : 0.0f;
        if (step == 2 && std::isfinite(bad)) velocity[0] = std::numeric_limits<float>::infinity();
      });
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kFailure);
      EXPECT_NE(std::string(error.what()).find("not finite at step 3 of 4"), std::string::npos)
          << error.what();
    }
  }
}

TEST(Sampler, RefusesBadInputAndPassesErrorsThrough) {
  const Denoiser still = [](std::span<const float>, int, float, std::span<float> v) { v[0] = 0; };
  std::vector<float> latents = {1.0f};
  const std::vector<float> one = {1.0f};
  const std::vector<float> two = {1.0f, 0.0f};
  EXPECT_THROW(sample(one, latents, still), Error);
  EXPECT_THROW(sample(std::vector<float>{1.0f, NAN}, latents, still), Error);
  std::vector<float> bad = {NAN};
  EXPECT_THROW(sample(two, bad, still), Error);
  EXPECT_THROW(sample(two, latents, still, {.kind = SamplerKind::kAncestral}), Error);  // no noise
  EXPECT_THROW(sample(std::vector<float>{0.5f, 0.5f}, latents, still, {.kind = SamplerKind::kDpm2m}), Error);
  EXPECT_THROW(sample(std::vector<float>{1.5f, 0.5f}, latents, still, {.kind = SamplerKind::kHeun}), Error);
  try {
    sample(two, latents, still,
           {.on_step = [](const StepReport&) { fail(ErrorCode::kCancelled, "stopped"); }});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCancelled);
  }
}

}  // namespace
}  // namespace darkroom

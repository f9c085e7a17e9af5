#include "sampling/sampler.h"

#include <gtest/gtest.h>

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
  sample_euler(from_bits(fixture.at("sigmas")), latents,
               [&](std::span<const float> x, int, float sigma, std::span<float> velocity) {
                 for (std::size_t i = 0; i < x.size(); ++i) {
                   positive[i] = x[i] * 0.75f - sigma;
                   negative[i] = 0.3f - x[i] * sigma;
                 }
                 combine_true_cfg(negative, positive, fixture.at("scale").get<float>(), velocity);
               });
  EXPECT_EQ(bits(latents), fixture.at("latents"));
}

// When every noise value belongs to one picture value, velocity = (x - picture) / sigma is a straight path
// and Euler is exact: x(0) is the picture whatever the sigmas.
TEST(Sampler, StraightPathEndsAtThePicture) {
  const std::vector<float> picture = {0.25f, -1.5f, 3.0f};
  std::vector<float> latents = {-0.7f, 0.1f, 2.0f};
  const Schedule schedule = make_schedule({}, {.steps = 7, .image_tokens = 16});
  sample_euler(schedule.sigmas, latents,
               [&](std::span<const float> x, int, float sigma, std::span<float> velocity) {
                 for (std::size_t i = 0; i < x.size(); ++i) velocity[i] = (x[i] - picture[i]) / sigma;
               });
  for (std::size_t i = 0; i < picture.size(); ++i) EXPECT_NEAR(latents[i], picture[i], 1e-5);
}

// dx/dsigma = a·x from sigma 1 to 0: the exact end is x·exp(-a), and Euler's error halves with twice the
// steps.
TEST(Sampler, ConvergesAtFirstOrder) {
  const auto error_with = [](int64_t steps) {
    std::vector<float> latents = {1.0f};
    const Schedule schedule = make_schedule({}, {.steps = steps, .image_tokens = 16});
    sample_euler(
        schedule.sigmas, latents,
        [](std::span<const float> x, int, float, std::span<float> velocity) { velocity[0] = 0.8f * x[0]; });
    return std::abs(static_cast<double>(latents[0]) - std::exp(-0.8));
  };
  EXPECT_NEAR(error_with(50) / error_with(100), 2.0, 0.05);
  EXPECT_LT(error_with(100), 2e-3);
}

TEST(Sampler, ReportsEachStep) {
  const std::vector<float> sigmas = {1.0f, 0.5f, 0.0f};
  std::vector<float> latents = {2.0f};
  std::vector<StepReport> reports;
  std::vector<float> values;
  sample_euler(sigmas, latents,
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
      sample_euler(sigmas, latents, [&](std::span<const float>, int step, float, std::span<float> velocity) {
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
  EXPECT_THROW(sample_euler(one, latents, still), Error);
  EXPECT_THROW(sample_euler(std::vector<float>{1.0f, NAN}, latents, still), Error);
  std::vector<float> bad = {NAN};
  EXPECT_THROW(sample_euler(two, bad, still), Error);
  try {
    sample_euler(two, latents, still,
                 {.on_step = [](const StepReport&) { fail(ErrorCode::kCancelled, "stopped"); }});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCancelled);
  }
}

TEST(Guidance, ScaleOneIsThePositiveAndSizesMustAgree) {
  const std::vector<float> negative = {1.0f, 2.0f};
  std::vector<float> positive = {0.5f, -4.0f};
  std::vector<float> velocity(2);
  combine_true_cfg(negative, positive, 1.0f, velocity);
  EXPECT_EQ(velocity, positive);
  combine_true_cfg(negative, positive, 2.0f, positive);  // in place
  EXPECT_EQ(positive, (std::vector<float>{0.0f, -10.0f}));
  std::vector<float> wrong(3);
  EXPECT_THROW(combine_true_cfg(negative, positive, 1.0f, wrong), Error);
}

}  // namespace
}  // namespace darkroom

#include "sampling/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "fixture.h"

namespace darkroom {
namespace {

using nlohmann::json;

TEST(Schedule, HasTheBitsOfDiffusers) {
  const json cases = sampling_fixture("schedules");
  EXPECT_GE(cases.size(), 60u);
  for (const json& item : cases) {
    const SchedulerConfig config = read_scheduler_config(item.at("config"), "fixture");
    const ScheduleRequest request{item.at("steps"), item.at("image_tokens"), item.at("sigmas"),
                                  parse_sigma_spacing(item.at("spacing").get<std::string>())};
    const Schedule schedule = make_schedule(config, request);
    if (item.contains("expected")) {
      EXPECT_EQ(bits(schedule.sigmas), item.at("expected")[0]) << item.dump();
      EXPECT_EQ(bits(schedule.timesteps), item.at("expected")[1]) << item.dump();
      EXPECT_EQ(bits(schedule.model_times), item.at("expected")[2]) << item.dump();
    } else {
      EXPECT_EQ(hash(schedule.sigmas), item.at("expected_hash")[0]) << item.dump();
      EXPECT_EQ(hash(schedule.timesteps), item.at("expected_hash")[1]) << item.dump();
      EXPECT_EQ(hash(schedule.model_times), item.at("expected_hash")[2]) << item.dump();
    }
  }
}

TEST(Schedule, SchnellIsPlain) {
  const Schedule schedule = make_schedule({}, {.steps = 4, .image_tokens = 4096});
  EXPECT_EQ(schedule.sigmas, (std::vector<float>{1.0f, 0.75f, 0.5f, 0.25f, 0.0f}));
  EXPECT_EQ(schedule.timesteps, (std::vector<float>{1000.0f, 750.0f, 500.0f, 250.0f}));
  EXPECT_EQ(schedule.steps(), 4);
}

TEST(Schedule, RefusesRequestsOutOfRange) {
  EXPECT_THROW(make_schedule({}, {.steps = 0, .image_tokens = 16}), Error);
  EXPECT_THROW(make_schedule({}, {.steps = -1, .image_tokens = 16}), Error);
  EXPECT_THROW(make_schedule({}, {.steps = 1001, .image_tokens = 16}), Error);
  EXPECT_THROW(make_schedule({}, {.steps = 4, .image_tokens = 0}), Error);
  EXPECT_THROW(make_schedule({}, {.steps = 3, .image_tokens = 16, .sigmas = {1, 0.5}}), Error);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const std::vector<double>& sigmas : std::vector<std::vector<double>>{{1.5},
                                                                            {-0.1},
                                                                            {nan},
                                                                            {0.5, 0.5},
                                                                            {0.5, 0.6},
                                                                            {1, 0.5, nan},
                                                                            {1e300},
                                                                            std::vector<double>(1001, 0.5)}) {
    EXPECT_THROW(make_schedule({}, {.image_tokens = 16, .sigmas = sigmas}), Error);
  }
}

TEST(Schedule, RefusesSettingsThatGiveNoList) {
  SchedulerConfig config;
  config.use_dynamic_shifting = true;
  config.max_shift = 100;
  EXPECT_THROW(make_schedule(config, {.steps = 4, .image_tokens = 1 << 24}), Error) << "exp(mu) is infinite";
  config = {};
  config.shift_terminal = 0.1;
  EXPECT_THROW(make_schedule(config, {.steps = 1, .image_tokens = 16}), Error) << "nothing to stretch";
}

TEST(SchedulerConfig, DefaultsAreThoseOfTheClass) {
  const SchedulerConfig config = read_scheduler_config(json::object(), "x");
  EXPECT_FALSE(config.use_dynamic_shifting);
  EXPECT_EQ(config.shift, 1.0);
  EXPECT_EQ(config.base_shift, 0.5);
  EXPECT_EQ(config.max_shift, 1.15);
  EXPECT_FALSE(config.shift_terminal.has_value());
}

TEST(SchedulerConfig, RefusesWhatItDoesNotHaveAndSaysWhere) {
  const std::vector<json> broken = {
      {{"use_karras_sigmas", true}},
      {{"use_exponential_sigmas", true}},
      {{"use_beta_sigmas", true}},
      {{"invert_sigmas", true}},
      {{"stochastic_sampling", true}},
      {{"use_flow_sigmas", true}},
      {{"_class_name", "DDIMScheduler"}},
      {{"time_shift_type", "cubic"}},
      {{"time_shift_type", "\x1b[2J\x7f"}},
      {{"_class_name", "\x1b[2J\x7f"}},
      {{"shift", 0}},
      {{"shift", "3"}},
      {{"shift_terminal", 1.0}},
      {{"base_image_seq_len", 64}, {"max_image_seq_len", 64}},
      {{"max_image_seq_len", -1}},
      {{"num_train_timesteps", 0}},
      json::array(),
  };
  for (const json& object : broken) {
    try {
      read_scheduler_config(object, "some/scheduler_config.json");
      ADD_FAILURE() << object.dump();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kModel);
      const std::string message = error.what();
      EXPECT_EQ(message.find("some/scheduler_config.json: "), 0u) << message;
      EXPECT_TRUE(std::ranges::all_of(message, [](char c) { return c >= ' ' && c <= '~'; })) << message;
    }
  }
}

// Quantiles of scipy.stats.beta(0.6, 0.6): ppf(0.25) = 0.1756804, and symmetric.
TEST(Schedule, BetaSpacingIsCloserAtBothEnds) {
  const auto sigmas =
      make_schedule({}, {.steps = 4, .image_tokens = 16, .sigmas = {}, .spacing = SigmaSpacing::kBeta})
          .sigmas;
  ASSERT_EQ(sigmas.size(), 5u);
  EXPECT_EQ(sigmas[0], 1.0f);
  EXPECT_NEAR(sigmas[1] + sigmas[3], 1, 1e-6);
  EXPECT_NEAR(sigmas[2], 0.5, 1e-6);
  EXPECT_NEAR(sigmas[3], 0.17568038, 1e-6);
  EXPECT_EQ(sigmas[4], 0.0f);
}

TEST(Schedule, KarrasSpacingKeepsBothEnds) {
  SchedulerConfig shifted;
  shifted.shift = 3;
  const auto simple = make_schedule(shifted, {.steps = 10, .image_tokens = 16}).sigmas;
  const auto karras =
      make_schedule(shifted,
                    {.steps = 10, .image_tokens = 16, .sigmas = {}, .spacing = SigmaSpacing::kKarras})
          .sigmas;
  EXPECT_NEAR(karras[0], simple[0], 1e-6);
  EXPECT_NEAR(karras[9], simple[9], 1e-6);
  const auto root = [](float sigma) { return std::pow(double{sigma}, 1.0 / 7); };
  for (std::size_t i = 1; i < 9; ++i) {
    EXPECT_NEAR(root(karras[i - 1]) - root(karras[i]), root(karras[i]) - root(karras[i + 1]), 1e-6);
  }
  EXPECT_THROW(
      make_schedule({}, {.steps = 0, .image_tokens = 16, .sigmas = {1, 0.5}, .spacing = SigmaSpacing::kBeta}),
      Error);
  for (const auto spacing : {SigmaSpacing::kSimple, SigmaSpacing::kBeta, SigmaSpacing::kKarras}) {
    EXPECT_EQ(parse_sigma_spacing(sigma_spacing_name(spacing)), spacing);
  }
  EXPECT_THROW(parse_sigma_spacing("beta57"), Error);
}

}  // namespace
}  // namespace darkroom

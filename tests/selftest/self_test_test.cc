// The self-test finds what is wrong, and nothing else.
#include "selftest/self_test.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "selftest/spoiled_backend.h"
#include "selftest/trial.h"

namespace darkroom {
namespace {

using nlohmann::json;

json op_named(const json& result, const std::string& name) {
  for (const json& op : result.at("ops")) {
    if (op.at("op") == name) return op;
  }
  return {};
}

TEST(SelfTest, FindsTheWrongOpAndNoOther) {
  SpoiledBackend backend([](const std::string& function) {
    if (function == "linear") fail(ErrorCode::kFailure, "linear: not on this device");  // half of the time
    return function == "rms_norm";
  });
  const json result = run_self_test(backend, {.quick = true});
  EXPECT_EQ(result.at("device"), "a card");
  EXPECT_EQ(result.at("driver"), "a driver 1.2");
  EXPECT_EQ(result.at("class"), "M");
  int64_t cases = 0;
  for (const json& op : result.at("ops")) {
    SCOPED_TRACE(op.dump());
    EXPECT_EQ(op.at("left_out").empty(), op.at("op").get<std::string>().find("linear") == std::string::npos);
    cases += op.at("cases").get<int64_t>();
    if (op.at("op") == "rms_norm") continue;
    EXPECT_EQ(op.at("failed"), json::array());
    EXPECT_EQ(op.at("worst"), 0);
  }
  const json norm = op_named(result, "rms_norm");
  EXPECT_EQ(norm.at("failed").size(), norm.at("cases").get<std::size_t>());
  EXPECT_GT(norm.at("worst"), 1);
  const std::string first = norm.at("failed")[0].at("case");
  EXPECT_TRUE(first.starts_with("rms_norm 1 x f32 w ")) << first;
  EXPECT_TRUE(norm.at("failed")[0].at("error").get<std::string>().starts_with("element 8 is ")) << norm;
  EXPECT_EQ(result.at("failed"), norm.at("cases"));
  EXPECT_EQ(result.at("cases"), cases);
  EXPECT_GT(result.at("left_out"), 200);
  EXPECT_EQ(result.at("stopped"), "");
}

// What a device does not do is left out; an error fails its case; a lost device ends the test.
TEST(SelfTest, SaysWhatWasNotTried) {
  SpoiledBackend backend([](const std::string& function) {
    if (function == "linear") fail(ErrorCode::kFailure, "linear: not on this device");
    if (function == "layer_norm") fail(ErrorCode::kFailure, "layer_norm: something is wrong");
    if (function == "qk_norm_rope") fail(ErrorCode::kDevice, "the device is lost");
    return false;
  });
  const json result = run_self_test(backend, {.quick = true});
  const json linear = op_named(result, "linear");
  EXPECT_EQ(linear.at("cases"), 0);
  EXPECT_EQ(linear.at("failed"), json::array());
  ASSERT_EQ(linear.at("left_out").size(), 1u);
  EXPECT_EQ(linear.at("left_out")[0].at("reason"), "linear: not on this device");
  EXPECT_GT(linear.at("left_out")[0].at("cases"), 100);
  const json norm = op_named(result, "layer_norm");
  EXPECT_EQ(norm.at("failed").size(), norm.at("cases").get<std::size_t>());
  EXPECT_EQ(norm.at("failed")[0].at("error"), "layer_norm: something is wrong");
  EXPECT_EQ(result.at("stopped"), "the device is lost");
  EXPECT_EQ(op_named(result, "qk_norm_rope").at("cases"), 1);
  EXPECT_TRUE(op_named(result, "silu").is_null());
}

TEST(SelfTest, StopsBetweenCases) {
  int calls = 0;
  std::atomic<bool> cancel{false};
  SpoiledBackend backend([&](const std::string&) { return ++calls, false; });
  SelfTestOptions options{.quick = true, .cancel = &cancel};
  options.on_case = [&](const std::string& op, std::size_t finished, std::size_t cases) {
    EXPECT_EQ(op, "linear");
    EXPECT_GT(cases, 400u);
    if (finished == 2) cancel = true;
  };
  try {
    run_self_test(backend, options);
    FAIL() << "it was not stopped";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kCancelled);
  }
  EXPECT_EQ(calls, 3);
}

TrialResult numbers(const std::vector<float>& values) {
  return {{static_cast<int64_t>(values.size())}, DType::kF32, values};
}

TEST(Compare, TakesTheNearestOfWhatMayBeAndNoNaN) {
  const Expected expected{{numbers({1, 2}), numbers({1, 3})}};
  EXPECT_EQ(compare(numbers({1, 2}), expected, 1).worst, 0);
  EXPECT_EQ(compare(numbers({1, 3}), expected, 1).worst, 0);
  const Deviation far = compare(numbers({1, 2.5f}), expected, 1);
  EXPECT_NEAR(far.worst, 0.5 / tolerance(DType::kF32, 1, 2), far.worst * 0.5);
  EXPECT_EQ(far.wrong, "element 1 is 2.5, expected 2");
  const float near = 2 + 0.9f * tolerance(DType::kF32, 1, 2);
  EXPECT_EQ(compare(numbers({1, near}), expected, 1).wrong, "");
  EXPECT_GT(compare(numbers({1, near}), expected, 1).worst, 0.5);
  const Deviation none = compare(numbers({NAN, 2}), expected, 1);
  EXPECT_EQ(none.worst, kNoNumber);
  EXPECT_EQ(none.wrong, "element 0 is nan, expected 1");
  EXPECT_NE(compare(numbers({1}), expected, 1).wrong, "");
}

}  // namespace
}  // namespace darkroom

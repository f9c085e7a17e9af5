// Graphics cards on the command line; Mesa's CPU driver stands for one where it is installed.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "image/png.h"

namespace cli_test {
namespace {

using nlohmann::json;

class CliDevice : public ProgramTest {
 protected:
  json devices() const {
    const Result result = run({"devices", "--json"});
    EXPECT_EQ(result.code, 0) << result.err;
    return json::parse(result.out);
  }
  bool has_lavapipe() const {
    const json found = devices().at("devices");
    return std::any_of(found.begin(), found.end(), [](const json& device) {
      return device.at("name").get<std::string>().find("llvmpipe") != std::string::npos &&
             device.at("class") != "unusable";
    });
  }
};

TEST_F(CliDevice, AreListedOrTheReasonIsSaid) {
  const json found = devices();
  const Result result = run({"devices"});
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(found.at("devices").empty(), !found.at("reason").get<std::string>().empty());
  EXPECT_EQ(found.at("devices").empty(), result.out.starts_with("No device: ")) << result.out;
}

// Where no driver is found.
TEST_F(CliDevice, WithoutADriverOnlyTheCpuDraws) {
  const RunOptions none = {
      .environment = {{"VK_ICD_FILENAMES", "/dev/null"}, {"VK_DRIVER_FILES", "/dev/null"}}};
  const Result listed = run({"devices"}, none);
  EXPECT_EQ(listed.code, 0) << listed.err;
  EXPECT_TRUE(listed.out.starts_with("No device: ")) << listed.out;
  const Result refused = run(small_picture({"a", "--device", "gpu"}), none);
  EXPECT_TRUE(refused.code == 1 || refused.code == 2) << refused.code;
  EXPECT_EQ(std::ranges::count(refused.err, '\n'), 1) << refused.err;
  EXPECT_TRUE(files().empty());
  EXPECT_EQ(run(small_picture({"a", "--device", "auto"}), none).code, 0);
}

TEST_F(CliDevice, TheSelfTestPrintsATable) {
  const Result result = run({"self-test", "--quick", "--device", "cpu"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_TRUE(result.out.starts_with("darkroom ")) << result.out;
  EXPECT_NE(result.out.find("\nop "), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("\nlinear_gate_residual "), std::string::npos) << result.out;
  EXPECT_NE(result.out.find(" cases, 0 failed, 0 left out, "), std::string::npos) << result.out;
  expect_refusal({"self-test", "--device", "no such card"}, 2, "no graphics device 'no such card'");
}

TEST_F(CliDevice, OnTheProcessorIsUsedByItsNameAlone) {
  if (!has_lavapipe()) GTEST_SKIP() << "Mesa's CPU driver for Vulkan is not installed";
  const RunOptions named = {.environment = {{"DARKROOM_DEVICE", "llvmpipe"}}};
  const auto picture = [&](const Words& more, const RunOptions& options = {}) {
    const Result result = run(small_picture(more), options);
    EXPECT_EQ(result.code, 0) << result.err;
    return darkroom::read_png(folder() / (more.back() + ".png")).rgb;
  };
  const auto here = picture({"a", "-s", "1", "--precision", "f32", "-o", "cpu"});
  EXPECT_EQ(picture({"a", "-s", "1", "--precision", "f32", "-o", "automatic"}), here);
  const auto there = picture({"a", "-s", "1", "--precision", "f32", "--device", "llvmpipe", "-o", "flag"});
  EXPECT_EQ(picture({"a", "-s", "1", "--precision", "f32", "-o", "variable"}, named), there);
  ASSERT_EQ(there.size(), here.size());
  int largest = 0;
  for (std::size_t i = 0; i < here.size(); ++i) largest = std::max(largest, std::abs(here[i] - there[i]));
  EXPECT_LE(largest, 1);
  expect_refusal(small_picture({"a", "--device", "no such card"}), 2, "no graphics device 'no such card'");
  expect_refusal(small_picture({"a", "--device", "llvmpipe", "--attention", "int8"}), 2,
                 "attention int8 is for the cpu");
  expect_refusal({"calibrate", "--dummy", "tiny", "--device", "llvmpipe", "-o", "f.safetensors"}, 2,
                 "leave --device out");
  expect_refusal({"bench", "--quick", "--device", "no such card"}, 2, "no graphics device 'no such card'");
  expect_refusal({"bench", "--quick", "--device", "llvmpipe", "--budget", "1GiB"}, 2,
                 "--budget is for the cpu");
  const Result plan = run({"plan", "--dummy", "tiny", "--device", "llvmpipe", "--budget", "1GiB"});
  EXPECT_NE(plan.out.find("Weights and activations lie on the device. Budget there: 1.0 GiB."),
            std::string::npos)
      << plan.out << plan.err;
  expect_refusal(small_picture({"a", "--device", "llvmpipe", "--budget", "1KiB"}), 4,
                 "a budget of 1.0 KiB on the device is too little");
}

}  // namespace
}  // namespace cli_test

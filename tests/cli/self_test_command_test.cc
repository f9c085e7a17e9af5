// The command self-test over a library that is a test itself: what it prints of wrong results, and its exit code.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <string.h>

#include <string>

#include "command.h"
#include "darkroom/darkroom.h"
#include "failure.h"
#include "streams.h"

namespace {

std::string answer, tested;

}  // namespace

extern "C" {
const char* darkroom_version(void) { return "9.9"; }
void darkroom_options_init_sized(darkroom_options* options, size_t size) { memset(options, 0, size); }
void darkroom_self_test_options_init_sized(darkroom_self_test_options* options, size_t size) {
  memset(options, 0, size);
}
darkroom_status darkroom_create(const darkroom_options* options, darkroom_engine** engine) {
  EXPECT_STREQ(options->backend, "cpu");  // or a refused device could not be tested
  *engine = nullptr;
  return DARKROOM_OK;
}
void darkroom_destroy(darkroom_engine*) {}
const char* darkroom_last_error(const darkroom_engine*) { return ""; }
void darkroom_cancel(darkroom_engine*) {}
void darkroom_free(char* text) { free(text); }
darkroom_status darkroom_self_test(darkroom_engine*, const darkroom_self_test_options* options, char** text) {
  tested = options->device + std::string(options->quick ? " quick" : "");
  const darkroom_self_test_progress event{sizeof event, "conv", 3, 7};
  EXPECT_EQ(options->on_progress(&event, options->user), 0);
  *text = strdup(answer.c_str());
  return DARKROOM_OK;
}
}

namespace cli {
namespace {

struct Outcome {
  int code = 0;
  std::string out, error;
};

Outcome run(const std::vector<std::string>& arguments) {
  Outcome outcome;
  testing::internal::CaptureStdout();
  try {
    run_self_test({"self-test", "", run_self_test}, arguments);
  } catch (const Failure& e) {
    outcome.code = e.status();
    outcome.error = e.what();
  }
  outcome.out = testing::internal::GetCapturedStdout();
  return outcome;
}

std::string op(const char* name, int cases, const char* worst, const std::string& failed,
               const std::string& left_out) {
  return std::string("{\"op\":\"") + name + "\",\"cases\":" + std::to_string(cases) + ",\"worst\":" + worst +
         ",\"seconds\":0.25,\"failed\":[" + failed + "],\"left_out\":[" + left_out + "]}";
}

std::string result(int failed, const std::string& ops, const char* stopped = "") {
  return R"({"device":"A Card","driver":"mesa 1.2","class":"M","backend":"vulkan","cases":12,"failed":)" +
         std::to_string(failed) + R"(,"left_out":4,"seconds":2.5,"stopped":")" + stopped + R"(","ops":[)" +
         ops + "]}";
}

constexpr char kLeftOut[] = R"({"reason":"int8: not on this device","cases":4})";

TEST(SelfTestCommand, PrintsATable) {
  answer = result(0, op("linear", 12, "0.25", "", "") + "," + op("int8 attention", 0, "0.0", "", kLeftOut));
  const Outcome outcome = run({"--device", "gpu:1"});
  EXPECT_EQ(tested, "gpu:1");
  EXPECT_EQ(outcome.code, 0) << outcome.error;
  EXPECT_EQ(outcome.out, R"(darkroom 9.9, A Card, mesa 1.2, class M

op              cases  failed  left out  worst error  seconds
linear             12       0         0         0.25     0.25
int8 attention      0       0         4            -     0.25

Left out: 4 cases of int8 attention: int8: not on this device
12 cases, 0 failed, 4 left out, 2.50 s. The worst error is a fraction of the tolerance: above 1 is wrong.
)");
  const Outcome json = run({"--json", "--quick"});
  EXPECT_EQ(tested, "cpu quick");
  EXPECT_EQ(json.out, answer + "\n");
  EXPECT_EQ(json.code, 0);
}

TEST(SelfTestCommand, WrongResultsAreNamedAndItsExitCodeIs1) {
  std::string failed;
  for (int i = 0; i < 7; ++i) {
    failed += (i ? "," : "") + std::string(R"({"case":"conv )") + std::to_string(i) +
              R"(","error":"element 3 is nan, expected 1\u001b[31m"})";
  }
  answer = result(7, op("conv", 12, "1e30", failed, ""), "the device is lost");
  const Outcome outcome = run({});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.error, "7 of 12 cases failed on A Card, mesa 1.2, class M");
  EXPECT_NE(outcome.out.find("conv     12       7         0        wrong     0.25\n"), std::string::npos)
      << outcome.out;
  EXPECT_NE(outcome.out.find("Failed: conv\n  conv 0: element 3 is nan, expected 1\\x1b[31m\n  conv 1: "),
            std::string::npos)
      << outcome.out;
  EXPECT_NE(outcome.out.find("  and 2 more\n"), std::string::npos);
  EXPECT_NE(outcome.out.find("Stopped, the rest was not tried: the device is lost\n"), std::string::npos);
  EXPECT_EQ(run({"--json"}).code, 1);
}

}  // namespace
}  // namespace cli

// darkroom self-test: whether a device computes what it should. The table is for pasting into an issue.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "command.h"
#include "engine.h"
#include "failure.h"
#include "interrupt.h"
#include "progress.h"
#include "text.h"

namespace cli {
namespace {

using nlohmann::json;

constexpr std::size_t kShownFailures = 5;  // of an op; --json has all

std::string text_of(const json& object, const char* field) {
  return printable(object.at(field).get<std::string>());
}

std::string worst_text(const json& op) {
  const double worst = op.at("worst").get<double>();
  if (op.at("cases") == 0) return "-";
  return worst < 1000 ? fmt::format("{:.2f}", worst) : "wrong";
}

std::string failures_of(const json& op) {
  const json& failed = op.at("failed");
  std::string out;
  for (std::size_t i = 0; i < failed.size() && i < kShownFailures; ++i)
    out += fmt::format("  {}: {}\n", text_of(failed[i], "case"), text_of(failed[i], "error"));
  if (failed.size() > kShownFailures) out += fmt::format("  and {} more\n", failed.size() - kShownFailures);
  return out.empty() ? "" : fmt::format("Failed: {}\n{}", text_of(op, "op"), out);
}

std::string left_out_of(const json& op) {
  std::string out;
  for (const json& each : op.at("left_out")) {
    out += fmt::format("Left out: {} cases of {}: {}\n", each.at("cases").get<int64_t>(), text_of(op, "op"),
                       text_of(each, "reason"));
  }
  return out;
}

std::string device_of(const json& test) {
  const std::string driver = text_of(test, "driver"), device_class = text_of(test, "class");
  return text_of(test, "device") + (driver.empty() ? "" : ", " + driver) +
         (device_class.empty() ? "" : ", class " + device_class);
}

std::string describe(const json& test) {
  Table table;
  table.add({"op", "cases", "failed", "left out", "worst error", "seconds"});
  std::string remarks;
  for (const json& op : test.at("ops")) {
    int64_t left_out = 0;
    for (const json& each : op.at("left_out")) left_out += each.at("cases").get<int64_t>();
    table.add({text_of(op, "op"), op.at("cases").dump(), std::to_string(op.at("failed").size()),
               std::to_string(left_out), worst_text(op),
               fmt::format("{:.2f}", op.at("seconds").get<double>())});
    remarks += failures_of(op) + left_out_of(op);
  }
  const std::string stopped = text_of(test, "stopped");
  if (!stopped.empty()) remarks += fmt::format("Stopped, the rest was not tried: {}\n", stopped);
  return fmt::format(
      "darkroom {}, {}\n\n{}\n{}{} cases, {} failed, {} left out, {}. The worst error is a fraction of the "
      "tolerance: above 1 is wrong.\n",
      darkroom_version(), device_of(test), table.text(), remarks, test.at("cases").get<int64_t>(),
      test.at("failed").get<int64_t>(), test.at("left_out").get<int64_t>(),
      seconds_text(test.at("seconds").get<double>()));
}

struct Screen {
  Progress progress;
  CallbackProblem problem = {};
};

void show(Screen& screen, const darkroom_self_test_progress& event) {
  screen.progress.live(fmt::format("case {} of {}: {}", event.finished + 1, event.cases, event.op));
}

// The result as JSON.
std::string test_on(const Engine& engine, const std::string& device, bool quick) {
  Screen screen{.progress = Progress(progress_style(false))};
  darkroom_self_test_options test;
  darkroom_self_test_options_init(&test);
  test.device = device.c_str();
  test.quick = quick ? 1 : 0;
  test.on_progress = show_event<darkroom_self_test_progress, Screen, show>;
  test.user = &screen;
  return take_text(engine, [&](char** out) {
    const darkroom_status status =
        cancellable(engine.get(), [&] { return darkroom_self_test(engine.get(), &test, out); });
    screen.problem.rethrow();
    return status;
  });
}

}  // namespace

void run_self_test(const Command& self, const std::vector<std::string>& arguments) {
  EngineOptions options;
  bool quick = false, as_json = false;
  Arguments parser(self);
  parser.add_switch("--quick", quick, "Of most storages of weights only one case in four");
  parser.add_switch("--json", as_json, "Print JSON");
  add_engine_flags(parser, options);
  parser.footer("The exit code is 1 when a result is wrong.");
  if (!parser.parse(arguments)) return;
  require_stdout();
  // A device that gives wrong results makes no engine that draws; the test takes it all the same.
  const std::string device = chosen_device(options);
  options.device = "cpu";
  const std::string text = test_on(Engine(options), device, quick);
  const json result = json::parse(text);
  write_stdout(as_json ? text + "\n" : describe(result));
  const int64_t failed = result.at("failed").get<int64_t>();
  if (failed > 0)
    fail(DARKROOM_FAILURE, "{} of {} cases failed on {}", failed, result.at("cases").dump(),
         device_of(result));
}

}  // namespace cli

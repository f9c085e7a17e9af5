#include "selftest/self_test.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "backends/reference/reference.h"
#include "base/error.h"
#include "selftest/trial.h"

namespace darkroom {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// "int8 linear 1x64x96/0" -> "int8 linear": names begin with the op, after the bits if they are said.
std::string op_of(const std::string& name) {
  const std::size_t first = name.find(' ');
  return name.substr(0, name.starts_with("int") ? name.find(' ', first + 1) : first);
}

bool is_left_out(const Error& e) {
  return std::string_view(e.what()).find("not on this device") != std::string_view::npos;
}

// The line of an op in the result.
struct Line {
  std::string op;
  int64_t cases = 0;
  double worst = 0, seconds = 0;
  nlohmann::json failed = nlohmann::json::array();
  std::map<std::string, int64_t> left_out;  // by the reason
};

nlohmann::json to_json(const Line& line) {
  nlohmann::json left_out = nlohmann::json::array();
  for (const auto& [reason, cases] : line.left_out)
    left_out.push_back({{"reason", reason}, {"cases", cases}});
  return {{"op", line.op},           {"cases", line.cases},   {"worst", line.worst},
          {"seconds", line.seconds}, {"failed", line.failed}, {"left_out", left_out}};
}

class SelfTest {
 public:
  SelfTest(Backend& backend, const SelfTestOptions& options)
      : backend_(backend), options_(options), memory_(backend.allocate(kTrialBytes)) {
    const std::string device_class = backend.identity().device_class;
    matrices_ = device_class.starts_with("M");
  }

  nlohmann::json run() {
    const Clock::time_point begin = Clock::now();
    const std::vector<OpCase> cases = op_cases();
    const std::vector<Trial> all = trials(cases, options_.quick ? 4 : 1);
    for (std::size_t i = 0; i < all.size() && stopped_.empty(); ++i) {
      if (options_.cancel && *options_.cancel) fail(ErrorCode::kCancelled, "stopped on request");
      const std::string op = op_of(all[i].op->name);
      if (options_.on_case) options_.on_case(op, i, all.size());
      try_case(all[i], line_of(op));
    }
    return result(seconds_since(begin));
  }

 private:
  Line& line_of(const std::string& op) {
    const auto found = std::ranges::find(lines_, op, &Line::op);
    if (found != lines_.end()) return *found;
    lines_.emplace_back().op = op;
    return lines_.back();
  }

  void try_case(const Trial& trial, Line& line) {
    const Clock::time_point begin = Clock::now();
    try {
      const TrialResult got = run_trial(trial, backend_, *memory_);
      line.seconds += seconds_since(begin);
      ++line.cases;
      const Deviation found =
          compare(got, expected_of(trial, *reference_, host_, matrices_), trial.op->terms);
      line.worst = std::max(line.worst, found.worst);
      if (!found.wrong.empty()) line.failed.push_back({{"case", trial.name()}, {"error", found.wrong}});
    } catch (const Error& e) {
      if (e.code() == ErrorCode::kOutOfMemory || e.code() == ErrorCode::kCancelled) throw;
      take_error(e, trial, line);
    }
  }

  void take_error(const Error& e, const Trial& trial, Line& line) {
    if (is_left_out(e)) {
      ++line.left_out[e.what()];
      return;
    }
    ++line.cases;
    line.worst = kNoNumber;
    line.failed.push_back({{"case", trial.name()}, {"error", e.what()}});
    if (e.code() == ErrorCode::kDevice) stopped_ = e.what();  // nothing runs on it any more
  }

  nlohmann::json result(double seconds) const {
    const Backend::Identity who = backend_.identity();
    nlohmann::json ops = nlohmann::json::array();
    int64_t cases = 0, failed = 0, left_out = 0;
    for (const Line& line : lines_) {
      ops.push_back(to_json(line));
      cases += line.cases;
      failed += static_cast<int64_t>(line.failed.size());
      for (const auto& [reason, number] : line.left_out) left_out += number;
    }
    return {{"device", who.device},
            {"driver", who.driver},
            {"class", who.device_class},
            {"backend", backend_.name()},
            {"cases", cases},
            {"failed", failed},
            {"left_out", left_out},
            {"seconds", seconds},
            {"stopped", stopped_},
            {"ops", ops}};
  }

  Backend& backend_;
  const SelfTestOptions& options_;
  std::unique_ptr<Memory> memory_;
  std::unique_ptr<Backend> reference_ = make_reference_backend();
  Buffer host_{kTrialBytes};
  bool matrices_ = false;
  std::vector<Line> lines_;
  std::string stopped_;
};

}  // namespace

nlohmann::json run_self_test(Backend& backend, const SelfTestOptions& options) {
  return SelfTest(backend, options).run();
}

}  // namespace darkroom

// Times runs beside ceilings measured in the same moments, and turns them into the rows of the result. The
// method is described in bench.h. One thread uses a Meter at a time.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/machine.h"
#include "bench/plan.h"
#include "bench/work.h"
#include "ops/context.h"

namespace darkroom::bench {

// Seconds on a steady clock with an arbitrary zero.
double now();

class Meter {
 public:
  // Measures the machine's ceilings. Errors: as run_bench().
  Meter(std::unique_ptr<Machine> machine, const Pace& pace, const std::atomic<bool>* cancel);

  Machine& machine() const { return *machine_; }
  Backend& backend() const { return machine_->backend(); }
  const Pace& pace() const { return pace_; }
  // What was measured first, in units of 1e9 a second.
  std::optional<double> first(Ceiling ceiling) const { return first_[static_cast<std::size_t>(ceiling)]; }
  Context context(DType activation, Arena& arena) const { return {backend(), arena, activation, cancel_}; }

  // The rates that bound `work`, now. Errors: kCancelled.
  Rates probe(const Work& work, const Arithmetic& arithmetic);
  // False if so much work, done at 1/1.4 of the first ceilings, would end after pace.total_seconds.
  bool fits(const Work& work, const Arithmetic& arithmetic) const;
  // How often to do `work` in one run, so that it takes pace.min_run_seconds at the first ceilings.
  int repeats(const Work& work, const Arithmetic& arithmetic) const;
  // Until what ops were asked for has been done.
  void finish() const { backend().wait(backend().mark()); }
  // Frees what probes hold, until the next one: for runs whose memory counts.
  void release_memory() { machine_->release_memory(); }

 private:
  Rates first_rates(const Arithmetic& arithmetic) const;
  double rate_now(std::optional<Ceiling> ceiling);

  std::unique_ptr<Machine> machine_;
  Pace pace_;
  const std::atomic<bool>* cancel_;
  double start_;
  std::array<std::optional<double>, kCeilings> first_;  // by Ceiling
};

// One run: how long it took, and how long it would have taken at the ceilings around it.
struct Sample {
  double seconds = 0;
  double ideal_seconds = 0;  // 0: a ceiling is not known
  Counts counts = {};        // of what the device was asked
};

// Times runs of the same work, with a probe before the first and after each.
class Sampler {
 public:
  Sampler(Meter& meter, const Work& work, const Arithmetic& arithmetic);
  // Runs once and returns the seconds. Errors: kCancelled after the run; what `run` throws.
  double time(const std::function<void()>& run);
  // All runs so far, in order, each beside the highest of the two probes before it and the two after it.
  std::vector<Sample> samples() const;

 private:
  Meter& meter_;
  Work work_;
  Arithmetic arithmetic_;
  std::vector<Rates> probes_;  // one more than runs
  std::vector<double> seconds_;
  std::vector<Counts> counts_;
};

// Says when a row has runs enough.
class Patience {
 public:
  explicit Patience(const Pace& pace) : pace_(pace) {}
  void add(double seconds);
  bool more() const;

 private:
  Pace pace_;
  int runs_ = 0;
  double total_ = 0, fastest_ = 0;
};

struct Row {
  std::string name;
  DType activation = DType::kF32;  // i8: bf16 activations that are quantised, and i8 weights
  std::string shape;
  Work work;      // of one run
  int calls = 1;  // equal ops in one run; the result is of one of them
  DType weights = DType::kBF16;
  int32_t levels = kInt8Levels;  // of i8
  bool counted = false;          // also report what a run asks of a device
  Arithmetic arithmetic() const { return {activation, levels}; }
};

// The rows of the result.
class Rows {
 public:
  explicit Rows(std::function<void(std::string)> note) : note_(std::move(note)) {}
  // The fastest of `samples`, which must not be empty.
  void add(const Row& row, const std::vector<Sample>& samples);
  // Runs and adds the row, each run several times over where the pace wants it.
  void measure(Meter& meter, Row row, const std::function<void()>& run);
  // fits(), with a note if not.
  bool may_run(const Meter& meter, const Row& row, double times = 1);
  const nlohmann::json& json() const { return rows_; }

 private:
  std::function<void(std::string)> note_;
  nlohmann::json rows_ = nlohmann::json::array();
};

// Each adds its rows of the plan; measure_weights() those of linear layers, first with bf16 weights, then
// with weights of the type.
void measure_ops(Meter& meter, const Plan& plan, Rows& rows);
void measure_weights(Meter& meter, const Plan& plan, DType weights, Rows& rows);
void measure_models(Meter& meter, const Plan& plan, Rows& rows);
// The rows in i8, the last ones: on a slow machine there may be no time left for them. Of kInt7Levels only linear
// layers and what consists of them.
void measure_int8_ops(Meter& meter, const Plan& plan, int32_t levels, Rows& rows);
void measure_int8_models(Meter& meter, const Plan& plan, int32_t levels, Rows& rows);
// What the result has under "budget"; options.budget must be given. `rows` says what is left out.
nlohmann::json measure_budget(Meter& meter, const BenchOptions& options, const Plan& plan, Rows& rows);

}  // namespace darkroom::bench

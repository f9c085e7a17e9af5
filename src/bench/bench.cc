#include "bench/bench.h"

#include "base/printable.h"
#include "bench/meter.h"
#include "pipeline/request.h"

namespace darkroom {
namespace bench {
namespace {

std::optional<DType> parse_weights(const std::string& name) {
  std::string names;
  for (int i = 0; i < kDTypes; ++i) {
    const DType dtype = static_cast<DType>(i);
    if (!is_matrix_storage(dtype)) continue;
    if (name == dtype_name(dtype)) return dtype;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", dtype_name(dtype));
  }
  fail(ErrorCode::kUsage, "bench: no weights are of type '{}'; there are {}", printable(name), names);
}

Plan plan_for(const BenchOptions& options, const Machine& machine) {
  if (options.device == "cpu") return options.quick ? quick_plan() : full_plan();
  if (!options.quick) return full_device_plan();
  return machine.is_slow() ? slow_device_plan() : quick_device_plan();
}

std::optional<DType> weights_of(const BenchOptions& options) {
  return options.weights ? parse_weights(*options.weights) : std::nullopt;
}

// Wrong options show before the long work begins.
void check(const BenchOptions& options) {
  weights_of(options);
  if (!options.budget) return;
  decide_budget(*options.budget);
  require(options.device == "cpu", ErrorCode::kUsage,
          "bench: --budget is for the cpu, the device is {}; 'darkroom plan' says what streams there",
          printable(options.device));
}

nlohmann::json run(const BenchOptions& options, const Plan& plan, std::unique_ptr<Machine> machine) {
  const std::optional<DType> weights = weights_of(options);
  Meter meter(std::move(machine), plan.pace, options.cancel);
  const auto first = [&](Ceiling ceiling) {
    const std::optional<double> rate = meter.first(ceiling);
    return rate ? nlohmann::json(*rate) : nlohmann::json();
  };
  nlohmann::json result;
  result["ceiling"] = {{"f32_gflops", first(Ceiling::kF32)},
                       {"bf16_gflops", first(Ceiling::kBF16)},
                       {"int8_gops", first(Ceiling::kInt8)},
                       {"int7_gops", first(Ceiling::kInt7)},
                       {"read_gbps", first(Ceiling::kMemory)}};
  meter.machine().describe(result);
  Rows rows(options.note);
  if (weights) {
    measure_weights(meter, plan, *weights, rows);
  } else {
    measure_ops(meter, plan, rows);
    measure_models(meter, plan, rows);
    for (const int32_t levels : {kInt8Levels, kInt7Levels}) {
      if (levels == kInt7Levels && !meter.first(Ceiling::kInt7)) continue;  // the same instructions
      measure_int8_ops(meter, plan, levels, rows);
      measure_int8_models(meter, plan, levels, rows);
    }
  }
  result["rows"] = rows.json();
  if (options.budget) result["budget"] = measure_budget(meter, options, plan, rows);
  return result;
}

}  // namespace

nlohmann::json run_plan(const BenchOptions& options, const Plan& plan) {
  check(options);
  return run(options, plan, make_machine(options));
}

}  // namespace bench

nlohmann::json run_bench(const BenchOptions& options) {
  bench::check(options);
  std::unique_ptr<bench::Machine> machine = bench::make_machine(options);
  const bench::Plan plan = bench::plan_for(options, *machine);
  return bench::run(options, plan, std::move(machine));
}

}  // namespace darkroom

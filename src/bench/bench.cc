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

}  // namespace

nlohmann::json run_plan(const BenchOptions& options, const Plan& plan) {
  if (options.budget) decide_budget(*options.budget);  // a wrong one shows before the long work begins
  const std::optional<DType> weights = options.weights ? parse_weights(*options.weights) : std::nullopt;
  Meter meter(options, plan.pace);
  const CpuCeilings& ceilings = meter.ceilings();
  const auto or_null = [](const std::optional<double>& value) {
    return value ? nlohmann::json(*value) : nlohmann::json();
  };
  nlohmann::json result;
  result["cpu"] = {
      {"name", cpu_model_name()}, {"isa", isa_name(meter.backend().isa())}, {"threads", meter.threads()}};
  result["ceiling"] = {{"f32_gflops", ceilings.f32_gflops},
                       {"bf16_gflops", or_null(ceilings.bf16_gflops)},
                       {"int8_gops", ceilings.int8_gops},
                       {"int7_gops", or_null(ceilings.int7_gops)},
                       {"read_gbps", ceilings.read_gbps}};
  Rows rows(options.note);
  if (weights) {
    measure_weights(meter, plan, *weights, rows);
  } else {
    measure_ops(meter, plan, rows);
    measure_models(meter, plan, rows);
    for (const int32_t levels : {kInt8Levels, kInt7Levels}) {
      if (levels == kInt7Levels && !ceilings.int7_gops) continue;  // the same instructions
      measure_int8_ops(meter, plan, levels, rows);
      measure_int8_models(meter, plan, levels, rows);
    }
  }
  result["rows"] = rows.json();
  if (options.budget) result["budget"] = measure_budget(meter, options, plan, rows);
  return result;
}

}  // namespace bench

nlohmann::json run_bench(const BenchOptions& options) {
  return bench::run_plan(options, options.quick ? bench::quick_plan() : bench::full_plan());
}

}  // namespace darkroom
